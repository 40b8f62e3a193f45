"""The known state of Postgres as a template database: built once, named by the hash of its sources.

Here is which template, and what is swept besides; how one is built is :mod:`realstack.state.build`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.model import Endpoint, PostgresPlan
from realstack.state import naming
from realstack.state.build import EMPTY, Blueprint, built_once, is_current, is_ready, resettable, touch
from realstack.state.fingerprint import FINGERPRINT_FORMAT
from realstack.state.leftovers import drop_orphans, drop_stale
from realstack.state.server import (
    connect_for_maintenance,
    locked,
    our_databases,
    server_version,
    set_comment,
)
from realstack.state.sources import hash_of, read_steps

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True)
class Template:
    """A database at the known state, to be copied and never written. ``took_s``: finding or building it.

    ``in_place``: its copies can be reset from inside, by :class:`realstack.state.reset.InPlace`. ``notes``: what there
    is to say of what earlier runs have left in the server.
    """

    name: str
    state: str
    built: bool
    took_s: float
    in_place: bool = False
    notes: tuple[str, ...] = ()


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
        version = server_version(connection)
        state = await asyncio.to_thread(hash_of, steps, root=plan.root, server_version=version)
        if in_place:
            state = resettable(state)
        name = naming.template_name(plan.root, state)
        wanted = Blueprint(name, state, EMPTY, plan.root, steps, in_place)
        built, notes = await _found_or_built(connection, endpoint, wanted)
    finally:
        await connection.close()
    return Template(name, state, built, time.monotonic() - began, in_place, tuple(notes))


async def seen_fingerprint(endpoint: Endpoint, template: Template, found: str) -> str:
    """The fingerprint (a digest) with which the template was first seen; ``found`` becomes that where there is none.

    It is kept in the template's mark, and counts as long as the server and the way of taking it are the same.
    """
    connection = await connect_for_maintenance(endpoint)
    try:
        async with locked(connection, f"{template.name} fingerprint"):
            version = connection.get_server_version()
            taken_by = f"{FINGERPRINT_FORMAT} on {version.major}.{version.minor}"
            facts = dict(naming.read_mark((await our_databases(connection)).get(template.name)) or {})
            if facts.get("fingerprint_by") == taken_by:
                return str(facts.get("fingerprint"))
            if facts.get("ready"):
                facts.update(fingerprint=found, fingerprint_by=taken_by)
                await set_comment(connection, template.name, naming.mark_of(facts))
            return found
    finally:
        await connection.close()


async def template_of(copy: Endpoint) -> Template | None:
    """The template of which the database ``copy`` was made, by its mark; None where it has none of ours.

    :raises RealstackError: that template is not there any more.
    """
    connection = await connect_for_maintenance(copy)
    try:
        databases = await our_databases(connection)
    finally:
        await connection.close()
    state = (naming.read_mark(databases.get(copy.database or "")) or {}).get("state")
    if state is None:
        return None
    for name, comment in databases.items():
        if naming.is_template(name) and is_ready(comment) and (naming.read_mark(comment) or {}).get("state") == state:
            return Template(name, str(state), built=False, took_s=0.0)
    raise RealstackError(
        f"the known state of the database {copy.database} is not there any more: the template of {state[:12]}.",
        remedy="run its test again.",
    )


async def why_not_in_place(endpoint: Endpoint) -> str | None:
    """Why no database of that server can be reset in place; None where they can. Servers of ours always can."""
    if endpoint.provider != "external":
        return None
    connection = await connect_for_maintenance(endpoint)
    try:
        if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            return "the declared user is no superuser, which reset in place needs"
    finally:
        await connection.close()
    return None


async def _found_or_built(
    connection: asyncpg.Connection, endpoint: Endpoint, wanted: Blueprint
) -> tuple[bool, list[str]]:
    """Whether it was built now, and what there is to say of what was swept besides."""
    name = wanted.name
    databases = await our_databases(connection)
    if await is_current(connection, databases.get(name)):
        await touch(connection, name, databases[name])
        return False, await drop_orphans(connection, databases)
    if endpoint.provider == "external":
        from realstack.state.ownership import assert_empty_or_marked

        await assert_empty_or_marked(endpoint)
    if not await built_once(connection, endpoint, wanted):
        return False, []
    notes = await drop_orphans(connection, databases)
    return True, notes + await drop_stale(connection, databases, root=wanted.root, but=name)
