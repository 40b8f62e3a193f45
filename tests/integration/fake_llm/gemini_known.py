"""Whether the ``google-genai`` SDK knows every field that it was sent: its own parsing drops what it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.genai import models, types
from pydantic import BaseModel

from .conftest import Session


def assert_known(session: Session) -> int:
    """Read all that the session's calls were answered, by the SDK's own types; returns how many answers there were."""
    checked = 0
    for entry in session.journal():
        if entry["status"] != 200 or entry["fault"] or not entry["dialect"].startswith("gemini"):
            continue
        for answer in _answers(entry["reply_raw"]):
            checked += 1
            if entry["dialect"] == "gemini":
                _assert_same(answer, _generated(answer))
            elif entry["dialect"] == "gemini_embeddings" and "embeddings" in answer:
                _assert_same(answer, _embedded(answer))
    return checked


def walk(value: Any, at: str = "") -> None:
    """Fail where a parsed object has something that its type does not know."""
    if isinstance(value, BaseModel):
        assert not value.model_extra, f"{at}: {value.model_extra}"
        assert not getattr(value, "is_unknown", False), f"{at}: {value!r}"
        for name in type(value).model_fields:
            walk(value.__dict__.get(name), f"{at}.{name}")
    elif isinstance(value, dict):
        for name, below in value.items():
            walk(below, f"{at}.{name}")
    elif isinstance(value, list | tuple):
        for place, below in enumerate(value):
            walk(below, f"{at}[{place}]")


def _generated(answer: Any) -> BaseModel:
    return types.GenerateContentResponse.model_validate(models._GenerateContentResponse_from_mldev(answer))


def _embedded(answer: Any) -> BaseModel:
    return types.EmbedContentResponse.model_validate(models._EmbedContentResponse_from_mldev(answer))


def _assert_same(answer: Any, parsed: BaseModel) -> None:
    walk(parsed)
    assert parsed.model_dump(mode="json", by_alias=True, exclude_none=True) == _as_dumped(answer)


def _as_dumped(value: Any, name: str = "") -> Any:
    """``value`` as the SDK writes it: with another name, another alphabet, and without what it leaves out."""
    if isinstance(value, dict):
        return {_NAMES.get(key, key): _as_dumped(below, key) for key, below in value.items() if key not in _UNREAD}
    if isinstance(value, list):
        return [_as_dumped(below) for below in value]
    return value.replace("+", "-").replace("/", "_") if name == "thoughtSignature" else value


_NAMES = {"citationSources": "citations"}
_UNREAD = frozenset({"finishMessage"})
"""Fields of the SDK's types that it reads from Vertex AI only; the Developer API sends them too."""


def _answers(raw: str) -> Iterator[Any]:
    if not raw.startswith("data: "):
        found = json.loads(raw)
        yield from found if isinstance(found, list) else [found]
        return
    for line in raw.splitlines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
