"""The fingerprint of a database: its schema and its rows, computed in the server, independent of their order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments

if TYPE_CHECKING:
    import asyncpg

FINGERPRINT_FORMAT = 3
"""To be raised when the same database would get another fingerprint than before."""
TABLES_AT_ONCE = 50

# What rows look like as text must not depend on the session or the database.
_PINNED = """
SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = ISO; SET LOCAL IntervalStyle = postgres;
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = hex; SET LOCAL TimeZone = 'UTC';
SET LOCAL row_security = off; SET LOCAL xmlbinary = base64; SET LOCAL lc_monetary = 'C';
SET LOCAL jit = off; SET LOCAL statement_timeout = 0
"""

_RELATIONS = r"""
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pg_realstack')
  AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY c.oid
"""


@dataclass(frozen=True)
class Fingerprint:
    """``parts``: from ``kind name`` (``table public.users``, ``rows public.users``) to a text that stands for it."""

    parts: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<Fingerprint {self.digest[:12]} of {len(self.parts)} parts>"

    @property
    def digest(self) -> str:
        """64 hex digits that stand for all of it."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    def difference(self, other: Fingerprint) -> list[str]:
        """What of ``other`` is not as it is here, a line each; none if the two are equal."""
        lines = []
        for name in sorted({*self.parts, *other.parts}):
            mine, others = self.parts.get(name), other.parts.get(name)
            if mine is None:
                lines.append(f"{name} was added")
            elif others is None:
                lines.append(f"{name} is missing")
            elif mine != others:
                lines.append(f"{name} differ: {_shown(mine, others)}" if _tells(name) else f"{name} differs")
        return lines

    def as_json(self) -> str:
        """To be kept in a file or a table; :meth:`from_json` reads it."""
        return json.dumps(self.parts, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """What :meth:`as_json` wrote."""
        return cls(json.loads(text))


async def fingerprint(of: Endpoint | asyncpg.Connection) -> Fingerprint:
    """The fingerprint of a database, read in one snapshot. Needs the right to read all of it.

    Costs about 30 ms for the schema, and a scan of every table.
    """
    async with _reading(of) as connection:
        return Fingerprint({**await _schema(connection), **await _rows(connection, await _looks(connection))})


class Fingerprints:
    """Fingerprints of databases that were copied from one template, taken one after another.

    Rows are read each time. The schema is read anew only where a row of the catalogue was written since: that is
    told in about 2 ms, and is as exact (``catalogue_mark.sql`` says why).
    """

    def __init__(self) -> None:
        self._mark = ""
        self._schema: Mapping[str, str] = {}
        self._looks: list[str] = []

    async def take(self, connection: asyncpg.Connection) -> Fingerprint:
        """As :func:`fingerprint`."""
        async with _reading(connection):
            mark = await _mark(connection)
            if not mark or mark != self._mark:
                self._schema, self._looks = await _schema(connection), await _looks(connection)
                self._mark = mark
            return Fingerprint({**self._schema, **await _rows(connection, self._looks)})


@cache
def _query(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


async def _mark(connection: asyncpg.Connection) -> str:
    """Empty for whoever is no superuser: some of the catalogue only these may read."""
    if connection.get_settings().is_superuser != "on":
        return ""
    return str(await connection.fetchval(_query("catalogue_mark.sql")))


async def _schema(connection: asyncpg.Connection) -> dict[str, str]:
    rows = await connection.fetch(_query("fingerprint.sql"))
    return {f"{kind} {name}": _short(text) for kind, name, text in rows}


async def _looks(connection: asyncpg.Connection) -> list[str]:
    """Queries of whole batches of tables."""
    looks = [_rows_of(row["name"], row["kind"]) for row in await connection.fetch(_RELATIONS)]
    return [
        "\nUNION ALL ".join(looks[begin : begin + TABLES_AT_ONCE]) for begin in range(0, len(looks), TABLES_AT_ONCE)
    ]


async def _rows(connection: asyncpg.Connection, looks: list[str]) -> dict[str, str]:
    return {name: text for look in looks for name, text in await connection.fetch(look)}


@asynccontextmanager
async def _reading(of: Endpoint | asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    import asyncpg

    connection = await asyncpg.connect(**connect_arguments(of)) if isinstance(of, Endpoint) else of
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(_PINNED)
            yield connection
    finally:
        if isinstance(of, Endpoint):
            await connection.close()


def _rows_of(name: str, kind: str) -> str:
    literal = name.replace("'", "''")
    if kind == "S":
        return f"SELECT 'value of sequence {literal}', concat_ws(' ', last_value, is_called) FROM {name}"  # noqa: S608
    # Two sums of hashes with different seeds: 128 bits that do not depend on the order of the rows.
    return (
        f"SELECT 'rows {literal}', concat_ws(' ', count(*), "  # noqa: S608 - the catalogue quotes its names
        f"sum(hashtextextended((t.*)::text, 0)::numeric), sum(hashtextextended((t.*)::text, 1)::numeric)) "
        f"FROM ONLY {name} AS t"
    )


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= 64 else hashlib.sha256(text.encode()).hexdigest()


def _tells(name: str) -> bool:
    return name.startswith(("rows ", "value of sequence "))


def _shown(before: str, after: str) -> str:
    counts = before.split(" ", 1)[0], after.split(" ", 1)[0]
    return f"{counts[0]} → {counts[1]}" if counts[0] != counts[1] else f"as many ({counts[0]}), others"
