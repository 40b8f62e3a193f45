"""What a test changes in the server as a whole no reset of a database undoes: it is told by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.reset import InPlace
from realstack.state.template import prepare_template
from tests.integration.state.proof_servers import server_of


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


TOLD = {
    "password": (
        "alter role realstack_reader password 'secret'",
        "passwords of the server changed: realstack_reader",
        "alter role realstack_reader password null",
    ),
    "membership": (
        "grant pg_monitor to realstack_reader",
        "memberships of the server changed: realstack_reader in pg_monitor",
        "revoke pg_monitor from realstack_reader",
    ),
    "comment on a role": (
        "comment on role realstack_reader is 'x'",
        "comments of the server changed: role realstack_reader",
        "comment on role realstack_reader is null",
    ),
    "comment on another database": (
        "comment on database template0 is 'x'",
        "comments of the server changed: database template0",
        "comment on database template0 is 'unmodifiable empty database'",
    ),
    "rights on a setting": (
        "grant set on parameter log_statement to realstack_reader",
        "rights on settings of the server changed: log_statement",
        "revoke set on parameter log_statement from realstack_reader",
    ),
    "replication origin": (
        "select pg_replication_origin_create('realstack_origin')",
        "replication origins of the server changed: realstack_origin",
        "select pg_replication_origin_drop('realstack_origin')",
    ),
    "security label of a role": (  # by hand: a server without a label provider refuses the command
        "set allow_system_table_mods = on; insert into pg_shseclabel "
        "select oid, 'pg_authid'::regclass, 'guard', 'secret' from pg_roles where rolname = 'realstack_reader'",
        "security labels of the server changed: role realstack_reader by guard",
        "delete from pg_shseclabel",
    ),
    "tablespace": (
        "set allow_in_place_tablespaces = on; create tablespace realstack_space location ''",
        "tablespaces of the server changed: realstack_space",
        "drop tablespace realstack_space",
    ),
    "database": (
        "create database realstack_more",
        "databases of the server changed: realstack_more",
        "drop database realstack_more",
    ),
    "replication slot": (
        "select pg_create_physical_replication_slot('realstack_slot')",
        "replication slots of the server changed: realstack_slot",
        "select pg_drop_replication_slot('realstack_slot')",
    ),
}


@pytest.mark.parametrize(("statement", "notice", "undone"), TOLD.values(), ids=TOLD.keys())
async def test_what_a_test_changes_in_the_server_is_told_by_name_once(
    lent: Endpoint, app: asyncpg.Connection, statement: str, notice: str, undone: str
) -> None:
    async with InPlace(lent) as in_place:
        await in_place.reset()
        for part in statement.split("; "):
            await app.execute(part)
        await app.execute("select 1")  # or what was set is told too
        try:
            report = await in_place.reset()
            assert (report.kind, report.notices) == ("untouched", (notice,))
            assert (await in_place.reset()).notices == ()
        finally:
            await app.execute(undone)
        assert (await in_place.reset()).notices == (notice,)


async def test_a_comment_on_its_own_database_is_told(lent: Endpoint, app: asyncpg.Connection) -> None:
    said = "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()"
    mark = await app.fetchval(said)
    async with InPlace(lent) as in_place:
        await app.execute(f"comment on database {lent.database} is 'x'")
        try:
            assert (await in_place.reset()).notices == (f"comments of the server changed: database {lent.database}",)
        finally:
            await app.execute(f"comment on database {lent.database} is '{mark}'")


async def test_how_a_membership_is_given_is_told(tmp_path: Path, write: Callable[[str, str], Path]) -> None:
    """``WITH INHERIT`` and ``WITH SET`` are PostgreSQL 16's."""
    write("m/1.sql", "create role realstack_a; create role realstack_b; grant realstack_a to realstack_b;")
    with server_of("18") as server:
        template = await prepare_template(server, PostgresPlan(tmp_path, ("m",)), in_place=True)
        maintenance = await asyncpg.connect(**connect_arguments(server))
        await maintenance.execute(f'create database members template "{template.name}"')
        async with InPlace(replace(server, database="members")) as in_place:
            for option in ("inherit false", "set false", "admin true"):
                await maintenance.execute(f"grant realstack_a to realstack_b with {option}")
                notices = (await in_place.reset()).notices
                assert notices == ("memberships of the server changed: realstack_b in realstack_a",), option
        await maintenance.close()


async def test_what_other_workers_do_or_what_is_taken_back_is_not_told(
    lent: Endpoint, app: asyncpg.Connection, postgres: Endpoint, tmp_path: Path
) -> None:
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    other = Databases(postgres, template, "other", tmp_path.name)
    async with InPlace(lent) as in_place:
        await other.lend()
        assert (await in_place.reset()).notices == ()
        await other.close()
        await app.execute("create role realstack_new; drop role realstack_new")
        assert (await in_place.reset()).notices == ()
