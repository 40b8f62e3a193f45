"""Which known state a later run of the same day would build the same, so that its cluster may be kept for that run."""

from __future__ import annotations

import hashlib
import re

from realstack.model import Endpoint, PostgresPlan
from realstack.state.clones import Databases
from realstack.state.fingerprint import Fingerprint, fingerprint
from realstack.state.server import connect_for_maintenance
from realstack.state.sources import KINDS, Step, hash_of, read_steps
from realstack.state.template import Template

_EXACT = frozenset(KINDS.values())
"""Kinds of sources that are wholly in their files. Python may import, and so may alembic, what no hash sees."""

_FROM_OUTSIDE = re.compile(
    r"\bprogram\s*'|\bcopy\b[^;]*?\bfrom\s+e?'|\bpg_(?:read|ls|stat)_\w*(?:file|dir)\w*|\blo_import\b"
    r"|\b(?:file|postgres)_fdw\b|\bdblink|\blanguage\s+'?pl(?!pgsql\b)",
    re.IGNORECASE,
)

_AGAINST = {
    "it changes settings of the server by ALTER SYSTEM": r"""
        SELECT count(*) FROM pg_file_settings WHERE sourcefile ~ 'postgresql\.auto\.conf$'""",
    "some of it lies in a tablespace of its own": """
        SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')""",
}


def state_id(plan: PostgresPlan, *, in_place: bool) -> str:
    """64 hex digits that differ if the state does, on one and the same server.

    :raises MigrationFailed: a migration source is missing or of no known kind.
    :raises SeedFailed: the same of a seed.
    """
    from realstack.state.build import resettable

    state = hash_of(read_steps(plan), root=plan.root, server_version="")
    text = f"{plan.root.resolve()} {resettable(state) if in_place else state}"
    return hashlib.sha256(text.encode()).hexdigest()


def why_not_exact(plan: PostgresPlan) -> str:
    """What of the sources may make another state though nothing that is hashed has changed; empty if nothing may."""
    return next(filter(None, map(_why_not, read_steps(plan))), "")


def _why_not(step: Step) -> str:
    if step.kind not in _EXACT:
        return f"{step.shown} may depend on more than the files that are hashed"
    if step.kind == "sql" and (found := _FROM_OUTSIDE.search(step.path.read_text("utf-8", "replace"))):
        return f"{step.shown} may read what lies outside of it: {found.group()[:40]!r}"
    return ""


async def template_fingerprint(endpoint: Endpoint, template: Template, run_id: str) -> Fingerprint:
    """Of a copy of the template: nobody may connect to the template itself."""
    databases = Databases(endpoint, template, "keep", run_id)
    try:
        return await fingerprint(await databases.lend())
    finally:
        await databases.close()


async def made_ready_to_stop(endpoint: Endpoint, template: Template) -> tuple[str, int]:
    """What speaks against keeping the server's data, empty if nothing does; and the template's number in it.

    Little of its log is left then: a new segment was begun, and old ones are not kept to be written again.
    """
    connection = await connect_for_maintenance(endpoint)
    try:
        for why_not, query in _AGAINST.items():
            if await connection.fetchval(query):
                return why_not, 0
        await connection.execute("ALTER SYSTEM SET wal_recycle = off")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.execute("SELECT pg_switch_wal()")
        await connection.execute("ALTER SYSTEM RESET wal_recycle")
        return "", int(await connection.fetchval("SELECT oid FROM pg_database WHERE datname = $1", template.name))
    finally:
        await connection.close()
