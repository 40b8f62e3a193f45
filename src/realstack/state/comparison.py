"""What differs between two databases of one server, table by table and row by row, whatever either knows of itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.changes import Changes, Row, Rows, TableChanges
from realstack.state.fingerprint import Fingerprint, fingerprint
from realstack.state.reset.difference import masks_of, order_by
from realstack.state.reset.units import Unit, read_units

if TYPE_CHECKING:
    import asyncpg

_PINNED = "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET row_security = off; SET extra_float_digits = 1"

_NAMES = "SELECT name, name::regclass::text FROM unnest($1::text[]) AS name"
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_SEQUENCE = "value of sequence "


async def compare(known: Endpoint, used: Endpoint) -> Changes:
    """The changes that lead from ``known`` to ``used``. Reads both; tables whose rows differ are read as a whole.

    A row is told by its table's primary key, or else by all of its columns. What differs in the schema stands in
    ``ddl``, as the fingerprint's words for it.
    """
    import asyncpg

    before = await asyncpg.connect(**connect_arguments(known))
    try:
        after = await asyncpg.connect(**connect_arguments(used))
        try:
            return await _compared(before, after)
        finally:
            await after.close()
    finally:
        await before.close()


async def _compared(before: asyncpg.Connection, after: asyncpg.Connection) -> Changes:
    was, now = await fingerprint(before), await fingerprint(after)
    for connection in (before, after):
        await connection.execute(_PINNED)
    units, others = await read_units(before), {unit.table: unit for unit in await read_units(after)}
    names = dict(await before.fetch(_NAMES, [member for unit in units for member in unit.members]))
    tables: dict[str, TableChanges] = {}
    for unit in units:
        other = others.get(unit.table)
        if other is None or all(_same(was, now, f"rows {names[member]}") for member in unit.members):
            continue
        masks = await masks_of(before, unit.schema, unit.name)
        changed = _table_changes(unit, await _rows(before, unit), await _rows(after, other), masks)
        if changed.counts():
            tables[unit.shown] = changed
    known_tables = tuple(sorted(unit.shown for unit in units))
    return Changes(dict(sorted(tables.items())), _moved(was, now), _schema_differences(was, now), known_tables)


def _same(was: Fingerprint, now: Fingerprint, part: str) -> bool:
    return was.parts.get(part) == now.parts.get(part)


async def _rows(connection: asyncpg.Connection, unit: Unit) -> list[str]:
    """As JSON text: reading numbers would make two of one."""
    only = "" if unit.partitioned else "ONLY "
    query = f"SELECT to_jsonb(t)::text FROM {only}{unit.table} AS t"  # noqa: S608 - the catalogue quotes its names
    return [text for (text,) in await connection.fetch(query)]


def _table_changes(unit: Unit, before: list[str], after: list[str], masks: Mapping[str, str]) -> TableChanges:
    lost, won = (list(rows.elements()) for rows in (Counter(before) - Counter(after), Counter(after) - Counter(before)))
    deleted, inserted = ([json.loads(text) for text in rows] for rows in (lost, won))
    updated: list[tuple[Row, Row]] = []
    if unit.key:
        was, now = ({_key(unit, row): row for row in rows} for rows in (deleted, inserted))
        updated = [(was[key], now[key]) for key in was if key in now]
        deleted = [row for key, row in was.items() if key not in now]
        inserted = [row for key, row in now.items() if key not in was]
    place = order_by(unit.key or unit.columns)
    return TableChanges(
        Rows(sorted(inserted, key=place)),
        Rows(sorted(updated, key=lambda pair: place(pair[0]))),
        Rows(sorted(deleted, key=place)),
        masks,
    )


def _key(unit: Unit, row: Row) -> str:
    return json.dumps([row.get(name) for name in unit.key])


def _moved(was: Fingerprint, now: Fingerprint) -> Mapping[str, tuple[int, int]]:
    found = {}
    for name, before in was.parts.items():
        after = now.parts.get(name)
        if name.startswith(_SEQUENCE) and after is not None and before != after:
            plain = _QUOTED.sub(lambda part: part[1].replace('""', '"'), name.removeprefix(_SEQUENCE))
            shown = plain.removeprefix("public.")
            found[shown] = (int(before.split()[0]), int(after.split()[0]))
    return dict(sorted(found.items()))


def _schema_differences(was: Fingerprint, now: Fingerprint) -> tuple[str, ...]:
    return tuple(line for line in was.difference(now) if not line.startswith(("rows ", _SEQUENCE)))
