"""What OpenAI refuses, in its words: missing and mistyped parameters, values out of range. For all its dialects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from fake_llm.model import Json, ProtocolError

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI allows as the name of a tool and of a schema."""

_ARTICLES = {
    "string": "a string",
    "integer": "an integer",
    "decimal": "a decimal",
    "boolean": "a boolean",
    "object": "an object",
    "array": "an array",
}


class Range:
    """The numbers that a parameter may have."""

    def __init__(self, kind: str, low: float, high: float | None = None) -> None:
        self.kind = kind
        self.low = low
        self.high = high


class Rules:
    """What a dialect demands of its simple parameters: numbers in ranges, JSON types, words of a list."""

    def __init__(
        self, numbers: Mapping[str, Range], simple: Mapping[str, str], enums: Mapping[str, Sequence[str]]
    ) -> None:
        self.numbers = numbers
        self.simple = simple
        self.enums = enums
        self._checked = frozenset({*numbers, *simple, *enums})

    def check(self, body: Mapping[str, Json]) -> None:
        """Refuse parameters of a wrong type or out of range. Unknown ones and nulls are let through.

        :raises ProtocolError: in OpenAI's envelope, naming the parameter.
        """
        for name, value in body.items():
            if value is None or name not in self._checked:
                continue
            if name in self.numbers:
                check_number(name, value, self.numbers[name])
            elif name in self.simple:
                if json_type(value) != self.simple[name]:
                    wrong_type(name, self.simple[name], value)
            elif value not in self.enums[name]:
                wrong_value(name, value, self.enums[name])


def missing(param: str) -> NoReturn:
    """Refuse: the parameter is not there."""
    raise ProtocolError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, found: Json) -> NoReturn:
    """Refuse: the parameter is there, of another type."""
    article = _ARTICLES.get(expected, expected)
    raise ProtocolError(
        f"Invalid type for '{param}': expected {article}, but got {_described(found)} instead.",
        param=param,
        code="invalid_type",
    )


def wrong_value(param: str, found: Json, allowed: Sequence[str]) -> NoReturn:
    """Refuse: the parameter is none of the words that it may be."""
    words = [f"'{word}'" for word in allowed]
    listed = f"{', '.join(words[:-1])}, and {words[-1]}" if len(words) > 2 else " and ".join(words)
    shown = f"'{found}'" if isinstance(found, str) else str(found)
    raise ProtocolError(f"Invalid value: {shown}. Supported values are: {listed}.", param=param, code="invalid_value")


def invalid(message: str, param: str, code: str | None = None) -> NoReturn:
    """Refuse with a sentence of its own."""
    raise ProtocolError(message, param=param, code=code)


def json_type(value: Json) -> str:
    """The type of a JSON value in OpenAI's words."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "decimal"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else "object"


def _described(value: Json) -> str:
    kind = json_type(value)
    return _ARTICLES.get(kind, kind)


def check_number(name: str, value: Json, bounds: Range) -> None:
    """Refuse a number of another kind or out of its range."""
    found = json_type(value)
    if found != bounds.kind and not (bounds.kind == "decimal" and found == "integer"):
        wrong_type(name, bounds.kind, value)
    if value < bounds.low:
        invalid(
            f"Invalid '{name}': {bounds.kind} below minimum value. "
            f"Expected a value >= {bounds.low:g}, but got {value} instead.",
            name,
            f"{bounds.kind}_below_min_value",
        )
    if bounds.high is not None and value > bounds.high:
        invalid(
            f"Invalid '{name}': {bounds.kind} above maximum value. "
            f"Expected a value <= {bounds.high:g}, but got {value} instead.",
            name,
            f"{bounds.kind}_above_max_value",
        )
