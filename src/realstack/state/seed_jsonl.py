"""Seeds as JSON Lines: ``users.jsonl`` or ``billing.invoices.jsonl``, a line a row, an object of columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from realstack.state.catalog import no_such_column
from realstack.state.seed_rows import Row, RowWriter, one_transaction, table_of_file
from realstack.state.sources import Step

if TYPE_CHECKING:
    import asyncpg


async def apply_jsonl(connection: asyncpg.Connection, step: Step) -> None:
    """Insert the rows of the file of ``step`` into the table that its name tells, all or none.

    :raises RealstackError: of the step's phase; the table or a column is missing, or a row does not fit.
    """

    rows = _rows(step)
    table = await table_of_file(connection, step)
    for row in rows:
        for column in row.values:
            if column not in table.columns:
                raise no_such_column(step.phase.error, row.where, table, column)
    async with one_transaction(connection, step):
        await RowWriter(connection, step.phase.error).insert(table, rows)


def _rows(step: Step) -> list[Row]:
    try:
        text = step.path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise step.phase.error(
            f"{step.shown}: this file is not UTF-8 (byte {problem.start}).", remedy="store it as UTF-8."
        ) from problem
    rows = []
    # Not splitlines(): JSON may hold characters at which that splits.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{step.shown}:{number}"
        try:
            values = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
        except json.JSONDecodeError as problem:
            raise step.phase.error(
                f"{where}:{problem.colno}: this is not JSON: {problem.msg}.",
                details=[f"{number} | {line.strip()}"],
                remedy="write one object a line.",
            ) from problem
        except ValueError as problem:
            raise step.phase.error(f"{where}: {problem}.", remedy="mend that line.") from problem
        if not isinstance(values, dict):
            raise step.phase.error(f"{where}: a row must be an object.", remedy='write it as {"column": value}.')
        # The line itself goes to the server: a float of ours would not hold every number.
        rows.append(Row(where, values, text=line.strip()))
    return rows


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands here twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f'JSON has no {name}; quote it: "{name}"')
