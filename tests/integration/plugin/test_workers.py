"""Workers that share a server: any number and distribution, killed and replaced, forked, run again, in any order."""

from __future__ import annotations

from signal import SIGKILL

import asyncpg
import pytest

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from tests.integration.plugin.conftest import Project

MANY = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(8))
async def test_known_state(real_db, real_redis, number):
    assert [row["name"] for row in await real_db.fetch("SELECT name FROM users ORDER BY id")] == ["Ada", "Lin"]
    assert await real_redis.dbsize() == 1
    await real_db.execute("TRUNCATE users")
    await real_redis.set(f"key:{number}", "x")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with open("lent.txt", "a") as file:
        file.write(f"{worker} {real_db.endpoint.database} {real_redis.endpoint.database}\\n")

class TestGroup:
    async def test_one(self, real_db):
        await real_db.execute("DELETE FROM users")

    async def test_two(self, real_db):
        assert await real_db.fetchval("SELECT count(*) FROM users") == 2
"""


def lent(project: Project) -> dict[str, set[tuple[str, str]]]:
    """By worker: the databases of Postgres and Redis that its tests had."""
    found: dict[str, set[tuple[str, str]]] = {}
    for line in (project.path / "lent.txt").read_text().splitlines():
        worker, database, redis = line.split()
        found.setdefault(worker, set()).add((database, redis))
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", "3", "--dist", "load"),
        ("-n", "3", "--dist", "loadscope"),
        ("-n", "2", "--dist", "worksteal"),
        ("-n", "2", "--dist", "each", "--tx", "2*popen"),
        ("-n", "auto", "--maxprocesses", "2"),
        ("-p", "randomly", "-p", "xdist", "-n", "2"),
        (
            "-p",
            "randomly",
        ),
    ],
    ids=" ".join,
)
def test_each_worker_has_databases_of_its_own(project: Project, arguments: tuple[str, ...]) -> None:
    project.settings("postgres", "redis")
    project.write("test_many.py", MANY)
    result = project.run(*arguments)
    assert result.ret == 0, result.stdout.str()
    by_worker = lent(project)
    databases = [database for pairs in by_worker.values() for database in {pair[0] for pair in pairs}]
    assert len(databases) == len(set(databases))
    assert all(len(pairs) == 1 for pairs in by_worker.values()), by_worker


def test_a_worker_that_dies_is_replaced_and_the_other_tests_see_the_known_state(project: Project) -> None:
    project.settings("postgres", "redis")
    project.write(
        "test_dying.py",
        MANY
        + """
async def test_dies(real_db, real_redis):
    await real_db.execute("DELETE FROM users")
    os.kill(os.getpid(), 9)
""",
    )
    result = project.run("-n", "2")
    result.assert_outcomes(passed=10, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running*test_dies*"])
    assert len({database for pairs in lent(project).values() for database, _ in pairs}) >= 2


def test_a_test_that_is_run_again_starts_at_the_known_state(project: Project) -> None:
    project.settings("postgres", "redis")
    project.write(
        "test_flaky.py",
        """
tries = []

async def test_flaky(real_db, real_redis):
    tries.append(await real_db.fetchval("SELECT count(*) FROM users"))
    await real_db.execute("DELETE FROM users")
    await real_redis.flushdb()
    assert len(tries) == 3
    assert tries == [2, 2, 2]
""",
    )
    project.run("--reruns", "3", "-p", "rerunfailures").assert_outcomes(passed=1)


def test_the_header_shows_the_connections_that_the_workers_may_open(project: Project) -> None:
    project.settings("postgres")
    project.write("test_many.py", "async def test_one(real_db): await real_db.fetch('SELECT 1')\n")
    project.run().stdout.fnmatch_lines(["realstack: at most 20 of the server's 200 connections: one process"])
    project.run("-n", "2").stdout.fnmatch_lines(["realstack: at most 40 of the server's 200 connections: 2 workers *"])


@pytest.mark.usefixtures("few_connections")
def test_pools_are_smaller_where_the_server_has_few_connections(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_many.py",
        """
import asyncio, pytest

@pytest.mark.parametrize("number", range(6))
async def test_many(real_db, number):
    await asyncio.gather(*(real_db.fetch("SELECT pg_sleep(0.02)") for _ in range(40)))
""",
    )
    project.run("-n", "3").assert_outcomes(passed=6)


ORPHANS = """
import os, pathlib, time

async def test_hold(real_db):
    pathlib.Path("held.txt").write_text(real_db.endpoint.database)
    os.kill(os.getpid(), 9)
"""


async def test_databases_of_a_killed_run_are_dropped_by_the_next(project: Project, few_connections: Endpoint) -> None:
    project.settings("postgres")
    project.write("test_hold.py", ORPHANS)
    assert project.run("-q").ret == -SIGKILL
    held = (project.path / "held.txt").read_text()
    connection = await asyncpg.connect(**connect_arguments(few_connections))
    try:
        names = "SELECT count(*) FROM pg_database WHERE datname = $1"
        assert await connection.fetchval(names, held) == 1
        (project.path / "test_hold.py").unlink()
        project.write("test_next.py", "async def test_next(real_db): await real_db.fetch('SELECT 1')\n")
        project.run().assert_outcomes(passed=1)
        assert await connection.fetchval(names, held) == 0
    finally:
        await connection.close()
