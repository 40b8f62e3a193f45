"""Reading a request as Google's servers read it, and refusing in their words.

A field's name may be written ``likeThis`` or ``like_this``, a null is no value, a single value may stand for a
list of one, and a number may be written as a string (the JSON mapping of protocol buffers, and clients in use).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NoReturn

from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, ProtocolError

NO_FIELDS: Mapping[str, Json] = {}
SHOWN = 200
"""Characters of a refused value that the error shows."""

STRUCT = "google.protobuf.Struct"

_TYPE_URL = "type.googleapis.com/"
_PACKAGE = "google.ai.generativelanguage.v1beta."
_WHOLE = re.compile(r"[+-]?\d{1,18}")


@cache
def snake(name: str) -> str:
    """``likeThis`` as ``like_this``."""
    return re.sub("[A-Z]", lambda hit: "_" + hit[0].lower(), name)


def camel(name: str) -> str:
    """``like_this`` as ``likeThis``."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def get(written: Mapping[str, Json], name: str) -> Json:
    """The field ``name``, in either spelling; None where there is none."""
    value = written.get(name)
    return value if value is not None else written.get(snake(name))


def message(written: Mapping[str, Json], name: str, at: str, kind: str) -> Mapping[str, Json]:
    """The field ``name``, which is an object of Google's type ``kind``; empty where there is none."""
    value = get(written, name)
    if value is None:
        return NO_FIELDS
    return as_message(value, at, kind)


def as_message(value: Json, at: str, kind: str) -> Mapping[str, Json]:
    """``value``, refused if it is no object."""
    if not isinstance(value, Mapping):
        wrong(at, kind, value)
    return value


def repeated(written: Mapping[str, Json], name: str) -> list[Json]:
    """The values of a list; one value alone stands for a list of it."""
    value = get(written, name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def text(written: Mapping[str, Json], name: str, at: str) -> str | None:
    """The field ``name``, refused if it is no string."""
    value = get(written, name)
    if value is not None and not isinstance(value, str):
        wrong(f"{at}.{snake(name)}", "TYPE_STRING", value)
    return value


def whole(written: Mapping[str, Json], name: str, at: str, low: int, high: int) -> int | None:
    """The field ``name`` as a whole number from ``low`` to ``high``."""
    value = get(written, name)
    if value is None:
        return None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        wrong(f"{at}.{snake(name)}", "TYPE_INT32", value)
    _check_range(int(value), snake(name), at, low, high)
    return int(value)


def check_number(written: Mapping[str, Json], name: str, at: str, low: float, high: float) -> None:
    """Refuse the field ``name`` where it is not a number from ``low`` to ``high``."""
    value = get(written, name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        wrong(f"{at}.{snake(name)}", "TYPE_FLOAT", value)
    _check_range(value, snake(name), at, low, high)


def wrong(at: str, kind: str, value: Json) -> NoReturn:
    """Refuse: the value is of another type. ``kind``: a message of the API, ``STRUCT``, or ``TYPE_…``."""
    if not kind.startswith("TYPE_"):
        kind = _TYPE_URL + (kind if kind == STRUCT else _PACKAGE + kind)
    raise ProtocolError(f"Invalid value at '{at}' ({kind}), {to_json(value)[:SHOWN]}", param=at)


def invalid(at: str, why: str) -> NoReturn:
    """Refuse: the value is of its type, and not allowed there."""
    raise ProtocolError(f"* GenerateContentRequest.{at}: {why}\n")


def _check_range(value: float, name: str, at: str, low: float, high: float) -> None:
    if not low <= value <= high:
        invalid(f"{at}.{name}", f"{name} must be in the range [{low}, {high}].")
