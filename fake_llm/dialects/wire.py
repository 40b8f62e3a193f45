"""JSON and server-sent events as bytes: the innermost loop of every dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from json.encoder import encode_basestring_ascii
from typing import TypeVar

from fake_llm.model import Json, ToolCall

T = TypeVar("T")

_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False)

END_OF_CHAT = b"data: [DONE]\n\n"
EVENT_STREAM = b"text/event-stream; charset=utf-8"


def to_json(value: Json) -> str:
    """Compact JSON; in ASCII, so that no separator of lines is ever inside an event."""
    return "".join(_encode(value, 0))


def to_bytes(value: Json) -> bytes:
    """Compact JSON as a body."""
    return "".join(_encode(value, 0)).encode("ascii")


quoted = encode_basestring_ascii
"""A text as a JSON string."""


def interleaved(by_choice: Sequence[Sequence[T]]) -> Sequence[T]:
    """The chunks of several choices as they come, the first of each before the second of any."""
    if len(by_choice) == 1:
        return by_choice[0]
    return [chunk for step in zip_longest(*by_choice) for chunk in step if chunk is not None]


def _made() -> Callable[[Json, int], Iterable[str]]:
    """What turns a value into pieces of JSON: made once, in C if there is that; encoders make one at each call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value, _: _encoder.iterencode(value)
    found: Callable[[Json, int], Iterable[str]] = make(
        None, _encoder.default, encode_basestring_ascii, None, ":", ",", False, False, True
    )
    return found


_encode = _made()


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
