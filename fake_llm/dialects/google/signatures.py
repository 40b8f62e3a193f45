"""Thought signatures: what a model hands out beside its words, to get it back with them.

A signature is a keyed hash of what it stands beside, so that it can be checked without having been kept.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import blake2b

from fake_llm.model import Json

DUMMIES = frozenset({"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"})
"""What a client may send in place of a signature that it does not have; as it stands, or as base64."""

_KEY = b"fake thought signature"
_MARK = b"\x12\x18"
_GENERATION = re.compile(r"gemini-(\d{1,3})")
_SIGNING = 3


def needs_signatures(model: str) -> bool:
    """Whether the model always signs, and wants its function calls back with their signatures: from Gemini 3 on."""
    found = _GENERATION.match(model)
    return found is not None and int(found[1]) >= _SIGNING


def of_text(text: str) -> str:
    """The signature of words, or of a thought."""
    return _signature("text", text)


def of_call(name: str, arguments: Mapping[str, Json]) -> str:
    """The signature of a function call."""
    return _signature("call", name, json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=str))


def fits_call(signature: str, name: str, arguments: Mapping[str, Json]) -> bool:
    """Whether ``signature`` is that of the call, or one of the ``DUMMIES``."""
    if signature in DUMMIES or _plain(signature) in DUMMIES:
        return True
    return _standard(signature) == of_call(name, arguments)


def _signature(*signed: str) -> str:
    content = "\0".join(signed).encode("utf-8", "surrogatepass")
    return b64encode(_MARK + blake2b(content, digest_size=34, key=_KEY).digest()).decode("ascii")


def _standard(encoded: str) -> str:
    """Base64 of the URL's alphabet, without padding, as plain base64: clients may send either."""
    plain = encoded.replace("-", "+").replace("_", "/").rstrip("=")
    return plain + "=" * (-len(plain) % 4)


def _plain(encoded: str) -> str:
    try:
        return b64decode(_standard(encoded)).decode("ascii")
    except ValueError:
        return ""
