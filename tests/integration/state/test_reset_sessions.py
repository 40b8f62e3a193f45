"""Sessions that stand in the way of a reset in place are ended, or what they keep is told."""

import asyncio
import contextlib
import warnings

import asyncpg
import pytest

from realstack.model import Endpoint
from realstack.readiness import until_ready
from realstack.services.postgres import connect_arguments
from realstack.state.reset import InPlace
from realstack.state.reset import in_place as in_place_module
from tests.integration.state.reset_schema import seen

LEFT_OPEN = {
    "it has written": ("delete from tags",),
    "it has only read": ("select count(*) from tags",),
    "it has done nothing": (),
    "it has failed": ("delete from tags", "select 1 / 0"),
    "it has a snapshot": ("set transaction isolation level serializable", "select count(*) from tags"),
    "it locks a table": ("lock table tags in access exclusive mode",),
}


@pytest.mark.parametrize("statements", LEFT_OPEN.values(), ids=LEFT_OPEN.keys())
async def test_a_transaction_that_was_left_open_is_ended_and_reported_with_its_query(
    lent: Endpoint, app: asyncpg.Connection, statements: tuple[str, ...]
) -> None:
    async with InPlace(lent) as in_place:
        before = await seen(app)
        await app.execute("insert into tags values (9, 'committed')")
        left = await asyncpg.connect(**connect_arguments(lent))
        for statement in ("begin", *statements):
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await left.execute(statement)
        report = await in_place.reset()
        assert report.kind == "restored"
        assert [(each.how, each.query) for each in report.ended] == [("terminated", ("begin", *statements)[-1])]
        assert await seen(app) == before
        left.terminate()


@pytest.mark.parametrize("ends_by", ["commit", "rollback"])
async def test_a_transaction_that_ends_by_itself_is_waited_for_and_undone(
    lent: Endpoint, app: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, ends_by: str
) -> None:
    monkeypatch.setattr(in_place_module, "WAITS_FOR_S", 30.0)
    async with InPlace(lent) as in_place:
        before = await seen(app)
        busy = await asyncpg.connect(**connect_arguments(lent))
        await busy.execute("begin; delete from tags")
        resetting = asyncio.create_task(in_place.reset())
        await asyncio.sleep(0.05)
        assert not resetting.done()
        await busy.execute(ends_by)
        report = await resetting
        assert [each.how for each in report.ended] == ["ended by itself"]
        assert report.tables == (("tags",) if ends_by == "commit" else ())
        assert not await busy.fetchval("select pg_is_in_recovery()")  # it still lives
        assert await seen(app) == before
        await busy.close()


async def test_a_statement_that_ends_by_itself_is_waited_for_and_undone(
    lent: Endpoint, app: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place_module, "WAITS_FOR_S", 30.0)
    async with InPlace(lent) as in_place:
        before = await seen(app)
        running = asyncio.create_task(app.execute("delete from tags; select pg_sleep(0.4)"))
        await until_somebody_sleeps(lent)
        report = await in_place.reset()
        assert [each.how for each in report.ended] == ["ended by itself"]
        assert report.tables == ("tags",)
        await running
        assert await seen(app) == before


STUBBORN = {
    "within a transaction": ("begin", "select pg_sleep(60)"),
    "that catches its end": (
        "do $$ begin loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop; end $$",
    ),
}


@pytest.mark.parametrize("statements", STUBBORN.values(), ids=STUBBORN.keys())
async def test_what_does_not_end_when_it_is_cancelled_is_ended_with_its_session(
    lent: Endpoint, app: asyncpg.Connection, statements: tuple[str, ...]
) -> None:
    async with InPlace(lent) as in_place:
        left = await asyncpg.connect(**connect_arguments(lent))
        *before, last = statements
        for statement in before:
            await left.execute(statement)
        running = asyncio.create_task(left.execute(last))
        await until_somebody_sleeps(lent)
        report = await in_place.reset()
        assert [each.how for each in report.ended] == ["terminated"]
        assert report.kind == "untouched"
        with pytest.raises((asyncpg.PostgresError, asyncpg.PostgresConnectionError)):
            await running
        left.terminate()


async def test_a_statement_that_runs_for_long_is_cancelled(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        running = asyncio.create_task(app.execute("select pg_sleep(60)"))
        await until_somebody_sleeps(lent)
        report = await in_place.reset()
        assert [(each.how, each.query) for each in report.ended] == [("cancelled", "select pg_sleep(60)")]
        with pytest.raises(asyncpg.QueryCanceledError):
            await running


async def until_somebody_sleeps(lent: Endpoint) -> None:
    connection = await asyncpg.connect(**connect_arguments(lent))
    looks = "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"

    async def probe() -> None:
        assert await connection.fetchval(looks)

    try:
        await until_ready("postgres", probe, within_s=30, died=lambda: None, log=list)
    finally:
        await connection.close()


async def test_a_session_that_keeps_a_temporary_table_is_ended(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        other = await asyncpg.connect(**connect_arguments(lent))
        await other.execute("create temp table kept (id int)")
        await app.execute("begin; create temp table dropped (id int) on commit drop; commit")
        report = await in_place.reset()
        assert [each.why for each in report.ended] == ["it kept a temporary table"]
        assert await app.fetchval("select count(*) from users") == 30
        other.terminate()


async def test_a_temporary_table_of_a_role_is_no_change_of_owners(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        other = await asyncpg.connect(**connect_arguments(lent))
        await other.execute("set role realstack_reader")
        await other.execute("create temp table kept (id int)")
        report = await in_place.reset()
        assert (report.kind, len(report.ended)) == ("untouched", 1), report
        other.terminate()


@pytest.mark.parametrize(
    ("take", "shown"),
    [
        ("select pg_advisory_lock(7), pg_advisory_lock(8)", "7; 8"),
        ("select pg_advisory_lock_shared(-1)", "-1"),
        ("select pg_advisory_lock(-3, 5)", "-3, 5"),
    ],
)
async def test_a_session_that_keeps_an_advisory_lock_is_ended_though_nothing_was_written(
    lent: Endpoint, app: asyncpg.Connection, take: str, shown: str
) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        other = await asyncpg.connect(**connect_arguments(lent))
        await other.execute(take)
        report = await in_place.reset()
        assert report.kind == "untouched"
        assert [each.why for each in report.ended] == [f"it kept the advisory lock {shown}"]
        await app.execute("set lock_timeout = '20s'")
        await app.execute(take)
        other.terminate()


async def test_of_a_session_that_was_ended_it_is_not_told_what_would_have_stayed(
    lent: Endpoint, app: asyncpg.Connection
) -> None:
    async with InPlace(lent) as in_place:
        other = await asyncpg.connect(**connect_arguments(lent))
        await other.execute("select pg_advisory_lock(7)")
        await other.execute("listen jobs")
        report = await in_place.reset()
        assert (len(report.ended), report.notices) == (1, ())
        other.terminate()


LASTING = {
    "listen": "LISTEN jobs",
    "setting": " set work_mem = '1MB'",
    "role": "SET ROLE pg_monitor",
    "prepared statement": "PREPARE mine AS SELECT 1",
    "cursor": "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
}
PASSING = {
    "query": "select 'listen', 'set', 'prepare'",
    "unlisten": "unlisten *",
    "setting of a transaction": "set local work_mem = '1MB'",
    "isolation": "set transaction read only",
}


@pytest.mark.parametrize("statement", LASTING.values(), ids=LASTING.keys())
async def test_what_stays_with_a_session_is_told_once_where_its_last_statement_tells(
    lent: Endpoint, app: asyncpg.Connection, statement: str
) -> None:
    async with InPlace(lent) as in_place:
        await app.execute(statement)
        (notice,) = (await in_place.reset()).notices
        assert notice == f"what session {app.get_server_pid()} ran last stays with it: {statement.strip()}"
        assert (await in_place.reset()).notices == ()


@pytest.mark.parametrize("statement", PASSING.values(), ids=PASSING.keys())
async def test_what_does_not_stay_with_a_session_is_not_told(
    lent: Endpoint, app: asyncpg.Connection, statement: str
) -> None:
    async with InPlace(lent) as in_place:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await app.execute(statement)
        assert (await in_place.reset()).notices == ()
