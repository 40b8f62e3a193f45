"""A pool whose server refuses: nobody hangs, what cannot be dropped is told at the end, and the rest goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import RealstackError
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state import copying
from realstack.state.clones import Databases
from realstack.state.maintenance import Maintenance
from realstack.state.pool import WarmPool
from realstack.state.server import connect_for_maintenance
from realstack.state.template import Template

Write = Callable[[str, str], Path]
OURS = "SELECT datname FROM pg_database WHERE datname LIKE 'rs\\_run\\_%'"
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND application_name <> 'looks on' AND backend_type = 'client backend'
"""


@pytest.fixture
async def maintenance(postgres: Endpoint) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect_for_maintenance(postgres)
    await connection.execute("SET application_name = 'looks on'")
    yield connection
    for name in await ours(connection):
        await connection.execute(f'drop database "{name}" with (force)')
    await connection.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Findings of this machine must not bear on the tests, nor theirs on it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(copying, "cache_folder", lambda name: folder)
    return folder


async def ours(connection: asyncpg.Connection) -> list[str]:
    return [name for (name,) in await connection.fetch(OURS)]


async def lent_often(pool: WarmPool, times: int = 8, lent: list[Endpoint] | None = None) -> list[Endpoint]:
    """As many tests do, one after the other, noted in ``lent``; who hangs is ended."""
    lent = [] if lent is None else lent
    async with asyncio.timeout(60):
        for _ in range(times):
            lent.append(await pool.lend())
            pool.give_back(lent[-1])
    return lent


async def test_a_test_that_ends_all_sessions_ends_nobodys_lending(
    databases: Databases, maintenance: asyncpg.Connection
) -> None:
    pool = WarmPool(databases)
    for _ in range(4):
        lent = await pool.lend()
        test = await asyncpg.connect(**connect_arguments(lent))
        await test.execute(END_OTHERS)
        await test.close()
        pool.give_back(lent)
        await lent_often(pool)
    await pool.close()
    await databases.close()
    assert await ours(maintenance) == []


async def test_sessions_that_end_in_the_midst_of_the_pools_work_cost_no_lending(
    databases: Databases, maintenance: asyncpg.Connection
) -> None:
    pool = WarmPool(databases)
    lent: list[Endpoint] = []
    lending = asyncio.create_task(lent_often(pool, 30, lent))
    ended_at = -3
    while not lending.done():
        if len(lent) >= ended_at + 3:
            ended_at = len(lent)
            await maintenance.execute(END_OTHERS)
        await asyncio.sleep(0.01)
    assert len({each.database for each in await lending}) == 30
    await pool.close()
    await databases.close()
    assert await ours(maintenance) == []


async def test_a_database_whose_comment_a_test_has_replaced_goes_as_all_others_do(
    databases: Databases, maintenance: asyncpg.Connection
) -> None:
    pool = WarmPool(databases)
    lent = await pool.lend()
    await maintenance.execute(f"COMMENT ON DATABASE \"{lent.database}\" IS 'the test has its own words'")
    pool.give_back(lent)
    await lent_often(pool)
    await pool.close()
    await databases.close()
    assert await ours(maintenance) == []


async def test_a_drop_that_the_server_refuses_is_told_at_the_end_in_one_sentence(
    databases: Databases, maintenance: asyncpg.Connection
) -> None:
    pool = WarmPool(databases)
    lent = await pool.lend()
    test = await asyncpg.connect(**connect_arguments(lent))
    await test.execute("CREATE SUBSCRIPTION held CONNECTION 'dbname=no' PUBLICATION p WITH (connect = false)")
    await test.close()
    pool.give_back(lent)
    await lent_often(pool)
    await pool.close()
    with pytest.raises(RealstackError, match=f"{lent.database} could not be dropped"):
        await databases.close()
    assert await ours(maintenance) == [lent.database]
    test = await asyncpg.connect(**connect_arguments(lent))
    await test.execute("ALTER SUBSCRIPTION held SET (slot_name = NONE)")
    await test.execute("DROP SUBSCRIPTION held")
    await test.close()


async def test_a_full_disk_for_the_findings_of_the_copying_is_no_reason_to_stop(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    pool = WarmPool(databases)
    await lent_often(pool)
    await asyncio.sleep(0.5)  # it measures when it has nothing else to do
    await lent_often(pool)
    await pool.close()


async def test_a_worker_that_ends_tells_those_who_wait_and_begins_anew(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = WarmPool(databases)
    monkeypatch.setattr(pool, "_step", None)  # a bug of ours
    async with asyncio.timeout(20):
        with pytest.raises(TypeError):
            await pool.lend()
        monkeypatch.undo()
        assert (await pool.lend()).database
    await pool.close()


async def test_one_that_was_to_be_kept_stays_though_the_connection_is_gone(
    databases: Databases, maintenance: asyncpg.Connection
) -> None:
    pool = WarmPool(databases)
    lent = await pool.lend()
    pool.give_back(lent, keep=True)
    await maintenance.execute(END_OTHERS)
    await pool.close()
    await databases.close()
    assert await ours(maintenance) == [lent.database]
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1"
    assert '"kept": true' in await maintenance.fetchval(comment, lent.database)


async def test_the_lenders_of_a_process_share_one_connection_and_the_last_to_leave_closes_it(
    postgres: Endpoint, template: Template, tmp_path: Path, maintenance: asyncpg.Connection
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    before, locks = await maintenance.fetchval(count), await maintenance.fetchval(held)
    shared = Maintenance(postgres)
    lenders = [Databases(postgres, template, f"w{number}", tmp_path.name, shared) for number in range(4)]
    await asyncio.gather(*(lender.lend() for lender in lenders))
    assert await maintenance.fetchval(count) == before + 1
    assert await maintenance.fetchval(held) == locks + 4
    for lender in lenders[1:]:
        await lender.close()
    assert await maintenance.fetchval(held) == locks + 1
    await lenders[0].close()
    async with asyncio.timeout(10):
        while await maintenance.fetchval(count) != before:
            await maintenance.execute("SELECT pg_sleep(0.01)")
    await lenders[0].lend()  # may be used again
    await lenders[0].close()
    assert await ours(maintenance) == []
