"""The modes of isolation as a test's author meets them."""

from __future__ import annotations

import pytest

from tests.integration.plugin.conftest import Project

THREE = """
import pytest

seen = []

async def check_and_write(db, name):
    assert [tuple(row) for row in await db.fetch("SELECT id, name FROM users ORDER BY id")] == [(1, "Ada"), (2, "Lin")]
    await db.execute("UPDATE users SET name = 'Eve' WHERE id = 1; DELETE FROM users WHERE id = 2")
    await db.execute("INSERT INTO users VALUES (7, 'Kim')")
    seen.append(db.endpoint.database)

async def test_one(real_db):
    await check_and_write(real_db, "one")

async def test_two(real_db):
    await check_and_write(real_db, "two")

async def test_three(real_db):
    await check_and_write(real_db, "three")

def test_names():
    with open("names.txt", "w") as file:
        file.write(" ".join(seen))
"""


@pytest.mark.parametrize(("mode", "databases"), [("database", 3), ("reset", 1)])
def test_every_test_starts_at_the_known_state_in_every_mode(project: Project, mode: str, databases: int) -> None:
    project.settings("postgres")
    project.write("test_three.py", THREE)
    project.run("--realstack-isolation", mode).assert_outcomes(passed=4)
    assert len(set((project.path / "names.txt").read_text().split())) == databases


def test_an_applications_pool_stays_connected_over_resets(project: Project) -> None:
    project.settings("postgres", ini='asyncio_mode = "auto"\nasyncio_default_test_loop_scope = "session"')
    project.write(
        "test_pool.py",
        """
import asyncpg, pytest

held = {}

async def count(real_db):
    if not held:
        held["pool"] = await asyncpg.create_pool(str(real_db.url), ssl=False, min_size=2, max_size=2)
    rows = await held["pool"].fetch("SELECT name FROM users ORDER BY id")
    await held["pool"].execute("TRUNCATE users")
    return [row["name"] for row in rows], await held["pool"].fetchval("SELECT pg_backend_pid()")

@pytest.mark.parametrize("number", range(4))
async def test_pool(real_db, number):
    names, pid = await count(real_db)
    assert names == ["Ada", "Lin"]
    held.setdefault("pids", set()).add(pid)

async def test_end():
    assert len(held["pids"]) <= 2
    await held["pool"].close()
""",
    )
    project.run("--realstack-isolation", "reset").assert_outcomes(passed=5)


def test_what_a_reset_cannot_undo_leads_to_a_new_database_and_names_the_test(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_ddl.py",
        """
async def test_ddl(real_db):
    await real_db.execute("ALTER TABLE users ADD COLUMN extra int")

async def test_after(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM information_schema.columns WHERE table_name = 'users'") == 2
""",
    )
    result = project.run("--realstack-isolation", "reset")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["realstack: test_ddl.py::test_ddl: its database was made anew: *ALTER TABLE*"])


def test_a_test_that_may_only_read_fails_if_it_wrote_and_the_next_is_not_harmed(project: Project) -> None:
    project.settings("postgres")
    project.write(
        "test_ro.py",
        """
import pytest

pytestmark = pytest.mark.realstack(isolation="readonly")

async def test_reads(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2

async def test_writes(real_db):
    await real_db.execute("DELETE FROM users")

async def test_reads_again(real_db):
    assert await real_db.fetchval("SELECT count(*) FROM users") == 2
""",
    )
    result = project.run()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_writes*", "*wrote*", "*users*"])


def test_an_unknown_mode_names_the_nearest(project: Project) -> None:
    project.settings("postgres")
    project.write("test_three.py", THREE)
    result = project.run("--realstack-isolation", "rest")
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(["*did you mean 'reset'?*"])


def test_workers_reset_databases_of_their_own(project: Project) -> None:
    project.settings("postgres")
    project.write("test_three.py", THREE.replace("async def test_three", "import pytest\n\nasync def test_three"))
    project.run("--realstack-isolation", "reset", "-n", "2").assert_outcomes(passed=4)


KEPT = """
import pytest

pids = {}

async def use(db, name):
    assert await db.fetchval("SELECT count(*) FROM users") == 2
    await db.execute("INSERT INTO users VALUES (7, 'Kim')")
    pids[name] = await db.fetchval("SELECT pg_backend_pid()")

async def test_one(real_db):
    await use(real_db, "one")

async def test_two(real_db):
    await use(real_db, "two")
    assert pids["two"] == pids["one"]

@pytest.mark.realstack(isolation="transaction")
async def test_three_in_a_transaction(real_db):
    await use(real_db, "three")

@pytest.mark.asyncio(loop_scope="function")
async def test_four_in_a_loop_of_its_own(real_db):
    await use(real_db, "four")
    assert pids["four"] not in (pids["one"], pids["three"])

async def test_five(real_db):
    await use(real_db, "five")
    assert pids["five"] == pids["one"]

@pytest.mark.realstack(isolation="database")
async def test_six_on_a_clone(real_db):
    await use(real_db, "six")

async def test_seven(real_db):
    await use(real_db, "seven")
    assert pids["seven"] not in (pids["one"], pids["six"])

def test_eight_without_a_loop(real_db):
    import asyncio
    asyncio.run(use(real_db, "eight"))

async def test_nine(real_db):
    await use(real_db, "nine")
    assert pids["nine"] == pids["seven"]
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2", "--dist", "loadfile"), ("--realstack-verify",)])
def test_connections_of_real_db_are_handed_on_in_the_loop_that_made_them(
    project: Project, arguments: tuple[str, ...]
) -> None:
    project.settings("postgres", ini='asyncio_mode = "auto"\nasyncio_default_test_loop_scope = "session"')
    project.write("test_kept.py", KEPT)
    project.run(*arguments).assert_outcomes(passed=9)


def test_anyios_loop_for_a_module_hands_them_on_too(project: Project) -> None:
    project.settings("postgres", ini="")
    project.write(
        "test_kept.py",
        """
import pytest

pytestmark = pytest.mark.anyio
pids = set()

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module", autouse=True)
async def keeps_the_loop(anyio_backend):
    yield

@pytest.mark.parametrize("number", range(3))
async def test_one(real_db, number):
    await real_db.execute("INSERT INTO users VALUES (7, 'Kim')")
    pids.add(await real_db.fetchval("SELECT pg_backend_pid()"))
    assert len(pids) == 1
""",
    )
    project.run().assert_outcomes(passed=3)
