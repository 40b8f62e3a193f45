"""A known state that is kept from run to run: when it is, when it is not, and that it is the same as a fresh one."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
import pytest
from filelock import FileLock

from realstack import registry
from realstack.beginning import data_folder
from realstack.config import Settings, load_settings
from realstack.environment import running_environment
from realstack.errors import RealstackError
from realstack.model import POSTGRES, Run
from realstack.running import Event
from realstack.services import postgres_archive
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.fingerprint import Fingerprint, fingerprint

SCHEMA = """
CREATE ROLE clerk NOLOGIN;
CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, born timestamptz DEFAULT now()
);
CREATE UNLOGGED TABLE visits (id serial PRIMARY KEY, page text);
CREATE SEQUENCE tickets START 40;
GRANT SELECT ON users TO clerk;
"""
SEED = """
INSERT INTO users (name, born) VALUES ('Ada', '1815-12-10'), ('Lin', '1985-01-01');
INSERT INTO visits (page) SELECT 'page ' || n FROM generate_series(1, 500) AS n;
SELECT nextval('tickets'), nextval('tickets');
"""


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this module's tests: a plain cluster is made once."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture
def cache(caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clusters are kept; none is, to begin with."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REALSTACK_PROVIDER", raising=False)
    clusters = caches / "realstack" / "clusters"
    for path in (*clusters.glob("*.kept"), *clusters.glob("*.noted")):
        path.unlink()
    return clusters


@pytest.fixture
def settings(cache: Path, tmp_path: Path) -> Settings:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.realstack]\nprovider = "embedded"\nservices = ["postgres"]\n'
        '[tool.realstack.postgres]\nmigrations = ["001.sql"]\nseed = ["seed.sql"]\n'
    )
    (tmp_path / "001.sql").write_text(SCHEMA)
    (tmp_path / "seed.sql").write_text(SEED)
    return load_settings(tmp_path)


@dataclass
class Seen:
    """What one run had."""

    built: bool
    fingerprint: Fingerprint
    roles: list[str]
    said: list[str]
    folder: Path


async def run(settings: Settings) -> Seen:
    events: list[Event] = []
    async with running_environment(settings, listen=events.append) as environment:
        assert environment.template is not None
        databases = Databases(environment.endpoint(POSTGRES), environment.template, "test", environment.run.run_id)
        lent = await databases.lend()
        connection = await asyncpg.connect(**connect_arguments(lent))
        roles = [row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")]
        await connection.execute("CREATE ROLE left_by_a_test; INSERT INTO users (name) VALUES ('Bo')")
        await connection.close()
        await databases.give_back(lent)
        taken = await fingerprint(await databases.lend())
        await databases.close()
        seen = Seen(environment.template.built, taken, roles, [], environment.run.folder)
    seen.said = [event.text for event in events if event.stage == "keep"]
    return seen


async def test_a_state_that_was_built_twice_is_there_at_the_third_start_and_the_same(
    settings: Settings, cache: Path
) -> None:
    first = await run(settings)
    assert (first.built, first.said, list(cache.glob("*.kept"))) == (True, [], [])
    second = await run(settings)
    assert (second.built, second.said) == (True, ["the known state is kept for the next run"])
    (kept,) = cache.glob("*.kept")
    assert kept.stat().st_mode & 0o077 == 0
    for _ in range(2):
        later = await run(settings)
        assert (later.built, later.said) == (False, [])
        assert first.fingerprint.difference(later.fingerprint) == []
        assert sorted(later.roles) == sorted(first.roles), "and none that a test has left"
    assert "value of sequence public.tickets" in first.fingerprint.parts
    assert first.fingerprint.parts["rows public.visits"].startswith("500 ")
    assert list(registry.records()) == []


async def test_the_header_says_that_the_state_was_there_and_copies_find_their_relation_cache(
    settings: Settings,
) -> None:
    for _ in range(2):
        await run(settings)
    async with running_environment(settings) as environment:
        assert any(line.endswith("there already") for line in environment.summary())
        data = environment.run.folder / POSTGRES / "data"
        assert environment.template is not None
        databases = Databases(environment.endpoint(POSTGRES), environment.template, "test", environment.run.run_id)
        connection = await asyncpg.connect(**connect_arguments(environment.endpoint(POSTGRES)))
        lent = await databases.lend()
        number = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = $1", lent.database)
        await connection.close()
        assert (data / "base" / str(number) / "pg_internal.init").is_file()
        assert list(data.rglob("*.init.kept")) == []
        await databases.close()


async def test_other_sources_are_built_on_a_server_that_has_nothing_of_the_old_state(settings: Settings) -> None:
    for _ in range(2):
        await run(settings)
    with (settings.root / "seed.sql").open("a") as seed:
        seed.write("INSERT INTO users (name, born) VALUES ('Kim', '1999-01-01');")
    after = await run(settings)  # whose CREATE ROLE would fail where there is that role
    assert after.built
    assert after.fingerprint.parts["rows public.users"].startswith("3 ")


@pytest.mark.parametrize(
    ("file", "more", "why"),
    [
        ("001.sql", "ALTER SYSTEM SET work_mem = '8MB';", "ALTER SYSTEM"),
        ("seed.sql", "INSERT INTO users (name) VALUES ('of now');", "two builds of it differ"),
        ("seed.sql", "INSERT INTO visits (page) SELECT pg_read_file('PG_VERSION');", "outside of it"),
        ("seed.py", "async def rows(connection): pass", "more than the files that are hashed"),
    ],
)
async def test_what_a_later_build_might_make_otherwise_is_not_kept_nor_tried_again(
    settings: Settings, cache: Path, file: str, more: str, why: str
) -> None:
    with (settings.root / file).open("a") as source:
        source.write(more)
    if file == "seed.py":
        settings_file = settings.root / "pyproject.toml"
        settings_file.write_text(settings_file.read_text().replace('["seed.sql"]', '["seed.sql", "python:seed:rows"]'))
        settings = load_settings(settings.root)
    seen = [await run(settings) for _ in range(3)]
    assert [each.built for each in seen] == [True, True, True]
    assert list(cache.glob("*.kept")) == []
    (note,) = cache.glob("*.noted")
    assert why in note.read_text()
    assert len([text for each in seen for text in each.said]) <= 1


async def test_a_project_that_wants_none_kept_has_none(settings: Settings, cache: Path) -> None:
    with (settings.root / "pyproject.toml").open("a") as file:
        file.write("keep = false\n")
    for _ in range(2):
        assert (await run(load_settings(settings.root))).said == []
    assert [*cache.glob("*.kept"), *cache.glob("*.noted")] == []


async def test_a_declared_time_zone_has_days_of_its_own(settings: Settings, cache: Path) -> None:
    (settings.root / "docker-compose.test.yml").write_text(
        "services:\n  postgres:\n    image: postgres:17\n    command: postgres -c timezone=Asia/Tokyo\n"
    )
    for _ in range(2):
        assert (await run(load_settings(settings.root))).said == []
    assert list(cache.glob("*.noted")) == []


async def test_a_broken_archive_is_dropped_and_the_state_built(settings: Settings, cache: Path) -> None:
    for _ in range(2):
        fresh = await run(settings)
    (kept,) = cache.glob("*.kept")
    os.truncate(kept, kept.stat().st_size // 2)
    again = await run(settings)
    assert again.built
    assert fresh.fingerprint.difference(again.fingerprint) == []
    assert kept.stat().st_size > 1_000_000, "and it is kept anew"
    assert not (await run(settings)).built


async def test_a_kept_cluster_that_no_server_starts_from_fails_one_start_only(settings: Settings, cache: Path) -> None:
    for _ in range(2):
        await run(settings)
    (kept,) = cache.glob("*.kept")
    data = settings.root / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("9.0\n")
    postgres_archive.pack(data, kept, version=postgres_archive.version_in(kept))
    with pytest.raises(RealstackError):
        await run(settings)
    assert (await run(settings)).built


async def test_a_run_that_fails_keeps_nothing(settings: Settings, cache: Path) -> None:
    await run(settings)
    with pytest.raises(ZeroDivisionError):
        async with running_environment(settings):
            raise ZeroDivisionError
    assert list(cache.glob("*.kept")) == []


async def test_one_run_at_a_time_keeps(settings: Settings, cache: Path) -> None:
    await run(settings)
    with FileLock(cache / "kept.lock"):
        assert (await run(settings)).said == []
        assert list(cache.glob("*.kept")) == []
    assert (await run(settings)).said == ["the known state is kept for the next run"]


async def test_two_runs_at_once_are_both_right(settings: Settings, cache: Path) -> None:
    first = await run(settings)
    both = await asyncio.gather(run(settings), run(settings))
    for each in both:
        assert first.fingerprint.difference(each.fingerprint) == []
    assert len(list(cache.glob("*.kept"))) == 1
    assert not (await run(settings)).built


async def test_no_room_for_it_fails_no_run(settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cache))

    await run(settings)
    with monkeypatch.context() as patched:
        patched.setattr(postgres_archive, "pack", full)
        (said,) = (await run(settings)).said
    assert "No space left" in said
    assert list(cache.glob("*.kept")) == []
    deadline = time.monotonic() + 20
    while list(registry.records()) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process sweeps
        await asyncio.sleep(0.05)
    assert list(registry.records()) == []


BEING_KILLED = """
import asyncio, sys, time
from pathlib import Path
from realstack.config import load_settings
from realstack.environment import running_environment
from realstack.services import postgres_archive

def pack(data, archive, *, version):
    print(data, flush=True)
    time.sleep(600)

postgres_archive.pack = pack

async def main():
    for _ in range(2):
        async with running_environment(load_settings(Path(sys.argv[1]))):
            pass

asyncio.run(main())
"""


def test_a_process_that_is_killed_while_it_keeps_leaves_nothing(settings: Settings, cache: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BEING_KILLED, str(settings.root)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout is not None
    with process.stdout:
        data = Path(process.stdout.readline().strip())
        assert data.is_dir()
        runs = [record.run for record in registry.records()]
        assert {run.folder for run in runs} >= {data.parents[1]}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _left_of(runs):
        time.sleep(0.05)
    assert _left_of(runs) == []
    assert list(cache.glob("*.kept")) == []
    assert data_folder() == data.parents[2], "this was the folder to look at"


def _left_of(runs: list[Run]) -> list[str]:
    found = [str(record.path) for record in registry.records()]
    for run in runs:
        found += [str(run.folder)] if run.folder.exists() else []
        found += [f"{each.pid}" for each in psutil.process_iter() if run.run_id in " ".join(_words(each))]
    return found


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
