"""What a test changed, seeds of one test, and proofs of the known state, as a test's author meets them."""

from __future__ import annotations

import pytest

from tests.integration.plugin.conftest import Project

WRITES = """
import pytest

async def test_writes(real_db):
    assert not await real_db.changes()
    await real_db.execute("UPDATE users SET name = 'Eve' WHERE id = 1; DELETE FROM users WHERE id = 2")
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim'), (8, 'Lou')")
    changes = await real_db.changes()
    assert changes == {"users": {"inserted": 2, "updated": 1, "deleted": 1}}
    assert changes.inserted("users") == 2
    assert changes.updated("users") == (({"id": 1, "name": "Ada"}, {"id": 1, "name": "Eve"}),)
    assert changes.deleted("users")[0]["name"] == "Lin"
    with pytest.raises(KeyError, match="users"):
        changes.inserted("user")

async def test_after(real_db):
    assert not await real_db.changes()
"""


@pytest.mark.parametrize("mode", ["reset", "database", "transaction", "readonly"])
def test_the_changes_of_a_test_read_the_same_in_every_mode(project: Project, mode: str) -> None:
    project.settings("postgres")
    project.write("test_writes.py", WRITES)
    result = project.run("--realstack-isolation", mode, "--realstack-verify")
    result.assert_outcomes(passed=2, errors=1 if mode == "readonly" else 0)


def test_changes_of_the_schema_show_in_a_fresh_database(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_ddl.py",
        """
import pytest

@pytest.mark.realstack(isolation="database")
async def test_ddl(real_db):
    await real_db.execute('CREATE TABLE "Odd" (id serial PRIMARY KEY); ALTER TABLE users ADD COLUMN age int DEFAULT 3')
    changes = await real_db.changes()
    assert any("public.users.age was added" in line for line in changes.ddl), changes.ddl
    assert any('"Odd"' in line for line in changes.ddl)
    assert changes.updated("users") == 2
""",
    )
    project.run().assert_outcomes(passed=1)


def test_redis_tells_what_a_test_changed(project: Project) -> None:
    project.settings("redis")
    project.write(
        "test_redis.py",
        """
async def test_writes(real_redis):
    await real_redis.set("greeting", "bye")
    await real_redis.rpush("jobs", "a")
    changes = await real_redis.changes()
    assert changes == {"added": {"jobs": ["a"]}, "changed": {"greeting": ("hello", "bye")}}

async def test_after(real_redis):
    assert not await real_redis.changes()
""",
    )
    project.run().assert_outcomes(passed=2)


def test_a_failing_tests_report_has_what_it_changed(project: Project) -> None:
    project.settings("postgres", "redis")
    project.write(
        "test_fails.py",
        """
async def test_fails(real_db, real_redis):
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
    await real_redis.set("greeting", "bye")
    assert False

async def test_reads_and_fails(real_db, real_redis):
    await real_db.fetch("SELECT * FROM users")
    assert False
""",
    )
    result = project.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*what the test changed in the database*",
            "users: 1 inserted",
            'users + {"id": 7, "name": "Kim"}',
            "*what the test changed in Redis*",
            "*greeting*bye*",
            "*test_reads_and_fails*",
        ]
    )
    assert result.stdout.str().count("what the test changed in") == 2


def test_a_transaction_in_the_way_of_a_report_is_told_and_not_waited_for(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_fails.py",
        """
async def test_fails(real_db):
    connection = await real_db.acquire()
    await connection.execute("BEGIN; LOCK TABLE users; DELETE FROM users WHERE id = 1")
    assert False

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
""",
    )
    project.run().assert_outcomes(failed=1, passed=1)


SEEDED = """
import pytest

pytestmark = pytest.mark.seed("past.yaml")

async def names(db):
    return [row["name"] for row in await db.fetch("SELECT name FROM users ORDER BY id")]

async def test_module_seed(real_db):
    assert await names(real_db) == ["Ada", "Lin", "Old"]
    await real_db.execute("DELETE FROM users")

@pytest.mark.seed("more.csv")
class TestMore:
    async def test_class_seed(self, real_db):
        assert await names(real_db) == ["Ada", "Lin", "Old", "More"]
        await real_db.execute("DELETE FROM users")

    @pytest.mark.seed("db/last.sql", redis="keys.yaml")
    async def test_own_seed(self, real_db, real_redis):
        assert await names(real_db) == ["Ada", "Lin", "Old", "More", "Last"]
        assert await real_redis.get("greeting") == b"hello"
        assert await real_redis.get("extra") == b"more"
        assert not await real_redis.changes()

    async def test_class_seed_again(self, real_db, real_redis):
        assert await names(real_db) == ["Ada", "Lin", "Old", "More"]
        assert await real_redis.get("extra") is None
        assert not await real_db.changes()
"""


@pytest.mark.parametrize("mode", ["reset", "database", "transaction"])
def test_seeds_of_a_module_a_class_and_a_test_lie_on_each_other(project: Project, mode: str) -> None:
    project.settings("postgres", "redis")
    project.write("suite/test_seeded.py", SEEDED)
    project.write("suite/past.yaml", "users:\n  - {id: 5, name: Old}\n")
    project.write("suite/more.csv", "id,name\n6,More\n").rename(project.path / "suite/users.csv")
    project.write("suite/keys.yaml", "extra: more\n")
    project.write("db/last.sql", "INSERT INTO users VALUES (9, 'Last');")
    text = (project.path / "suite/test_seeded.py").read_text().replace("more.csv", "users.csv")
    project.write("suite/test_seeded.py", text)
    project.run("--realstack-isolation", mode, "--realstack-verify").assert_outcomes(passed=4)


def test_a_seed_that_is_not_there_is_named(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_seed.py",
        """
import pytest

@pytest.mark.seed("pats.yaml")
async def test_seed(real_db):
    pass

async def test_other(real_db):
    pass
""",
    )
    result = project.run()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*pats.yaml*"])


TRANSACTION = """
import asyncio, asyncpg, pytest

pytestmark = pytest.mark.realstack(isolation="transaction")

async def count(db):
    return await db.fetchval("SELECT count(*) FROM users")

async def test_what_is_committed_is_undone(real_db):
    async with real_db.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO users VALUES (7, 'Kim')")
    assert await count(real_db) == 3
    await real_db.execute("BEGIN; DELETE FROM users WHERE id = 7; COMMIT")
    assert await count(real_db) == 2
    assert not await real_db.changes()

async def test_begin_and_commit_as_statements(real_db):
    assert await count(real_db) == 2
    async with real_db.acquire() as connection:
        await connection.execute("BEGIN")
        await connection.execute("DELETE FROM users")
        await connection.execute("ROLLBACK")
        assert await connection.fetchval("SELECT count(*) FROM users") == 2
        await connection.execute("START TRANSACTION ISOLATION LEVEL SERIALIZABLE; DELETE FROM users; END TRANSACTION;")
        assert await connection.fetchval("SELECT count(*) FROM users") == 0

async def test_a_failure_undoes_its_own_statement_alone(real_db):
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
    with pytest.raises(asyncpg.UndefinedTableError):
        await real_db.fetch("SELECT * FROM nowhere")
    assert await count(real_db) == 3

async def test_a_failed_transaction_ends_as_in_postgres(real_db):
    async with real_db.acquire() as connection:
        await connection.execute("BEGIN; INSERT INTO users VALUES (7, 'Kim')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO users VALUES (1, 'Ada')")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await connection.fetchval("SELECT 1")
        assert await connection.execute("COMMIT") == "ROLLBACK"
        assert await connection.fetchval("SELECT count(*) FROM users") == 2
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("INSERT INTO users VALUES (8, 'Lou')")
                async with connection.transaction():
                    await connection.execute("INSERT INTO users VALUES (1, 'Ada')")
        assert await connection.fetchval("SELECT count(*) FROM users") == 2

async def test_an_inner_transaction_may_fail_alone(real_db):
    async with real_db.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO users VALUES (8, 'Lou')")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction(isolation="serializable"):
                await connection.execute("INSERT INTO users VALUES (1, 'Ada')")
        assert [row[0] async for row in connection.cursor("SELECT count(*) FROM users")] == [3]

async def test_deferred_constraints_are_checked_where_a_commit_would(real_db):
    await real_db.execute("INSERT INTO pets VALUES (1, 1)")
    for attempt in ("INSERT INTO pets VALUES (2, 99)", "BEGIN; INSERT INTO pets VALUES (2, 99); COMMIT"):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await real_db.execute(attempt)
    async with real_db.acquire() as connection:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with connection.transaction():
                await connection.execute("INSERT INTO pets VALUES (2, 99)")
        async with connection.transaction():
            await connection.execute("INSERT INTO pets VALUES (2, 99)")
            await connection.execute("INSERT INTO users VALUES (99, 'Late')")
    assert await real_db.fetchval("SELECT count(*) FROM pets") == 2

async def refused(work):
    with pytest.raises(asyncpg.UniqueViolationError):
        await work

async def test_a_failure_of_any_way_to_send_undoes_itself_alone(real_db, tmp_path):
    ada = [(5, "Kit"), (1, "Ada")]
    (tmp_path / "rows.csv").write_text("5,Kit\\n1,Ada\\n")
    async with real_db.acquire() as connection:
        await connection.execute("INSERT INTO users VALUES (7, 'Kim')")
        insert = await connection.prepare("INSERT INTO users VALUES ($1, $2) RETURNING id")
        await refused(insert.fetch(1, "Ada"))
        await refused(insert.fetchrow(1, "Ada"))
        await refused(insert.fetchval(1, "Ada"))
        await refused(insert.fetchmany(ada))
        await refused(insert.executemany(ada))
        await refused(connection.fetchmany("INSERT INTO users VALUES ($1, $2) RETURNING id", ada))
        await refused(connection.executemany("INSERT INTO users VALUES ($1, $2)", ada))
        await refused(connection.copy_records_to_table("users", records=ada))
        await refused(connection.copy_to_table("users", source=tmp_path / "rows.csv", format="csv"))
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.copy_from_table("nowhere", output=tmp_path / "out.csv")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.copy_from_query("SELECT 1 / 0", output=tmp_path / "out.csv")
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.prepare("SELECT * FROM nowhere")
        assert [row["id"] for row in await insert.fetch(8, "Lou")] == [8]
        assert insert.get_statusmsg() == "INSERT 0 1"
        await connection.copy_records_to_table("users", records=[(9, "Max")])
        assert await connection.fetchval("SELECT array_agg(id ORDER BY id) FROM users") == [1, 2, 7, 8, 9]

async def test_in_a_transaction_of_the_tests_a_failure_fails_it_as_in_postgres(real_db):
    async with real_db.acquire() as connection:
        insert = await connection.prepare("INSERT INTO users VALUES ($1, $2)")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            async with connection.transaction():
                await refused(insert.fetch(1, "Ada"))
                await insert.fetch(9, "Max")
        await insert.fetch(9, "Max")
        assert await connection.fetchval("SELECT count(*) FROM users") == 3

async def test_deferred_constraints_are_checked_after_what_was_prepared(real_db):
    async with real_db.acquire() as connection:
        insert = await connection.prepare("INSERT INTO pets VALUES ($1, $2)")
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await insert.fetch(2, 99)
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.copy_records_to_table("pets", records=[(2, 99)])
        assert await connection.fetchval("SELECT count(*) FROM pets") == 0

async def test_a_cursor_needs_a_transaction_as_elsewhere(real_db):
    async with real_db.acquire() as connection:
        assert not connection.is_in_transaction()
        ask = await connection.prepare("SELECT id FROM users ORDER BY id")
        with pytest.raises(asyncpg.NoActiveSQLTransactionError):
            await connection.cursor("SELECT 1")
        with pytest.raises(asyncpg.NoActiveSQLTransactionError):
            [row async for row in ask.cursor()]
        for begin, end in (("BEGIN", "COMMIT"), ("START TRANSACTION", "ROLLBACK")):
            await connection.execute(begin)
            assert connection.is_in_transaction()
            assert [row[0] async for row in ask.cursor(prefetch=1)] == [1, 2]
            await connection.execute(end)
        async with connection.transaction():
            cursor = await ask.cursor()
            assert [row[0] for row in await cursor.fetch(9)] == [1, 2]
        assert not connection.is_in_transaction()

async def test_tasks_take_turns_and_one_that_holds_it_may_ask_again(real_db):
    async def add(number):
        async with real_db.acquire() as connection:
            await connection.execute("INSERT INTO users VALUES ($1, 'x')", number)
            await asyncio.sleep(0)
            assert await real_db.fetchval("SELECT name FROM users WHERE id = $1", number) == "x"
    await asyncio.gather(*(add(number) for number in range(20, 25)))
    assert await count(real_db) == 7

async def test_sequences_and_all_else_are_back(real_db):
    assert await count(real_db) == 2
    assert await real_db.fetchval("SELECT nextval('numbers')") == 1

async def test_sequences_are_back_again(real_db):
    assert await real_db.fetchval("SELECT nextval('numbers')") == 1
"""


def test_in_transaction_mode_nested_transactions_work_and_nothing_stays(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "db/001.sql",
        """CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL); CREATE SEQUENCE numbers;
        CREATE TABLE pets (id int PRIMARY KEY, owner int REFERENCES users DEFERRABLE INITIALLY DEFERRED);""",
    )
    project.write("test_transaction.py", TRANSACTION)
    project.run("--realstack-verify").assert_outcomes(passed=13)


def test_nothing_stays_of_a_transaction_where_tests_share_a_loop_and_its_connection(project: Project) -> None:
    project.settings("postgres", ini='asyncio_mode = "auto"\nasyncio_default_test_loop_scope = "session"')
    project.write(
        "db/001.sql",
        """CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL); CREATE SEQUENCE numbers;
        CREATE TABLE pets (id int PRIMARY KEY, owner int REFERENCES users DEFERRABLE INITIALLY DEFERRED);""",
    )
    project.write("test_transaction.py", TRANSACTION)
    project.run("--realstack-verify").assert_outcomes(passed=13)


def test_a_transaction_belongs_to_one_loop_and_says_so(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_loops.py",
        """
import pytest, pytest_asyncio
from realstack import RealstackError

pytestmark = pytest.mark.realstack(isolation="transaction")

@pytest_asyncio.fixture(loop_scope="module")
async def filled(real_db):
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")

async def test_other_loop(filled, real_db):
    with pytest.raises(RealstackError, match="another event loop"):
        await real_db.fetch("SELECT 1")

async def test_next(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
""",
    )
    project.run().assert_outcomes(passed=2)


def test_with_prefixes_a_test_reads_the_same_and_an_application_is_told_its_prefix(project: Project) -> None:
    project.settings("redis")
    text = (project.path / "pyproject.toml").read_text()
    project.write("pyproject.toml", text.replace('["db/redis.yaml"]', '["db/redis.yaml"]\nkey_prefix = true'))
    project.write(
        "test_redis.py",
        """
import pytest, redis.asyncio

@pytest.mark.parametrize("number", range(3))
async def test_prefixed(real_redis, service_environ, number):
    assert await real_redis.keys() == [b"greeting"]
    await real_redis.set("greeting", "bye")
    assert await real_redis.changes() == {"changed": {"greeting": ("hello", "bye")}}
    prefix = service_environ["REDIS_KEY_PREFIX"]
    async with redis.asyncio.Redis.from_url(service_environ["REDIS_URL"]) as plain:
        assert await plain.get(prefix + "greeting") == b"bye"
""",
    )
    project.run().assert_outcomes(passed=3)
    project.run("-n", "2").assert_outcomes(passed=3)
