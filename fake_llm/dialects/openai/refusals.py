"""What OpenAI refuses, in its words: missing and mistyped parameters, values out of range. For all its dialects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from fake_llm.model import Json, ProtocolError

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI allows as the name of a tool and of a schema."""
MAX_STOPS = 4

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


def stop_sequences(stop: Json) -> tuple[str, ...]:
    """The request's ``stop``: a string, or at most :data:`MAX_STOPS` of them.

    :raises ProtocolError: it is something else.
    """
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    if not isinstance(stop, list) or not all(isinstance(one, str) for one in stop):
        wrong_type("stop", "one of a string or array of strings", stop)
    if len(stop) > MAX_STOPS:
        invalid(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, but got an array "
            f"with length {len(stop)} instead.",
            "stop",
            "array_above_max_length",
        )
    return tuple(stop)


def includes_usage(options: Json, *, stream: bool) -> bool:
    """Whether the request's ``stream_options`` ask for a last chunk with the usage.

    :raises ProtocolError: there are options and no stream, or no boolean in them.
    """
    if options is None:
        return False
    if not stream:
        invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    included = options.get("include_usage")
    if included is not None and json_type(included) != "boolean":
        wrong_type("stream_options.include_usage", "boolean", included)
    return bool(included)


def function_name(written: Mapping[str, Json], param: str) -> str:
    """The name of a function or a tool.

    :raises ProtocolError: there is none, or one that a model could not call.
    """
    name = written.get("name")
    if name is None:
        missing(f"{param}.name")
    if not isinstance(name, str):
        wrong_type(f"{param}.name", "string", name)
    if not NAME.fullmatch(name):
        invalid(
            f"Invalid '{param}.name': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            f"{param}.name",
            "invalid_value",
        )
    return name
