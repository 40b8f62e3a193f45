"""What is restored together: a table, or a partitioned table with all of its partitions. Read from the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realstack.state.catalog import quote_name

if TYPE_CHECKING:
    import asyncpg

OWN_SCHEMA = "pg_realstack"
"""pg_dump, ``\\d`` and reflection pass over schemas whose names begin with ``pg_``; pg_tables does not."""

NOT_OURS_TO_WATCH = f"n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', '{OWN_SCHEMA}')"

_TABLES = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       coalesce(pg_partition_root(c.oid)::oid, c.oid) AS root,
       NOT c.relispartition AND c.relkind = 'r' AND (
           EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
           OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
       ) AS inherits,
       c.relkind = 'p' AND EXISTS (
           SELECT FROM pg_partition_tree(c.oid) p JOIN pg_class f ON f.oid = p.relid WHERE f.relkind = 'f'
       ) AS has_foreign,
       EXISTS (
           SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('A', 'R') AND NOT t.tgisinternal
       ) AS fires_always,
       EXISTS (
           SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('A', 'R')
       ) AS rewrites_always
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {NOT_OURS_TO_WATCH}
ORDER BY c.oid
"""  # noqa: S608 - our own constant

_COLUMNS = """
SELECT a.attrelid AS oid, a.attname AS name, a.attgenerated <> '' AS generated
FROM pg_attribute a
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

# The primary key first; else the smallest unique index that no NULL can get past.
_KEYS = """
SELECT DISTINCT ON (i.indrelid) i.indrelid AS oid,
       array(
           SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
           WHERE k.place <= i.indnkeyatts ORDER BY k.place
       ) AS columns,
       array(
           SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
           FROM unnest(i.indclass) WITH ORDINALITY AS k(opclass, place)
           JOIN pg_opclass oc ON oc.oid = k.opclass
           JOIN pg_amop am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
                AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
           JOIN pg_operator o ON o.oid = am.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
           WHERE k.place <= i.indnkeyatts ORDER BY k.place
       ) AS equals,
       array(
           SELECT format('%I.%I', n.nspname, l.typname)
           FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
           JOIN pg_type t ON t.oid = a.atttypid
           JOIN pg_type l ON l.oid = t.typarray JOIN pg_namespace n ON n.oid = l.typnamespace
           WHERE k.place <= i.indnkeyatts AND t.typtype <> 'd' AND t.typcategory <> 'A' ORDER BY k.place
       ) AS arrays,
       (
           SELECT CASE WHEN min(t.typlen) > 0 THEN sum((t.typlen + 7) / 8 * 8) END
           FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum JOIN pg_type t ON t.oid = a.atttypid
           WHERE k.place <= i.indnkeyatts
       ) AS bytes
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND m.amname = 'btree'
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (
      SELECT FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      WHERE k.place <= i.indnkeyatts AND (NOT a.attnotnull OR a.attgenerated <> '')
  )
ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid
"""

_DESCENDANTS = """
WITH RECURSIVE below(oid, root) AS (
    SELECT inhrelid, inhparent FROM pg_inherits WHERE inhparent = ANY ($1::oid[])
    UNION SELECT i.inhrelid, b.root FROM pg_inherits i JOIN below b ON i.inhparent = b.oid
)
SELECT oid, root FROM below
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """``members``: the tables whose writes count for it. ``equals``: the key columns' equality operators.

    ``columns`` are those that can be written. Without a ``key`` rows are told apart by all of their columns.
    ``arrays``: the types of arrays of the key's columns; () where one is an array itself, or a domain, which may forbid
    NULL. ``key_bytes``: the most that a key takes in them, None where any could.
    ``inherits``: a write may have gone to any of ``family`` (unit numbers), which are compared as a whole then.
    ``blocked`` says why a write to it cannot be undone in place.
    """

    number: int
    schema: str
    name: str
    partitioned: bool
    columns: tuple[str, ...]
    key: tuple[str, ...]
    equals: tuple[str, ...]
    members: tuple[str, ...]
    arrays: tuple[str, ...] = ()
    key_bytes: int | None = None
    inherits: bool = False
    family: tuple[int, ...] = ()
    blocked: str = ""

    @property
    def table(self) -> str:
        """Its qualified, quoted name."""
        return qualified(self.schema, self.name)

    @property
    def shown(self) -> str:
        """Its name as people write it."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def qualified(schema: str, name: str) -> str:
    """``schema.name`` as SQL."""
    return f"{quote_name(schema)}.{quote_name(name)}"


async def read_units(connection: asyncpg.Connection) -> list[Unit]:
    """Every table of the database that can hold rows, but temporary ones and our own, in a stable order."""
    tables = await connection.fetch(_TABLES)
    oids = [row["oid"] for row in tables]
    columns: dict[int, list[str]] = {}
    for row in await connection.fetch(_COLUMNS, oids):
        columns.setdefault(row["oid"], [])
        if not row["generated"]:
            columns[row["oid"]].append(row["name"])
    keys = {row["oid"]: row for row in await connection.fetch(_KEYS, oids)}
    below: dict[int, list[int]] = {}
    for row in await connection.fetch(_DESCENDANTS, [row["oid"] for row in tables if row["inherits"]]):
        below.setdefault(row["root"], []).append(row["oid"])
    roots = [row for row in tables if row["root"] == row["oid"]]
    numbers = {row["oid"]: number for number, row in enumerate(roots, 1)}
    units = []
    for row in roots:
        oid = row["oid"]
        members = [each for each in tables if each["root"] == oid]
        family = tuple(numbers[each] for each in (oid, *below.get(oid, ())) if each in numbers)
        units.append(_unit(numbers[oid], members, tuple(columns.get(oid, ())), keys.get(oid), family))
    return units


def _unit(number: int, members: list[Any], columns: tuple[str, ...], key: Any, family: tuple[int, ...]) -> Unit:
    root = next(row for row in members if row["oid"] == row["root"])
    whole_key = key is not None and len(key["columns"]) == len(key["equals"]) > 0
    return Unit(
        number,
        root["schema"],
        root["name"],
        root["kind"] == "p",
        columns,
        tuple(key["columns"]) if whole_key else (),
        tuple(key["equals"]) if whole_key else (),
        tuple(qualified(row["schema"], row["name"]) for row in members),
        tuple(key["arrays"]) if whole_key and len(key["arrays"]) == len(key["columns"]) else (),
        key["bytes"] if whole_key else None,
        root["inherits"],
        family,
        _why_blocked(members),
    )


def _why_blocked(members: list[Any]) -> str:
    if any(row["has_foreign"] for row in members):
        return "one of its partitions is a foreign table"
    if any(row["fires_always"] for row in members):
        return "it has a trigger that is ENABLE ALWAYS or REPLICA, which undoing would fire"
    if any(row["rewrites_always"] for row in members):
        return "it has a rule that is ENABLE ALWAYS or REPLICA, which undoing would fire"
    return ""
