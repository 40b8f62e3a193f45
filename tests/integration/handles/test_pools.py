"""Connections of `real_db` outlive a test where the next one cannot tell them from new ones, and only there."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from realstack.handles.database import Database
from realstack.handles.session import Session
from realstack.services.postgres import connect_arguments

SETTINGS = """
[tool.realstack]
provider = "embedded"
services = ["postgres"]

[tool.realstack.postgres]
migrations = ["schema.sql"]
"""
SCHEMA = """
CREATE TABLE users (id serial PRIMARY KEY, name text, facts jsonb);
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN CREATE ROLE reader; END IF;
END $$;
GRANT SELECT, INSERT ON users TO reader;
GRANT USAGE ON SEQUENCE users_id_seq TO reader;
"""
SETS = "set_config('app.tenant', 'acme', false)"
BY_THE_SCHEMA = {
    "a function": (
        f"CREATE FUNCTION become() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN {SETS}; END $$",
        "SELECT become()",
    ),
    "a function of one expression": (f"CREATE FUNCTION become() RETURNS text RETURN {SETS}", "SELECT become()"),
    "a function with a setting": (
        "CREATE FUNCTION become() RETURNS int LANGUAGE sql SET app.tenant = 'acme' AS 'SELECT 1'",
        "SELECT become()",
    ),
    "a function that builds its statement": (
        "CREATE FUNCTION become() RETURNS void LANGUAGE plpgsql AS "
        "$$ BEGIN EXECUTE 'SET ' || 'app' || '.tenant = 1'; END $$",
        "SELECT become()",
    ),
    "a view": (f"CREATE VIEW becoming AS SELECT {SETS}", "SELECT * FROM becoming"),
    "a default": (f"ALTER TABLE users ALTER name SET DEFAULT {SETS}", "INSERT INTO users DEFAULT VALUES"),
}

PROBE = """
SELECT jsonb_build_object(
    'user', current_user, 'session', session_user, 'path', current_setting('search_path'),
    'tenant', current_setting('app.tenant', true), 'zone', current_setting('TimeZone'),
    'temporary', (SELECT count(*) FROM pg_class WHERE relname = 'scratch'),
    'prepared', (SELECT count(*) FROM pg_prepared_statements WHERE from_sql),
    'cursors', (SELECT count(*) FROM pg_cursors WHERE is_holdable),
    'channels', (SELECT count(*) FROM pg_listening_channels()),
    'locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
    'users', (SELECT count(*) FROM users))
"""

Deed = Callable[[Database], Awaitable[object]]


def started(folder: Path, schema: str = SCHEMA, isolation: str = "reset") -> Session:
    settings = SETTINGS.replace("[tool.realstack]", f'[tool.realstack]\nisolation = "{isolation}"')
    (folder / "pyproject.toml").write_text(settings)
    (folder / "schema.sql").write_text(schema)
    return Session(folder)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = started(tmp_path_factory.mktemp("project"))
    yield session
    session.close()


@pytest.fixture(scope="module")
def in_transaction(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = started(tmp_path_factory.mktemp("project"), isolation="transaction")
    yield session
    session.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def pid_of(database: Database) -> int:
    pid: int = await database.fetchval("SELECT pg_backend_pid()")
    return pid


async def statement(database: Database, *statements: str) -> None:
    """On one connection: the pool hands out the one that was given back last."""
    async with database.acquire() as connection:
        for each in statements:
            await connection.execute(each)


def deed(*statements: str) -> Deed:
    return lambda database: statement(database, *statements)


async def codec(database: Database) -> None:
    async with database.acquire() as connection:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def listener(database: Database) -> None:
    async with database.acquire() as connection:
        connection.add_termination_listener(print)


async def logger(database: Database) -> None:
    async with database.acquire() as connection:
        connection.add_query_logger(print)


async def prepared_setting(database: Database) -> None:
    async with database.acquire() as connection:
        ask = await connection.prepare("SELECT set_config('app.tenant', $1, false)")
        await ask.fetchval("acme")


async def listening(database: Database) -> None:
    async with database.acquire() as connection:
        await connection.execute("LISTEN news")
        await connection.execute("SELECT pg_advisory_lock(7)")


LEAVES_NOTHING: dict[str, Deed] = {
    "reads": deed("SELECT * FROM users"),
    "rows": deed("INSERT INTO users (name) VALUES ('Ada')"),
    "a role": deed("SET ROLE reader"),
    "a session's user": deed("SET SESSION AUTHORIZATION reader"),
    "a setting": deed("SET TimeZone = 'Asia/Tokyo'"),
    "a temporary table by a query": deed("SELECT 1 AS id INTO TEMP scratch"),
    "a held cursor": deed("BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM users", "COMMIT"),
    "channels and locks": listening,
    "an open transaction": deed("BEGIN", "INSERT INTO users (name) VALUES ('Eve')"),
}
LEAVES_SOMETHING: dict[str, Deed] = {
    "a setting of its own": deed("SET app.tenant = 'acme'"),
    "a setting of its own, quoted": deed('SET LOCAL "app"."tenant" = \'acme\''),
    "a setting by function": deed("SELECT set_config('app.tenant', 'acme', true)"),
    "a setting by a prepared statement": prepared_setting,
    "a path": deed("SET search_path = nowhere"),
    "a table of its own": deed("CREATE TEMP TABLE scratch (id int)", "INSERT INTO scratch VALUES (1)"),
    "a prepared statement of SQL": deed("PREPARE ask AS SELECT 1"),
    "a seed": deed("SELECT setseed(0.5)"),
    "a codec": codec,
    "a termination listener": listener,
    "a logger": logger,
    "its pool closed": Database.close,
}


async def seen_by_new(database: Database) -> dict[str, object]:
    """What a connection is like that nobody has used."""
    connection = await asyncpg.connect(**connect_arguments(database.endpoint))
    try:
        return dict(json.loads(await connection.fetchval(PROBE)))
    finally:
        await connection.close()


def backends_of_two_tests(session: Session, loop: asyncio.AbstractEventLoop, act: Deed) -> tuple[int, int]:
    """Of one that does ``act``, and of the next; that one's connection must be like a new one."""
    database = session.test.database()
    before = loop.run_until_complete(pid_of(database))
    loop.run_until_complete(act(database))
    session.end_test()

    following = session.test.database()
    seen = loop.run_until_complete(following.fetchval(PROBE))
    after = loop.run_until_complete(pid_of(following))
    assert isinstance(seen, str), "a codec of the test before reads it"
    assert json.loads(seen) == loop.run_until_complete(seen_by_new(following))
    session.end_test()
    return before, after


@pytest.mark.parametrize("name", LEAVES_NOTHING)
def test_a_connection_is_kept_and_like_new(session: Session, loop: asyncio.AbstractEventLoop, name: str) -> None:
    before, after = backends_of_two_tests(session, loop, LEAVES_NOTHING[name])
    assert before == after
    assert session.notes == []


@pytest.mark.parametrize("name", LEAVES_SOMETHING)
def test_a_connection_that_carries_something_on_is_not(
    session: Session, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    before, after = backends_of_two_tests(session, loop, LEAVES_SOMETHING[name])
    assert before != after


@pytest.mark.parametrize("name", LEAVES_NOTHING)
def test_that_of_a_transaction_is_kept_and_like_new(
    in_transaction: Session, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    before, after = backends_of_two_tests(in_transaction, loop, LEAVES_NOTHING[name])
    assert before == after
    assert in_transaction.notes == []


async def inner_transaction(database: Database) -> None:
    async with database.acquire() as connection:
        await connection.transaction().start()


async def channel(database: Database) -> None:
    async with database.acquire() as connection:
        await connection.add_listener("news", print)


@pytest.mark.parametrize(
    "act",
    [*(act for name, act in LEAVES_SOMETHING.items() if name != "its pool closed"), inner_transaction],
    ids=[*(name for name in LEAVES_SOMETHING if name != "its pool closed"), "an open transaction of asyncpg's"],
)
def test_that_of_a_transaction_which_carries_something_on_is_not(
    in_transaction: Session, loop: asyncio.AbstractEventLoop, act: Deed
) -> None:
    before, after = backends_of_two_tests(in_transaction, loop, act)
    assert before != after


def test_that_of_a_transaction_calls_no_listener_of_the_test_before(
    in_transaction: Session, loop: asyncio.AbstractEventLoop
) -> None:
    before, after = backends_of_two_tests(in_transaction, loop, channel)
    assert before == after


@pytest.mark.parametrize("name", ["a function", "a default"])
def test_that_of_a_transaction_is_not_kept_where_the_schema_could_do_the_same(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    addition, query = BY_THE_SCHEMA[name]
    session = started(tmp_path, f"{SCHEMA}{addition};", "transaction")
    try:
        before, after = backends_of_two_tests(session, loop, deed(query))
        assert before != after
    finally:
        session.close()


def test_modes_by_turns_have_connections_of_their_own_each_of_which_is_kept(
    session: Session, loop: asyncio.AbstractEventLoop
) -> None:
    wishes = [session.wish(mode) for mode in ("reset", "transaction", "reset", "transaction", "transaction")]
    backends, counts = [], []
    for wish in wishes:
        database = session.lend_database(wish)
        backends.append(loop.run_until_complete(pid_of(database)))
        loop.run_until_complete(database.execute("INSERT INTO users (name) VALUES ('Ada')"))
        counts.append(loop.run_until_complete(database.fetchval("SELECT count(*) FROM users")))
        session.take_back_database(database, wish)
    assert counts == [1] * 5
    assert len(set(backends)) == 2
    assert backends[0] == backends[2] != backends[1] == backends[3] == backends[4]


def test_where_the_database_is_made_anew_the_other_modes_connections_go_with_it(
    session: Session, loop: asyncio.AbstractEventLoop
) -> None:
    transaction, reset = session.wish("transaction"), session.wish("reset")
    database = session.lend_database(transaction)
    loop.run_until_complete(pid_of(database))
    session.take_back_database(database, transaction)
    database = session.lend_database(reset)
    loop.run_until_complete(statement(database, "CREATE TABLE more (id int)"))
    assert session.take_back_database(database, reset)
    assert session._kept == {}
    database = session.lend_database(transaction)
    assert loop.run_until_complete(database.fetchval("SELECT to_regclass('more') IS NULL"))
    session.take_back_database(database, transaction)


def test_that_of_a_transaction_knows_no_number_of_the_test_before(
    in_transaction: Session, loop: asyncio.AbstractEventLoop
) -> None:
    loop.run_until_complete(in_transaction.test.database().execute("INSERT INTO users (name) VALUES ('Ada')"))
    in_transaction.end_test()
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        loop.run_until_complete(in_transaction.test.database().fetchval("SELECT lastval()"))
    in_transaction.end_test()


def test_a_connection_that_is_never_given_back_ends_with_its_test(
    session: Session, loop: asyncio.AbstractEventLoop
) -> None:
    database = session.test.database()

    async def hold() -> asyncpg.Connection:
        return await database.acquire()

    held = loop.run_until_complete(hold())
    session.end_test()
    with pytest.raises(asyncpg.InterfaceError):
        loop.run_until_complete(held.fetchval("SELECT 1"))


def test_a_connection_that_a_task_takes_at_the_last_moment_ends_too(
    session: Session, loop: asyncio.AbstractEventLoop
) -> None:
    database = session.test.database()
    loop.run_until_complete(pid_of(database))
    asked = database.acquire()
    taken: list[asyncpg.Connection] = []

    async def late() -> None:
        await asyncio.sleep(0)
        taken.append(await asked)

    task = loop.create_task(late())
    session.end_test()
    assert task.done(), "it was to run while the connections are made as new"
    with pytest.raises(asyncpg.InterfaceError):
        loop.run_until_complete(taken[0].fetchval("SELECT 1"))


@pytest.mark.parametrize("name", BY_THE_SCHEMA)
def test_none_is_kept_where_the_schema_could_do_the_same(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    addition, query = BY_THE_SCHEMA[name]
    session = started(tmp_path, f"{SCHEMA}{addition};")
    try:
        before, after = backends_of_two_tests(session, loop, deed(query))
        assert before != after
    finally:
        session.close()


def test_who_still_holds_the_handle_of_a_test_that_ended_gets_nothing_by_it(
    session: Session, loop: asyncio.AbstractEventLoop
) -> None:
    database = session.test.database()
    loop.run_until_complete(pid_of(database))
    session.end_test()
    with pytest.raises(asyncpg.InterfaceError, match="has ended"):
        loop.run_until_complete(pid_of(database))
    assert database.get_size() == 0


def test_loops_that_were_closed_without_a_word_keep_no_connections(session: Session) -> None:
    """As `loop.close()` does: what ends a client with its loop was not asked. The garbage collector has it then."""
    for _ in range(3):
        database = session.test.database()
        careless = asyncio.new_event_loop()
        careless.run_until_complete(pid_of(database))
        careless.close()
        session.end_test()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del database, careless
            gc.collect()
    database = session.test.database()
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ''"
    deadline = time.monotonic() + 5
    while asyncio.run(database.fetchval(query)) > 1:  # their backends take a moment to notice
        assert time.monotonic() < deadline
    session.end_test()


def test_many_may_ask_at_once(session: Session) -> None:
    """Outside of tests, in a script say: each gets a database at the known state, and no two the same."""

    async def one(name: str) -> str:
        database = await asyncio.to_thread(session.lend_database)
        try:
            assert await database.fetchval("SELECT count(*) FROM users") == 0
            await database.execute("INSERT INTO users (name) VALUES ($1)", name)
            await asyncio.sleep(0.01)
            assert [row["name"] for row in await database.fetch("SELECT name FROM users")] == [name]
            await asyncio.gather(*(database.changes() for _ in range(3)))
            return str(database.endpoint.database)
        finally:
            await asyncio.to_thread(session.take_back_database, database)

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(str(number)) for number in range(8)))

    assert len(set(asyncio.run(all_of_them()))) > 1


def test_who_asks_during_a_reset_does_not_get_what_is_being_reset(session: Session) -> None:
    """A transaction that was left open holds the reset up for a quarter of a second."""
    first = session.lend_database()

    async def leave_open() -> asyncpg.Connection:
        connection = await asyncpg.connect(**connect_arguments(first.endpoint))
        await connection.execute("BEGIN; INSERT INTO users (name) VALUES ('Eve')")
        return connection

    async def both() -> int:
        left = await leave_open()
        ending = asyncio.create_task(asyncio.to_thread(session.take_back_database, first))
        await asyncio.sleep(0.1)
        second = await asyncio.to_thread(session.lend_database)
        await second.execute("INSERT INTO users (name) VALUES ('Lin')")
        await ending
        count: int = await second.fetchval("SELECT count(*) FROM users")
        left.terminate()
        await asyncio.to_thread(session.take_back_database, second)
        return count

    assert asyncio.run(both()) == 1


def test_a_session_ended_by_the_reset_is_not_handed_on(session: Session, loop: asyncio.AbstractEventLoop) -> None:
    """Nor is any other of its pool: it may not know yet that its server has left it."""
    database = session.test.database()

    async def leave_open() -> asyncpg.Connection:
        connection = await asyncpg.connect(**connect_arguments(database.endpoint))
        await connection.execute("BEGIN; INSERT INTO users (name) VALUES ('Eve')")
        return connection

    before = loop.run_until_complete(pid_of(database))
    left = loop.run_until_complete(leave_open())
    session.end_test()
    assert "its transaction was open" in session.notes.pop()
    following = session.test.database()
    assert loop.run_until_complete(pid_of(following)) != before
    assert loop.run_until_complete(following.fetchval("SELECT count(*) FROM users")) == 0
    session.end_test()
    left.terminate()


def test_where_the_database_is_made_anew_the_connections_go_with_it(
    session: Session, loop: asyncio.AbstractEventLoop
) -> None:
    database = session.test.database()
    loop.run_until_complete(statement(database, "CREATE TABLE more (id int)"))
    session.end_test()
    assert "was made anew" in session.notes.pop()
    following = session.test.database()
    assert following.endpoint.database != database.endpoint.database
    assert loop.run_until_complete(following.fetchval("SELECT to_regclass('more') IS NULL"))
    session.end_test()


def test_another_loop_has_connections_of_its_own(session: Session, loop: asyncio.AbstractEventLoop) -> None:
    first = loop.run_until_complete(pid_of(session.test.database()))
    session.end_test()
    database = session.test.database()
    assert asyncio.run(pid_of(database)) != first
    assert loop.run_until_complete(pid_of(database)) == first
    session.end_test()


def test_a_test_on_another_database_closes_what_was_kept(session: Session, loop: asyncio.AbstractEventLoop) -> None:
    """Two pools of ten connections each are never open at once."""
    before = loop.run_until_complete(pid_of(session.test.database()))
    session.end_test()
    clone = session.lend_database(session.wish("database"))
    count = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {before}"
    assert loop.run_until_complete(clone.fetchval(count)) == 0
    session.take_back_database(clone, session.wish("database"))
