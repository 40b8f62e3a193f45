"""Applies the steps of a plan to one database, each in a session as fresh as if psql had run it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.seed_clock import clock_stands_still
from realstack.state.sources import Phase, Step

if TYPE_CHECKING:
    import asyncpg


async def apply_steps(endpoint: Endpoint, steps: Sequence[Step], root: Path) -> None:
    """Apply all ``steps`` in order to the database that ``endpoint`` names; no connection stays open.

    :raises MigrationFailed: a migration failed; the database is left half-made, for the caller to drop.
    :raises SeedFailed: a seed failed; the same.
    """
    import asyncpg

    # The files change what statements mean, and DISCARD ALL drops prepared ones: none is to be kept.
    connection = await asyncpg.connect(**connect_arguments(endpoint), statement_cache_size=0)
    try:
        async with AsyncExitStack() as stack:
            at_rest = False
            for step in steps:
                if step.phase is Phase.SEED and step.now and not at_rest:
                    await stack.enter_async_context(clock_stands_still(connection, step.now))
                    at_rest = True
                await _apply(connection, step, endpoint, root)
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, step: Step, endpoint: Endpoint, root: Path) -> None:
    if step.kind in ("alembic", "python"):
        from realstack.state.source_process import run_source

        await run_source(step, endpoint, root)
    elif step.kind == "factory":
        from realstack.state.seed_factory import apply_factory

        await apply_factory(connection, step, endpoint, root)
    else:
        await _apply_file(connection, step)
        # A dump ends with an empty search_path; the next file must not inherit that.
        await connection.execute("DISCARD ALL")


async def _apply_file(connection: asyncpg.Connection, step: Step) -> None:
    if step.kind == "sql":
        from realstack.state.sql_file import apply_sql

        await apply_sql(connection, step)
    elif step.kind == "csv":
        from realstack.state.seed_csv import apply_csv

        await apply_csv(connection, step)
    elif step.kind == "jsonl":
        from realstack.state.seed_jsonl import apply_jsonl

        await apply_jsonl(connection, step)
    else:
        from realstack.state.seed_yaml import apply_yaml

        await apply_yaml(connection, step)
