"""Seeds as CSV: ``users.csv`` or ``billing.invoices.csv``, the header names the columns.

As PostgreSQL's own CSV has it: an empty field is NULL, a quoted empty one is an empty string.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from realstack.state.catalog import Table, advance_sequences, find_table, no_such_column, no_such_table
from realstack.state.report import notes_of, one_line, remedy_for
from realstack.state.sources import Step

if TYPE_CHECKING:
    import asyncpg

_NUMBER_IN_FRONT = re.compile(r"^\d+[_-]+")
_COPY_LINE = re.compile(r"\bline (\d+)")


async def apply_csv(connection: asyncpg.Connection, step: Step) -> None:
    """Copy the rows of the file of ``step`` into the table that its name tells.

    :raises RealstackError: of the step's phase; the table or a column is missing, or a row does not fit.
    """
    import asyncpg

    text = _text(step)
    table = await _table_of(connection, step)
    header = _header(text, step, table)
    try:
        async with connection.transaction():
            await connection.copy_to_table(
                table.name,
                schema_name=table.schema,
                columns=header,
                source=io.BytesIO(text.encode()),
                format="csv",
                header=True,
            )
            await advance_sequences(connection, table, set(header))
    except asyncpg.PostgresError as problem:
        found = _COPY_LINE.search(str(getattr(problem, "context", None) or ""))
        line = int(found[1]) if found else 1
        lines = text.splitlines()
        shown = [f"{line} | {lines[line - 1]}"] if line <= len(lines) else []
        raise step.phase.error(
            f"{step.shown}:{line}: {one_line(problem)}",
            details=[*shown, *notes_of(problem)],
            remedy=remedy_for(problem),
        ) from problem


def _text(step: Step) -> str:
    try:
        return step.path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise step.phase.error(
            f"{step.shown}: this file is not UTF-8 (byte {problem.start}).", remedy="store it as UTF-8."
        ) from problem


async def _table_of(connection: asyncpg.Connection, step: Step) -> Table:
    """``010_users.csv`` may stand for ``users``: the number is there for the order."""
    name = step.path.stem
    for candidate in dict.fromkeys((name, _NUMBER_IN_FRONT.sub("", name))):
        if candidate and (table := await find_table(connection, candidate)):
            return table
    raise await no_such_table(connection, step.phase.error, step.shown, _NUMBER_IN_FRONT.sub("", name))


def _header(text: str, step: Step, table: Table) -> list[str]:
    header = next(csv.reader(io.StringIO(text)), [])
    if not header:
        raise step.phase.error(
            f"{step.shown}:1: the file is empty.", remedy="its first line names the columns, such as id,name."
        )
    for column in header:
        if column not in table.columns:
            raise no_such_column(step.phase.error, f"{step.shown}:1", table, column)
    return header
