"""What the known state asks of a Postgres server as a whole: databases made, marked, locked and dropped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.catalog import quote_name
from realstack.state.naming import is_ours, lock_key
from realstack.state.report import notes_of, one_line

if TYPE_CHECKING:
    import asyncpg

GONE_WITHIN_S = 1.0
FIRST_WITH_STRATEGY = 15
FIRST_WITH_CLONE = 18

_OUR_DATABASES = r"""
SELECT datname, shobj_description(oid, 'pg_database')
FROM pg_database WHERE datname LIKE 'rs\_%' ORDER BY datname
"""

_REMEDIES = {
    "42501": "give the declared user the right: ALTER ROLE … CREATEDB.",
    "53100": "make room on the server's disk; for embedded servers that is the tmpfs or the temporary folder.",
    "53300": "use fewer workers or smaller pools, or raise the server's max_connections.",
    "3D000": "its template is gone: somebody dropped it. The next run builds it anew.",
}


async def connect_for_maintenance(endpoint: Endpoint) -> asyncpg.Connection:
    """A connection to the server's maintenance database; the caller closes it.

    :raises RealstackError: the server does not let us in.
    """
    import asyncpg

    database = endpoint.options.get("maintenance_db") or endpoint.database
    try:
        return await asyncpg.connect(**connect_arguments(endpoint, database=database))
    except (OSError, asyncpg.PostgresError, TimeoutError) as problem:
        raise RealstackError(
            f"{endpoint.safe_url} does not let us in: {type(problem).__name__}: {one_line(problem)}",
            remedy=_REMEDIES.get(str(getattr(problem, "sqlstate", "")), "`realstack status` shows what runs."),
        ) from problem


def server_version(connection: asyncpg.Connection) -> str:
    """The server's exact version, such as ``17.6``, without what a distribution appends."""
    return str(connection.get_settings().server_version).split(" ", 1)[0]


async def our_databases(connection: asyncpg.Connection) -> dict[str, str | None]:
    """Names and comments of the server's databases whose names begin like ours."""
    return {row[0]: row[1] for row in await connection.fetch(_OUR_DATABASES)}


async def copy_strategy(connection: asyncpg.Connection) -> str | None:
    """How CREATE DATABASE should copy here; None for the server's own way.

    FILE_COPY makes checkpoints, which cost nothing where the server never syncs, and is 2 to 5 times faster there; it
    clones where the server is set to that. A server that syncs gets WAL_LOG, which is PostgreSQL's own default.
    """
    if connection.get_server_version().major < FIRST_WITH_STRATEGY:
        return None
    if await connection.fetchval("SELECT current_setting('fsync')") == "on":
        return "wal_log"
    # What the server is set to, whatever this session has set.
    method = await connection.fetchval("SELECT reset_val FROM pg_settings WHERE name = 'file_copy_method'")
    return "clone" if method == "clone" else "file_copy"


async def create_database(
    connection: asyncpg.Connection, name: str, *, template: str, strategy: str | None, comment: str
) -> None:
    """Make the database ``name`` as a copy of ``template``, and mark it.

    :raises RealstackError: the server refuses.
    """
    import asyncpg

    try:
        await copy_database(connection, name, template, strategy)
        await set_comment(connection, name, comment)
    except asyncpg.PostgresError as problem:
        raise RealstackError(
            f"the database {name} could not be made from {template}: {one_line(problem)}",
            details=notes_of(problem),
            remedy=_REMEDIES.get(str(problem.sqlstate), "look at the server's log: `realstack logs postgres`."),
        ) from problem


async def copy_database(connection: asyncpg.Connection, name: str, template: str, strategy: str | None) -> None:
    """CREATE DATABASE by that strategy: ``file_copy``, ``wal_log``, ``clone``, or None for the server's own."""
    how = f" STRATEGY {'file_copy' if strategy == 'clone' else strategy}" if strategy else ""
    method = {"clone": "clone", "file_copy": "copy"}.get(strategy or "")
    if method and connection.get_server_version().major >= FIRST_WITH_CLONE:
        # Each time: neither the server's own setting nor the copy before is to bear on this one.
        await connection.execute(f"SET file_copy_method = {method}")
    await connection.execute(f"CREATE DATABASE {quote_name(name)} TEMPLATE {quote_name(template)}{how}")


async def set_comment(connection: asyncpg.Connection, name: str, comment: str) -> None:
    """Replace the comment of the database ``name``."""
    await connection.execute(
        await connection.fetchval("SELECT format('COMMENT ON DATABASE %I IS %L', $1::text, $2::text)", name, comment)
    )


async def drop_database(connection: asyncpg.Connection, name: str) -> None:
    """Drop the database ``name``, which must be ours; its sessions are ended. Nothing happens if it is gone.

    :raises NotOurs: its name, or a template's comment, is not ours.
    """
    row = await connection.fetchrow(
        "SELECT shobj_description(oid, 'pg_database'), datistemplate FROM pg_database WHERE datname = $1", name
    )
    if row is None:
        return
    if not is_ours(name, row[0]):
        raise NotOurs(
            f"the database {name!r} does not carry realstack's mark; it is not dropped.",
            remedy="if it may go, drop it yourself.",
        )
    if row[1]:
        await connection.execute(f"ALTER DATABASE {quote_name(name)} IS_TEMPLATE false")
    await _end_sessions(connection, name)
    await connection.execute(f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE)")


@asynccontextmanager
async def locked(connection: asyncpg.Connection, name: str) -> AsyncIterator[None]:
    """Hold the server-wide lock that stands for ``name``. It ends with the connection, however that ends."""
    await connection.execute("SELECT pg_advisory_lock($1)", lock_key(name))
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", lock_key(name))


@asynccontextmanager
async def locked_if_free(connection: asyncpg.Connection, name: str) -> AsyncIterator[bool]:
    """As :func:`locked`, but yields False at once where somebody else holds the lock."""
    free = await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock_key(name))
    try:
        yield bool(free)
    finally:
        if free and not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", lock_key(name))


async def _end_sessions(connection: asyncpg.Connection, name: str) -> None:
    """DROP naps for 100 ms wherever it finds a session, even one that is about to end: look more often."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        ended = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        if not ended:
            return
        await asyncio.sleep(0.002)
