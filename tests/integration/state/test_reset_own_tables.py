"""What reset in place has put into the database is in none of the user's way, and nobody writes it unnoticed."""

import re
import subprocess

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.services.postgres_binaries import find_binaries
from realstack.state.reset import InPlace
from tests.integration.state.conftest import SPECS
from tests.integration.state.reset_schema import TABLES
from tests.lack import without

EMPTIES_ALL = """
do $$ begin execute (
    select 'truncate ' || string_agg(format('%I.%I', schemaname, tablename), ', ') || ' cascade' from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema')); end $$
"""
EMPTIES_EACH = """
do $$ declare t text; begin for t in
    select format('%I.%I', table_schema, table_name) from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') order by 1 desc
loop execute 'delete from ' || t; end loop; end $$
"""
MEDDLES = {
    "all tables are truncated": EMPTIES_ALL,
    "all tables are emptied": EMPTIES_EACH,
    "truncate of a shadow": "truncate pg_realstack.s_1",
    "truncate of a shadow, and of what it is noted in": "truncate pg_realstack.s_1; truncate pg_realstack.ddl",
    "delete from a shadow": "delete from pg_realstack.s_1",
    "update of a shadow": "update pg_realstack.s_1 set name = 'x'",
    "insert into a shadow": "insert into pg_realstack.s_1 select * from pg_realstack.s_1 where false",
    "merge into a shadow": "merge into pg_realstack.s_1 s using (values (1)) v(id) on s.id = v.id "
    "when matched then delete",
    "under replica role": "set session_replication_role = replica; delete from pg_realstack.s_1; "
    "reset session_replication_role",
    "by a role that may write everything": "set role realstack_writer; delete from pg_realstack.s_1; reset role",
    "list of tables": "update pg_realstack.units set columns = '{}'",
    "list of sequences": "update pg_realstack.sequences set last_value = 1",
    "what is known": "delete from pg_realstack.known",
    "log": "insert into users (name) values ('x'); delete from pg_realstack.k_1",
    "truncate of a log": "insert into users (name) values ('x'); truncate pg_realstack.k_1",
    "update of a log": "update users set name = 'x' where id = 1; update pg_realstack.k_1 set id = 2",
    "marks": "truncate tags; truncate pg_realstack.dirty",
    "notes": "create table added (id int); delete from pg_realstack.ddl",
    "temporary tables": "delete from pg_realstack.temporary",
}


@pytest.mark.parametrize("statement", MEDDLES.values(), ids=MEDDLES.keys())
async def test_who_writes_our_tables_is_answered_with_a_fresh_clone(
    lent: Endpoint, app: asyncpg.Connection, statement: str
) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        await app.execute("do $$ begin create role realstack_writer in role pg_write_all_data; "
                          "exception when duplicate_object then end $$")  # fmt: skip
        await app.execute(statement)
        report = await in_place.reset()
        assert report.needs_clone, report
        assert any("realstack's own tables (schema pg_realstack, to be left out)" in each for each in report.reasons)


async def test_many_rows_of_logs_and_marks_are_cleared_without_a_note(lent: Endpoint, app: asyncpg.Connection) -> None:
    """The reset truncates what has become long."""
    async with InPlace(lent) as in_place:
        for _ in range(2):
            await app.execute("insert into tags select 1, 'x' from generate_series(1, 20000) i; truncate nothing")
            await app.execute("do $$ begin for i in 1..9000 loop truncate nothing; end loop; end $$")
            report = await in_place.reset()
            assert (report.kind, set(report.tables)) == ("restored", {"tags", "nothing"}), report
        assert (await in_place.reset()).kind == "untouched"


async def test_triggers_and_event_triggers_of_ours_are_in_no_listing(lent: Endpoint, app: asyncpg.Connection) -> None:
    assert not await app.fetchval("select count(*) from pg_trigger where not tgisinternal")
    assert not await app.fetch("select * from information_schema.triggers")
    assert not await app.fetch(
        "select * from pg_event_trigger e where not exists (select from pg_depend d "
        "where d.objid = e.oid and d.classid = 'pg_event_trigger'::regclass and d.deptype = 'e')"
    )


async def test_a_dump_has_nothing_of_ours_and_can_be_restored_elsewhere(
    lent: Endpoint, app: asyncpg.Connection
) -> None:
    found = find_binaries(SPECS["postgres"])
    assert found is not None
    without("" if (found.folder / "pg_dump").exists() else f"there is no pg_dump in {found.folder}")
    environ = {"PGPASSWORD": str(lent.password)}
    # Functions that name others without their schema keep pg_dump from being restored: no matter of ours.
    where = ["-h", lent.host, "-p", str(lent.port), "-U", lent.username]
    dump = _run([found.folder / "pg_dump", *where, "--exclude-table=booked", lent.database], environ)
    assert "CREATE TABLE public.users" in dump
    assert not re.search(r"pg_realstack|realstack_(?!reader)", dump)
    await app.execute("create database restored_dump template template0")
    try:
        _run([found.folder / "psql", *where, "-X", "-v", "ON_ERROR_STOP=1", "restored_dump"], environ, dump)
    finally:
        await app.execute("drop database restored_dump")


def _run(command: list[object], environ: dict[str, str], given: str = "") -> str:
    ran = subprocess.run([*map(str, command)], env=environ, input=given, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def test_alembic_finds_nothing_of_ours_in_any_schema(lent: Endpoint) -> None:
    engine = create_async_engine("postgresql+asyncpg://", connect_args=dict(connect_arguments(lent)))

    def compared(connection: Connection) -> str:
        context = MigrationContext.configure(connection, opts={"include_schemas": True})
        return str(compare_metadata(context, MetaData()))

    async with engine.connect() as connection:
        found = await connection.run_sync(compared)
    await engine.dispose()
    assert "Table('users'" in found
    assert "realstack" not in found
    assert len(TABLES) <= found.count("'remove_table'")
