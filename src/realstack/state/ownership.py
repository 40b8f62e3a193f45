"""Whether a given server may be written: declared fit for throwing away, and empty or marked as ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from realstack.errors import NotOurs
from realstack.model import POSTGRES, REDIS, Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state import naming
from realstack.state.server import set_comment

if TYPE_CHECKING:
    import asyncpg

REDIS_MARK = "realstack:mark"

_INITDB_COMMENTS = (None, "default administrative connection database")

_FOREIGN_OBJECTS = """
WITH own AS (
    SELECT oid FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND nspname !~ '^pg_(toast_)?temp_'
)
SELECT what FROM (
    SELECT 'table ' || c.oid::regclass::text AS what, c.oid, 'pg_class'::regclass AS kind
    FROM pg_class c WHERE c.relnamespace IN (SELECT oid FROM own) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure::text, p.oid, 'pg_proc'::regclass
    FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM own)
    UNION ALL
    SELECT 'schema ' || n.nspname, n.oid, 'pg_namespace'::regclass
    FROM pg_namespace n WHERE n.oid IN (SELECT oid FROM own) AND n.nspname <> 'public'
) AS found
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = found.kind AND d.objid = found.oid AND d.deptype = 'e'
)
ORDER BY what LIMIT 4
"""


async def assert_ours(endpoint: Endpoint, *, declared_disposable: bool) -> None:
    """Refuse a given server unless it is declared disposable, and empty or marked; mark it if it is empty.

    :raises NotOurs: it is not declared, or holds something that realstack did not make.
    """
    if not declared_disposable:
        raise NotOurs(
            f"{endpoint.safe_url} is not declared fit for throwing away; nothing is written there.",
            remedy=f"if it is, set REALSTACK_DISPOSABLE={endpoint.service}, "
            f"or [tool.realstack.{endpoint.kind}] disposable = true.",
        )
    if endpoint.kind == POSTGRES:
        await assert_empty_or_marked(endpoint)
    elif endpoint.kind == REDIS:
        await _assert_redis(endpoint)


async def assert_empty_or_marked(endpoint: Endpoint) -> None:
    """Refuse a database that holds anything that realstack did not make; mark an empty one.

    :raises NotOurs: it has tables, functions or schemas of somebody's.
    """
    import asyncpg

    connection = await asyncpg.connect(**connect_arguments(endpoint))
    try:
        comment = await _comment(connection)
        if naming.read_mark(comment) is not None:
            return
        found = [row[0] for row in await connection.fetch(_FOREIGN_OBJECTS)]
        if found:
            raise NotOurs(
                f"{endpoint.safe_url} is not empty and does not carry realstack's mark; nothing is written there.",
                details=[f"it has {', '.join(found[:3])}" + (", …" if len(found) > 3 else "")],
                remedy="name an empty database of a server that is for tests only.",
            )
        if comment in _INITDB_COMMENTS:
            await _adopt(connection)
    finally:
        await connection.close()


async def _comment(connection: asyncpg.Connection) -> str | None:
    comment: str | None = await connection.fetchval(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    )
    return comment


async def _adopt(connection: asyncpg.Connection) -> None:
    import asyncpg

    try:
        name = await connection.fetchval("SELECT current_database()")
        await set_comment(connection, name, naming.mark("given"))
    except asyncpg.InsufficientPrivilegeError:
        pass  # its owner is somebody else: it has no mark then, and must be empty each time


async def _assert_redis(endpoint: Endpoint) -> None:
    from realstack.services.redis import CLUSTER, client

    connected = client(endpoint, database=0)
    try:
        if await connected.get(REDIS_MARK) is not None:
            return
        if CLUSTER in endpoint.options:  # INFO and DBSIZE are one node's
            filled = ["the cluster has keys" async for _ in connected.scan_iter(count=1000)][:1]
        else:
            keyspace = await connected.info("keyspace")
            filled = [f"{name} has {facts['keys']} keys" for name, facts in sorted(keyspace.items())]
        if filled:
            raise NotOurs(
                f"{endpoint.safe_url} holds keys and does not carry realstack's mark; nothing is written there.",
                details=["; ".join(filled)],
                remedy="name a server that is for tests only and empty (FLUSHALL it yourself if it may go).",
            )
        await connected.set(REDIS_MARK, json.dumps({"realstack": naming.MARK_VERSION}), nx=True)
    finally:
        await connected.aclose()
