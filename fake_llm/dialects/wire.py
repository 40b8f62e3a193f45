"""JSON and server-sent events as bytes: the innermost loop of every dialect."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii

from fake_llm.model import Json

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


def event(name: str, text: str) -> bytes:
    """A named event."""
    return f"event: {name}\ndata: {text}\n\n".encode("ascii")
