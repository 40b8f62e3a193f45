"""A reset in place undoes what a test did while the application stays connected, or says why it cannot."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import RealstackError
from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.fingerprint import fingerprint
from realstack.state.reset import InPlace
from realstack.state.template import prepare_template
from tests.integration.state.proof_servers import ANY, server_of
from tests.integration.state.reset_schema import seen

Write = Callable[[str, str], Path]

UNDONE = {
    "insert": "insert into users (name) values ('new')",
    "insert with an identity of its own": "insert into runs (id, note) overriding system value values (900, 'x')",
    "update": "update users set name = 'z', made = now() where id = 3",
    "update of keys in a row": "update runs set user_id = null; update tags set user_id = null; "
    "update users set id = id + 1000; update users set id = id - 999",
    "delete with its cascade": "delete from users where id < 4",
    "delete of many rows": "delete from herd",
    "delete of many, some of which come back": "delete from flock where id <= 200; "
    "insert into flock select i, 'new' from generate_series(50, 60) i",
    "delete of more than are noted together": "delete from flock",
    "delete of many with keys of a domain": "delete from pack",
    "delete of many with arrays as keys": "delete from swarm",
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
    "functions that name others without their schema": "update booked set n = n + 100; delete from booked where id = 2",
    "rows that exclude each other": "delete from booked where id = 1; update booked set n = 11 where id = 2; "
    "insert into booked values (1, 20), (4, 30 + 5)",
    "rows that exclude each other, as a whole": "truncate booked; insert into booked values (1, 19), (2, 9), (7, 29)",
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
    "setting of the database for a role": ("do $$ begin execute format('alter role realstack_reader in database %I "
    "set work_mem = 128', current_database()); end $$", "ALTER DATABASE"),
    "rights on the database": ("do $$ begin execute format('grant create on database %I to realstack_reader', "
    "current_database()); end $$", "ALTER DATABASE"),
    "owner of the database": ("do $$ begin execute format('alter database %I owner to realstack_reader', "
    "current_database()); end $$", "ALTER DATABASE"),
    "limit of connections": ("do $$ begin execute format('alter database %I connection limit 90', "
    "current_database()); end $$", "ALTER DATABASE"),
    "materialised view": ("refresh materialized view counted", "REFRESH MATERIALIZED VIEW"),
    "cluster": ("cluster users using users_pkey", "CLUSTER"),
    "owners": ("reassign owned by realstack_reader to current_user", "REASSIGN OWNED"),
    "publication": ("create publication everything for all tables", "CREATE PUBLICATION"),
    "index without a lock": ("create index concurrently on users (name)", "CREATE INDEX"),
}  # fmt: skip


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
        assert any(reason in each for each in report.reasons), report


async def test_a_subscription_is_answered_with_a_clone_and_its_origin_told(
    lent: Endpoint, app: asyncpg.Connection
) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        await app.execute("create subscription held connection 'dbname=no' publication p with (connect = false)")
        origin = await app.fetchval("select 'pg_' || oid from pg_subscription")
        try:
            report = await in_place.reset()
        finally:
            await app.execute("alter subscription held set (slot_name = none)")
            await app.execute("drop subscription held")
        assert any("CREATE SUBSCRIPTION of subscription held" in each for each in report.reasons), report
        assert report.notices == (f"replication origins of the server changed: {origin}",)


PATH_OF_ITS_OWN = """
create schema shop;
do $$ begin execute format('alter database %I set search_path = public, pg_catalog, shop', current_database()); end $$;
create function shop.factor() returns int language sql immutable as 'select 3';
create function shop.tripled(n int) returns int language plpgsql immutable as 'begin return n * factor(); end';
create table shop.items (id int primary key, n int, three int generated always as (shop.tripled(n)) stored);
create table shop.notes (note text, three int generated always as (shop.tripled(length(note))) stored);
set search_path = pg_catalog, shop;
insert into items values (1, 10), (2, 20);
insert into notes values ('a'), ('a'), ('b');
reset search_path;
create function public.not_ours(text, text) returns bool language plpgsql as $$ begin raise 'not ours'; end $$;
create function public.pg_relation_size(text) returns bigint language plpgsql as $$ begin raise 'not ours'; end $$;
create function public.format(text, text) returns text language plpgsql as $$ begin raise 'not ours'; end $$;
create function public.concat(text, text) returns text language plpgsql as $$ begin raise 'not ours'; end $$;
create operator public.= (leftarg = text, rightarg = text, function = public.not_ours);
"""


async def test_the_databases_own_path_is_for_the_users_functions_and_no_name_of_ours_is_looked_up_by_it(
    postgres: Endpoint, tmp_path: Path, write: Write
) -> None:
    write("m/1.sql", PATH_OF_ITS_OWN)
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    databases = Databases(postgres, template, "main", tmp_path.name)
    lent = await databases.lend()
    app = await asyncpg.connect(**connect_arguments(lent))
    try:
        known = await fingerprint(lent)
        async with InPlace(lent) as in_place:
            for write_it in ("delete from {}", "truncate {}"):
                for table in ("shop.items", "shop.notes"):
                    await app.execute(write_it.format(table))
                    report = await in_place.reset()
                    assert report.kind == "restored", report
                    assert known.difference(await fingerprint(lent)) == []
    finally:
        await app.close()
        await databases.close()


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


async def test_a_database_that_was_not_made_for_it_is_refused(postgres: Endpoint) -> None:
    with pytest.raises(RealstackError, match="cannot be reset in place"):
        await InPlace(postgres).start()
