"""Seeds as YAML rows: ``table: [{column: value, …}, …]``.

The server turns the values into the columns' types (as ``jsonb_populate_recordset`` does), so nested maps
become JSON, lists become arrays, and dates, numbers, enums and ``!!binary`` fit as they are. Columns that a
row leaves out get their default.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from realstack.state.catalog import (
    Table,
    advance_sequences,
    find_table,
    no_such_column,
    no_such_table,
    quote_name,
)
from realstack.state.report import notes_of, one_line, remedy_for
from realstack.state.sources import Step
from realstack.state.yaml_nodes import At, is_null, jsonable

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a seed and where it stands."""

    node: yaml.Node
    values: dict[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns in the order in which they stand."""
        return tuple(self.values)


async def apply_yaml(connection: asyncpg.Connection, step: Step) -> None:
    """Insert the rows of the file of ``step``, all or none, tables in the order in which they stand.

    :raises RealstackError: of the step's phase; a table or a column is missing, or a row does not fit.
    """
    import asyncpg

    at = At(step.shown, step.phase.error)
    root = at.root(step.path)
    if root is None:
        return
    transaction = connection.transaction()
    await transaction.start()
    for key, node in at.pairs(root):
        table = await find_table(connection, key.value)
        if table is None:
            raise await no_such_table(connection, at.error, at.where(key), key.value)
        await _insert(connection, at, table, _rows(at, table, node))
    try:
        await transaction.commit()
    except asyncpg.PostgresError as problem:  # deferred constraints
        raise at.error(
            f"{step.shown}: at the commit of its rows: {one_line(problem)}",
            details=notes_of(problem),
            remedy=remedy_for(problem),
        ) from problem


def _rows(at: At, table: Table, node: yaml.Node) -> list[Row]:
    if is_null(node):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise at.failed(node, f"{table.name!r} must hold a list of rows.", "write each row as `- column: value`.")
    rows = []
    for item in node.value:
        if not isinstance(item, yaml.MappingNode):
            raise at.failed(item, f"a row of {table.name!r} must be a map.", "write it as `- column: value`.")
        values = {}
        for key, value in at.pairs(item):
            if key.value not in table.columns:
                raise no_such_column(at.error, at.where(key), table, key.value)
            values[key.value] = jsonable(at.plain(value))
        rows.append(Row(item, values))
    return rows


async def _insert(connection: asyncpg.Connection, at: At, table: Table, rows: list[Row]) -> None:
    """Rows of the same columns go in together; only if they fail is the culprit looked for one by one."""
    import asyncpg

    for columns, same in groupby(rows, key=lambda row: row.columns):
        group = list(same)
        savepoint = connection.transaction()
        await savepoint.start()
        try:
            await connection.execute(_statement(table, columns), json.dumps([row.values for row in group]))
        except asyncpg.PostgresError as problem:
            await savepoint.rollback()
            raise await _culprit(connection, at, table, group, problem) from problem
        await savepoint.commit()
    await advance_sequences(connection, table, {column for row in rows for column in row.values})


async def _culprit(
    connection: asyncpg.Connection, at: At, table: Table, rows: list[Row], problem: asyncpg.PostgresError
) -> Exception:
    """The error with the line of the row that the server refuses; of the first one if each fits alone."""
    import asyncpg

    culprit = rows[0]
    for row in rows:
        try:
            await connection.execute(_statement(table, row.columns), json.dumps([row.values]))
        except asyncpg.PostgresError as of_row:
            culprit, problem = row, of_row
            break
    return at.error(
        f"{at.where(culprit.node)}: a row of {table.name!r} does not fit: {one_line(problem)}",
        details=[f"row: {json.dumps(culprit.values, ensure_ascii=False)}", *notes_of(problem)],
        remedy=remedy_for(problem),
    )


def _statement(table: Table, columns: tuple[str, ...]) -> str:
    if not columns:
        return f"INSERT INTO {table.quoted} SELECT FROM jsonb_array_elements($1)"
    names = ", ".join(quote_name(column) for column in columns)
    return (
        f"INSERT INTO {table.quoted} ({names}) OVERRIDING SYSTEM VALUE "  # noqa: S608 - quoted names
        f"SELECT {names} FROM jsonb_populate_recordset(NULL::{table.quoted}, $1)"
    )
