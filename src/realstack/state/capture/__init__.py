"""Writes a seed from a live database: chosen rows and what they refer to, personal data masked.

Nothing is written to that database: all is read in one read-only transaction, of one snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.capture.masking import MaskRules, Masks, rules_of
from realstack.state.capture.order import LoadOrder, load_order
from realstack.state.capture.personal import looks_personal
from realstack.state.capture.render import rendered
from realstack.state.capture.subset import Place, Root, chosen_places, order_of
from realstack.state.capture.tables import CapturedTable, Schema, read_schema
from realstack.state.catalog import quote_name
from realstack.state.report import one_line
from realstack.state.seed_yaml import DEFERRED

if TYPE_CHECKING:
    import asyncpg

BOOKKEEPING = frozenset(
    {
        *("alembic_version", "flyway_schema_history", "schema_migrations", "goose_db_version", "gorp_migrations"),
        *("django_migrations", "_sqlx_migrations", "_prisma_migrations", "databasechangelog", "databasechangeloglock"),
    }
)
"""Tables in which migration tools note what they have done; migrations fill them, not seeds."""

# Texts that mean the same to every server, whatever its settings and time zone.
_PINNED = """
SET LOCAL DateStyle = ISO; SET LOCAL IntervalStyle = postgres; SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = hex; SET LOCAL TimeZone = 'UTC'; SET LOCAL row_security = off; SET LOCAL xmlbinary = base64;
SET LOCAL lc_monetary = 'C'
"""

Rows = list[tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What to capture. No ``roots``: all tables. ``rows``: at most so many of each root, in the order of its key.

    ``exclude`` names tables that stay out, such as those that migrations fill. ``key`` is the masks' secret.
    """

    key: bytes = field(repr=False)
    roots: Sequence[Root] = ()
    rows: int | None = None
    with_children: bool = False
    exclude: Sequence[str] = ()
    masks: MaskRules = field(default_factory=lambda: MaskRules({}))


@dataclass(frozen=True, slots=True)
class Captured:
    """A seed, as texts by table in the order in which they load.

    ``masked`` and ``refused`` map columns to a rule, and to why they look personal: while there are any of the
    latter, the texts are not to be written anywhere.
    """

    texts: Mapping[str, str]
    counts: Mapping[str, int]
    deferred: bool
    masked: Mapping[str, str]
    refused: Mapping[str, str]

    def as_file(self) -> str:
        """All of it as one YAML file."""
        return "".join([self._head(), *(f"\n{text}" for text in self.texts.values())])

    def as_files(self) -> dict[str, str]:
        """A file for each table, by name; the numbers in front give the order.

        :raises RealstackError: the rows refer to each other in a circle, so they must go in together.
        """
        if self.deferred:
            raise RealstackError(
                "rows of these tables refer to each other in a circle, so they must go in together.",
                remedy="write one file: -o seed.yaml.",
            )
        width = len(str(len(self.texts)))
        return {
            f"{number:0{width}}_{table}.yaml": f"# Written by `realstack seed capture`.\n{text}"
            for number, (table, text) in enumerate(self.texts.items(), start=1)
        }

    def _head(self) -> str:
        lines = ["# Written by `realstack seed capture`."]
        if self.masked:
            lines.append("# Masked: " + ", ".join(f"{column} ({rule})" for column, rule in self.masked.items()) + ".")
        if self.deferred:
            lines.append(f"{DEFERRED}: true")
        return "\n".join(lines) + "\n"


async def capture(endpoint: Endpoint, request: CaptureRequest) -> Captured:
    """Read what ``request`` asks for from the database of ``endpoint``.

    :raises RealstackError: the server does not let us in or read; a table, a condition or a mask is wrong; or the rows
        refer to each other in a circle that no order can load.
    """
    async with _reading(endpoint) as connection:
        schema = await read_schema(connection)
        rules = rules_of(schema, request.masks)
        without = _excluded(schema, request.exclude)
        roots = request.roots or [Root(table.shown) for table in schema.tables.values() if table.oid not in without]
        places = await chosen_places(
            connection,
            schema,
            roots,
            most=request.rows,
            with_children=request.with_children,
            without=without,
        )
        tables = [table for table in schema.tables.values() if table.oid in places]
        rows = {table.oid: await _rows(connection, table, places[table.oid]) for table in tables}
    return _made(schema, tables, rows, rules, request)


def _made(
    schema: Schema,
    tables: Sequence[CapturedTable],
    rows: Mapping[int, Rows],
    rules: Mapping[tuple[int, str], str],
    request: CaptureRequest,
) -> Captured:
    masks = Masks(request.key)
    # What a foreign key holds is asked for where it comes from, if that is captured too.
    referring = {(key.child, column) for key in schema.foreign_keys if key.parent in rows for column in key.columns}
    masked: dict[str, str] = {}
    refused: dict[str, str] = {}
    written: dict[int, Rows] = {}
    for table in tables:
        columns: list[list[str | None]] = []
        for number, column in enumerate(table.columns):
            values = [row[number] for row in rows[table.oid]]
            rule, shown = rules.get((table.oid, column.name), ""), f"{table.shown}.{column.name}"
            if rule not in ("", "keep"):
                masked[shown] = "fixed" if rule.startswith("fixed:") else rule
            elif not rule and (table.oid, column.name) not in referring and (why := looks_personal(column, values)):
                refused[shown] = why
            columns.append([masks.masked(table, column, rule, each) for each in values])
            if column.unique:
                _assert_apart(shown, rule, values, columns[-1])
        written[table.oid] = list(zip(*columns, strict=True)) if columns else [() for _ in rows[table.oid]]
    order: LoadOrder = load_order(schema, written)
    ordered = [schema.tables[oid] for oid in order.tables]
    return Captured(
        {table.shown: rendered(table, written[table.oid]) for table in ordered},
        {table.shown: len(written[table.oid]) for table in ordered},
        order.deferred,
        masked,
        refused,
    )


def _assert_apart(shown: str, rule: str, before: Sequence[str | None], after: Sequence[str | None]) -> None:
    left = [each for each in after if each is not None]
    if len(set(left)) < len(left) and len({*before}) == len(before):
        raise RealstackError(
            f"{shown} must hold each value once, and its mask {rule!r} makes several the same.",
            remedy="use `hash` there, or a mask of its kind.",
        )


def _excluded(schema: Schema, names: Sequence[str]) -> frozenset[int]:
    found = {table.oid for table in schema.tables.values() if table.name.lower() in BOOKKEEPING}
    for name in names:
        table = schema.named(name)
        if table is None:
            raise RealstackError(f"--exclude: there is no table {name!r}.", remedy="correct the name.")
        found.add(table.oid)
    return frozenset(found)


async def _rows(connection: asyncpg.Connection, table: CapturedTable, places: set[Place]) -> Rows:
    """The texts that the server has for the values of these rows."""
    columns = "".join(f", t.{quote_name(column.name)}::text" for column in table.columns)
    query = (
        f"SELECT 1{columns} FROM {table.source} AS t "  # noqa: S608 - quoted names
        "JOIN unnest($1::oid[], $2::text[]) AS k (o, p) ON t.tableoid = k.o AND t.ctid = k.p::tid "
        f"ORDER BY {order_of(table, 't.')}"
    )
    found = await connection.fetch(query, [place[0] for place in places], [place[1] for place in places])
    return [tuple(row)[1:] for row in found]


@asynccontextmanager
async def _reading(endpoint: Endpoint) -> AsyncIterator[asyncpg.Connection]:
    import asyncpg

    try:
        connection = await asyncpg.connect(**connect_arguments(endpoint), statement_cache_size=0)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as problem:
        raise RealstackError(
            f"{endpoint.safe_url} does not let us in: {type(problem).__name__}: {one_line(problem)}",
            remedy="correct the address.",
        ) from problem
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(_PINNED)
            yield connection
    except asyncpg.PostgresError as problem:
        raise RealstackError(
            f"the database cannot be read: {one_line(problem)}",
            remedy="capture as a role that may read all of these tables, or leave some out by --exclude.",
        ) from problem
    finally:
        await connection.close()
