"""Seeds made by factories: ``factory:myapp.seeds:users``, ``factory:myapp.factories:UserFactory*20``.

The factory runs in a process of its own, in which chance and time are fixed, and gives rows back. They go in as rows of
any other seed do, parents before children as the foreign keys ask.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack.model import Endpoint
from realstack.state.catalog import Table, advance_sequences, find_table, no_such_column, no_such_table
from realstack.state.seed_rows import Row, RowWriter, Target, one_transaction
from realstack.state.source_process import run_source
from realstack.state.sources import Step, shown_path

if TYPE_CHECKING:
    import asyncpg

_PARENTS = """
SELECT DISTINCT conrelid::oid AS child, confrelid::oid AS parent FROM pg_constraint
WHERE contype = 'f' AND conrelid = ANY ($1::oid[]) AND confrelid = ANY ($1::oid[]) AND conrelid <> confrelid
"""


async def apply_factory(connection: asyncpg.Connection, step: Step, endpoint: Endpoint, root: Path) -> None:
    """Run the factory of ``step`` and insert what it makes, all or none.

    :raises RealstackError: of the step's phase; with the factory's file and line, and the row.
    """
    with tempfile.TemporaryDirectory(prefix="realstack-rows-") as folder:
        target = Path(folder) / "rows.jsonl"
        await run_source(step, endpoint, root, rows_to=target)
        lines = (
            [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()] if target.exists() else []
        )
    for line in lines:
        if "written" in line and (table := await find_table(connection, line["written"])):
            await advance_sequences(connection, table, set(line["columns"]))
    await _insert(connection, step, root, [line for line in lines if "values" in line])


async def _insert(connection: asyncpg.Connection, step: Step, root: Path, lines: list[dict[str, Any]]) -> None:

    rows = _rows(lines, step, root)
    tables: dict[str, Table] = {}
    of_table: dict[str, list[Row]] = {}
    for line, row in zip(lines, rows, strict=True):
        name = line["table"]
        if name not in tables:
            table = await find_table(connection, name)
            if table is None:
                raise await no_such_table(connection, step.phase.error, row.where, name)
            tables[name] = table
        for column in row.values:
            if column not in tables[name].columns:
                raise no_such_column(step.phase.error, row.where, tables[name], column)
        of_table.setdefault(name, []).append(row)
    writer = RowWriter(connection, step.phase.error)
    async with one_transaction(connection, step):
        for name in await _parents_first(connection, tables):
            await writer.insert(tables[name], of_table[name])


def _rows(lines: Sequence[Mapping[str, Any]], step: Step, root: Path) -> list[Row]:
    rows = []
    for line in lines:
        place = line["place"]
        where = f"{shown_path(Path(place['file']), root)}:{place['line']}" if place["file"] else step.shown
        rows.append(Row(f"{where}: row {place['number']}", dict(line["values"])))
    for line, row in zip(lines, rows, strict=True):
        for column, number in line["refers"].items():
            other = rows[number]
            other.target = other.target or Target(other.where)
            row.values[column] = other.target
    return rows


async def _parents_first(connection: asyncpg.Connection, tables: Mapping[str, Table]) -> list[str]:
    """The tables' names in an order in which foreign keys are met; those of a circle as they came."""
    oids = {
        await connection.fetchval("SELECT to_regclass($1)::oid", table.quoted): name for name, table in tables.items()
    }
    parents: dict[str, set[str]] = {name: set() for name in tables}
    for edge in await connection.fetch(_PARENTS, [*oids]):
        parents[oids[edge["child"]]].add(oids[edge["parent"]])
    return in_order(parents)


def in_order(parents: Mapping[str, set[str]]) -> list[str]:
    """The names so that each follows its parents; where that cannot be, as they stand in the mapping."""
    left, order = list(parents), list[str]()
    while left:
        free = [name for name in left if not parents[name] & set(left) - {name}]
        order.append(free[0] if free else left[0])
        left.remove(order[-1])
    return order
