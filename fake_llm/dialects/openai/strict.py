"""What OpenAI demands of a schema that is to be followed strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fake_llm.model import Json


def problem(schema: Json) -> str | None:
    """Why a strict schema is refused, in OpenAI's words, or None.

    Every object must forbid additional properties and require all that it has; the root must be an object.
    """
    if not isinstance(schema, Mapping):
        return "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'."
    if schema.get("type") != "object" and "$ref" not in schema:
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    for place, part in _parts(schema, ()):
        if part.get("type") != "object" and "properties" not in part:
            continue
        context = f"In context=({', '.join(repr(step) for step in place)}{',' if len(place) == 1 else ''})"
        if part.get("additionalProperties") is not False:
            return f"{context}, 'additionalProperties' is required to be supplied and to be false."
        properties = part.get("properties") or {}
        left_out = [name for name in properties if name not in (part.get("required") or ())]
        if left_out:
            return (
                f"{context}, 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{left_out[0]}'."
            )
    return None


def _parts(schema: Mapping[str, Json], place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Json]]]:
    yield place, schema
    for key in ("properties", "$defs", "definitions"):
        for name, below in (schema.get(key) or {}).items():
            if isinstance(below, Mapping):
                yield from _parts(below, (*place, key, name))
    for key in ("anyOf", "allOf"):
        for number, below in enumerate(schema.get(key) or ()):
            if isinstance(below, Mapping):
                yield from _parts(below, (*place, key, str(number)))
    if isinstance(schema.get("items"), Mapping):
        yield from _parts(schema["items"], (*place, "items"))
