"""What a capture knows of the database: its tables, their columns, and the foreign keys between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realstack.state.catalog import quote_name

if TYPE_CHECKING:
    import asyncpg

INTEGERS = ("int2", "int4", "int8", "oid")
TEXTS = ("text", "varchar", "bpchar", "citext", "name")

_TABLES = r"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS partitioned,
    coalesce((SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
     FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
     WHERE i.indrelid = c.oid AND i.indisprimary), '{}') AS key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid
"""
_COLUMNS = """
SELECT a.attrelid AS of_table, a.attname AS name, a.atttypid AS type, a.atttypmod AS modifier,
    format_type(a.atttypid, a.atttypmod) AS shown,
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indnatts = 1
            AND i.indkey[0] = a.attnum) AS unique
FROM pg_attribute a
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attrelid, a.attnum
"""
_TYPES = "SELECT oid, typname, typtype::text, typbasetype, typcategory::text FROM pg_type"
_FOREIGN_KEYS = """
SELECT c.conname AS name, coalesce(pg_partition_root(c.conrelid), c.conrelid)::oid AS child,
    coalesce(pg_partition_root(c.confrelid), c.confrelid)::oid AS parent, c.condeferrable AS deferrable,
    (SELECT array_agg(a.attname::text ORDER BY k.nth) FROM unnest(c.conkey) WITH ORDINALITY AS k (number, nth)
     JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS columns,
    (SELECT array_agg(a.attname::text ORDER BY k.nth) FROM unnest(c.confkey) WITH ORDINALITY AS k (number, nth)
     JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number) AS referred
FROM pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0 ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values are written: not a generated one. ``base`` is its type's name, domains looked through.

    ``category`` is the letter that pg_type has for that. ``length`` is what fits, in characters; 0: any.
    ``unique``: an index of this column alone keeps its values apart.
    """

    name: str
    shown_type: str
    base: str
    category: str
    length: int = 0
    unique: bool = False


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """A table with rows of its own; partitions are their parent's. ``key`` are the columns of its primary key."""

    oid: int
    schema: str
    name: str
    partitioned: bool
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def shown(self) -> str:
        """As seeds name it: the schema only where it is not ``public``."""
        plain = self.schema == "public" and "." not in self.name and not self.name.startswith("$")
        return self.name if plain else f"{self.schema}.{self.name}"

    @property
    def source(self) -> str:
        """For FROM: without the rows of tables that inherit, which are tables by themselves."""
        return f"{'' if self.partitioned else 'ONLY '}{quote_name(self.schema)}.{quote_name(self.name)}"

    def column(self, name: str) -> Column | None:
        """That column, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of the table ``child`` name rows of ``parent`` by ``referred``."""

    name: str
    child: int
    parent: int
    columns: tuple[str, ...]
    referred: tuple[str, ...]
    deferrable: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """All tables of a database, by oid, and the foreign keys between them."""

    tables: Mapping[int, CapturedTable]
    foreign_keys: tuple[ForeignKey, ...]

    def named(self, name: str) -> CapturedTable | None:
        """The table of that name: ``users``, ``public.users``, ``billing.invoices``."""
        for table in self.tables.values():
            if name in (table.shown, f"{table.schema}.{table.name}"):
                return table
        return None


async def read_schema(connection: asyncpg.Connection) -> Schema:
    """The tables that a capture may hold: not those of extensions, of the system, or temporary ones."""
    types = {row["oid"]: row for row in await connection.fetch(_TYPES)}
    tables = await connection.fetch(_TABLES)
    columns: dict[int, list[Column]] = {row["oid"]: [] for row in tables}
    for row in await connection.fetch(_COLUMNS, [*columns]):
        columns[row["of_table"]].append(_column(row, types))
    found = {
        row["oid"]: CapturedTable(
            row["oid"], row["schema"], row["name"], row["partitioned"], tuple(row["key"]), tuple(columns[row["oid"]])
        )
        for row in tables
    }
    keys = tuple(
        ForeignKey(
            row["name"], row["child"], row["parent"], tuple(row["columns"]), tuple(row["referred"]), row["deferrable"]
        )
        for row in await connection.fetch(_FOREIGN_KEYS)
        if row["child"] in found and row["parent"] in found
    )
    return Schema(found, keys)


def _column(row: Any, types: Mapping[int, Any]) -> Column:
    kind, modifier = types[row["type"]], row["modifier"]
    while kind["typtype"] == "d":
        kind = types[kind["typbasetype"]]
    length = modifier - 4 if kind["typname"] in ("varchar", "bpchar") and modifier > 4 else 0
    return Column(row["name"], row["shown"], kind["typname"], kind["typcategory"], length, row["unique"])
