"""Databases of failed tests that stay to be looked at, `realstack state`, and a template that somebody wrote into."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import asyncpg
import psutil
import pytest

from tests.integration.plugin.conftest import Project

FAILS = """
import pytest

@pytest.mark.parametrize("mode", ["reset", "database"])
async def test_fails(request, real_db, mode):
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
    assert False

async def test_passes(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
"""


@pytest.fixture
def down_after(project: Project) -> Iterator[None]:
    yield
    assert project.realstack("down").returncode == 0


@pytest.mark.usefixtures("down_after")
@pytest.mark.parametrize("arguments", [(), ("--realstack-isolation", "database"), ("-n", "2")], ids=" ".join)
def test_the_database_of_a_failed_test_is_kept_with_its_address(project: Project, arguments: tuple[str, ...]) -> None:
    project.settings("postgres")
    project.write("test_fails.py", FAILS)
    result = project.run("--realstack-keep-failed", *arguments)
    result.assert_outcomes(failed=2, passed=1)
    kept = re.findall(
        r"test_fails\[\w+\]: its database is kept: (\S+); look at it .*state url (\w+)\)", result.stdout.str()
    )
    assert len(kept) == 2
    for shown, name in kept:
        assert name in shown
        assert "***" in shown
        assert project.realstack("state", "url", name).stdout.strip().endswith(name)
        differing = project.realstack("state", "verify", name, "--json")
        assert differing.returncode == 1
        assert 'users + {"id": 7, "name": "Kim"}' in json.loads(differing.stdout)["differences"]
    assert project.realstack("state", "verify").returncode == 0


def test_where_no_test_failed_nothing_is_kept_and_nothing_runs_on(project: Project) -> None:
    project.settings("postgres")
    project.write("test_passes.py", "async def test_passes(real_db): await real_db.execute('DELETE FROM users')\n")
    for arguments in ((), ("-n", "2")):
        project.run("--realstack-keep-failed", *arguments).assert_outcomes(passed=1)
        assert project.realstack("status").returncode == 1
    ours = [each.info["cmdline"] or () for each in psutil.process_iter(["cmdline"])]
    assert not [command for command in ours if any(str(project.path) in word for word in command)]


DELETE_LIN = """
import asyncio, asyncpg, os

async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"], ssl=False)
    await connection.execute("DELETE FROM users WHERE id = 2")
    await connection.close()

asyncio.run(main())
"""


@pytest.mark.usefixtures("down_after")
def test_state_tells_what_was_changed_in_the_standing_database(project: Project) -> None:
    project.settings("postgres")
    assert project.realstack("up").returncode == 0
    fine = project.realstack("state", "verify")
    assert (fine.returncode, "is at the known state" in fine.stdout) == (0, True)
    variables = json.loads(project.realstack("env", "--format", "json").stdout)
    subprocess.run([sys.executable, "-c", DELETE_LIN], env={**variables, "PATH": "/usr/bin:/bin"}, check=True)
    differing = project.realstack("state", "verify")
    assert differing.returncode == 1
    assert 'users - {"id": 2, "name": "Lin"}' in differing.stdout
    assert "users: 1 deleted" in project.realstack("state", "changes").stdout
    assert json.loads(project.realstack("state", "changes", "--json").stdout)["tables"]["users"]["deleted"]
    by_url = project.realstack("state", "verify", str(variables["DATABASE_URL"]))
    assert (by_url.returncode, f":{variables['PGPASSWORD']}@" in by_url.stdout) == (1, False)
    assert project.realstack("reset").returncode == 0
    assert project.realstack("state", "verify").returncode == 0
    wrong = project.realstack("state", "verify", "nowhere")
    assert (wrong.returncode, "nowhere" in wrong.stderr) == (2, True)


def test_state_needs_something_that_is_up(project: Project) -> None:
    refused = project.realstack("state", "verify")
    assert (refused.returncode, "realstack up" in refused.stderr) == (2, True)


WRITE_INTO_TEMPLATE = """
import asyncio, asyncpg, os

async def main():
    c = await asyncpg.connect(os.environ["DATABASE_URL"], ssl=False, database="postgres")
    name = await c.fetchval("SELECT datname FROM pg_database WHERE datname LIKE 'rs_tpl%'")
    await c.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    t = await asyncpg.connect(os.environ["DATABASE_URL"], ssl=False, database=name)
    await t.execute("SET session_replication_role = replica; UPDATE users SET name = 'Eve' WHERE id = 1")
    await t.close()
    await c.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await c.close()

asyncio.run(main())
"""


@pytest.mark.usefixtures("down_after")
def test_a_template_that_somebody_wrote_into_fails_the_run(project: Project) -> None:
    project.settings("postgres")
    project.write("test_reads.py", "async def test_reads(real_db): await real_db.fetch('SELECT * FROM users')\n")
    assert project.realstack("up").returncode == 0
    project.run().assert_outcomes(passed=1)  # the first look notes the fingerprint
    variables = json.loads(project.realstack("env", "--format", "json").stdout)
    subprocess.run([sys.executable, "-c", WRITE_INTO_TEMPLATE], env={**variables, "PATH": "/usr/bin:/bin"}, check=True)
    result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["realstack: the template rs_tpl_* is not what was built*"])


def test_a_reset_that_leaves_something_fails_the_test_that_it_followed(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_leaves.py",
        """
import asyncpg

async def test_goes_past_the_log(real_db):
    # Internal triggers may be dropped by nobody but a superuser with a mind to it; it stands for a bug of ours.
    await real_db.execute(
        "SET allow_system_table_mods = on; DELETE FROM pg_trigger WHERE tgname LIKE 'realstack%';"
        "UPDATE pg_class SET relhastriggers = false WHERE relname = 'users'"
    )
    await real_db.expire_connections()
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
""",
    )
    result = project.run("--realstack-verify")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_goes_past_the_log*", '*users + {"id": 7, "name": "Kim"}*'])


def test_a_sampled_proof_at_the_end_fails_the_run(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_leaves.py",
        """
async def test_goes_past_the_log(real_db):
    await real_db.execute(
        "SET allow_system_table_mods = on; DELETE FROM pg_trigger WHERE tgname = 'realstack_insert';"
        "UPDATE users SET name = 'Eve' WHERE id = 1"
    )
    await real_db.expire_connections()
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
""",
    )
    result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["realstack: the reset did not bring the database back*"])


@pytest.mark.usefixtures("down_after")
@pytest.mark.parametrize("mode", ["reset", "database"])
def test_a_kept_database_is_compared_with_the_state_that_it_began_at(project: Project, mode: str) -> None:
    project.settings("postgres")
    project.write("more.sql", "INSERT INTO users VALUES (5, 'Old'), (6, 'Older');")
    project.write(
        "test_fails.py",
        """
import pytest

@pytest.mark.seed("more.sql")
async def test_fails(real_db):
    await real_db.execute("DELETE FROM users WHERE id = 5")
    assert False
""",
    )
    result = project.run("--realstack-keep-failed", "--realstack-isolation", mode)
    result.assert_outcomes(failed=1)
    [name] = re.findall(r"state url (\w+)\)", result.stdout.str())
    verified = json.loads(project.realstack("state", "verify", name, "--json").stdout)
    assert [line for line in verified["differences"] if line.startswith("users ")] == [
        'users - {"id": 5, "name": "Old"}'
    ]
    assert "users: 1 deleted" in project.realstack("state", "changes", name).stdout
    (project.path / "db/seed.sql").write_text("INSERT INTO users VALUES (1, 'Ada');")  # the project goes on
    again = json.loads(project.realstack("state", "verify", name, "--json").stdout)
    assert again["differences"] == verified["differences"]
    asyncio.run(forget_templates(project.realstack("state", "url", name).stdout.strip()))
    gone = project.realstack("state", "verify", name)
    assert (gone.returncode, "is not there any more" in gone.stderr) == (2, True)


async def forget_templates(url: str) -> None:
    """As a week without use does, and a build after it."""
    connection = await asyncpg.connect(url)
    for (name,) in await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'rs\\_tpl%'"):
        await connection.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
        await connection.execute(f'DROP DATABASE "{name}"')
    await connection.close()


@pytest.mark.usefixtures("down_after")
@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=" ".join)
def test_what_the_last_test_did_to_a_redis_that_is_up_is_told_and_not_there_for_the_next_run(
    project: Project, arguments: tuple[str, ...]
) -> None:
    project.settings("redis")
    project.write(
        "test_sets.py",
        """
async def test_sets(real_redis):
    assert (await real_redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
    await real_redis.config_set("maxmemory-policy", "allkeys-lru")
""",
    )
    assert project.realstack("up").returncode == 0
    for _ in range(2):
        result = project.run(*arguments)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["*test_sets: CONFIG SET changed maxmemory-policy * it was put back"])
