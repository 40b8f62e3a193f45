"""How CREATE DATABASE copies a template fastest here: measured once per machine, and kept."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from realstack.model import Endpoint
from realstack.services.cache import cache_folder
from realstack.state.catalog import quote_name
from realstack.state.server import FIRST_WITH_CLONE, FIRST_WITH_STRATEGY, copy_database, copy_strategy

if TYPE_CHECKING:
    import asyncpg

ROUNDS = 2


async def kept_strategy(connection: asyncpg.Connection, endpoint: Endpoint) -> str | None:
    """The strategy that :func:`probe` found on this machine, or what is right as a rule until it has run."""
    found = _read(await _file(connection, endpoint))
    return found or await copy_strategy(connection)


async def is_probed(connection: asyncpg.Connection, endpoint: Endpoint) -> bool:
    """Whether there is nothing to measure: it was, or cannot be kept, or the server knows one way only."""
    if connection.get_server_version().major < FIRST_WITH_STRATEGY:
        return True
    file = await _file(connection, endpoint)
    return file is None or _read(file) is not None


async def probe(connection: asyncpg.Connection, endpoint: Endpoint, template: str, scratch: str) -> str:
    """Copy ``template`` to ``scratch`` in every way that the server knows; the fastest is returned, and kept.

    ``scratch`` is the caller's name to use: made and dropped here, a few times. ``clone`` is FILE_COPY by
    PostgreSQL 18's ``file_copy_method``, which needs a file system that shares blocks.
    """
    import asyncpg

    ways = ["file_copy", "wal_log"]
    if connection.get_server_version().major >= FIRST_WITH_CLONE:
        ways.insert(0, "clone")
    seconds: dict[str, float] = {}
    for way in ways * ROUNDS:
        try:
            took = await _copied(connection, template, scratch, way)
        except asyncpg.PostgresError:
            continue  # this file system cannot share blocks, or a given server allows less
        seconds[way] = min(took, seconds.get(way, took))
    fastest = min(seconds, key=lambda way: seconds[way], default=await copy_strategy(connection) or "wal_log")
    file = await _file(connection, endpoint)
    if file is not None:
        milliseconds = {way: round(took * 1000, 1) for way, took in seconds.items()}
        with contextlib.suppress(OSError):  # a full disk: the next process measures again
            file.write_text(json.dumps({"strategy": fastest, "ms": milliseconds}), encoding="utf-8")
    return fastest


async def _copied(connection: asyncpg.Connection, template: str, scratch: str, way: str) -> float:
    began = time.perf_counter()
    try:
        await copy_database(connection, scratch, template, way)
        return time.perf_counter() - began
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {quote_name(scratch)}")


async def _file(connection: asyncpg.Connection, endpoint: Endpoint) -> Path | None:
    """Servers that a provider starts have one kind of disk each; a given server may be anywhere."""
    folder = cache_folder("copy")
    if folder is None:
        return None
    syncs = await connection.fetchval("SELECT current_setting('fsync')")
    version = connection.get_server_version()
    given = f"-{endpoint.host}-{endpoint.port}" if endpoint.provider == "external" else ""
    name = f"{endpoint.provider}{given}-{version.major}.{version.minor}-fsync-{syncs}.json"
    return folder / re.sub(r"[^\w.-]", "_", name)


def _read(file: Path | None) -> str | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
        strategy = found.get("strategy") if isinstance(found, dict) else None
    except (OSError, ValueError):
        return None
    return strategy if strategy in ("clone", "file_copy", "wal_log") else None
