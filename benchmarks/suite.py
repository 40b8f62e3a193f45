"""What it costs a suite to have the known state for every test: realstack beside the usual ways, in one run.

    python -m benchmarks.suite [--tests N] [--rounds N] [--only NAME …]

Every contestant runs the same N small tests (each writes three rows in two tables of twelve and reads them) as a pytest
process of its own, on one embedded server, alone and with `-n 2`. The clock runs around the whole process; a run with
no test of the same contestant is subtracted, so what remains is the tests. Rounds are interleaved.

- `nothing`: the tests on one database that nobody resets, so that each has keys of its own: the floor.
- `realstack reset`, `transaction`, `database`: `real_db`; in `reset` its connections are handed on from test to test.
- `realstack, own pool`: an application that keeps its pool over all tests, while `real_db` resets what it wrote.
- `truncate + reseed`: TRUNCATE of all tables, then the seed's rows again.
- `template clone`: CREATE DATABASE … TEMPLATE (FILE_COPY) and DROP for each test, one maintenance connection.
- `pgtestdb's scheme`: that again as pgtestdb has it: a template named by a hash and made under an advisory lock, and
  for each test a connection to the server, a look whether the template is there, the server's own way of copying.
- `pytest-postgresql`: its `postgresql_noproc` and `postgresql` fixtures, with psycopg (`pip install -e '.[bench]'`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.state import server
from realstack.model import Endpoint

TABLES, ROWS = 12, 50

SCHEMA = "\n".join(
    f"CREATE TABLE t{n} (id serial PRIMARY KEY, name text NOT NULL, n int, made timestamptz DEFAULT now());"
    f"CREATE INDEX ON t{n} (n);"
    for n in range(TABLES)
)
SEED = "\n".join(
    f"INSERT INTO t{n} (name, n) SELECT 'row ' || i, i FROM generate_series(1, {ROWS}) i;" for n in range(TABLES)
)

TESTS = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
async def test_small(db, number):
    await db.execute("INSERT INTO t1 (name, n) VALUES ('a', 100001), ('b', 100002)")
    await db.execute("UPDATE t2 SET n = n + 1 WHERE id = 3")
    assert await db.fetchval("SELECT count(*) FROM t1 WHERE n > 100000") >= 2
"""

HEAD = """
import hashlib, os, asyncpg, pytest, pytest_asyncio
URL = os.environ["BENCH_URL"]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
SCHEMA, SEED = open("schema.sql").read(), open("seed.sql").read()

async def connect(database="postgres"):
    return await asyncpg.connect(URL.rpartition("/")[0] + "/" + database, ssl=False)

async def made(name, template="template0", how="STRATEGY file_copy"):
    admin = await connect()
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {how}")
    inside = await connect(name)
    await inside.execute(SCHEMA + SEED)
    await inside.close()
    return admin
"""

NOTHING = """
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base():
    admin = await made(f"nothing_{WORKER}")
    pool = await asyncpg.create_pool(URL.rpartition("/")[0] + f"/nothing_{WORKER}", ssl=False, min_size=1)
    yield pool
    await pool.close()
    await admin.execute(f"DROP DATABASE nothing_{WORKER} WITH (FORCE)")
    await admin.close()

@pytest_asyncio.fixture(loop_scope="session")
async def db(base):
    yield base
"""

ALL_TABLES = ", ".join(f"t{n}" for n in range(TABLES))
TRUNCATE = NOTHING.replace("nothing_", "truncate_").replace(
    "    yield base\n", f'    yield base\n    await base.execute("TRUNCATE {ALL_TABLES} RESTART IDENTITY;" + SEED)\n'
)

CLONE = """
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin():
    admin = await made(f"clone_template_{WORKER}")
    yield admin
    await admin.execute(f"DROP DATABASE clone_template_{WORKER}")
    await admin.close()

@pytest_asyncio.fixture(loop_scope="session")
async def db(admin):
    name = f"clone_{WORKER}"
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE clone_template_{WORKER} STRATEGY file_copy")
    pool = await asyncpg.create_pool(URL.rpartition("/")[0] + "/" + name, ssl=False, min_size=1)
    yield pool
    await pool.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
"""

PGTESTDB = """
import itertools
numbers = itertools.count()
HASH = hashlib.md5((SCHEMA + SEED).encode()).hexdigest()

async def template_of(admin):
    name = f"testdb_tpl_{HASH}"
    await admin.execute("SELECT pg_advisory_lock(4711)")
    try:
        if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1 AND datistemplate", name):
            other = await made(name)
            await other.execute(f"ALTER DATABASE {name} IS_TEMPLATE true")
            await other.close()
    finally:
        await admin.execute("SELECT pg_advisory_unlock(4711)")
    return name

@pytest_asyncio.fixture(loop_scope="session")
async def db():
    admin = await connect()
    template = await template_of(admin)
    name = f"{template}_inst_{WORKER}_{next(numbers)}"
    await admin.execute(f"CREATE DATABASE {name} WITH TEMPLATE {template}")
    await admin.close()
    pool = await asyncpg.create_pool(URL.rpartition("/")[0] + "/" + name, ssl=False, min_size=1)
    yield pool
    await pool.close()
    admin = await connect()
    await admin.execute(f"DROP DATABASE IF EXISTS {name}")
    await admin.close()
"""

PYTEST_POSTGRESQL = """
from pathlib import Path
from urllib.parse import urlsplit
from pytest_postgresql import factories
parts = urlsplit(URL)
there = factories.postgresql_noproc(
    host=parts.hostname, port=parts.port, user=parts.username, password=parts.password, dbname=f"pp_{WORKER}",
    load=[Path("schema.sql").resolve(), Path("seed.sql").resolve()],
)
postgresql = factories.postgresql("there")

class Sync:
    def __init__(self, connection):
        self.connection = connection

    async def execute(self, query):
        self.connection.execute(query)
        self.connection.commit()

    async def fetchval(self, query):
        return self.connection.execute(query).fetchone()[0]

@pytest.fixture
def db(postgresql):
    return Sync(postgresql)
"""

REALSTACK = """
@pytest.fixture
def db(real_db):
    return real_db
"""

REALSTACK_APPLICATION = """
import asyncpg, pytest_asyncio

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pools():
    pools = {}
    yield pools
    for pool in pools.values():
        await pool.close()

@pytest_asyncio.fixture(loop_scope="session")
async def db(real_db, pools):
    url = str(real_db.url)
    if url not in pools:
        pools[url] = await asyncpg.create_pool(url, ssl=False, min_size=1)
    return pools[url]
"""


@dataclass
class Contestant:
    """A conftest, and arguments. ``seconds``: by how many workers, what the tests took in each round."""

    name: str
    conftest: str
    arguments: tuple[str, ...] = ()
    seconds: dict[int, list[float]] = field(default_factory=dict)
    absent: str = ""


CONTESTANTS = (
    Contestant("nothing", NOTHING),
    Contestant("realstack reset", REALSTACK, ("--realstack-isolation", "reset")),
    Contestant("realstack, own pool", REALSTACK_APPLICATION, ("--realstack-isolation", "reset")),
    Contestant("realstack transaction", REALSTACK, ("--realstack-isolation", "transaction")),
    Contestant("realstack database", REALSTACK, ("--realstack-isolation", "database")),
    Contestant("truncate + reseed", TRUNCATE),
    Contestant("template clone", CLONE),
    Contestant("pgtestdb's scheme", PGTESTDB),
    Contestant("pytest-postgresql", PYTEST_POSTGRESQL),
)

SETTINGS = """
[tool.realstack]
services = ["postgres"]
[tool.realstack.postgres]
migrations = ["schema.sql"]
seed = ["seed.sql"]
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
"""


def project(contestant: Contestant, folder: Path, tests: int) -> None:
    """Write the contestant's suite."""
    folder.mkdir()
    files = {
        "pyproject.toml": SETTINGS,
        "schema.sql": SCHEMA,
        "seed.sql": SEED,
        "conftest.py": ("import pytest\n" if "real_db" in contestant.conftest else HEAD) + contestant.conftest,
        "test_small.py": textwrap.dedent(TESTS).replace("{tests}", str(tests)),
        "test_none.py": "async def test_one(db): await db.fetchval('SELECT 1')\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)


def run(contestant: Contestant, folder: Path, file: str, workers: int, url: str) -> float:
    """Seconds of one pytest process.

    :raises RuntimeError: a test failed.
    """
    environ = {
        **os.environ,
        "BENCH_URL": url,
        "REALSTACK_POSTGRES_URL": url,
        "REALSTACK_DISPOSABLE": "postgres",
        "REALSTACK_HOME": str(folder / "home"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *contestant.arguments,
    ]
    command += [file, *(("-n", str(workers)) if workers > 1 else ())]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{contestant.name}:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
    return took


def measure(contestant: Contestant, folder: Path, workers: int, url: str) -> None:
    """One round: what the tests took, without pytest's own start and the contestant's first database."""
    try:
        empty = run(contestant, folder, "test_none.py", workers, url)
        whole = run(contestant, folder, "test_small.py", workers, url)
    except RuntimeError as problem:
        contestant.absent = str(problem)
        return
    contestant.seconds.setdefault(workers, []).append(whole - empty)


async def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+")
    chosen = parser.parse_args()
    contestants = [each for each in CONTESTANTS if not chosen.only or each.name in chosen.only]
    with tempfile.TemporaryDirectory(prefix="realstack-bench-suite-") as root:
        folders = {each.name: Path(root) / str(number) for number, each in enumerate(contestants)}
        for each in contestants:
            project(each, folders[each.name], chosen.tests)
        async with server() as endpoint:
            await asyncio.to_thread(_rounds, contestants, folders, chosen.rounds, endpoint)
            print(f"PostgreSQL {endpoint.version}, {chosen.tests} tests, {chosen.rounds} rounds, ms a test, median")
    print(f"{'':24}{'alone':>9}{'-n 2':>9}")
    for each in contestants:
        figures = [statistics.median(each.seconds[n]) * 1000 / chosen.tests if n in each.seconds else 0 for n in (1, 2)]
        print(f"{each.name:24}" + (f"{figures[0]:9.2f}{figures[1]:9.2f}" if not each.absent else "  " + each.absent))


def _rounds(contestants: list[Contestant], folders: dict[str, Path], rounds: int, endpoint: Endpoint) -> None:
    for _ in range(rounds):
        for workers in (1, 2):
            for each in contestants:
                measure(each, folders[each.name], workers, str(endpoint.url))


if __name__ == "__main__":
    asyncio.run(main())
