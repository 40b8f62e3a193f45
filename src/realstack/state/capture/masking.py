"""Puts made-up values in the place of personal ones: the same for the same, so that joins hold; nobody gets back.

A value is replaced by what a keyed hash makes of it. Without the key, which is random unless it is given, nobody can
find a value by trying all likely ones.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from uuid import UUID

from realstack.errors import RealstackError
from realstack.state.capture.tables import INTEGERS, TEXTS, CapturedTable, Column, Schema

FIXED = "fixed:"
RULES = ("email", "phone", "name", "address", "ip", "hash", "null", f"{FIXED}TEXT", "keep")

_WORD = re.compile(r"\w+")
_FIRST = _WORD.findall(
    "Alex Billie Charlie Dana Eli Finley Gray Harper Indigo Jules Kai Lee Morgan Noel Quinn Robin Sam"
)
_LAST = _WORD.findall("Ash Birch Cedar Dale Elm Field Grove Hill Isle Lake Marsh North Oak Pine Reed Stone Thorn Vale")


@dataclass(frozen=True, slots=True)
class MaskRules:
    """``rules`` maps ``table.column`` or a pattern (``*.phone``) to one of :data:`RULES`; an exact name wins.

    ``unmasked`` are columns or patterns that are fine as they are.
    """

    rules: Mapping[str, str]
    unmasked: Sequence[str] = ()

    def of(self, table: CapturedTable, column: str) -> str:
        """The rule for that column: ``keep`` if it is said to be fine, empty if nothing is said."""
        names = (f"{table.shown}.{column}", f"{table.schema}.{table.name}.{column}")
        for name in names:
            if name in self.rules:
                return self.rules[name]
        if any(fnmatchcase(name, pattern) for pattern in self.unmasked for name in names):
            return "keep"
        for pattern, rule in self.rules.items():
            if "*" in pattern and any(fnmatchcase(name, pattern) for name in names):
                return rule
        return ""


def rules_of(schema: Schema, given: MaskRules) -> dict[tuple[int, str], str]:
    """The rule for each column that has one, by its table's oid and its name.

    Columns of a foreign key follow those that they refer to.

    :raises RealstackError: a rule is unknown, names no column, or tears a foreign key apart.
    """
    for pattern, rule in given.rules.items():
        _check(schema, pattern, rule)
    for name in given.unmasked:
        _check(schema, name, "keep")
    found = {
        (table.oid, column.name): rule
        for table in schema.tables.values()
        for column in table.columns
        if (rule := given.of(table, column.name))
    }
    own = dict(found)
    for _ in schema.foreign_keys:  # a chain of keys is no longer than their number
        for key in schema.foreign_keys:
            for column, referred in zip(key.columns, key.referred, strict=True):
                rule = found.get((key.parent, referred), "")
                if rule and rule != "keep":
                    found[key.child, column] = own.get((key.child, column), rule)
    _assert_whole(schema, found)
    return found


def _assert_whole(schema: Schema, found: Mapping[tuple[int, str], str]) -> None:
    for key in schema.foreign_keys:
        for column, referred in zip(key.columns, key.referred, strict=True):
            mine, theirs = found.get((key.child, column), ""), found.get((key.parent, referred), "")
            if mine == "null" or {mine, theirs} <= {"", "keep"} or mine == theirs:
                continue
            child, parent = schema.tables[key.child].shown, schema.tables[key.parent].shown
            raise RealstackError(
                f"masking {child}.{column} by {mine or 'nothing'!r} and {parent}.{referred} by {theirs or 'nothing'!r} "
                f"would tear the foreign key {key.name} apart.",
                remedy=f"name the rule for {parent}.{referred} alone: the other column follows it.",
            )


def _check(schema: Schema, pattern: str, rule: str) -> None:
    if rule not in RULES and not rule.startswith(FIXED):
        raise RealstackError(f"the mask {rule!r} of {pattern!r} is not known.", remedy=f"there are {', '.join(RULES)}.")
    if "*" in pattern:
        return
    table_name, _, column = pattern.rpartition(".")
    table = schema.named(table_name)
    if table is None or table.column(column) is None:
        raise RealstackError(
            f"the mask for {pattern!r} names no column of this database.",
            remedy="write table.column, or a pattern such as *.phone.",
        )


class Masks:
    """Masks values by rule. ``key`` decides what comes out; two inputs of one rule never come out the same."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._made: dict[tuple[str, str, int], dict[str, str]] = {}
        self._taken: dict[tuple[str, str, int], set[str]] = {}

    def masked(self, table: CapturedTable, column: Column, rule: str, value: str | None) -> str | None:
        """What stands for ``value``; None and empty texts, which tell nothing, stay as they are.

        :raises RealstackError: the column cannot hold what the rule makes.
        """
        if rule in ("", "keep") or not value:
            return value
        if rule == "null":
            return None
        if rule.startswith(FIXED):
            return rule.removeprefix(FIXED)
        shape = _shape(column, rule)
        if shape is None:
            raise RealstackError(
                f"{table.shown}.{column.name} is of the type {column.shown_type}: the mask {rule!r} does not fit.",
                remedy="use `null` or `fixed:…` there.",
            )
        # citext takes two spellings for the same value, so both must come out the same.
        read = value.lower() if column.base == "citext" else value
        kind = (rule, shape, column.length)
        known = self._made.setdefault(kind, {})
        if read not in known:
            known[read] = self._new(table, column, kind, read)
        return known[read]

    def _new(self, table: CapturedTable, column: Column, kind: tuple[str, str, int], value: str) -> str:
        rule, shape, length = kind
        taken = self._taken.setdefault(kind, set())
        for attempt in range(100):
            text = _MAKERS[rule if shape == "text" else shape](self._digest(rule, value, attempt), value)
            if length and len(text) > length:
                if rule != "hash":
                    break
                text = text[:length]
            if text not in taken:
                taken.add(text)
                return text
        raise RealstackError(
            f"{table.shown}.{column.name} ({column.shown_type}) is too short for the mask {rule!r}.",
            remedy="use `hash`, `null` or `fixed:…` there.",
        )

    def _digest(self, rule: str, value: str, attempt: int) -> bytes:
        # The rule is not part of it: one person is recognisable as one in all columns of a rule, and in no others.
        message = f"{rule}\0{attempt}\0{value}".encode()
        return hmac.new(self._key, message, hashlib.sha256).digest()


def _shape(column: Column, rule: str) -> str | None:
    """How the value is to look, by the column's type; None if the rule has nothing for that type."""
    if column.base in TEXTS:
        return "text"
    if rule == "ip" and column.base in ("inet", "cidr"):
        return "text"
    if rule == "hash":
        shapes = {"uuid": "uuid", "bytea": "bytea", "int2": "int2", "int4": "int4", "int8": "int8"}
        return shapes.get(column.base)
    return "int8" if rule == "phone" and column.base in INTEGERS[2:3] else None


def _number(digest: bytes, below: int) -> int:
    return int.from_bytes(digest[:16], "big") % below


def _name(digest: bytes, value: str) -> str:
    return f"{_FIRST[digest[20] % len(_FIRST)]} {_LAST[digest[21] % len(_LAST)]} {digest[:4].hex()}"


def _ip(digest: bytes, value: str) -> str:
    """In 10.0.0.0/8 for an address of version 4, else in 2001:db8::/32, which is for examples."""
    if ":" in value:
        groups = [digest[at : at + 2].hex() for at in range(0, 12, 2)]
        return f"2001:db8:{':'.join(groups)}"
    return f"10.{digest[0]}.{digest[1]}.{digest[2]}"


_MAKERS: dict[str, Callable[[bytes, str], str]] = {
    "email": lambda digest, value: f"user-{digest[:8].hex()}@example.com",
    "phone": lambda digest, value: f"+999{_number(digest, 10**11):011}",  # no country has that code
    "name": _name,
    "address": lambda digest, value: (
        f"{1 + digest[20] % 99} {_LAST[digest[21] % len(_LAST)]} Street {digest[:4].hex()}"
    ),
    "ip": _ip,
    "hash": lambda digest, value: digest[:8].hex(),
    "uuid": lambda digest, value: str(UUID(bytes=digest[:16], version=4)),
    "bytea": lambda digest, value: "\\x" + digest[:16].hex(),
    "int2": lambda digest, value: str(1 + _number(digest, 2**15 - 1)),
    "int4": lambda digest, value: str(1 + _number(digest, 2**31 - 1)),
    "int8": lambda digest, value: str(1 + _number(digest, 2**63 - 1)),
}
