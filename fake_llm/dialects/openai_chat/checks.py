"""What OpenAI refuses, in its words: missing and mistyped parameters, values out of range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from fake_llm.model import Json, ProtocolError

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


NUMBERS = {
    "temperature": Range("decimal", 0, 2),
    "top_p": Range("decimal", 0, 1),
    "frequency_penalty": Range("decimal", -2, 2),
    "presence_penalty": Range("decimal", -2, 2),
    "n": Range("integer", 1, 128),
    "max_tokens": Range("integer", 1),
    "max_completion_tokens": Range("integer", 1),
    "top_logprobs": Range("integer", 0, 20),
    "seed": Range("integer", -(2**63), 2**63),
}
SIMPLE = {
    "stream": "boolean",
    "logprobs": "boolean",
    "parallel_tool_calls": "boolean",
    "store": "boolean",
    "user": "string",
    "metadata": "object",
    "stream_options": "object",
    "response_format": "object",
    "tools": "array",
    "functions": "array",
}
ENUMS = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
    "verbosity": ("low", "medium", "high"),
}


_CHECKED = frozenset({*NUMBERS, *SIMPLE, *ENUMS})


def check_parameters(body: Mapping[str, Json]) -> None:
    """Refuse parameters of a wrong type or out of range. Unknown ones and nulls are let through.

    :raises ProtocolError: in OpenAI's envelope, naming the parameter.
    """
    for name, value in body.items():
        if value is None or name not in _CHECKED:
            continue
        if name in NUMBERS:
            check_number(name, value, NUMBERS[name])
        elif name in SIMPLE:
            if json_type(value) != SIMPLE[name]:
                wrong_type(name, SIMPLE[name], value)
        elif value not in ENUMS[name]:
            wrong_value(name, value, ENUMS[name])


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
    listed = f"{', '.join(words[:-1])}, and {words[-1]}" if len(words) > 1 else words[0]
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
    """Refuse a number of another type, or out of ``bounds``."""
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
