"""The known state of Postgres as a template database: built once, named by the hash of its sources.

Create, fill, mark ready last: a build that was killed leaves a template without the mark, and the next one
drops and rebuilds it. An advisory lock in the server lets exactly one builder in, on whichever machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack.errors import NotOurs
from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state import naming
from realstack.state.catalog import quote_name
from realstack.state.migrate import apply_steps
from realstack.state.reset.install import RESET_FORMAT, install
from realstack.state.server import (
    connect_for_maintenance,
    copy_strategy,
    create_database,
    drop_database,
    locked,
    locked_if_free,
    our_databases,
    set_comment,
)
from realstack.state.sources import Step, hash_of, read_steps

if TYPE_CHECKING:
    import asyncpg

STALE_AFTER = timedelta(days=7)
"""A template that nobody used for so long is dropped by the next build of its project."""
TOUCH_EVERY = timedelta(hours=12)

_EMPTY = "template0"  # template1 may hold what somebody put there; template0 is the same on every server

_OWN_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY c.oid
"""


@dataclass(frozen=True)
class Template:
    """A database at the known state, to be copied and never written. ``took_s``: finding or building it.

    ``in_place``: its copies can be reset from inside, by :class:`realstack.state.reset.InPlace`.
    """

    name: str
    state: str
    built: bool
    took_s: float
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    state: str
    root: Path
    steps: list[Step]
    in_place: bool


async def prepare_template(endpoint: Endpoint, plan: PostgresPlan, *, in_place: bool = False) -> Template:
    """The template of the state that ``plan`` describes; built if the server does not have it yet.

    Safe to be called by many processes at once: one builds, the others wait. It outlives the caller.
    ``in_place`` asks for one whose copies can be reset from inside; that is another template than one without.

    :raises MigrationFailed: a migration failed; nothing of the half-made state is left.
    :raises SeedFailed: the same of a seed.
    :raises NotOurs: a given server's database is neither empty nor marked, or the name is taken.
    :raises RealstackError: ``in_place``, and the declared user is no superuser.
    """
    began = time.monotonic()
    steps = await asyncio.to_thread(read_steps, plan)
    connection = await connect_for_maintenance(endpoint)
    try:
        major = connection.get_server_version().major
        state = await asyncio.to_thread(hash_of, steps, root=plan.root, server_major=major)
        if in_place:
            state = hashlib.sha256(f"{state} in place {RESET_FORMAT}".encode()).hexdigest()
        name = naming.template_name(plan.root, state)
        built = await _found_or_built(connection, endpoint, _Wanted(name, state, plan.root, steps, in_place))
    finally:
        await connection.close()
    return Template(name, state, built, time.monotonic() - began, in_place)


async def _found_or_built(connection: asyncpg.Connection, endpoint: Endpoint, wanted: _Wanted) -> bool:
    name = wanted.name
    databases = await our_databases(connection)
    if _ready(databases.get(name)):
        await _touch(connection, name, databases[name])
        await _drop_orphans(connection, databases)
        return False
    if endpoint.provider == "external":
        from realstack.state.ownership import assert_empty_or_marked

        await assert_empty_or_marked(endpoint)
    async with locked(connection, name):
        databases = await our_databases(connection)
        if _ready(databases.get(name)):
            return False
        if name in databases:
            if not naming.is_ours(name, databases[name]):
                raise NotOurs(
                    f"the database {name!r} has the name of our template, but somebody else's comment.",
                    remedy="rename or drop it.",
                )
            await drop_database(connection, name)
        await _build(connection, endpoint, wanted)
    await _drop_orphans(connection, databases)
    await _drop_stale(connection, databases, wanted)
    return True


def _ready(comment: str | None) -> bool:
    facts = naming.read_mark(comment)
    return facts is not None and facts.get("ready") is True


async def _build(connection: asyncpg.Connection, endpoint: Endpoint, wanted: _Wanted) -> None:
    import asyncpg

    name = wanted.name
    facts: dict[str, Any] = {"state": wanted.state, "made": _now(), "used": _now()}
    await create_database(
        connection,
        name,
        template=_EMPTY,
        strategy=await copy_strategy(connection),
        comment=naming.mark("template", ready=False, **facts),
    )
    inside = replace(endpoint, database=name)
    try:
        await apply_steps(inside, wanted.steps, wanted.root)
        if wanted.in_place:
            await _make_resettable(inside)
        await _settle(inside)
        # Nobody may be connected to a database while it is copied: close it to all.
        await connection.execute(f"ALTER DATABASE {quote_name(name)} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        await set_comment(connection, name, naming.mark("template", ready=True, **facts))
    except BaseException:
        # Where the server itself is gone the first error tells more than a second one would.
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await asyncio.shield(drop_database(connection, name))
        raise


async def _make_resettable(endpoint: Endpoint) -> None:
    import asyncpg

    connection = await asyncpg.connect(**connect_arguments(endpoint))
    try:
        await install(connection)
    finally:
        await connection.close()


async def _settle(endpoint: Endpoint) -> None:
    """Statistics for real plans, rows that no later reader must mark, and the relation cache that copies inherit."""
    import asyncpg

    connection = await asyncpg.connect(**connect_arguments(endpoint))
    try:
        # The system's own tables were vacuumed by initdb; doing it again takes longer than all else here.
        tables = ", ".join(row[0] for row in await connection.fetch(_OWN_TABLES))
        if tables:
            await connection.execute(f"VACUUM (FREEZE, ANALYZE) {tables}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(**connect_arguments(endpoint))  # its start writes pg_internal.init
    await connection.close()


async def _touch(connection: asyncpg.Connection, name: str, comment: str | None) -> None:
    """Note that the template is in use, so that no other project's build takes it for stale."""
    facts = naming.read_mark(comment) or {}
    if _age(facts) > TOUCH_EVERY:
        kept = {key: value for key, value in facts.items() if key not in ("realstack", "kind", "used")}
        await set_comment(connection, name, naming.mark("template", **kept, used=_now()))


async def _drop_stale(connection: asyncpg.Connection, databases: Mapping[str, str | None], wanted: _Wanted) -> None:
    """Drop this project's templates that nobody used for long, and builds that died."""
    for name, comment in databases.items():
        of_project = naming.is_template(name) and name.startswith(naming.template_prefix(wanted.root))
        if name == wanted.name or not of_project:
            continue
        if _ready(comment) and _age(naming.read_mark(comment) or {}) < STALE_AFTER:
            continue
        async with locked_if_free(connection, name) as free:
            if free and naming.is_ours(name, comment):
                await drop_database(connection, name)


async def _drop_orphans(connection: asyncpg.Connection, databases: Mapping[str, str | None]) -> None:
    """Drop what lenders that are gone have left; a lender that lives holds its lock."""
    for name, comment in databases.items():
        lender = naming.lender_of(name)
        if lender is None or not naming.is_ours(name, comment):
            continue
        facts = naming.read_mark(comment) or {}
        if facts.get("kept") and _age(facts) < STALE_AFTER:
            continue
        async with locked_if_free(connection, lender) as free:
            if free:
                await drop_database(connection, name)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _age(facts: Mapping[str, Any]) -> timedelta:
    """Since when a database is unused; very long where its mark does not tell."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(str(facts.get("used")))
    except (ValueError, TypeError):
        return timedelta.max
