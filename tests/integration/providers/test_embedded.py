"""The embedded provider on small programs of its own: ports, logs, ends, and nothing left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from realstack.errors import ProviderUnavailable, ServiceStartFailed
from realstack.model import Port, Run, ServiceSpec
from realstack.providers import embedded, ports
from realstack.providers.base import Launch
from realstack.providers.embedded import Embedded
from realstack.providers.local_process import LocalProcess, spawn
from realstack.readiness import until_ready

LISTENS = """
import socket, sys, time
print("begins", flush=True)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen()
except OSError as problem:
    sys.exit(f"cannot bind: {problem.strerror}")
print("listens", flush=True)
time.sleep(600)
"""
DIES = "import sys; print('one'); print('the disk of my dreams is gone', file=sys.stderr); sys.exit(3)"
IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LISTENS
HAS_CHILD = "import subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True)\n" + LISTENS


class Program:
    """A recipe for a Python one-liner."""

    def __init__(self, text: str = LISTENS, *, why_not: str | None = None, **launch: object) -> None:
        self.text = text
        self.why_not = why_not
        self.launch = launch
        self.folders: list[Path] = []

    def unavailable(self) -> str | None:
        return self.why_not

    def source(self) -> str:
        return "python"

    def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
        assert list(folder.iterdir()) == []
        self.folders.append(folder)
        launch = Launch(argv=(sys.executable, "-c", self.text, str(port)), cwd=folder, stop_signals=((15, 0.2),))
        return replace(launch, **self.launch)  # type: ignore[arg-type]


def spec(name: str = "thing", **fields: object) -> ServiceSpec:
    return ServiceSpec(name, "generic", name, 80, **fields)  # type: ignore[arg-type]


def connects(process: LocalProcess) -> Callable[[], Awaitable[None]]:
    async def probe() -> None:
        _, writer = await asyncio.open_connection(process.address.host, process.address.port)
        writer.close()
        await writer.wait_closed()

    return probe


async def ready(process: LocalProcess) -> None:
    await until_ready(process.spec.name, connects(process), within_s=20, died=process.died, log=process.log_lines)


async def end_of(process: LocalProcess) -> None:
    while process.died() is None:  # noqa: ASYNC110 - a process's end is no event
        await asyncio.sleep(0.01)


def marked(run: Run) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("REALSTACK_RUN") == run.run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_services_run_on_ports_of_their_own_and_leave_nothing_but_logs(run: Run) -> None:
    specs = [spec("one"), spec("two")]
    async with Embedded({"one": Program(), "two": Program()}).running(specs, run) as running:
        await asyncio.gather(*(ready(process) for process in running.values()))
        assert running["one"].address.port != running["two"].address.port
        assert len(marked(run)) == 2
    assert marked(run) == []
    assert sorted(path.name for path in run.folder.rglob("*")) == ["one.log", "processes", "two.log"]


async def test_a_process_is_recorded_for_the_sweep_as_soon_as_it_runs(run: Run) -> None:
    async with Embedded({"thing": Program()}).running([spec()], run) as running:
        record = json.loads((run.folder / "processes" / "thing.json").read_text())
        process = psutil.Process(running["thing"].pid)
        assert record["pid"] == process.pid
        assert record["started"] == process.create_time()
        assert record["stop_signal"] == signal.SIGTERM


async def test_the_users_variables_do_not_reach_a_service(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "production.example")
    async with Embedded({"thing": Program()}).running([spec()], run) as running:
        environment = psutil.Process(running["thing"].pid).environ()
        assert "PGHOST" not in environment
        assert environment["REALSTACK_RUN"] == run.run_id


async def test_the_log_holds_both_streams_and_can_be_read_on(run: Run) -> None:
    async with Embedded({"thing": Program()}).running([spec()], run) as running:
        await ready(running["thing"])
        assert running["thing"].log_lines() == ["begins", "listens"]
        assert running["thing"].log_lines(since=1) == ["listens"]


async def test_a_process_that_dies_at_its_start_ends_the_wait_with_its_last_words(run: Run) -> None:
    async with Embedded({"thing": Program(DIES)}).running([spec()], run) as running:
        with pytest.raises(ServiceStartFailed) as failed:
            await ready(running["thing"])
    assert "exit status 3" in str(failed.value)
    assert "the disk of my dreams is gone" in failed.value.log_tail


async def test_a_killed_process_tells_its_signal(run: Run) -> None:
    async with Embedded({"thing": Program()}).running([spec()], run) as running:
        os.kill(running["thing"].pid, signal.SIGKILL)
        await end_of(running["thing"])
        assert running["thing"].died() == "signal 9 (SIGKILL)"


async def test_a_process_deaf_to_its_stop_signal_is_killed(run: Run) -> None:
    async with Embedded({"thing": Program(IGNORES_TERM)}).running([spec()], run) as running:
        await ready(running["thing"])
    assert marked(run) == []


async def test_children_in_sessions_of_their_own_end_too(run: Run) -> None:
    async with Embedded({"thing": Program(HAS_CHILD)}).running([spec()], run) as running:
        await ready(running["thing"])
        assert len(marked(run)) == 2
    assert marked(run) == []


async def test_children_of_a_killed_process_end_too(run: Run) -> None:
    async with Embedded({"thing": Program(HAS_CHILD)}).running([spec()], run) as running:
        await ready(running["thing"])
        os.kill(running["thing"].pid, signal.SIGKILL)
        await end_of(running["thing"])
        assert len(marked(run)) == 1
    assert marked(run) == []


async def test_one_service_that_cannot_start_ends_the_others(run: Run) -> None:
    recipes = {"good": Program(), "bad": Program(argv=("/nonexistent/server",))}
    with pytest.raises(ServiceStartFailed, match="nonexistent"):
        async with Embedded(recipes).running([spec("good"), spec("bad")], run):
            pytest.fail("it started")
    assert marked(run) == []
    assert not (run.folder / "good").exists()
    assert not (run.folder / "bad").exists()


async def test_an_error_inside_leaves_nothing(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Embedded({"thing": Program()}).running([spec()], run):
            raise ZeroDivisionError
    assert marked(run) == []


async def test_a_cancelled_start_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that spawns cannot be cancelled: what it makes after the cancellation must end as well."""
    preparing, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Program):
        def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
            loop.call_soon_threadsafe(preparing.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return super().prepare(spec, folder, run, port)

    async def start() -> None:
        async with Embedded({"thing": Slow()}).running([spec()], run):
            pytest.fail("it started")

    spawned = []

    def watched_spawn(spec: ServiceSpec, launch: Launch, run: Run, port: ports.ReservedPort) -> LocalProcess:
        spawned.append(spawn(spec, launch, run, port))
        return spawned[-1]

    monkeypatch.setattr(embedded, "spawn", watched_spawn)
    task = asyncio.create_task(start())
    await preparing.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(spawned) == 1
    assert marked(run) == []


async def test_a_declared_host_port_is_kept(run: Run) -> None:
    with ports.ReservedPort() as reserved:
        wanted = reserved.number
    fixed = spec(ports=(Port(80, wanted),))
    async with Embedded({"thing": Program()}).running([fixed], run) as running:
        await ready(running["thing"])
        assert running["thing"].address.port == wanted


async def test_a_taken_host_port_is_named_before_anything_starts(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ServiceStartFailed, match=f"port {taken} of 127.0.0.1 is taken") as failed:
            async with Embedded({"thing": Program()}).running([spec(ports=(Port(80, taken),))], run):
                pytest.fail("it started")
    assert failed.value.stage == "port"
    assert "free one" in str(failed.value)


async def test_a_port_lost_before_it_was_bound_is_answered_by_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems that cannot hold a port for somebody else."""
    monkeypatch.setattr(ports, "CAN_HOLD", False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        offered = [other.getsockname()[1]]

        class Unlucky(Program):
            def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
                return super().prepare(spec, folder, run, offered.pop() if offered else port)

        recipe = Unlucky()
        async with Embedded({"thing": recipe}).running([spec()], run) as running:
            await ready(running["thing"])
        assert len(recipe.folders) == 2
    assert marked(run) == []


async def test_no_room_is_told_with_the_folder_and_what_is_free(run: Run) -> None:
    class Full(Program):
        def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ServiceStartFailed) as failed:
        async with Embedded({"thing": Full()}).running([spec()], run):
            pytest.fail("it started")
    assert f"no room left in {run.folder}" in str(failed.value)
    assert "MB free of" in str(failed.value)
    assert "TMPDIR" in str(failed.value)


async def test_all_lacking_services_are_named_at_once_with_the_remedy(run: Run) -> None:
    recipes = {"one": Program(why_not="no oned on PATH"), "two": Program()}
    with pytest.raises(ProviderUnavailable) as refused:
        async with Embedded(recipes).running([spec("one"), spec("two"), spec("three")], run):
            pytest.fail("it started")
    assert "one: no oned on PATH" in str(refused.value)
    assert "three: no recipe" in str(refused.value)
    assert "pip install 'realstack[embedded]'" in str(refused.value)
    assert list(run.folder.iterdir()) == []


async def test_folders_outside_of_the_run_go_with_their_service(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with Embedded({"thing": Program(owned_folders=(outside,))}).running([spec()], run) as running:
        await ready(running["thing"])
        assert outside.exists()
    assert not outside.exists()
