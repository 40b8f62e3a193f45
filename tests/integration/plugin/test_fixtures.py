"""The fixtures under every async plugin, loop scope and way of starting pytest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.plugin.conftest import Project

TWO_TESTS = """
import pytest
{imports}

async def both(db, redis):
    assert await db.fetchval("SELECT count(*) FROM users") == 2
    await db.execute("INSERT INTO users VALUES (3, 'Eve')")
    async with db.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM users") == 3
    assert await redis.get("greeting") == b"hello"
    await redis.set("greeting", "changed")
    await redis.set("more", "1")
    assert await redis.dbsize() == 2

{marker}
async def test_one(real_db, real_redis):
    await both(real_db, real_redis)

{marker}
async def test_two(real_db, real_redis):
    await both(real_db, real_redis)
"""

MANY = """
import pytest

@pytest.mark.parametrize("number", range({count}))
async def test_many(number, real_db, real_redis, realstack_env):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
    await real_db.execute("INSERT INTO users SELECT generate_series(10, 60), 'x'")
    assert await real_redis.dbsize() == 1
    await real_redis.mset({{f"k{{i}}": i for i in range(50)}})
    assert await real_db.fetchval("SELECT count(*) FROM users") == 53
    assert await real_redis.dbsize() == 51
    with open("servers.txt", "a") as file:
        file.write(f"{{realstack_env.endpoint('postgres').port}}\\n")
"""

ANYIO = '@pytest.mark.anyio\n@pytest.mark.parametrize("anyio_backend", ["asyncio"])'


@pytest.mark.parametrize(
    ("ini", "imports", "marker"),
    [
        ('asyncio_mode = "auto"', "", ""),
        ('asyncio_mode = "strict"', "", "@pytest.mark.asyncio"),
        ('asyncio_mode = "strict"', "", ANYIO),
        *(
            ('asyncio_mode = "auto"', "", f'@pytest.mark.asyncio(loop_scope="{scope}")')
            for scope in ("module", "session")
        ),
    ],
    ids=["auto", "strict", "anyio", "module loop", "session loop"],
)
def test_each_test_starts_at_the_known_state_under_every_async_plugin(
    project: Project, ini: str, imports: str, marker: str
) -> None:
    """Warnings are errors in the inner run: a connection that is left to the garbage collector fails it."""
    project.settings("postgres", "redis", ini=ini)
    project.write("tests/test_two.py", TWO_TESTS.format(imports=imports, marker=marker))
    project.run().assert_outcomes(passed=2)


def test_an_async_fixture_in_another_loop_than_the_test_shares_the_database(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_mixed.py",
        """
import pytest, pytest_asyncio

@pytest_asyncio.fixture(loop_scope="function")
async def eve(real_db):
    await real_db.execute("INSERT INTO users VALUES (3, 'Eve')")
    yield 3
    assert await real_db.execute("DELETE FROM users WHERE id = 3") == "DELETE 1"

@pytest.mark.asyncio(loop_scope="session")
async def test_it(eve, real_db):
    assert await real_db.fetchval("SELECT name FROM users WHERE id = $1", eve) == "Eve"
""",
    )
    project.run().assert_outcomes(passed=1)


def test_the_workers_of_xdist_share_servers_and_never_data(project: Project) -> None:
    project.settings("postgres", "redis")
    project.write("test_many.py", MANY.format(count=24))
    result = project.run("-n", "4")
    result.assert_outcomes(passed=24)
    assert len(set((project.path / "servers.txt").read_text().split())) == 1
    result.stdout.fnmatch_lines(["realstack: postgres, redis: embedded, because*"])


def test_the_plans_functions_give_the_same_database_as_the_fixture(project: Project) -> None:
    project.settings("postgres", "redis")
    project.write(
        "test_plain.py",
        """
from realstack import get_test_db, get_test_redis

async def test_plain():
    async with get_test_db() as db:
        async with get_test_redis() as redis:
            await db.execute("DELETE FROM users")
            await redis.flushdb()
    async with get_test_db() as db:
        assert await db.fetchval("SELECT count(*) FROM users") == 0

async def test_with_fixture(real_db):
    async with get_test_db() as db:
        assert await db.fetchval("SELECT count(*) FROM users") == 2
        assert db.url == real_db.url
""",
    )
    project.run().assert_outcomes(passed=2)


def test_the_plans_functions_work_in_a_script(project: Project) -> None:
    project.settings("postgres")
    script = project.write(
        "script.py",
        """
import asyncio
from realstack import get_test_db

async def main():
    async with get_test_db() as db:
        print("rows", await db.fetchval("SELECT count(*) FROM users"))

asyncio.run(main())
""",
    )
    result = project.pytester.runpython(script)
    result.stdout.fnmatch_lines(["rows 2"])
    assert result.ret == 0


def test_it_runs_from_a_subfolder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.settings("postgres", "redis")
    project.write("tests/deep/test_two.py", TWO_TESTS.format(imports="", marker=""))
    monkeypatch.chdir(project.path / "tests" / "deep")
    project.run().assert_outcomes(passed=2)


def test_nothing_is_imported_or_started_where_no_test_asks(project: Project) -> None:
    project.write(
        "test_unit.py",
        """
import sys

def test_unit():
    heavy = {"asyncpg", "redis", "docker", "testcontainers", "fastapi", "httpx", "yaml", "psutil", "typer", "rich"}
    ours = {name for name in sys.modules if name.startswith("realstack")}
    assert not heavy & set(sys.modules)
    assert ours <= {f"realstack{name}" for name in ("", ".handles", ".pytest_plugin", ".unrewritten", ".version")}
""",
    )
    result = project.run_by_a_new_interpreter()
    result.assert_outcomes(passed=1)
    assert not list((project.path / "nowhere").glob("*"))


def test_nothing_is_started_where_a_broken_file_interrupts_the_run(project: Project) -> None:
    project.write("test_two.py", TWO_TESTS.format(imports="", marker=""))
    project.write("test_broken.py", "import no_such_module\n")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.no_fnmatch_line("*ready after*")


def test_the_header_says_what_runs_where_and_why(project: Project) -> None:
    project.settings("postgres", "redis")
    project.write("test_two.py", TWO_TESTS.format(imports="", marker=""))
    project.run().stdout.fnmatch_lines(
        [
            "realstack: postgres, redis: embedded, because [[]tool.realstack[]] provider asks for it",
            "realstack: postgres * at 127.0.0.1:*, ready after * s",
            "realstack: redis * at 127.0.0.1:*, ready after * s",
            "realstack: known state * built in * s",
            "realstack: ready after * s",
        ]
    )


def test_a_failing_tests_report_has_its_services_logs_and_its_llm_calls(project: Project) -> None:
    project.write(
        "test_red.py",
        """
import openai

async def test_red(real_db, fake_llm):
    fake_llm.on(user="slow").reply("because of the index")
    config = fake_llm.config("openai")
    async with openai.AsyncOpenAI(base_url=config.base_url, api_key=config.api_key) as client:
        await client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "why slow?"}])
    await real_db.execute("SELECT no_such_column FROM users")
""",
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*realstack: log of postgres*", "*no_such_column*", "*realstack: LLM calls*", "*why slow?*"]
    )


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_start_that_fails_says_why_and_ends_with_exit_code_2(project: Project, arguments: tuple[str, ...]) -> None:
    project.settings("postgres")
    project.write("db/001.sql", "CREATE TABLE users (id int);\nCREATE TABEL more (id int);\n")
    project.write("test_two.py", TWO_TESTS.format(imports="", marker=""))
    project.write("test_unit.py", "def test_unit():\n    pass\n")
    result = project.run(*arguments)
    result.assert_outcomes(passed=1, errors=2)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*001.sql:2*", "*To mend it:*"])


def test_two_runs_at_once_do_not_see_each_other(project: Project) -> None:
    """Both change what they got, in servers of their own or shared; each finds its own changes alone."""
    project.settings("postgres", "redis")
    project.write("test_many.py", MANY.format(count=10))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for attach in (False, True):
        if attach:
            assert project.realstack("up").returncode == 0
        runs = [
            subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(3)
        ]
        try:
            outputs = [run.communicate(timeout=120)[0] for run in runs]
        finally:
            if attach:
                assert project.realstack("down").returncode == 0
        assert [run.returncode for run in runs] == [0, 0, 0], outputs
        assert all(("attached to run" in output) is attach for output in outputs)


def test_a_forked_child_has_a_database_of_its_own_and_leaves_the_parents_alone(project: Project) -> None:
    """As pytest-forked does: the child has the parent's memory, but not its threads."""
    project.settings("postgres")
    project.write(
        "test_fork.py",
        """
import asyncio, os
from realstack import get_test_db

async def use():
    async with get_test_db() as db:
        await db.execute("DELETE FROM users")
        return await db.fetchval("SELECT current_database()")

def test_fork(real_db):
    mine = real_db.endpoint.database
    pid = os.fork()
    if pid == 0:
        try:
            theirs = asyncio.run(use())
            from realstack import handles
            handles.end()
            os._exit(0 if theirs != mine else 3)
        except BaseException:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
""",
    )
    project.run("-W", "ignore::DeprecationWarning").assert_outcomes(passed=2)
