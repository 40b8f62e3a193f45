"""Google's form of a schema, a part of OpenAPI's in upper-case words, as the JSON schema that says the same."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.google.fields import as_message, camel, invalid, repeated, snake, whole, wrong
from fake_llm.model import Json

MAX_DEPTH = 60
"""How deep a schema may be; the live service has such a limit too."""

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_PARTS = {
    "properties": "properties",
    "defs": "$defs",
    "items": "items",
    "anyOf": "anyOf",
    "additionalProperties": "additionalProperties",
}
"""The members that hold schemas, and what JSON schema calls them."""
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_KEPT = frozenset({"description", "title", "default", "example", "pattern", "format", "minimum", "maximum"})
_MOST = 2**53


def json_schema(written: Json, at: str, depth: int = 0) -> dict[str, Json]:
    """The JSON schema that ``written``, found at ``at``, stands for.

    :raises ProtocolError: Google refuses it.
    """
    schema = as_message(written, at, "Schema")
    if depth > MAX_DEPTH:
        invalid(at, "the schema exceeds the maximum allowed nesting depth.")
    found: dict[str, Json] = {}
    for name, value in schema.items():
        key = camel(name.removeprefix("$"))
        if value is None:
            continue
        if key in _PARTS:
            found[_PARTS[key]] = _below(schema, key, value, at, depth + 1)
        elif key == "ref":
            found["$ref"] = str(value).replace("#/defs/", "#/$defs/")
        elif key in ("enum", "required"):
            found[key] = list(repeated(schema, key))
        elif key in _COUNTS:
            found[key] = whole(schema, key, at, 0, _MOST)
        elif key in _KEPT:
            found[key] = value
    if (kind := _type(schema, at)) is not None:
        found["type"] = kind
    _check_names(schema, found, at)
    if kind == "array" and "items" not in found:
        invalid(f"{at}.items", "missing field.")
    return _nullable(found) if schema.get("nullable") is True else found


def _check_names(schema: Mapping[str, Json], found: dict[str, Json], at: str) -> None:
    """Refuse names of properties that there are none of; put the properties into the order that is asked for."""
    properties = found.get("properties")
    for key in ("required", "propertyOrdering"):
        for place, name in enumerate(repeated(schema, key)):
            if not isinstance(name, str):
                wrong(f"{at}.{snake(key)}[{place}]", "TYPE_STRING", name)
            if properties is None or name not in properties:
                invalid(f"{at}.{snake(key)}[{place}]", "property is not defined")
    order = [name for name in repeated(schema, "propertyOrdering") if properties]
    if properties and order:
        found["properties"] = {name: properties[name] for name in dict.fromkeys([*order, *properties])}
    if "enum" in found and not all(isinstance(word, str) for word in found["enum"]):
        wrong(f"{at}.enum[0]", "TYPE_STRING", found["enum"])


def _below(schema: Mapping[str, Json], key: str, value: Json, at: str, depth: int) -> Json:
    """The schemas that the member ``key`` holds."""
    where = f"{at}.{snake(key)}"
    if key in ("properties", "defs"):
        members = as_message(value, where, "Schema").items()
        return {name: json_schema(below, f"{where}[{name}]", depth) for name, below in members}
    if key == "anyOf":
        return [json_schema(below, f"{where}[{place}]", depth) for place, below in enumerate(repeated(schema, key))]
    if key == "additionalProperties" and isinstance(value, bool):
        return value
    return json_schema(value, where, depth)


def _type(schema: Mapping[str, Json], at: str) -> str | None:
    written = schema.get("type")
    if written is None or written == "TYPE_UNSPECIFIED":
        return None
    if not isinstance(written, str) or written.lower() not in _TYPES:
        wrong(f"{at}.type", "Type", written)
    return written.lower()


def _nullable(schema: dict[str, Json]) -> dict[str, Json]:
    if "type" in schema and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
