"""Templates are built once per state, by whoever comes first, and never half."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import MigrationFailed, NotOurs, RealstackError
from realstack.model import Endpoint, PostgresPlan, Secret
from realstack.readiness import until_ready
from realstack.services.postgres import connect_arguments
from realstack.state import naming
from realstack.state.clones import Databases
from realstack.state.server import connect_for_maintenance, drop_database, our_databases, set_comment
from realstack.state.sources import hash_of, read_steps
from realstack.state.template import prepare_template

Write = Callable[[str, str], Path]

BUILDER = """
import asyncio, json, sys
from pathlib import Path
from realstack.model import Endpoint, PostgresPlan, Secret
from realstack.state.template import prepare_template
raw, root = json.loads(sys.argv[1]), Path(sys.argv[2])
raw["socket_dir"] = Path(raw["socket_dir"]) if raw["socket_dir"] else None
template = asyncio.run(prepare_template(Endpoint(**raw), PostgresPlan(root, ("m",))))
print(json.dumps([template.name, template.built]))
"""


async def builder(postgres: Endpoint, root: Path) -> asyncio.subprocess.Process:
    raw = {**asdict(postgres), "socket_dir": str(postgres.socket_dir) if postgres.socket_dir else None}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        BUILDER,
        json.dumps(raw),
        str(root),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def expected_name(postgres: Endpoint, plan: PostgresPlan) -> str:
    version = str(postgres.version)
    return naming.template_name(plan.root, hash_of(read_steps(plan), root=plan.root, server_version=version))


async def databases(postgres: Endpoint) -> dict[str, str | None]:
    connection = await connect_for_maintenance(postgres)
    try:
        return await our_databases(connection)
    finally:
        await connection.close()


async def test_the_second_run_finds_what_the_first_has_built(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    first, second = await prepare_template(postgres, plan), await prepare_template(postgres, plan)
    assert (first.built, second.built) == (True, False)
    assert first.name == second.name == expected_name(postgres, plan)


async def test_a_changed_file_gives_a_new_template(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    plan = PostgresPlan(tmp_path, ("m",))
    write("m/1.sql", "create table t (id int);")
    first = await prepare_template(postgres, plan)
    write("m/1.sql", "create table t (id bigint);")
    second = await prepare_template(postgres, plan)
    assert second.built
    assert second.name != first.name


async def test_processes_side_by_side_build_once(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int); select pg_sleep(0.3);")
    processes = [await builder(postgres, tmp_path) for _ in range(3)]
    answers = [json.loads((await process.communicate())[0]) for process in processes]
    assert sorted(built for _, built in answers) == [False, False, True]
    assert len({name for name, _ in answers}) == 1


async def test_a_build_that_was_killed_is_built_anew(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    # the lock must be held before the migration asks for it, and can be taken only once the database is there
    write("m/2.sql", "select pg_sleep(3); select pg_advisory_lock(4711);")
    plan = PostgresPlan(tmp_path, ("m",))
    name = expected_name(postgres, plan)
    in_template = await builder(postgres, tmp_path)
    holder = await _held_in(postgres, name)
    await _until_waiting(postgres, name)
    in_template.send_signal(signal.SIGKILL)
    await in_template.wait()
    await holder.close()
    facts = naming.read_mark((await databases(postgres))[name])
    assert facts is not None
    assert facts["ready"] is False
    assert (await prepare_template(postgres, plan)).built
    facts = naming.read_mark((await databases(postgres))[name])
    assert facts is not None
    assert facts["ready"] is True


async def _held_in(postgres: Endpoint, name: str) -> asyncpg.Connection:
    """A session in the template that holds the lock for which the migration waits."""
    while True:
        try:
            connection = await asyncpg.connect(**connect_arguments(postgres, database=name))
        except asyncpg.InvalidCatalogNameError:
            await asyncio.sleep(0.001)
            continue
        await connection.execute("select pg_advisory_lock(4711)")
        return connection


async def _until_waiting(postgres: Endpoint, name: str) -> None:
    await _until(
        postgres,
        "select count(*) > 0 from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'",
        name,
    )


async def _until(postgres: Endpoint, question: str, *arguments: object) -> None:
    """Until the server answers ``question`` with true."""

    async def probe() -> None:
        assert await connection.fetchval(question, *arguments)

    connection = await connect_for_maintenance(postgres)
    try:
        await until_ready("postgres", probe, within_s=30, died=lambda: None, log=list)
    finally:
        await connection.close()


async def test_a_database_made_by_a_killed_builder_without_its_mark_is_still_ours(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    connection = await connect_for_maintenance(postgres)
    await connection.execute(f'create database "{expected_name(postgres, plan)}"')
    await connection.close()
    assert (await prepare_template(postgres, plan)).built


async def test_a_failed_build_leaves_nothing(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);\nselect foo;")
    plan = PostgresPlan(tmp_path, ("m",))
    with pytest.raises(MigrationFailed):
        await prepare_template(postgres, plan)
    assert expected_name(postgres, plan) not in await databases(postgres)
    write("m/1.sql", "create table t (id int);")
    assert (await prepare_template(postgres, plan)).built


async def test_a_database_of_somebody_elses_is_not_dropped(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    name = expected_name(postgres, plan)
    connection = await connect_for_maintenance(postgres)
    await connection.execute(f'create database "{name}"')
    await set_comment(connection, name, "my own")
    with pytest.raises(NotOurs):
        await prepare_template(postgres, plan)
    with pytest.raises(NotOurs):
        await drop_database(connection, name)
    with pytest.raises(NotOurs):
        await drop_database(connection, "app")
    await connection.execute(f'drop database "{name}"')
    await connection.close()


async def test_nobody_can_get_in_the_way_of_a_copy(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
    with pytest.raises(asyncpg.PostgresError, match="not currently accepting connections"):
        await asyncpg.connect(**connect_arguments(postgres, database=template.name))


async def test_a_template_that_nobody_uses_goes_with_a_later_build(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    plan = PostgresPlan(tmp_path, ("m",))
    names = []
    for number in range(2):
        write("m/1.sql", f"create table t{number} (id int);")
        names.append((await prepare_template(postgres, plan)).name)
    connection = await connect_for_maintenance(postgres)
    long_ago = (datetime.now(UTC) - timedelta(days=8)).isoformat()
    await set_comment(connection, names[0], naming.mark("template", ready=True, state="x", used=long_ago))
    await connection.close()
    write("m/1.sql", "create table t9 (id int);")
    await prepare_template(postgres, plan)
    left = await databases(postgres)
    assert names[0] not in left
    assert names[1] in left


async def test_using_a_template_keeps_it_from_going_stale(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    name = (await prepare_template(postgres, plan)).name
    connection = await connect_for_maintenance(postgres)
    long_ago = (datetime.now(UTC) - timedelta(days=8)).isoformat()
    await set_comment(connection, name, naming.mark("template", ready=True, state="x", used=long_ago))
    await connection.close()
    assert not (await prepare_template(postgres, plan)).built
    facts = naming.read_mark((await databases(postgres))[name])
    assert facts is not None
    assert facts["used"] > long_ago
    assert facts["ready"] is True


async def test_each_lent_database_is_at_the_known_state(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int); insert into t values (1);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
    lender = Databases(postgres, template, "gw0", "rtest1")
    for _ in range(2):
        lent = await lender.lend()
        connection = await asyncpg.connect(**connect_arguments(lent))
        assert await connection.fetchval("select count(*) from t") == 1
        await connection.execute("delete from t; create table more ()")
        await lender.give_back(lent)  # with the session still in it
        connection.terminate()
    await lender.close()


async def test_lent_side_by_side_they_are_apart_and_all_go_at_the_end(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create table t (id int);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
    lender = Databases(postgres, template, "gw0", "rtest2")
    lent = await asyncio.gather(*(lender.lend() for _ in range(3)))
    names = {each.database for each in lent}
    assert len(names) == 3
    assert repr(lender) == "<Databases rs_run_rtest2_gw0 3 lent>"
    await lender.close()
    await lender.close()
    assert not names & set(await databases(postgres))


async def test_what_was_not_lent_is_not_taken_back(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
    lender = Databases(postgres, template, "gw0", "rtest3")
    lent = await lender.lend()
    with pytest.raises(NotOurs):
        await lender.give_back(postgres)
    await lender.give_back(lent)
    with pytest.raises(NotOurs):
        await lender.give_back(lent)
    await lender.close()


async def test_what_a_dead_worker_lent_goes_and_what_a_living_one_holds_stays(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    template = await prepare_template(postgres, plan)
    dead, alive = (Databases(postgres, template, worker, "rtest4") for worker in ("gw0", "gw1"))
    of_dead, of_alive, kept = await dead.lend(), await alive.lend(), await dead.lend()
    renamed = await dead.lend()
    connection = await connect_for_maintenance(postgres)
    for each in (of_dead, of_alive, renamed):
        await set_comment(connection, each.database or "", "a test's own words")
    await connection.execute(f'alter database "{renamed.database}" rename to rs_run_mine_gw0_4')
    await connection.close()
    await dead.give_back(kept, keep=True)
    assert dead._maintenance._connection is not None
    dead._maintenance._connection.terminate()  # as the end of its process does
    await _until(
        postgres,
        "select count(*) = 0 from pg_locks "
        "where locktype = 'advisory' and (classid::bigint << 32 | objid::bigint) = $1",
        naming.lock_key("rs_run_rtest4_gw0"),
    )
    connection = await connect_for_maintenance(postgres)
    await prepare_template(postgres, plan)
    left = await our_databases(connection)
    assert of_dead.database not in left
    assert of_alive.database in left
    assert kept.database in left
    assert "rs_run_mine_gw0_4" in left
    await connection.execute("drop database rs_run_mine_gw0_4")
    await drop_database(connection, kept.database or "")
    await connection.close()
    await alive.close()


async def test_what_an_earlier_run_left_and_nobody_can_drop_is_told_and_stops_no_run(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    template = await prepare_template(postgres, plan)
    stuck, other = (naming.clone_name(naming.lender_name("rtest10", "gw0"), number) for number in (1, 2))
    stale = naming.template_name(tmp_path, "f" * 12)
    connection = await connect_for_maintenance(postgres)
    for name in (stuck, other, stale):
        await connection.execute(f'create database "{name}"')
        inside = await asyncpg.connect(**connect_arguments(replace(postgres, database=name)))
        if name != other:  # which no DROP passes by
            await inside.execute("create subscription held connection 'dbname=no' publication p with (connect = false)")
        await inside.close()
    found = await prepare_template(postgres, plan)
    assert (found.name, found.built) == (template.name, False)
    assert [note.partition(",")[0] for note in found.notes] == [f"the database {stuck}"]
    assert "could not be dropped: database" in found.notes[0]
    assert other not in await databases(postgres)

    write("m/2.sql", "create table u (id int);")  # a build, which sweeps templates too
    built = await prepare_template(postgres, plan)
    assert built.built
    assert [note.partition(",")[0] for note in built.notes] == [f"the database {stuck}", f"the database {stale}"]
    for name in (stuck, stale):
        inside = await asyncpg.connect(**connect_arguments(replace(postgres, database=name)))
        await inside.execute("alter subscription held set (slot_name = none)")
        await inside.execute("drop subscription held")
        await inside.close()
    assert (await prepare_template(postgres, plan)).notes == ()
    await drop_database(connection, stale)
    await connection.close()


async def test_a_user_without_the_right_to_end_a_superusers_session_is_told_and_goes_on(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create table t (id int);")
    plan = PostgresPlan(tmp_path, ("m",))
    left = naming.clone_name(naming.lender_name("rtest11", "gw0"), 1)
    connection = await connect_for_maintenance(postgres)
    await connection.execute("create role plain login createdb password 'plain'")
    await connection.execute(f'create database "{left}" owner plain')
    plain = replace(postgres, username="plain", password=Secret("plain"))
    looks = await asyncpg.connect(**connect_arguments(replace(postgres, database=left)))
    try:
        (note,) = (await prepare_template(plain, plan)).notes
        assert left in note
        assert "permission denied" in note or "must be a superuser" in note  # the words of 16 and later, and of 15
        await looks.close()
        gone = "select not exists (select from pg_stat_activity where datname = $1)"
        await _until(postgres, gone, left)
        assert (await prepare_template(plain, plan)).notes == ()
        assert left not in await databases(postgres)
    finally:
        await looks.close()
        for name in (left, expected_name(postgres, plan)):
            await drop_database(connection, name)
        await connection.execute("drop role plain")
        await connection.close()


async def test_settings_and_rights_of_the_database_itself_are_copied(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write(
        "m/1.sql",
        """create schema "My App";
        do $$ begin
            execute format('alter database %I set search_path = "My App", public', current_database());
            execute format('alter database %I set app.tenant = %L', current_database(), 'it''s, "x"');
            execute format('revoke connect on database %I from public', current_database());
            execute format('grant temporary on database %I to pg_monitor', current_database());
        end $$;""",
    )
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
    lender = Databases(postgres, template, "gw0", "rtest5")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    assert await connection.fetchval("show search_path") == '"My App", public'
    assert await connection.fetchval("show app.tenant") == 'it\'s, "x"'
    rights = "select has_database_privilege($1, current_database(), $2)"
    assert not await connection.fetchval(rights, "pg_signal_backend", "connect")
    assert await connection.fetchval(rights, "pg_monitor", "temporary")
    assert await connection.fetchval(rights, "pg_signal_backend", "temporary")  # PUBLIC keeps this one
    await connection.close()
    await lender.close()


async def test_a_vanished_template_is_told_with_a_remedy(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
    lender = Databases(postgres, template, "gw0", "rtest6")
    await lender.give_back(await lender.lend())
    connection = await connect_for_maintenance(postgres)
    await drop_database(connection, template.name)
    await connection.close()
    with pytest.raises(RealstackError, match="its template is gone"):
        await lender.lend()
    await lender.close()


async def test_a_server_that_is_not_there_is_told_without_its_password(postgres: Endpoint, tmp_path: Path) -> None:
    nowhere = replace(postgres, port=1, socket_dir=None)
    with pytest.raises(RealstackError, match="does not let us in") as caught:
        await prepare_template(nowhere, PostgresPlan(tmp_path))
    assert str(postgres.password) not in str(caught.value)


async def test_a_plan_without_sources_is_an_empty_database(postgres: Endpoint, tmp_path: Path) -> None:
    template = await prepare_template(postgres, PostgresPlan(tmp_path))
    lender = Databases(postgres, template, "gw0", "rtest7")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
    await connection.close()
    await lender.close()


async def test_many_workers_copy_at_once(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "create table t (id int); insert into t values (1);")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))

    async def work(worker: str) -> int:
        lender = Databases(postgres, template, worker, "rtest8")
        rows = 0
        for _ in range(4):
            lent = await lender.lend()
            connection = await asyncpg.connect(**connect_arguments(lent))
            rows += await connection.fetchval("select count(*) from t")
            await connection.execute("insert into t values (2)")
            await connection.close()
            await lender.give_back(lent)
        await lender.close()
        return rows

    assert await asyncio.gather(*(work(f"gw{number}") for number in range(4))) == [4] * 4


async def test_a_role_that_may_only_create_databases_is_enough(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create table t (id serial primary key); alter table t enable row level security;")
    write("m/t.csv", "id\n1\n")
    connection = await connect_for_maintenance(postgres)
    await connection.execute("create role plain login createdb password 'plain'")
    plain = replace(postgres, username="plain", password=Secret("plain"))
    try:
        lender = Databases(plain, await prepare_template(plain, PostgresPlan(tmp_path, ("m",))), "gw0", "rtest9")
        lent = await lender.lend()
        inside = await asyncpg.connect(**connect_arguments(lent))
        assert await inside.fetchval("select count(*) from t") == 1
        await lender.give_back(lent)
        inside.terminate()
        await lender.close()
        await connection.execute("alter role plain nocreatedb")
        write("m/2.sql", "select 1")
        with pytest.raises(RealstackError, match="CREATEDB"):
            await prepare_template(plain, PostgresPlan(tmp_path, ("m",)))
    finally:
        for name in await our_databases(connection):
            owner = "select pg_get_userbyid(datdba) from pg_database where datname = $1"
            if await connection.fetchval(owner, name) == "plain":
                await drop_database(connection, name)
        await connection.execute("drop role plain")
        await connection.close()


async def test_a_template_is_built_anew_once_the_server_has_another_version_of_its_extension(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "create extension pg_trgm;")
    plan = PostgresPlan(tmp_path, ("m",))
    name = (await prepare_template(postgres, plan)).name
    assert not (await prepare_template(postgres, plan)).built
    connection = await connect_for_maintenance(postgres)
    facts = dict(naming.read_mark((await our_databases(connection))[name]) or {})
    facts["extensions"] = {"pg_trgm": "0.1"}  # as if the files were exchanged since
    await set_comment(connection, name, json.dumps(facts))
    await connection.close()
    assert (await prepare_template(postgres, plan)).built
    assert not (await prepare_template(postgres, plan)).built


async def test_a_server_that_dies_while_a_template_is_built_is_told_by_file_and_line(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1.sql", "select 1;\nselect pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(MigrationFailed, match=r"m/1.sql:2: "):
        await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))
