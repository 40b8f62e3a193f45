"""What Anthropic demands of a schema that the output or a tool's input is made to fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fake_llm.model import Json

_UNSUPPORTED = {
    "integer": ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"),
    "number": ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"),
    "string": ("maxLength", "minLength"),
}


def problem(schema: Json) -> str | None:
    """Why the schema is refused, in Anthropic's words, or None."""
    for part in _parts(schema):
        kind = part.get("type")
        if (kind == "object" or "properties" in part) and part.get("additionalProperties") is not False:
            return "For 'object' type, 'additionalProperties' must be explicitly set to false"
        if isinstance(kind, str) and (left := [name for name in _UNSUPPORTED.get(kind, ()) if name in part]):
            return f"For '{kind}' type, properties {', '.join(left)} are not supported"
        if kind == "array" and part.get("minItems", 0) not in (0, 1):
            return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
        if kind == "array" and "maxItems" in part:
            return "For 'array' type, property 'maxItems' is not supported"
    return None


def _parts(schema: Json) -> Iterator[Mapping[str, Json]]:
    if not isinstance(schema, Mapping):
        return
    yield schema
    for key in ("properties", "$defs", "definitions"):
        named = schema.get(key)
        for below in named.values() if isinstance(named, Mapping) else ():
            yield from _parts(below)
    for key in ("anyOf", "allOf"):
        listed = schema.get(key)
        for below in listed if isinstance(listed, list) else ():
            yield from _parts(below)
    yield from _parts(schema.get("items"))
