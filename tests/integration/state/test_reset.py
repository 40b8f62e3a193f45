"""A reset in place undoes what a test did while the application stays connected, or says why it cannot."""

import asyncio
import os
import signal
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import RealstackError
from realstack.model import Endpoint, PostgresPlan
from realstack.readiness import until_ready
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.reset import InPlace
from realstack.state.template import prepare_template
from tests.integration.state.proof_servers import ANY, server_of

Write = Callable[[str, str], Path]

SCHEMA = """
create table users (
    id serial primary key, name text, email text unique, made timestamptz default now(),
    loud text generated always as (upper(name)) stored
);
create table runs (
    id bigint generated always as identity primary key, user_id int references users on delete cascade, note text
);
create table tags (user_id int references users on delete cascade, tag text);
create table parts (id int, region text, v text, primary key (id, region)) partition by list (region);
create table parts_a partition of parts for values in ('a');
create table parts_b partition of parts for values in ('b');
create table base (id int primary key, x text);
create table child (y int) inherits (base);
create unlogged table scratch (id int primary key);
create table nothing ();
create sequence cached cache 10;
create view loud_users as select id, name from users;
create materialized view counted as select count(*) from users;
create table owned (id int);
alter table owned owner to realstack_reader;
insert into users (name, email) select 'u' || i, i || '@x' from generate_series(1, 30) i;
insert into runs (user_id, note) select i, 'n' from generate_series(1, 30) i;
insert into tags select i, 't' from generate_series(1, 20) i;
insert into tags select 1, 't' from generate_series(1, 3);
insert into parts select i, case when i % 2 = 0 then 'a' else 'b' end, 'v' from generate_series(1, 10) i;
insert into base values (1, 'x');
insert into child values (2, 'y', 3);
insert into scratch values (1);
insert into nothing default values;
"""
TABLES = ("users", "runs", "tags", "parts", "only base", "child", "scratch", "nothing")
SEQUENCES = ("users_id_seq", "runs_id_seq", "cached")

UNDONE = {
    "insert": "insert into users (name) values ('new')",
    "insert with an identity of its own": "insert into runs (id, note) overriding system value values (900, 'x')",
    "update": "update users set name = 'z', made = now() where id = 3",
    "update of keys in a row": "update runs set user_id = null; update tags set user_id = null; "
    "update users set id = id + 1000; update users set id = id - 999",
    "delete with its cascade": "delete from users where id < 4",
    "truncate with its cascade": "truncate users cascade",
    "truncate of sequences too": "truncate parts_b, runs restart identity",
    "row that moves to another partition": "update parts set region = 'b' where id = 2",
    "insert into a partition itself": "insert into parts_a values (1000, 'a', 'q')",
    "one of several equal rows": "delete from tags where ctid = (select min(ctid) from tags where user_id = 1)",
    "one more of equal rows": "insert into tags values (1, 't'), (9, 'q')",
    "write to a parent that reaches its child": "update base set x = 'changed'",
    "write to a child": "update child set y = 9",
    "write to a table without a log of its own": "delete from scratch",
    "rows without columns": "insert into nothing default values; insert into nothing default values",
    "upsert": "insert into users (id, name) values (1, 'x') on conflict (id) do update set name = excluded.name",
    "delete and insert in one statement": "with d as (delete from users where id = 7 returning *) "
    "insert into users (id, name, email) select id, 'again', email from d",
    "merge": "merge into users u using (values (1), (500)) s(id) on u.id = s.id when matched then delete "
    "when not matched then insert (id, name) values (s.id, 'm')",
    "write through a view": "update loud_users set name = 'through' where id = 5",
    "sequence": "select nextval('users_id_seq')",
    "sequence set back": "select setval('runs_id_seq', 2, false)",
    "sequence in what was rolled back": "begin; insert into users (name) values ('x'); rollback",
    "write under replica role": "set session_replication_role = replica; delete from users where id = 2; "
    "reset session_replication_role",
    "write of a role without rights": "set role realstack_reader; insert into tags values (5, 'r'); reset role",
    "rolled back to a savepoint": "begin; savepoint s; delete from tags; rollback to s; "
    "insert into tags values (5, 'x'); commit",
}

NOT_UNDONE = {
    "create table": ("create table added (id int)", "CREATE TABLE of table public.added"),
    "create by select": ("select 1 as one into added", "SELECT INTO of table public.added"),
    "drop": ("drop view loud_users", "DROP VIEW of view public.loud_users"),
    "alter": ("alter table users add column more int", "ALTER TABLE of table public.users"),
    "grant": ("grant select on users to realstack_reader", "GRANT of TABLE"),
    "comment": ("comment on table users is 'x'", "COMMENT of table public.users"),
    "function": ("create function f() returns int language sql as 'select 1'", "CREATE FUNCTION"),
    "type": ("create type mood as enum ('a')", "CREATE TYPE"),
    "large object": ("select lo_from_bytea(0, 'x')", "large objects"),
    "event trigger": ("alter event trigger realstack_ddl disable", "event triggers"),
    "setting of the database": ("do $$ begin execute format('alter database %I set work_mem = 128', "
    "current_database()); end $$", "ALTER DATABASE"),
    "materialised view": ("refresh materialized view counted", "REFRESH MATERIALIZED VIEW"),
    "cluster": ("cluster users using users_pkey", "CLUSTER"),
    "owners": ("reassign owned by realstack_reader to current_user", "REASSIGN OWNED"),
    "index without a lock": ("create index concurrently on users (name)", "CREATE INDEX"),
}  # fmt: skip


@pytest.fixture
async def lent(postgres: Endpoint, write: Write, tmp_path: Path) -> AsyncIterator[Endpoint]:
    role = "do $$ begin create role realstack_reader; exception when duplicate_object then end $$;"
    write("m/1.sql", role + SCHEMA + "grant insert on tags to realstack_reader;")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    databases = Databases(postgres, template, "main", tmp_path.name)
    try:
        yield await databases.lend()
    finally:
        await databases.close()


@pytest.fixture
async def app(lent: Endpoint) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**connect_arguments(lent))
    yield connection
    await connection.close()


async def seen(app: asyncpg.Connection) -> dict[str, list[str]]:
    """All rows and sequences, as an application sees them."""
    found = {table: sorted(map(str, await app.fetch(f"select * from {table}"))) for table in TABLES}
    for sequence in SEQUENCES:
        found[sequence] = [str(await app.fetchrow(f"select last_value, is_called from {sequence}"))]
    return found


@pytest.mark.parametrize("statement", UNDONE.values(), ids=UNDONE.keys())
async def test_what_was_written_is_undone_and_noticed_again_the_next_time(
    lent: Endpoint, app: asyncpg.Connection, statement: str
) -> None:
    async with InPlace(lent) as in_place:
        before = await seen(app)
        for _ in range(2):
            await app.execute(statement)
            report = await in_place.reset()
            assert report.kind == "restored", report
            assert await seen(app) == before
        assert (await in_place.reset()).kind == "untouched"
        assert (await in_place.reset()).kind == "untouched"


@pytest.mark.parametrize(("statement", "reason"), NOT_UNDONE.values(), ids=NOT_UNDONE.keys())
async def test_what_cannot_be_undone_is_answered_with_its_reason(
    lent: Endpoint, app: asyncpg.Connection, statement: str, reason: str
) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        await app.execute(statement)
        report = await in_place.reset()
        assert report.needs_clone
        assert reason in report.reasons[0]


async def test_what_only_reads_leaves_the_database_untouched(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        await app.fetch("select * from users")
        await app.execute("create table if not exists users (id int)")
        await app.execute("begin; create table gone (id int); delete from tags; rollback")
        assert (await in_place.reset()).kind == "untouched"


async def test_a_sequence_that_a_test_has_set_and_used_up_to_where_it_was_is_watched_as_before(
    lent: Endpoint, app: asyncpg.Connection
) -> None:
    """The server logs 32 numbers ahead of their use, and taking one of those writes no WAL."""
    async with InPlace(lent) as in_place:
        before = await seen(app)
        await app.execute("select setval('users_id_seq', 29); select nextval('users_id_seq')")
        assert await seen(app) == before
        await in_place.reset()
        await app.execute("select nextval('users_id_seq')")
        assert (await in_place.reset()).sequences == ("users_id_seq",)
        assert await seen(app) == before


async def test_numbers_that_a_session_holds_in_its_cache_are_forgotten(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        assert await app.fetchval("select nextval('cached')") == 1
        await in_place.reset()
        assert await app.fetchval("select nextval('cached')") == 1


async def test_prepared_statements_of_the_application_stay_valid(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        insert = await app.prepare("insert into users (name) values ($1) returning id")
        count = await app.prepare("select count(*) from users")
        for _ in range(7):  # the sixth run is the first with a generic plan
            assert await insert.fetchval("x") == 31
            assert await count.fetchval() == 31
            assert (await in_place.reset()).kind == "restored"
            assert await count.fetchval() == 30


async def test_a_transaction_that_was_left_open_is_ended_and_reported_with_its_query(
    lent: Endpoint, app: asyncpg.Connection
) -> None:
    async with InPlace(lent) as in_place:
        before = await seen(app)
        left = await asyncpg.connect(**connect_arguments(lent))
        await left.execute("begin")
        await left.execute("delete from tags")
        report = await in_place.reset()
        assert [(each.how, each.query) for each in report.ended] == [("terminated", "delete from tags")]
        assert await seen(app) == before
        left.terminate()


async def test_a_statement_that_runs_for_long_is_cancelled(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        running = asyncio.create_task(app.execute("select pg_sleep(60)"))
        await until_somebody_sleeps(lent)
        report = await in_place.reset()
        assert [each.how for each in report.ended] == ["cancelled"]
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


async def test_after_a_crash_of_the_server_which_empties_the_logs_a_clone_is_asked_for(
    tmp_path: Path, write: Write
) -> None:
    write("m/1.sql", "create table users (id int primary key)")
    with server_of(ANY) as server:
        template = await prepare_template(server, PostgresPlan(tmp_path, ("m",)), in_place=True)
        maintenance = await asyncpg.connect(**connect_arguments(server))
        await maintenance.execute(f'create database crashes template "{template.name}"')
        lent = replace(server, database="crashes")
        async with InPlace(lent) as in_place:
            await in_place.reset()
            app = await asyncpg.connect(**connect_arguments(lent))
            await app.execute("insert into users values (1)")
            crashed = asyncio.Event()
            maintenance.add_termination_listener(lambda _: crashed.set())
            os.kill(app.get_server_pid(), signal.SIGKILL)
            await asyncio.wait_for(crashed.wait(), 30)
            assert (await in_place.reset()).needs_clone
        for connection in (maintenance, app):
            connection.terminate()


async def test_a_copy_that_went_through_the_wal_is_reset_like_any(
    postgres: Endpoint, tmp_path: Path, write: Write
) -> None:
    write("m/1.sql", "create table users (id int primary key); create unlogged table scratch (id int primary key);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    maintenance = await asyncpg.connect(**connect_arguments(postgres))
    await maintenance.execute(f'create database by_wal template "{template.name}" strategy wal_log')
    try:
        lent = replace(postgres, database="by_wal")
        app = await asyncpg.connect(**connect_arguments(lent))
        async with InPlace(lent) as in_place:
            await app.execute("insert into users values (1); insert into scratch values (1)")
            assert (await in_place.reset()).tables == ("users", "scratch")
            assert await app.fetchval("select count(*) from users, scratch") == 0
        await app.close()
    finally:
        await maintenance.execute("drop database by_wal with (force)")
        await maintenance.close()


async def test_settings_of_the_server_and_roles_are_noticed(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        await app.execute("create role realstack_new")
        try:
            report = await in_place.reset()
            assert report.notices == ("roles of the server changed: realstack_new",)
        finally:
            await app.execute("drop role realstack_new")


@pytest.mark.parametrize(
    ("whose", "noticed"),
    [
        ("realstack_reader", "roles of the server changed: realstack_reader"),
        ("all", "settings of all roles of the server changed"),
    ],
)
async def test_settings_of_roles_are_noticed(lent: Endpoint, app: asyncpg.Connection, whose: str, noticed: str) -> None:
    async with InPlace(lent) as in_place:
        await app.execute(f"alter role {whose} set work_mem = '6MB'")
        try:
            assert (await in_place.reset()).notices == (noticed,)
        finally:
            await app.execute(f"alter role {whose} reset all")


async def test_alter_system_is_noticed_though_it_writes_no_wal(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        await app.execute("alter system set work_mem = 128")
        try:
            report = await in_place.reset()
            assert report.notices == ("ALTER SYSTEM was used: work_mem",)
        finally:
            await app.execute("alter system reset work_mem")


async def test_a_database_that_was_not_made_for_it_is_refused(postgres: Endpoint) -> None:
    with pytest.raises(RealstackError, match="cannot be reset in place"):
        await InPlace(postgres).start()


async def test_what_is_ours_is_in_no_listing(lent: Endpoint, app: asyncpg.Connection) -> None:
    assert not await app.fetchval("select count(*) from pg_trigger where not tgisinternal")
    assert not await app.fetch("select * from information_schema.triggers")
    assert not await app.fetch(
        "select * from pg_event_trigger e where not exists (select from pg_depend d "
        "where d.objid = e.oid and d.classid = 'pg_event_trigger'::regclass and d.deptype = 'e')"
    )
