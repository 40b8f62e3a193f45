"""What the database says of a table that a seed names: its columns, or the nearest names there are."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from realstack.errors import RealstackError

if TYPE_CHECKING:
    import asyncpg

_COLUMNS = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column,
       pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname) AS sequence
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'f')
ORDER BY a.attnum
"""

_TABLES = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is there. ``sequences`` are those that fill a column of its: column to qualified name."""

    schema: str
    name: str
    columns: tuple[str, ...]
    sequences: dict[str, str]

    @property
    def quoted(self) -> str:
        """Its qualified name for SQL."""
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"


def quote_name(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def nearest(name: str, names: list[str] | tuple[str, ...]) -> str:
    """``did you mean 'x'? `` where something is near, else what there is."""
    if found := get_close_matches(name, names, n=2, cutoff=0.5):
        return "did you mean " + " or ".join(repr(each) for each in found) + "?"
    return "there are: " + ", ".join(names) if names else "there is none."


async def find_table(connection: asyncpg.Connection, name: str) -> Table | None:
    """The table ``name`` (``users``, ``billing.invoices``, upper case as it stands), or None."""
    quoted = ".".join(quote_name(part) for part in name.split(".", 1))
    rows = await connection.fetch(_COLUMNS, quoted)
    if not rows:
        return None
    return Table(
        rows[0]["schema"],
        rows[0]["name"],
        tuple(row["column"] for row in rows),
        {row["column"]: row["sequence"] for row in rows if row["sequence"]},
    )


async def no_such_table(
    connection: asyncpg.Connection, error: type[RealstackError], where: str, name: str
) -> RealstackError:
    """The error for a seed that names a missing table."""
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    return error(
        f"{where}: there is no table {name!r}.",
        remedy=f"{nearest(name, tables)} A table outside of the search path is written schema.table.",
    )


def no_such_column(error: type[RealstackError], where: str, table: Table, column: str) -> RealstackError:
    """The error for a seed that names a missing column."""
    return error(f"{where}: the table {table.name!r} has no column {column!r}.", remedy=nearest(column, table.columns))


async def advance_sequences(connection: asyncpg.Connection, table: Table, columns: set[str]) -> None:
    """Move the sequences behind ``columns`` past the highest value, so that the next insert finds a free one."""
    for column, sequence in table.sequences.items():
        if column in columns:
            highest = f"(SELECT max({quote_name(column)}) FROM {table.quoted})"  # noqa: S608 - quoted names
            await connection.execute(
                f"SELECT setval($1::text::regclass, {highest}) WHERE {highest} > 0",
                sequence,
            )
