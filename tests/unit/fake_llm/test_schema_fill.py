"""Instances of schemas validate, by the judgement of the jsonschema library."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from fake_llm.schema_check import valid
from fake_llm.schema_fill import fill

HAND_WRITTEN: dict[str, Any] = {
    "string": {"type": "string"},
    "short": {"type": "string", "maxLength": 2},
    "long": {"type": "string", "minLength": 40, "maxLength": 41},
    "integer in a narrow range": {"type": "integer", "minimum": 7, "maximum": 7},
    "integer between open bounds": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "number between open bounds": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    "negative multiple": {"type": "integer", "maximum": -10, "multipleOf": 7},
    "fractional multiple": {"type": "number", "minimum": 2.2, "multipleOf": 0.5},
    "integer of fractional multiple": {"type": "integer", "minimum": 2, "multipleOf": 1.5},
    "const": {"const": {"a": [1, None]}},
    "enum": {"enum": ["red", "green", 3]},
    "enum narrowed by type": {"type": "integer", "enum": ["red", 3]},
    "nullable": {"type": ["null", "string"]},
    "anyOf": {"anyOf": [{"type": "string", "minLength": 3}, {"type": "null"}]},
    "oneOf that overlap": {"oneOf": [{"type": "number"}, {"type": "integer", "minimum": 10}]},
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 4}, "b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "not": {"type": "string", "not": {"const": "value"}},
    "if then": {
        "type": "object",
        "properties": {"kind": {"const": "a"}, "size": {"type": "integer"}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["size"]},
    },
    "array of distinct": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "uniqueItems": True},
    "array of distinct enums": {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    "empty array": {"type": "array", "maxItems": 0},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "items": False},
    "contains": {"type": "array", "contains": {"type": "integer", "minimum": 5}},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    "map by pattern": {
        "type": "object",
        "patternProperties": {"^x-[a-z]+$": {"type": "boolean"}},
        "additionalProperties": False,
        "minProperties": 1,
    },
    "required but undeclared": {"type": "object", "required": ["a"]},
    "dependent": {
        "type": "object",
        "properties": {"card": {"type": "string"}},
        "dependentRequired": {"card": ["address"]},
    },
    "pattern": {"type": "string", "pattern": r"^[A-Z]{3}-\d{4}(-x)?$"},
    "pattern with alternatives": {"type": "string", "pattern": r"^(low|medium|high)$"},
    "pattern with bounds": {"type": "string", "pattern": r"^[a-z]+$", "minLength": 12, "maxLength": 12},
    "pattern negated": {"type": "string", "pattern": r"^[^\sA-Z]{5}$"},
    "recursive": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["value", "children", "next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    "recursive root": {
        "type": "object",
        "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["child"],
    },
    "reference with siblings": {
        "$defs": {"name": {"type": "string"}},
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/name", "minLength": 10}},
        "required": ["n"],
    },
    "boolean schema": True,
    "nothing said": {},
}
FORMATS = ("date-time", "date", "time", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "regex", "json-pointer")


@pytest.mark.parametrize("seed", [0, 1, 2, 7, 12345])
@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_an_instance_validates_against_its_schema(name: str, seed: int) -> None:
    jsonschema.Draft202012Validator(HAND_WRITTEN[name]).validate(fill(HAND_WRITTEN[name], seed=seed))


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_kept(form: str) -> None:
    schema = {"type": "string", "format": form}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(fill(schema))


class Severity(Enum):
    LOW = "low"
    HIGH = "high"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = Field(min_length=2)


class Tree(BaseModel):
    label: str
    branches: list[Tree]
    parent: Tree | None


class Everything(BaseModel):
    severity: Severity
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tree: Tree
    ratio: float = Field(gt=0, lt=1)
    code: str = Field(pattern=r"^[A-Z]{2}\d{3}$")
    pair: tuple[int, str]
    scores: dict[str, int]
    maybe: int | str | None


@pytest.mark.parametrize("seed", range(6))
def test_an_instance_of_a_pydantic_schema_is_taken_by_the_model(seed: int) -> None:
    Everything.model_validate(fill(Everything.model_json_schema(), seed=seed))


def test_the_same_seed_gives_the_same_instance_and_another_one_another() -> None:
    schema = Everything.model_json_schema()
    assert fill(schema, seed=3) == fill(schema, seed=3)
    assert fill({"enum": ["a", "b"]}, seed=0) != fill({"enum": ["a", "b"]}, seed=1)


@pytest.mark.parametrize("schema", [False, {"type": "string", "minLength": 3, "maxLength": 2}, {"$ref": "#"}])
def test_an_impossible_schema_gives_something_all_the_same(schema: Any) -> None:
    assert fill(schema) == {}


def test_a_schema_that_refers_to_itself_everywhere_is_filled_within_bounds() -> None:
    meta = jsonschema.Draft7Validator.META_SCHEMA
    jsonschema.Draft7Validator(meta).validate(fill(meta))
    assert len(repr(fill(meta))) < 1_000_000


def _leaf() -> st.SearchStrategy[Any]:
    bounds = st.integers(-50, 50)
    return st.one_of(
        st.builds(lambda a, b: {"type": "integer", "minimum": min(a, b), "maximum": max(a, b)}, bounds, bounds),
        st.builds(lambda a, b: {"type": "number", "minimum": min(a, b), "maximum": max(a, b)}, bounds, bounds),
        st.builds(
            lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b}, st.integers(0, 9), st.integers(0, 9)
        ),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"enum": ["a", 1, None]}, {"const": 4}]),
        st.just({"type": "string", "pattern": "^[a-f0-9]{8}$"}),
        st.just({"$ref": "#/$defs/shared"}),
    )


def _branch(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "c", "items"])
    return st.one_of(
        st.dictionaries(names, below, max_size=4).flatmap(
            lambda properties: st.builds(
                lambda required: {
                    "type": "object",
                    "properties": properties,
                    "required": sorted(required),
                    "additionalProperties": False,
                },
                st.sets(st.sampled_from(sorted(properties) or ["a"])) if properties else st.just(set()),
            )
        ),
        st.builds(lambda items, n: {"type": "array", "items": items, "minItems": n}, below, st.integers(0, 3)),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(below, min_size=1, max_size=3)),
    )


@settings(max_examples=150, deadline=None)
@given(st.recursive(_leaf(), _branch, max_leaves=8), st.integers(0, 1000))
def test_any_schema_of_the_usual_parts_is_filled(schema: dict[str, Any], seed: int) -> None:
    document = {**schema, "$defs": {"shared": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
    found = fill(document, seed=seed)
    jsonschema.Draft202012Validator(document).validate(found)
    assert valid(found, document, document)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(_leaf(), _branch, max_leaves=6),
    st.recursive(st.none() | st.booleans() | st.integers(-60, 60) | st.text(max_size=9), st.lists, max_leaves=4),
)
def test_our_validity_is_that_of_the_jsonschema_library(schema: dict[str, Any], value: Any) -> None:
    document = {**schema, "$defs": {"shared": {"type": "object"}}}
    assert valid(value, document, document) == jsonschema.Draft202012Validator(document).is_valid(value)
