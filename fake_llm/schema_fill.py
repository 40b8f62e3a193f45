"""Instances of JSON schemas: the simplest value that validates, the same for the same schema and seed.

Understands ``$ref`` into the same document (recursive ones too), ``const``, ``enum``, types and unions of
them, ``anyOf``, ``oneOf``, ``allOf``, ``if``/``then``/``else``, object, array, string and number bounds,
formats, and patterns of regular expressions without look-around and back-references.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from fake_llm.model import Json
from fake_llm.schema_check import same, valid
from fake_llm.schema_merge import Schema, merge, merge_any, resolve

MAX_DEPTH = 24
"""Deeper than this, only what a schema requires is filled, and unions take their shallowest branch."""

OPTIONAL_DEPTH = 4
"""Deeper than this, optional properties and items are left out, which ends recursive schemas."""

BUDGET = 2_000
"""After so many values the rest is filled as if it were deep."""

FORMATS = {
    "date-time": "2026-01-15T12:00:00Z",
    "date": "2026-01-15",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "idn-email": "user@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/example",
    "iri": "https://example.com/",
    "iri-reference": "/example",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "json-pointer": "/example",
    "relative-json-pointer": "0/example",
    "regex": "^a$",
    "byte": "ZXhhbXBsZQ==",
    "binary": "example",
    "decimal": "1.5",
}


class Unfillable(Exception):
    """No value was found for the schema: it allows none, or says so in a way not understood here."""


def fill(schema: Json, *, seed: int = 0) -> Json:
    """A value that validates against ``schema``; with another ``seed`` another one where there is a choice.

    Where none is found the nearest attempt is returned: a fake that answers is more use than one that fails.
    """
    filler = _Filler(schema, seed)
    try:
        return filler.value(schema, name="value", depth=0)
    except (Unfillable, RecursionError):
        return {}


class _Filler:
    """One filling of one document."""

    def __init__(self, root: Json, seed: int) -> None:
        self._root = root
        self._seed = seed
        self._spent = 0

    def _lean(self, depth: int) -> bool:
        """Whether to fill no more than must be, so that recursive schemas come to an end."""
        return depth >= OPTIONAL_DEPTH or self._spent > BUDGET

    def value(self, schema: Json, *, name: str, depth: int) -> Json:
        self._spent += 1
        if schema is False or depth > MAX_DEPTH:
            raise Unfillable(name)
        if not isinstance(schema, Mapping):
            return name
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._from_enum(schema)
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self._from_union(schema, union, name, depth)
        return self._typed(schema, name, depth)

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        """``schema`` with its references and conjunctions merged into one."""
        hops = 0
        while "$ref" in schema or "$dynamicRef" in schema:
            hops += 1
            if hops > MAX_DEPTH:
                raise Unfillable("a reference to itself")
            reference = schema.get("$ref", schema.get("$dynamicRef"))
            rest = {key: value for key, value in schema.items() if key not in {"$ref", "$dynamicRef"}}
            target = resolve(self._root, str(reference))
            schema = merge(target, rest) if isinstance(target, Mapping) else rest
        if parts := schema.get("allOf"):
            merged: Schema = {key: value for key, value in schema.items() if key != "allOf"}
            for part in parts:
                if isinstance(part, Mapping):
                    merged = merge(merged, self._resolved(part, depth))
            schema = merged
        if isinstance(schema.get("then"), Mapping) and "if" in schema:
            condition = schema["if"] if isinstance(schema["if"], Mapping) else {}
            rest = {key: value for key, value in schema.items() if key not in {"if", "then", "else"}}
            schema = merge(merge(rest, condition), schema["then"])
        return schema

    def _from_enum(self, schema: Schema) -> Json:
        options = schema["enum"]
        rest = {key: value for key, value in schema.items() if key != "enum"}
        fitting = [option for option in options if valid(option, rest, self._root)]
        if not fitting:
            raise Unfillable("an enumeration of nothing that fits")
        return fitting[self._seed % len(fitting)]

    def _from_union(self, schema: Schema, union: str, name: str, depth: int) -> Json:
        rest = {key: value for key, value in schema.items() if key != union}
        branches = schema[union]
        start = 0 if self._lean(depth) else self._seed % len(branches)
        order = [*branches[start:], *branches[:start]]
        if self._lean(depth):  # what ends a recursion soonest comes first
            order.sort(key=lambda branch: isinstance(branch, Mapping) and ("$ref" in branch or "properties" in branch))
        spare: list[Json] = []
        for seed in (self._seed, 0, 1) if not self._lean(depth) else (self._seed,):
            filler = self if seed == self._seed else _Filler(self._root, seed)
            for branch in order:
                if not isinstance(branch, Mapping):
                    continue
                try:
                    found = filler.value(merge(rest, self._resolved(branch, depth)), name=name, depth=depth + 1)
                except Unfillable:
                    continue
                if valid(found, schema, self._root):
                    return found
                spare.append(found)
        if spare:
            return spare[0]
        raise Unfillable(name)

    def _typed(self, schema: Schema, name: str, depth: int) -> Json:
        for kind in _types(schema):
            try:
                found = getattr(self, f"_{kind}")(schema, name, depth)
            except Unfillable:
                continue
            if "not" not in schema or not valid(found, schema["not"], self._root):
                return found
            for other in self._others(found):
                if valid(other, schema, self._root):
                    return other
        raise Unfillable(name)

    @staticmethod
    def _others(found: Json) -> list[Json]:
        """Values to try where ``not`` forbids the first one."""
        if isinstance(found, bool):
            return [not found]
        if isinstance(found, int | float):
            return [found + step for step in (1, -1, 2, -2, 7, 100, 0.5)]
        if isinstance(found, str):
            return [found + "a", "a", "", "other", found * 2]
        return []

    def _object(self, schema: Schema, name: str, depth: int) -> dict[str, Json]:
        properties = _mapping(schema.get("properties"))
        required = [str(key) for key in schema.get("required") or ()]
        optional = [key for key in properties if key not in required] if not self._lean(depth) else []
        filled: dict[str, Json] = {}
        for key in [*(k for k in properties if k in required), *(k for k in required if k not in properties)]:
            filled[key] = self.value(self._property(schema, key), name=key, depth=depth + 1)
        for key in optional:
            if len(filled) >= schema.get("maxProperties", math.inf):
                break
            try:
                filled[key] = self.value(properties[key], name=key, depth=depth + 1)
            except Unfillable:
                continue
        for key, needed in _mapping(schema.get("dependentRequired")).items():
            for other in needed if key in filled else ():
                if other not in filled:
                    filled[other] = self.value(self._property(schema, other), name=other, depth=depth + 1)
        self._add_more(schema, filled, depth)
        return {
            key: filled[key]
            for key in [*(k for k in properties if k in filled), *(k for k in filled if k not in properties)]
        }

    def _add_more(self, schema: Schema, filled: dict[str, Json], depth: int) -> None:
        patterns = list(_mapping(schema.get("patternProperties")))
        for number in range(1, int(schema.get("minProperties", 0)) * 2 + 1):
            if len(filled) >= schema.get("minProperties", 0):
                return
            if schema.get("additionalProperties") is False and patterns:
                key = self._from_pattern(patterns[0], number)
            else:
                key = f"key{number}"
            if key not in filled:
                filled[key] = self.value(self._property(schema, key), name=key, depth=depth + 1)

    @staticmethod
    def _property(schema: Schema, key: str) -> Json:
        """The schema of property ``key``, declared or not."""
        declared = _mapping(schema.get("properties")).get(key)
        if declared is not None:
            return declared
        for pattern, below in _mapping(schema.get("patternProperties")).items():
            if re.search(pattern, key):
                return below
        return schema.get("additionalProperties", True)

    def _array(self, schema: Schema, name: str, depth: int) -> list[Json]:
        prefix = list(schema.get("prefixItems") or ())
        items = schema.get("items", True)
        if isinstance(items, list):  # the form of the drafts before 2020-12
            prefix, items = items, schema.get("additionalItems", True)
        least = int(schema.get("minItems", 0))
        most = schema.get("maxItems", math.inf)
        wanted = max(least, min(max(1, len(prefix)), most) if not self._lean(depth) else 0)
        filled: list[Json] = []
        if "contains" in schema:
            least = wanted = max(least, wanted, int(schema.get("minContains", 1)))
            prefix = prefix or [merge_any(items, schema["contains"])] * int(schema.get("minContains", 1))
        for place in range(int(wanted)):
            below = prefix[place] if place < len(prefix) else items
            try:
                filled.append(self._next_item(below, filled, schema, name, depth))
            except Unfillable:
                if len(filled) < least:
                    raise
                break
        return filled

    def _next_item(self, below: Json, before: list[Json], schema: Schema, name: str, depth: int) -> Json:
        item = self.value(below, name=name.removesuffix("s") or "item", depth=depth + 1)
        if not schema.get("uniqueItems") or not any(same(item, other) for other in before):
            return item
        for step in range(1, 200):
            other = _Filler(self._root, self._seed + step).value(below, name=f"{name}{step}", depth=depth + 1)
            candidates = [other, *_variants(item, step)]
            for candidate in candidates:
                if valid(candidate, below, self._root) and not any(same(candidate, o) for o in before):
                    return candidate
        raise Unfillable(name)

    def _string(self, schema: Schema, name: str, depth: int) -> str:
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength", math.inf)
        if "pattern" in schema:
            for seed in range(self._seed, self._seed + 8):
                text = self._from_pattern(str(schema["pattern"]), seed, least)
                if least <= len(text) <= most:
                    return text
            raise Unfillable(name)
        text = FORMATS.get(str(schema.get("format", "")), name)
        if len(text) < least and "format" not in schema:
            text = (text + " ") * (least // (len(text) + 1) + 1)
            text = text[:least].rstrip().ljust(least, ".")
        if len(text) > most and "format" not in schema:
            text = text[: int(most)]
        if not least <= len(text) <= most:
            raise Unfillable(name)
        return text

    @staticmethod
    def _from_pattern(pattern: str, seed: int, least: int = 0) -> str:
        from fake_llm.pattern_fill import text_for  # noqa: PLC0415 - few schemas have patterns

        return text_for(pattern, seed=seed, least=least)

    def _integer(self, schema: Schema, name: str, depth: int) -> int:
        found = self._number({**schema, "type": "integer", "_step": 1}, name, depth)
        return int(found)

    def _number(self, schema: Schema, name: str, depth: int) -> int | float:
        """The number nearest to ``1 + seed`` within the bounds, on the grid of ``multipleOf``."""
        whole = "_step" in schema
        low, high, low_open, high_open = _bounds(schema)
        step: float | None = schema.get("multipleOf") or (1 if whole else None)
        if whole and step is not None and step != int(step):
            step = Fraction(str(step)).numerator  # the least whole multiple of a fraction
        wanted = min(max(1 + self._seed % 97, low), high)
        if step is None:
            candidates: list[float] = [wanted, low, high, (low + high) / 2, wanted + 0.5, low + (high - low) / 3]
            candidates += [low + 1e-6 * max(1, abs(low)), high - 1e-6 * max(1, abs(high))]
        else:
            place = math.floor(wanted / step)
            candidates = [(place + by) * step for by in (0, 1, 2, -1, -2)]
        for number in candidates:
            if math.isfinite(number) and low <= number <= high:
                if (number == low and low_open) or (number == high and high_open):
                    continue
                if whole and number != int(number):
                    continue
                return int(number) if whole or number == int(number) else number
        raise Unfillable(name)

    def _boolean(self, schema: Schema, name: str, depth: int) -> bool:
        return self._seed % 2 == 0

    def _null(self, schema: Schema, name: str, depth: int) -> None:
        return None


def _types(schema: Schema) -> list[str]:
    """The types to try, the most telling first: null is a last resort."""
    written = schema.get("type")
    if isinstance(written, str):
        return [written]
    if isinstance(written, list):
        return sorted(written, key=lambda kind: kind == "null")
    if {"properties", "required", "additionalProperties", "minProperties", "patternProperties"} & schema.keys():
        return ["object"]
    if {"items", "prefixItems", "minItems", "contains", "uniqueItems"} & schema.keys():
        return ["array"]
    if {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} & schema.keys():
        return ["number"]
    return ["string", "integer", "object", "array", "boolean", "null"]


def _bounds(schema: Schema) -> tuple[float, float, bool, bool]:
    """Lowest, highest, and whether each is itself excluded; draft 4's boolean exclusives are understood."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    low_open, high_open = above is True, below is True
    if above is not None and not isinstance(above, bool) and above >= low:
        low, low_open = above, True
    if below is not None and not isinstance(below, bool) and below <= high:
        high, high_open = below, True
    return low, high, low_open, high_open


def _variants(item: Json, step: int) -> list[Json]:
    if isinstance(item, bool):
        return [not item]
    if isinstance(item, int | float):
        return [item + step, item - step]
    return [f"{item}{step}"] if isinstance(item, str) else []


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
