"""What earlier runs have left in a server: databases of lenders that are gone, templates that nobody uses.

What cannot be dropped is told and left to the next run: no run is to fail for another one's sake.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.state import naming
from realstack.state.build import is_ready, unused_for
from realstack.state.report import one_line
from realstack.state.server import drop_database, locked_if_free

if TYPE_CHECKING:
    import asyncpg

STALE_AFTER = timedelta(days=7)
"""A template that nobody used for so long is dropped by the next build of its project; so is a kept database."""


async def drop_orphans(connection: asyncpg.Connection, databases: Mapping[str, str | None]) -> list[str]:
    """Drop what lenders that are gone have left; a lender that lives holds its lock. What there is to say of it."""
    notes = []
    for name, comment in databases.items():
        lender = naming.lender_of(name)
        if lender is None or not naming.is_ours(name, comment):
            continue
        facts = naming.read_mark(comment) or {}
        if facts.get("kept") and unused_for(facts) < STALE_AFTER:
            continue
        notes += await _dropped_if_free(connection, lender, name)
    return notes


async def drop_stale(
    connection: asyncpg.Connection, databases: Mapping[str, str | None], *, root: Path, but: str
) -> list[str]:
    """Drop templates of the project at ``root`` that nobody used for long, and builds that died; not ``but``."""
    notes = []
    for name, comment in databases.items():
        of_project = naming.is_template(name) and name.startswith(naming.template_prefix(root))
        if name == but or not of_project or not naming.is_ours(name, comment):
            continue
        if is_ready(comment) and unused_for(naming.read_mark(comment) or {}) < STALE_AFTER:
            continue
        notes += await _dropped_if_free(connection, name, name)
    return notes


async def _dropped_if_free(connection: asyncpg.Connection, lock: str, name: str) -> list[str]:
    """Drop ``name`` unless somebody holds ``lock``; a sentence if that was to be and could not be."""
    import asyncpg

    if connection.is_closed():
        return []
    try:
        async with locked_if_free(connection, lock) as free:
            if free:
                await drop_database(connection, name)
    except (RealstackError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        return [f"the database {name}, which an earlier run has left, could not be dropped: {one_line(problem)}"]
    return []
