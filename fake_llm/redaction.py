"""Secrets taken out of what a reader may see: each is replaced by the first digits of its hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from fake_llm.model import Json

_SECRET_HEADER = re.compile(r"authorization|cookie|secret|password|token|(?<!idempotency-)key\b")
_FIELD = r"authorization(?:_token)?|(?:x-)?api[-_]?key|cookie"
"""Fields by which requests hand keys to servers of tools; a word such as ``password`` may be any tool's argument."""
_SECRET_FIELD = re.compile(_FIELD, re.IGNORECASE)
_IN_TEXT = re.compile(rf'("(?:{_FIELD})"\s*:\s*")((?:[^"\\]|\\.)+)', re.IGNORECASE)


def is_secret(header: str) -> bool:
    """Whether a request's header of that name, in lower case, holds a secret."""
    return _SECRET_HEADER.search(header) is not None


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with secrets hashed, which still tell one key from another."""
    return {name: hashed(value) if is_secret(name) else value for name, value in headers.items()}


def redacted_body(body: Json) -> Json:
    """A body without the keys that requests carry for servers of tools."""
    if isinstance(body, list):
        return [redacted_body(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {
        name: hashed(value)
        if isinstance(value, str) and value and _SECRET_FIELD.fullmatch(str(name))
        else redacted_body(value)
        for name, value in body.items()
    }


def redacted_text(text: str) -> str:
    """The same for a body as it was sent, be it JSON or not."""
    return _IN_TEXT.sub(lambda hit: hit[1] + hashed(hit[2]), text)


def hashed(secret: str) -> str:
    """What stands for a secret."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()[:12]
