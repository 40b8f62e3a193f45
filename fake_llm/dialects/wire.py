"""JSON and server-sent events as bytes: the innermost loop of every dialect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from fake_llm.model import Json, ToolCall

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode

END_OF_CHAT = b"data: [DONE]\n\n"
EVENT_STREAM = b"text/event-stream; charset=utf-8"


def to_json(value: Json) -> str:
    """Compact JSON; in ASCII, so that no separator of lines is ever inside an event."""
    return _encode(value)


def to_bytes(value: Json) -> bytes:
    """Compact JSON as a body."""
    return _encode(value).encode("ascii")


def quoted(text: str) -> str:
    """``text`` as a JSON string."""
    return encode_basestring_ascii(text)


def data(text: str) -> bytes:
    """An event without a name."""
    return f"data: {text}\n\n".encode("ascii")


def json_array(events: Sequence[bytes], *, begun: bool = False) -> list[bytes]:
    """Events without names as a JSON array in as many pieces; ``begun``: others have been sent before these."""
    elements = [event.removeprefix(b"data: ").rstrip() for event in events]
    found = [(b",\r\n" if begun or place else b"[") + element for place, element in enumerate(elements)]
    return [*found[:-1], found[-1] + b"]"]


def event(name: str, text: str) -> bytes:
    """A named event."""
    return f"event: {name}\ndata: {text}\n\n".encode("ascii")


def arguments_of(call: ToolCall) -> dict[str, Json] | None:
    """A call's arguments as an object; None for text that is no JSON object, NaN and Infinity among it."""
    try:
        found = json.loads(call.arguments or "{}", parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def no_constant(word: str) -> Json:
    """Refuses what Python's decoder takes beyond JSON.

    :raises ValueError: always.
    """
    raise ValueError(f"{word} is no JSON")
