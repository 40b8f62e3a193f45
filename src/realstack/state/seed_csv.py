"""Seeds as CSV: ``users.csv`` or ``billing.invoices.csv``, the header names the columns.

As PostgreSQL's own CSV has it: an empty field is NULL, a quoted empty one is an empty string.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from realstack.state.catalog import Table, advance_sequences, no_such_column
from realstack.state.report import at_column, column_of, missing_key, notes_of, one_line, remedy_for, shortened
from realstack.state.seed_rows import table_of_file
from realstack.state.sources import Step

if TYPE_CHECKING:
    import asyncpg

_COPY_LINE = re.compile(r"\bline (\d+)")


async def apply_csv(connection: asyncpg.Connection, step: Step) -> None:
    """Copy the rows of the file of ``step`` into the table that its name tells.

    :raises RealstackError: of the step's phase; the table or a column is missing, or a row does not fit.
    """
    import asyncpg

    text = _text(step)
    table = await table_of_file(connection, step)
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
        line = _line_of(problem, text, header)
        lines = text.split("\n")  # not splitlines(): values may hold characters at which that splits
        shown = [f"{line} | {shortened(lines[line - 1].rstrip())}"] if line <= len(lines) else []
        raise step.phase.error(
            f"{step.shown}:{line}: {one_line(problem)}{at_column(column_of(problem))}",
            details=[*shown, *notes_of(problem)],
            remedy=remedy_for(problem),
        ) from problem


def _line_of(problem: BaseException, text: str, header: list[str]) -> int:
    """The line that the server names, or that of the row whose parent it did not find."""
    if found := _COPY_LINE.search(str(getattr(problem, "context", None) or "")):
        return int(found[1])
    missing = missing_key(problem)
    reader = csv.reader(io.StringIO(text, newline=""))
    begins = 1
    for row in reader:
        values = dict(zip(header, row, strict=False))
        if begins > 1 and missing and all(values.get(name) == key for name, key in missing.items()):
            return begins
        begins = reader.line_num + 1
    return 1


def _text(step: Step) -> str:
    try:
        return step.path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise step.phase.error(
            f"{step.shown}: this file is not UTF-8 (byte {problem.start}).", remedy="store it as UTF-8."
        ) from problem


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
