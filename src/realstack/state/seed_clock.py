"""While seeds apply, the defaults of columns that read the server's clock, or throw dice for a uuid, give fixed values.

``created_at timestamptz DEFAULT now()`` would otherwise be another one in every build. The defaults are exchanged
before the first seed and put back, as they were, after the last; nothing else of the tables is touched.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from realstack.state.catalog import quote_name

if TYPE_CHECKING:
    import asyncpg

NUMBERS = "realstack_fixed"
"""The schema of the sequence from which uuids follow; it is there while seeds apply."""

_DEFAULTS = r"""
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column, pg_get_expr(d.adbin, d.adrelid) AS expression
FROM pg_attrdef d
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = ''
JOIN pg_class c ON c.oid = d.adrelid AND c.relkind IN ('r', 'p')
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY d.oid
"""
_WORD = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*"
      | (?P<moment>\b(?:now|transaction_timestamp|statement_timestamp|clock_timestamp)\(\)
        | \bCURRENT_TIMESTAMP(?:\(\d\))?)
      | (?P<local>\bLOCALTIMESTAMP(?:\(\d\))?) | (?P<date>\bCURRENT_DATE\b)
      | (?P<time>\bCURRENT_TIME(?:\(\d\))?) | (?P<localtime>\bLOCALTIME(?:\(\d\))?)
      | (?P<uuid>(?:\w+\.)?\b(?:gen_random_uuid|uuid_generate_v[147]|uuidv[47])\(\))""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Default:
    table: str
    column: str
    expression: str
    fixed: str

    def set_to(self, expression: str) -> str:
        return f"ALTER TABLE {self.table} ALTER COLUMN {quote_name(self.column)} SET DEFAULT {expression}"


@asynccontextmanager
async def clock_stands_still(connection: asyncpg.Connection, now: str) -> AsyncIterator[None]:
    """Within it, such defaults count from ``now`` (ISO text); uuids follow from the table and the rows' order.

    Where the body fails nothing is put back: what is being built is dropped then.
    """
    found = await _defaults(connection, datetime.fromisoformat(now))
    if not found:
        yield
        return
    async with connection.transaction():
        await connection.execute(f"CREATE SCHEMA {NUMBERS}; CREATE SEQUENCE {NUMBERS}.uuids")
        await connection.execute(
            f"GRANT USAGE ON SCHEMA {NUMBERS} TO public; GRANT USAGE ON SEQUENCE {NUMBERS}.uuids TO public"
        )
        for each in found:
            await connection.execute(each.set_to(each.fixed))
    yield
    async with connection.transaction():
        for each in found:
            await connection.execute(each.set_to(each.expression))
        await connection.execute(f"DROP SCHEMA {NUMBERS} CASCADE")


def fixed(expression: str, now: datetime, place: str) -> str:
    """A default without clock and dice; the same text if it has none. ``place`` names the column in uuids."""

    there = now.astimezone(UTC)
    digits = f"md5({_text(place)} || nextval('{NUMBERS}.uuids'::regclass)::text)"
    values = {
        "moment": f"'{now.isoformat()}'::timestamptz",
        "local": f"'{there.replace(tzinfo=None).isoformat()}'::timestamp",
        "date": f"'{there.date().isoformat()}'::date",
        "time": f"'{there.time().isoformat()}+00'::timetz",
        "localtime": f"'{there.time().isoformat()}'::time",
        "uuid": f"overlay(overlay({digits} placing '4' from 13) placing '8' from 17)::uuid",
    }

    def replaced(match: re.Match[str]) -> str:
        return values[match.lastgroup] if match.lastgroup else match[0]

    return _WORD.sub(replaced, expression)


async def _defaults(connection: asyncpg.Connection, now: datetime) -> list[_Default]:
    # Without a search path the server writes every name with its schema, so its texts can be read back anywhere.
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = pg_catalog")
        rows = await connection.fetch(_DEFAULTS)
    found = []
    for row in rows:
        table = f"{quote_name(row['schema'])}.{quote_name(row['name'])}"
        expression = fixed(row["expression"], now, f"{table}.{row['column']} ")
        if expression != row["expression"]:
            found.append(_Default(table, row["column"], row["expression"], expression))
    return found


def _text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
