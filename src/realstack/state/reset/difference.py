"""Compares a database with the known state beside it, table by table and row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from realstack.state.changes import Changes, Row, Rows, TableChanges
from realstack.state.reset.sql import changed_rows
from realstack.state.reset.units import qualified

if TYPE_CHECKING:
    import asyncpg

_VOLATILE = {
    "now()": r"\m(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\(|\mCURRENT_|\mLOCALTIME",
    "uuid": r"\m(gen_random_uuid|uuidv[47]|uuid_generate_v\w+)\(",
    "random()": r"\m(random|gen_random_bytes)\(",
}
"""What a column's default says when its values differ from run to run: the mask, and its pattern."""

_TOUCHED = """
SELECT u.unit, u.shown, u.schema, u.name, u.columns, u.key,
       (SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(format('%I.%I', u.schema, u.name))) AS partitioned
FROM (SELECT unit FROM pg_realstack.dirty UNION SELECT pg_realstack.touched()) d JOIN pg_realstack.units u USING (unit)
WHERE to_regclass(format('%I.%I', u.schema, u.name)) IS NOT NULL
GROUP BY u.unit ORDER BY u.shown
"""
_SEQUENCES = """
SELECT name, shown, last_value, is_called FROM pg_realstack.sequences WHERE name IN (SELECT pg_realstack.moved())
ORDER BY shown
"""
_DDL = "SELECT concat(tag, ' of ' || object) FROM pg_realstack.ddl"
_DEFAULTS = """
SELECT a.attname, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = to_regclass($1)
"""


async def read_changes(connection: asyncpg.Connection) -> Changes:
    """What was committed since the database was at the known state; it must be resettable in place."""
    tables = {}
    for unit in await connection.fetch(_TOUCHED):
        changed = await _changes_of(connection, unit)
        if changed.counts():
            tables[unit["shown"]] = changed
    sequences = {}
    for row in await connection.fetch(_SEQUENCES):
        now = await connection.fetchval(f"SELECT last_value FROM {row['name']}")  # noqa: S608 - regclass quotes it
        sequences[row["shown"]] = (row["last_value"], now)
    ddl = tuple(dict.fromkeys(row[0] for row in await connection.fetch(_DDL)))
    known = tuple(row[0] for row in await connection.fetch("SELECT shown FROM pg_realstack.units ORDER BY shown"))
    return Changes(tables, sequences, ddl, known)


async def _changes_of(connection: asyncpg.Connection, unit: Any) -> TableChanges:
    query = changed_rows(
        unit["unit"], (unit["schema"], unit["name"]), unit["columns"], unit["key"], bool(unit["partitioned"])
    )
    kinds: dict[str, list[Any]] = {"inserted": [], "updated": [], "deleted": []}
    for before, after in await connection.fetch(query):
        old, new = (json.loads(side) if side else None for side in (before, after))
        if old is None or new is None:
            kinds["deleted" if new is None else "inserted"].append(new or old or {})
        else:
            kinds["updated"].append((old, new))
    order = order_by(unit["key"] or unit["columns"])
    masks = await masks_of(connection, unit["schema"], unit["name"])
    return TableChanges(
        Rows(sorted(kinds["inserted"], key=order)),
        Rows(sorted(kinds["updated"], key=lambda pair: order(pair[0]))),
        Rows(sorted(kinds["deleted"], key=order)),
        masks,
    )


async def masks_of(connection: asyncpg.Connection, schema: str, name: str) -> dict[str, str]:
    """By column of that table: what stands for its values in a snapshot, where they differ from run to run."""
    masks = {}
    for column, default in await connection.fetch(_DEFAULTS, qualified(schema, name)):
        if mask := await _mask(connection, default):
            masks[column] = mask
    return masks


async def _mask(connection: asyncpg.Connection, default: str) -> str | None:
    for mask, pattern in _VOLATILE.items():
        if await connection.fetchval("SELECT $1 ~ $2", default, pattern):
            return f"<{mask}>"
    return None


def order_by(columns: Iterable[str]) -> Any:
    """A key to sort rows by those columns: numbers as numbers, all else as JSON writes it."""

    def place(row: Row) -> list[tuple[bool, int | float, str]]:
        values = [row.get(column) for column in columns]
        return [
            (False, value, "") if isinstance(value, (int, float)) else (True, 0, json.dumps(value)) for value in values
        ]

    return place
