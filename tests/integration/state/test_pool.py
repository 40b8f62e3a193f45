"""Copies that are made ahead: each lent once, bounded in number, gone at the end; and the way of copying."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import RealstackError
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state import copying
from realstack.state.clones import Databases
from realstack.state.copying import is_probed, kept_strategy, probe
from realstack.state.pool import AHEAD, WarmPool
from realstack.state.server import connect_for_maintenance, copy_database
from realstack.state.template import Template
from tests.integration.state.proof_servers import server_of

Write = Callable[[str, str], Path]
OURS = "SELECT count(*) FROM pg_database WHERE datname LIKE 'rs\\_run\\_%'"


@pytest.fixture
async def maintenance(postgres: Endpoint) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect_for_maintenance(postgres)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Findings of this machine must not bear on the tests, nor theirs on it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(copying, "cache_folder", lambda name: folder)
    return folder


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - what is waited for has no event to tell of it
            await asyncio.sleep(0.005)


async def test_every_lend_is_another_database_at_the_known_state(databases: Databases) -> None:
    pool = WarmPool(databases)
    lent = await asyncio.gather(*(pool.lend() for _ in range(5)))
    assert len({endpoint.database for endpoint in lent}) == 5
    for endpoint in lent:
        connection = await asyncpg.connect(**connect_arguments(endpoint))
        assert await connection.fetchval("select count(*) from users") == 2
        await connection.execute("delete from users")
        await connection.close()
        pool.give_back(endpoint)
    await until(lambda: repr(pool) == f"<WarmPool {AHEAD} ready, 0 to drop>")
    again = await pool.lend()
    assert again.database not in {endpoint.database for endpoint in lent}
    await pool.close()


async def test_as_many_exist_as_are_lent_ahead_or_about_to_go(
    databases: Databases, maintenance: asyncpg.Connection
) -> None:
    before = await maintenance.fetchval(OURS)
    pool = WarmPool(databases)
    most = 0
    for _ in range(12):
        lent = await pool.lend()
        most = max(most, await maintenance.fetchval(OURS) - before)
        pool.give_back(lent)
    assert most <= 1 + AHEAD + AHEAD + 1 + 1  # lent, ready, waiting to be dropped, and the one in the making
    await pool.close()
    await databases.close()
    assert await maintenance.fetchval(OURS) == before


async def test_a_copy_is_ready_before_it_is_asked_for(databases: Databases) -> None:
    pool = WarmPool(databases)
    pool.give_back(await pool.lend())
    await until(lambda: repr(pool) == f"<WarmPool {AHEAD} ready, 0 to drop>")
    lending = pool.lend()
    with pytest.raises(StopIteration):
        lending.send(None)  # no wait: it ends at the first step
    await pool.close()


async def test_one_that_is_kept_stays(databases: Databases, maintenance: asyncpg.Connection) -> None:
    pool = WarmPool(databases)
    lent = await pool.lend()
    pool.give_back(lent, keep=True)
    await pool.close()
    await databases.close()
    assert await maintenance.fetchval("select count(*) from pg_database where datname = $1", lent.database) == 1
    await maintenance.execute(f'drop database "{lent.database}"')


async def test_who_asks_is_told_why_there_is_none_and_may_ask_again(
    postgres: Endpoint, template: Template, tmp_path: Path, maintenance: asyncpg.Connection
) -> None:
    lender = Databases(postgres, replace(template, name="rs_nowhere"), "gone", tmp_path.name)
    pool = WarmPool(lender)
    for _ in range(2):
        with pytest.raises(RealstackError, match="rs_nowhere"):
            await pool.lend()
    await maintenance.execute("create database rs_nowhere")
    lent = await pool.lend()
    await pool.close()
    await lender.close()
    await maintenance.execute("drop database rs_nowhere")
    assert await maintenance.fetchval("select count(*) from pg_database where datname = $1", lent.database) == 0


async def test_a_lend_that_is_cancelled_loses_nothing(databases: Databases, maintenance: asyncpg.Connection) -> None:
    before = await maintenance.fetchval(OURS)
    pool = WarmPool(databases)
    asking = asyncio.create_task(pool.lend())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert (await pool.lend()).database
    await pool.close()
    await databases.close()
    assert await maintenance.fetchval(OURS) == before


async def test_the_fastest_way_of_copying_is_measured_once_and_kept(
    postgres: Endpoint, template: Template, maintenance: asyncpg.Connection, cache: Path
) -> None:
    assert not await is_probed(maintenance, postgres)
    rule = await kept_strategy(maintenance, postgres)
    assert rule == "file_copy"  # the server does not sync
    found = await probe(maintenance, postgres, template.name, "probe_scratch")
    assert await is_probed(maintenance, postgres)
    assert await kept_strategy(maintenance, postgres) == found
    [file] = cache.iterdir()
    measured = json.loads(file.read_text())["ms"]
    assert {"file_copy", "wal_log"} <= set(measured)
    assert measured[found] == min(measured.values())
    assert await maintenance.fetchval("select count(*) from pg_database where datname = 'probe_scratch'") == 0
    file.write_text("not JSON")
    assert await kept_strategy(maintenance, postgres) == rule
    assert not await is_probed(maintenance, postgres)


@pytest.mark.parametrize("version", ["15", "18"])
async def test_each_way_of_copying_is_measured_as_itself(
    version: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that clones by itself, and where cloning came before: neither turns a copy into a clone."""
    used: list[tuple[str, str | None]] = []

    async def copied(connection: asyncpg.Connection, name: str, template: str, strategy: str | None) -> None:
        try:
            await copy_database(connection, name, template, strategy)
        finally:
            used.append((str(strategy), await connection.fetchval("select current_setting('file_copy_method', true)")))

    monkeypatch.setattr(copying, "copy_database", copied)
    with server_of(version) as server:
        connection = await asyncpg.connect(**connect_arguments(server))
        assert await kept_strategy(connection, server) == "file_copy"
        if version == "18":
            await connection.execute("alter system set file_copy_method = clone")
            await connection.execute("select pg_reload_conf()")
            await connection.close()
            connection = await asyncpg.connect(**connect_arguments(server))
            assert await kept_strategy(connection, server) == "clone"
        await probe(connection, server, "template1", "probe_scratch")
        await connection.close()
    assert {how for way, how in used if way == "file_copy"} == ({"copy"} if version == "18" else {None})
    assert {how for way, how in used if way == "clone"} == ({"clone"} if version == "18" else set())


async def test_the_pool_measures_beside_the_tests_and_leaves_nothing(
    databases: Databases, maintenance: asyncpg.Connection, cache: Path
) -> None:
    before = await maintenance.fetchval(OURS)
    pool = WarmPool(databases)
    pool.give_back(await pool.lend())
    await until(lambda: any(cache.iterdir()))
    await pool.close()
    await databases.close()
    assert await maintenance.fetchval(OURS) == before
