"""Whether a value validates against a JSON schema: the small part of that which choosing between values needs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from fake_llm.model import Json

MAX_DEPTH = 64

_TYPES: dict[str, Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}


def valid(value: Json, schema: Json, root: Json, depth: int = 0) -> bool:
    """Whether ``value`` fits ``schema``, whose references point into ``root``. Formats are not looked at."""
    if not isinstance(schema, Mapping):
        return schema is not False
    if depth > MAX_DEPTH:
        return True
    if "$ref" in schema:
        from fake_llm.schema_merge import resolve  # noqa: PLC0415 - the two modules need each other

        if not valid(value, resolve(root, str(schema["$ref"])), root, depth + 1):
            return False
    return (
        _is_of_type(value, schema)
        and ("const" not in schema or same(value, schema["const"]))
        and ("enum" not in schema or any(same(value, option) for option in schema["enum"]))
        and _branches_fit(value, schema, root, depth)
        and _fits(value, schema, root, depth)
    )


def same(one: Json, other: Json) -> bool:
    """Equality as JSON schema has it: ``1`` is ``1.0`` and neither is ``true``."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def _is_of_type(value: Json, schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type")
    if kinds is None:
        return True
    return any(_TYPES.get(kind, lambda _: True)(value) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _branches_fit(value: Json, schema: Mapping[str, Any], root: Json, depth: int) -> bool:
    def fits(branch: Json) -> bool:
        return valid(value, branch, root, depth + 1)

    return (
        ("anyOf" not in schema or any(map(fits, schema["anyOf"])))
        and ("oneOf" not in schema or sum(map(fits, schema["oneOf"])) == 1)
        and ("allOf" not in schema or all(map(fits, schema["allOf"])))
        and ("not" not in schema or not fits(schema["not"]))
        and ("if" not in schema or fits(schema.get("then" if fits(schema["if"]) else "else", True)))
    )


def _fits(value: Json, schema: Mapping[str, Any], root: Json, depth: int) -> bool:
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf) and (
            "pattern" not in schema or re.search(schema["pattern"], value) is not None
        )
    if isinstance(value, Mapping):
        return _object_fits(value, schema, root, depth)
    if isinstance(value, list):
        return _array_fits(value, schema, root, depth)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_fits(value, schema)
    return True


def _number_fits(value: float, schema: Mapping[str, Any]) -> bool:
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf")
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and (isinstance(above, bool) or value > above)
        and (isinstance(below, bool) or value < below)
        and (not step or abs(value / step - round(value / step)) < 1e-9)
    )


def _object_fits(value: Mapping[str, Json], schema: Mapping[str, Any], root: Json, depth: int) -> bool:
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    if not all(key in value for key in schema.get("required", ())):
        return False
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf):
        return False
    for key, below in value.items():
        tests = [properties[key]] if key in properties else []
        tests += [test for pattern, test in patterns.items() if re.search(pattern, key)]
        tests = tests or [schema.get("additionalProperties", True)]
        if not all(valid(below, test, root, depth + 1) for test in tests):
            return False
    return True


def _array_fits(value: list[Json], schema: Mapping[str, Any], root: Json, depth: int) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
        return False
    if schema.get("uniqueItems") and any(same(a, b) for at, a in enumerate(value) for b in value[:at]):
        return False
    prefix, items = schema.get("prefixItems", []), schema.get("items", True)
    if isinstance(items, list):
        prefix, items = items, schema.get("additionalItems", True)
    tests = [*prefix[: len(value)], *[items] * (len(value) - len(prefix))]
    return all(valid(one, test, root, depth + 1) for one, test in zip(value, tests, strict=True))
