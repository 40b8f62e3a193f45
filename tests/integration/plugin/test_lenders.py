"""What a process lends from: bounded, by a test's mode in any order, and told in its own words when it fails."""

from __future__ import annotations

import re
from dataclasses import replace

import asyncpg
import pytest

from realstack.model import Endpoint, Secret
from realstack.services.postgres import connect_arguments
from tests.integration.plugin.conftest import Project


@pytest.fixture
async def no_superuser(few_connections: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """A given server whose declared user may make databases and nothing else."""
    connection = await asyncpg.connect(**connect_arguments(few_connections))
    await connection.execute("CREATE ROLE plain LOGIN CREATEDB PASSWORD 'plain'")
    await connection.execute("CREATE DATABASE given OWNER plain")
    await connection.close()
    plain = replace(few_connections, username="plain", password=Secret("plain"), database="given")
    monkeypatch.setenv("REALSTACK_POSTGRES_URL", str(plain.url))
    return plain


READ_ONLY = """
@pytest.mark.realstack(isolation="readonly")
async def test_may_only_read(real_db):
    await real_db.execute("DELETE FROM users")
"""
RESETS = """
async def test_resets(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
    await real_db.execute("DELETE FROM users")
"""


@pytest.mark.usefixtures("no_superuser")
@pytest.mark.parametrize("order", [(RESETS, READ_ONLY, RESETS), (READ_ONLY, RESETS, READ_ONLY)])
def test_where_a_server_cannot_reset_a_test_that_may_only_read_is_refused_in_any_order(
    project: Project, order: tuple[str, ...]
) -> None:
    project.settings("postgres")
    tests = [test.replace("(real_db)", f"_{number}(real_db)") for number, test in enumerate(order)]
    project.write("test_order.py", "\n".join(["import pytest", *tests]))
    result = project.run()
    result.assert_outcomes(passed=order.count(RESETS), errors=order.count(READ_ONLY))
    result.stdout.fnmatch_lines(["*superuser*"])


MARKED = """
import pytest

async def test_before(real_db):
    await real_db.execute("DELETE FROM users")

@pytest.mark.realstack(isolation="reset")
async def test_resets(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
    await real_db.execute("DELETE FROM users; SELECT lo_from_bytea(0, 'x')")
    assert (await real_db.changes()).deleted("users") == 2

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2

@pytest.mark.realstack(isolation="transaction")
async def test_in_a_transaction(real_db):
    pass
"""


@pytest.mark.usefixtures("no_superuser")
@pytest.mark.parametrize("suite", ["database", "reset"])
def test_where_a_server_cannot_reset_a_test_that_is_marked_to_reset_gets_a_clone_in_any_suite(
    project: Project, suite: str
) -> None:
    project.settings("postgres")
    project.write("test_marked.py", MARKED)
    result = project.run("--realstack-isolation", suite, "--realstack-verify")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*the declared user is no superuser*", "*isolation = *database*"])
    header = "a fresh database for each test: the declared user is no superuser" in result.stdout.str()
    assert header is (suite == "reset")


SEED_SETS = """
import asyncio, pytest

@pytest.mark.parametrize("number", range(2))
class TestSets:
    async def look(self, real_db, *more):
        names = [row["name"] for row in await real_db.fetch("SELECT name FROM users ORDER BY id")]
        assert names == ["Ada", "Lin", *more]
        await asyncio.gather(*(real_db.fetch("SELECT pg_sleep(0.1)") for _ in range(40)))
        await real_db.execute("DELETE FROM users")
        assert (await real_db.changes()).deleted("users") == 2 + len(more)

    async def test_none(self, real_db, number):
        await self.look(real_db)

    @pytest.mark.realstack(isolation="database")
    async def test_clone(self, real_db, number):
        await self.look(real_db)
"""
ONE_SET = """
    @pytest.mark.seed("{name}.sql")
    async def test_{name}(self, real_db, number):
        await self.look(real_db, "{name}")
"""


@pytest.mark.usefixtures("few_connections")
def test_the_workers_keep_within_the_servers_connections_with_many_sets_of_seeds(project: Project) -> None:
    project.settings("postgres")
    sets = ["one", "two", "three", "four"]
    for number, name in enumerate(sets, start=3):
        project.write(f"{name}.sql", f"INSERT INTO users VALUES ({number}, '{name}');")
    project.write("test_sets.py", SEED_SETS + "".join(ONE_SET.format(name=name) for name in sets))
    result = project.run("--dist", "each", "--tx", "3*popen")
    result.assert_outcomes(passed=36)
    [told] = re.findall(r"at most (\d+) of the server's 40 connections: 3 workers with", result.stdout.str())
    assert int(told) <= 40 - 8
    assert "too many" not in result.stdout.str()


HOLDS_ITS_DATABASE = """
async def test_subscribes(real_db):
    await real_db.execute("CREATE SUBSCRIPTION held CONNECTION 'dbname=no' PUBLICATION p WITH (connect = false)")

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
"""


@pytest.mark.usefixtures("few_connections")
@pytest.mark.parametrize("arguments", [("--realstack-isolation", "database"), ("-n", "2")], ids=" ".join)
def test_a_database_that_cannot_be_dropped_is_one_line_and_fails_the_run(
    project: Project, arguments: tuple[str, ...]
) -> None:
    project.settings("postgres")
    project.write("test_subscribes.py", HOLDS_ITS_DATABASE)
    result = project.run(*arguments)
    assert result.ret == 1
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["*the database rs_run_* could not be dropped: *"])


async def test_an_evicted_database_that_differs_fails_the_run_and_not_the_test_that_made_room(
    project: Project, few_connections: Endpoint
) -> None:
    project.settings("postgres")
    for number in range(10):
        project.write(f"s{number}.sql", f"INSERT INTO users VALUES ({number + 10}, 'more');")
    project.write(
        "test_leaves.py",
        """
import pytest

@pytest.mark.seed("s0.sql")
async def test_goes_past_the_log(real_db):
    await real_db.execute(
        "SET allow_system_table_mods = on; DELETE FROM pg_trigger WHERE tgname = 'realstack_insert';"
        "UPDATE users SET name = 'Eve' WHERE id = 1"
    )
    await real_db.expire_connections()
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
"""
        + "".join(
            f"""
@pytest.mark.seed("s{number}.sql")
async def test_innocent_{number}(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 3
"""
            for number in range(1, 10)
        ),
    )
    result = project.run()
    result.assert_outcomes(passed=10)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["realstack: the reset did not bring the database back*", "*users + {*Kim*"])


IN_TRANSACTION = """
import asyncio, pytest

pytestmark = pytest.mark.realstack(isolation="transaction")

async def test_writes_and_fails(real_db):
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
    assert False

async def test_holds_the_connection_and_fails(real_db):
    connection = await real_db.acquire()
    await connection.execute("DELETE FROM users")
    assert False

def test_ends_its_loop_and_fails(real_db):
    asyncio.run(real_db.execute("DELETE FROM users"))
    assert False

async def test_fails_without_a_word(real_db):
    assert False

@pytest.mark.anyio
async def test_anyio_writes_and_fails(real_db, anyio_backend):
    await real_db.execute("INSERT INTO users VALUES (8, 'Any')")
    assert False

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
"""


def test_a_transaction_that_is_undone_is_not_called_kept_and_its_changes_are_told(project: Project) -> None:
    project.settings("postgres")
    project.write("conftest.py", "import pytest\n\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n")
    project.write("test_fails.py", IN_TRANSACTION)
    result = project.run("--realstack-keep-failed")
    result.assert_outcomes(failed=5, passed=1)
    shown = result.stdout.str()
    assert "its database is kept" not in shown
    assert shown.count('its database is not kept: isolation="transaction"') == 5
    assert 'users + {"id": 7, "name": "Kim"}' in shown
    assert 'users + {"id": 8, "name": "Any"}' in shown
    result.stdout.fnmatch_lines(["not known: its transaction ended with its event loop*"])
    assert shown.count("what the test changed in the database") == 4


async def test_what_a_failed_test_did_to_the_server_is_told_though_its_database_is_kept(
    project: Project, few_connections: Endpoint
) -> None:
    project.settings("postgres")
    project.write(
        "test_fails.py",
        """
async def test_fails(real_db):
    await real_db.execute("ALTER SYSTEM SET work_mem = '5MB'")
    await real_db.execute("CREATE ROLE somebody")
    assert False

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
""",
    )
    result = project.run("--realstack-keep-failed")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*test_fails: ALTER SYSTEM was used: work_mem*",
            "*test_fails: roles of the server changed: somebody*",
            "*test_fails: its database is kept*",
        ]
    )
    assert project.realstack("down").returncode == 0
