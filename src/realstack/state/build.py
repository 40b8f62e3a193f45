"""Builds one template in a server, once: create, fill, mark ready last, under a lock that all builders share.

A build that was killed leaves a template without the ready mark, and the next one drops and rebuilds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack.errors import NotOurs
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state import naming
from realstack.state.catalog import quote_name
from realstack.state.database_settings import read_database_settings, write_database_settings
from realstack.state.migrate import apply_steps
from realstack.state.reset.install import RESET_FORMAT, install
from realstack.state.server import (
    copy_strategy,
    create_database,
    drop_database,
    locked,
    our_databases,
    set_comment,
)
from realstack.state.sources import Step

if TYPE_CHECKING:
    import asyncpg

EMPTY = "template0"  # template1 may hold what somebody put there; template0 is the same on every server
TOUCH_EVERY = timedelta(hours=12)

_OWN_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY c.oid
"""
# The language plpgsql is in every database, and its version has never changed.
_EXTENSIONS = """
SELECT a.name, a.default_version FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname
WHERE a.name <> 'plpgsql' ORDER BY a.name
"""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a template is to hold: the database ``below`` it (:data:`EMPTY`, or another template), then ``steps``."""

    name: str
    state: str
    below: str
    root: Path
    steps: Sequence[Step]
    in_place: bool


async def built_once(connection: asyncpg.Connection, endpoint: Endpoint, wanted: Blueprint) -> bool:
    """Build ``wanted`` unless it is there, ready; whether this call did. Others who want it wait meanwhile.

    :raises MigrationFailed: a step failed; nothing of the half-made template is left.
    :raises SeedFailed: the same of a seed.
    :raises NotOurs: the name is taken by somebody else's database.
    """
    name = wanted.name
    async with locked(connection, name):
        databases = await our_databases(connection)
        if await is_current(connection, databases.get(name)):
            return False
        if name in databases:  # its maker was killed, or the server has other extensions since
            if not naming.is_ours(name, databases[name]):
                raise NotOurs(
                    f"the database {name!r} has the name of our template, but somebody else's comment.",
                    remedy="rename or drop it.",
                )
            await drop_database(connection, name)
        await _build(connection, endpoint, wanted)
    return True


def is_ready(comment: str | None) -> bool:
    """Whether the template of that comment was built to its end."""
    facts = naming.read_mark(comment)
    return facts is not None and facts.get("ready") is True


async def is_current(connection: asyncpg.Connection, comment: str | None) -> bool:
    """Whether the template of that comment is whole, and the server would still make its extensions the same."""
    if not is_ready(comment):
        return False
    noted = (naming.read_mark(comment) or {}).get("extensions") or {}
    if not noted:
        return True
    query = "SELECT name, default_version FROM pg_available_extensions WHERE name = ANY ($1)"
    return dict(await connection.fetch(query, [*noted])) == noted


def resettable(state: str) -> str:
    """The name of the state ``state`` with reset in place installed."""
    return hashlib.sha256(f"{state} in place {RESET_FORMAT}".encode()).hexdigest()


async def touch(connection: asyncpg.Connection, name: str, comment: str | None) -> None:
    """Note that the template is in use, so that no other project's build takes it for stale."""
    facts = naming.read_mark(comment) or {}
    if unused_for(facts) > TOUCH_EVERY:
        kept = {key: value for key, value in facts.items() if key not in ("realstack", "kind", "used")}
        await set_comment(connection, name, naming.mark("template", **kept, used=_now()))


def unused_for(facts: Mapping[str, Any]) -> timedelta:
    """Since when a database is unused; very long where its mark does not tell."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(str(facts.get("used")))
    except (ValueError, TypeError):
        return timedelta.max


async def _build(connection: asyncpg.Connection, endpoint: Endpoint, wanted: Blueprint) -> None:
    import asyncpg

    name = wanted.name
    facts: dict[str, Any] = {"state": wanted.state, "made": _now(), "used": _now()}
    await create_database(
        connection,
        name,
        template=wanted.below,
        strategy=await copy_strategy(connection),
        comment=naming.mark("template", ready=False, **facts),
    )
    inside = replace(endpoint, database=name)
    try:
        if wanted.below != EMPTY:
            await write_database_settings(connection, name, await read_database_settings(connection, wanted.below))
        await apply_steps(inside, wanted.steps, wanted.root)
        facts["extensions"] = await _settle(inside, in_place=wanted.in_place)
        # Nobody may be connected to a database while it is copied: close it to all.
        await connection.execute(f"ALTER DATABASE {quote_name(name)} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        await set_comment(connection, name, naming.mark("template", ready=True, **facts))
    except BaseException:
        # Where the server itself is gone the first error tells more than a second one would.
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await asyncio.shield(drop_database(connection, name))
        raise


async def _settle(endpoint: Endpoint, *, in_place: bool) -> dict[str, str]:
    """What reset in place needs, if asked for; then what makes copies quick from the first query on.

    Statistics for real plans, rows that no later reader must mark, and the relation cache that copies inherit. Gives
    the extensions that are in use, each with the version that the server makes by default.
    """
    import asyncpg

    connection = await asyncpg.connect(**connect_arguments(endpoint))
    try:
        if in_place:
            await install(connection)
        # The system's own tables were vacuumed by initdb; doing it again takes longer than all else here.
        tables = ", ".join(row[0] for row in await connection.fetch(_OWN_TABLES))
        if tables:
            await connection.execute(f"VACUUM (FREEZE, ANALYZE) {tables}")
        extensions = dict(await connection.fetch(_EXTENSIONS))
    finally:
        await connection.close()
    connection = await asyncpg.connect(**connect_arguments(endpoint))  # its start writes pg_internal.init
    await connection.close()
    return extensions


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
