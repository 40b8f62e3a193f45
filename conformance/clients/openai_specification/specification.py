"""OpenAI's public specification as JSON schemas that a validator understands."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FILE = Path(
    os.environ.get("CONFORMANCE_OPENAI_SPECIFICATION")
    or Path(__file__).parents[4] / "shared/protocol/openai-openapi.yaml"
)
"""Where it lies: beside the checkout, or where ``CONFORMANCE_OPENAI_SPECIFICATION`` says."""


@cache
def validator(schema: str) -> Draft202012Validator:
    """What checks a value against that schema of the specification's components."""
    return Draft202012Validator({"$ref": f"urn:openai#/components/schemas/{schema}"}, registry=_registry())


NULL_ON_THE_WIRE = ("user", "usage", "description")
"""What the live API sends as null in a response, or its text's format, where the specification leaves it out."""


def problems(schema: str, value: object) -> list[str]:
    """What of ``value`` is not as the schema says, a line each."""
    found = []
    for error in validator(schema).iter_errors(_without_nulls(value)):
        deepest = error
        while deepest.context:
            deepest = min(deepest.context, key=lambda one: (len(one.context or ()), -len(one.absolute_path)))
        found.append(f"{deepest.json_path}: {deepest.message[:300]}")
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("response"), dict):
        return {**value, "response": _without_nulls(value["response"])}
    if not isinstance(value, dict) or value.get("object") != "response":
        return value
    text = value.get("text") or {}
    return _sent({**value, "text": {**text, "format": _sent(text.get("format") or {})}})


def _sent(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None or name not in NULL_ON_THE_WIRE}


@cache
def _registry() -> Registry[Any]:
    if not FILE.is_file():
        raise FileNotFoundError(
            f"OpenAI's public specification is not at {FILE}: name its file in CONFORMANCE_OPENAI_SPECIFICATION."
        )
    with FILE.open(encoding="utf-8") as file:
        document = yaml.load(file, Loader=yaml.CSafeLoader)
    resource = Resource.from_contents(_understood(document), default_specification=_draft())
    return Registry().with_resource("urn:openai", resource)


def _draft() -> Any:
    from referencing.jsonschema import DRAFT202012

    return DRAFT202012


def _understood(value: Any) -> Any:
    """OpenAPI 3.0's leftovers in the words of JSON Schema."""
    if isinstance(value, list):
        return [_understood(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _understood(item) for name, item in value.items()}
    for name in ("exclusiveMinimum", "exclusiveMaximum"):
        if isinstance(changed.get(name), bool):
            del changed[name]
    if "$recursiveRef" in changed:
        return {}
    if changed.pop("nullable", None) is True:
        return {"anyOf": [changed, {"type": "null"}]}
    return changed
