"""References and conjunctions of JSON schemas: what they point to, and what two schemas together allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fake_llm.model import Json
from fake_llm.schema_check import same

Schema = Mapping[str, Any]


def resolve(root: Json, reference: str) -> Json:
    """The schema at a reference into the same document; an unknown one allows anything."""
    if reference in {"#", ""}:
        return root
    if not reference.startswith("#/"):
        return _anchored(root, reference.removeprefix("#"))
    node = root
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~").replace("%25", "%")
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return {}
    return node


def merge(one: Schema, other: Schema) -> Schema:
    """A schema that allows what both allow, as far as merging keyword by keyword can say it."""
    merged = dict(one)
    for key, value in other.items():
        if key in {"anyOf", "oneOf", "allOf"} and key in merged and not same(merged[key], value):
            merged["allOf"] = [*merged.get("allOf", ()), {key: value}]
        elif key in merged and key in _MERGES:
            merged[key] = _MERGES[key](merged[key], value)
        else:
            merged[key] = value
    return merged


def merge_any(one: Json, other: Json) -> Json:
    """Like :func:`merge`, where either may be a boolean schema."""
    if one is False or other is False:
        return False
    if not isinstance(one, Mapping):
        return other
    return merge(one, other) if isinstance(other, Mapping) else one


def _anchored(node: Json, anchor: str) -> Json:
    if isinstance(node, Mapping):
        if anchor in (node.get("$anchor"), node.get("$dynamicAnchor"), node.get("$id")) and anchor:
            return node
        below = list(node.values())
    else:
        below = node if isinstance(node, list) else []
    return next((found for one in below if (found := _anchored(one, anchor))), {})


def _common_types(one: Json, other: Json) -> list[str]:
    first, second = ([kind] if isinstance(kind, str) else list(kind) for kind in (one, other))
    common = [kind for kind in first if kind in second]
    if "integer" not in common and {"integer", "number"} <= {*first, *second}:
        common.append("integer")
    return common


def _merge_members(one: Schema, other: Schema) -> Schema:
    return {**one, **{name: merge_any(one[name], below) if name in one else below for name, below in other.items()}}


def _merge_steps(one: float, other: float) -> float:
    return math.lcm(one, other) if isinstance(one, int) and isinstance(other, int) else other


_MERGES: dict[str, Callable[[Any, Any], Json]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("properties", "$defs", "definitions", "patternProperties"), _merge_members),
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "enum": lambda one, other: [option for option in one if any(same(option, o) for o in other)],
    "type": _common_types,
    "items": merge_any,
    "multipleOf": _merge_steps,
}
