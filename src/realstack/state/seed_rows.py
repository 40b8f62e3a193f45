"""Puts rows of a seed into their tables, and finds out which row it was that the server refused.

The server turns values into the columns' types (as ``jsonb_populate_recordset`` does), so nested maps become JSON,
lists become arrays, and dates, numbers and enums fit as they are. Columns that a row leaves out get their default.
A value may stand for another row: it becomes the key by which that row is referred to.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from realstack.errors import RealstackError
from realstack.state.catalog import Table, advance_sequences, find_table, no_such_table, quote_name
from realstack.state.insert_statement import insert_statement
from realstack.state.report import at_column, column_of, missing_key, notes_of, one_line, remedy_for, shortened
from realstack.state.sources import Step

if TYPE_CHECKING:
    import asyncpg

_NUMBER_IN_FRONT = re.compile(r"^\d+[_-]+")

_FOREIGN_KEYS = """
SELECT a.attname AS column, c.confrelid AS target, f.attname AS named
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
WHERE c.conrelid = to_regclass($1) AND c.contype = 'f' AND cardinality(c.conkey) = 1
ORDER BY c.oid
"""
_PRIMARY_KEY = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = to_regclass($1) AND i.indisprimary
"""


@asynccontextmanager
async def one_transaction(connection: asyncpg.Connection, step: Step) -> AsyncIterator[None]:
    """All rows of a source, or none. What only the commit checks, such as a deferred constraint, is told as its.

    :raises MigrationFailed, SeedFailed: the commit fails; by the step's phase.
    """
    import asyncpg

    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    except BaseException:
        await transaction.rollback()
        raise
    try:
        await transaction.commit()
    except asyncpg.PostgresError as problem:
        raise step.phase.error(
            f"{step.shown}: at the commit of its rows: {one_line(problem)}",
            details=notes_of(problem),
            remedy=remedy_for(problem),
        ) from problem


class Target:
    """A row that others refer to. ``row`` is what the server made of it, once it is there."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.table: Table | None = None
        self.row: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """A row that is there already, by some of its columns."""

    where: str
    table: str
    columns: dict[str, Any]


class Json(str):
    """A column's JSON as it stands, to the last digit and blank."""

    __slots__ = ()


@dataclass(slots=True)
class Row:
    """One row of a seed and where it stands. Values may be, or hold, a :class:`Target` or a :class:`Lookup`.

    ``text`` is its JSON where the file has it as that; ``target`` is there if other rows refer to this one.
    ``places`` are those of its columns, where they have lines of their own.
    """

    where: str
    values: dict[str, Any]
    text: str = ""
    target: Target | None = None
    places: dict[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """The row as the server reads it."""
        return self.text or json.dumps(self.values)

    def shown(self) -> str:
        """For errors."""
        return shortened(json.dumps(self.values, ensure_ascii=False, default=str))


class RowWriter:
    """Inserts rows over ``connection``, in the caller's transaction. Errors are of the class ``error``."""

    def __init__(self, connection: asyncpg.Connection, error: type[RealstackError]) -> None:
        self.connection = connection
        self.error = error

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert ``rows`` in order.

        :raises RealstackError: a row does not fit, or refers to one that is not there; its place is named.
        """
        for group in _groups(rows):
            if _refers(group[0].values):
                group[0].values = await self._resolved(table, group[0])
            await self._insert(table, group)
        await advance_sequences(self.connection, table, {column for row in rows for column in row.values})

    async def _insert(self, table: Table, group: list[Row]) -> None:
        """Rows of the same columns go in together; only if they fail is the culprit looked for one by one."""
        import asyncpg

        savepoint = self.connection.transaction()
        await savepoint.start()
        columns, target = tuple(group[0].values), group[0].target
        try:
            exact = _made_exact(group)
            statement = insert_statement(table, columns, returning=target is not None, exact=exact)
            made = await self.connection.fetch(statement, _records(group))
        except asyncpg.PostgresError as problem:
            await savepoint.rollback()
            raise await self._culprit(table, group, problem) from problem
        await savepoint.commit()
        if target is not None and made:
            target.table, target.row = table, json.loads(made[0][0])

    async def _culprit(self, table: Table, group: list[Row], problem: asyncpg.PostgresError) -> RealstackError:
        """The error with the line of the row that the server refuses; of the first one if each fits alone."""
        import asyncpg

        culprit = group[0]
        if missing := missing_key(problem):
            # The server looks for parents once all rows are in; alone, a row may lack one that comes below it.
            refers = (row for row in group if all(str(row.values.get(name)) == key for name, key in missing.items()))
            culprit = next(refers, culprit)
        else:
            for row in group:
                try:
                    await self._alone(table, row)
                except asyncpg.PostgresError as of_row:
                    culprit, problem = row, of_row
                    break
        column = column_of(problem) or await self._unreadable(table, culprit, problem)
        where = culprit.places.get(column, culprit.where)
        return self.error(
            f"{where}: a row of {table.name!r} does not fit: {one_line(problem)}{at_column(column)}",
            details=[f"row: {culprit.shown()}", *notes_of(problem)],
            remedy=remedy_for(problem),
        )

    async def _alone(self, table: Table, row: Row) -> None:
        async with self.connection.transaction():
            await self.connection.execute(
                insert_statement(table, tuple(row.values), exact=_made_exact([row])), _records([row])
            )

    async def _unreadable(self, table: Table, row: Row, problem: asyncpg.PostgresError) -> str:
        """The column whose type does not take its value; empty if that is not the problem."""
        import asyncpg

        if not str(problem.sqlstate).startswith("22"):
            return ""
        for column, value in row.values.items():
            query = f"SELECT (jsonb_populate_record(NULL::{table.quoted}, $1)).{quote_name(column)}"
            try:
                async with self.connection.transaction():
                    await self.connection.execute(
                        query, value if isinstance(value, Json) else json.dumps({column: value})
                    )
            except asyncpg.PostgresError:
                return column
        return ""

    async def _resolved(self, table: Table, row: Row) -> dict[str, Any]:
        keys = {found["column"]: found for found in await self.connection.fetch(_FOREIGN_KEYS, table.quoted)}

        async def resolved(value: Any, column: str) -> Any:
            if isinstance(value, (Target, Lookup)):
                return await self._key_of(value, row, keys.get(column))
            if isinstance(value, list):
                return [await resolved(each, column) for each in value]
            if isinstance(value, dict):
                return {name: await resolved(each, "") for name, each in value.items()}
            return value

        return {column: await resolved(value, column) for column, value in row.values.items()}

    async def _key_of(self, value: Target | Lookup, row: Row, foreign_key: Any) -> Any:
        """The column that the foreign key names, or else the primary key."""
        if isinstance(value, Lookup):
            table, found = await self._looked_up(value)
        else:
            if value.row is None or value.table is None:
                raise self.error(
                    f"{row.where}: this row refers to the one at {value.where}, which is not there yet.",
                    remedy="rows go in as they stand in the file: put the other one above.",
                )
            table, found = value.table, value.row
        if foreign_key and foreign_key["target"] == await self._oid(table):
            return found[foreign_key["named"]]
        primary = [record[0] for record in await self.connection.fetch(_PRIMARY_KEY, table.quoted)]
        if len(primary) != 1:
            raise self.error(
                f"{row.where}: the table {table.name!r} has no primary key of one column to refer to.",
                remedy="write the values themselves.",
            )
        return found[primary[0]]

    async def _looked_up(self, lookup: Lookup) -> tuple[Table, dict[str, Any]]:
        import asyncpg

        table = await find_table(self.connection, lookup.table)
        if table is None:
            raise await no_such_table(self.connection, self.error, lookup.where, lookup.table)
        names = ", ".join(f"r.{quote_name(column)}" for column in lookup.columns)
        wanted = ", ".join(f"w.{quote_name(column)}" for column in lookup.columns)
        query = (
            f"SELECT to_jsonb(r) FROM {table.quoted} r, jsonb_populate_record(NULL::{table.quoted}, $1) w "  # noqa: S608
            f"WHERE ({names}) = ({wanted}) LIMIT 2"
        )
        shown = json.dumps(lookup.columns, ensure_ascii=False)
        try:
            async with self.connection.transaction():
                found = await self.connection.fetch(query, json.dumps(lookup.columns))
        except asyncpg.PostgresError as problem:
            raise self.error(
                f"{lookup.where}: the row of {table.name!r} cannot be looked for: {one_line(problem)}",
                remedy=remedy_for(problem),
            ) from problem
        if len(found) != 1:
            how_many = "several rows" if found else "no row"
            raise self.error(
                f"{lookup.where}: {table.name!r} has {how_many} with {shown}.",
                remedy="name columns that tell the row apart." if found else "sources apply in order: seed it before.",
            )
        return table, json.loads(found[0][0])

    async def _oid(self, table: Table) -> int:
        oid: int = await self.connection.fetchval("SELECT to_regclass($1)::oid", table.quoted)
        return oid


async def table_of_file(connection: asyncpg.Connection, step: Step) -> Table:
    """The table that the file's name tells. ``010_users.csv`` may stand for ``users``: the number is for the order.

    :raises RealstackError: of the step's phase; there is none.
    """
    name = step.path.stem
    for candidate in dict.fromkeys((name, _NUMBER_IN_FRONT.sub("", name))):
        if candidate and (table := await find_table(connection, candidate)):
            return table
    raise await no_such_table(connection, step.phase.error, step.shown, _NUMBER_IN_FRONT.sub("", name))


def _groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Neighbours of the same columns together; who refers or is referred to goes alone, in its turn."""
    group: list[Row] = []
    for row in rows:
        alone = row.target is not None or _refers(row.values)
        if group and (alone or tuple(group[-1].values) != tuple(row.values)):
            yield group
            group = []
        if alone:
            yield [row]
        else:
            group.append(row)
    if group:
        yield group


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_refers(each) for each in value.values())
    if isinstance(value, list):
        return any(_refers(each) for each in value)
    return isinstance(value, (Target, Lookup))


def _records(rows: Sequence[Row]) -> str:
    return f"[{','.join(row.json() for row in rows)}]"


def _made_exact(rows: Sequence[Row]) -> frozenset[str]:
    """The columns that hold JSON as it stands in any of ``rows``; it is made so in all of them."""
    exact = frozenset(name for row in rows for name, value in row.values.items() if isinstance(value, Json))
    for row in rows if exact else ():
        for name in exact:
            if row.values[name] is not None and not isinstance(row.values[name], Json):
                row.values[name] = Json(json.dumps(row.values[name]))
    return exact
