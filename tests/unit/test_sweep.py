"""What a sweep does where the engine is slow, silent or gone: it says so, and leaves the next one something to find."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from realstack import place, registry
from realstack.model import Owner, Run
from realstack.providers import docker_engine
from realstack.providers.docker_address import find_engine
from realstack.registry import Record, run_of_ours
from realstack.sweep import sweep, sweep_ended_runs
from realstack.watchdog import Watchdog, watched
from tests.fake_engine import FakeEngine, serving
from tests.lack import without

ELSEWHERE = "another-boot/1"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine that nobody serves yet, at the address that everybody uses."""
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    return FakeEngine()


@pytest.fixture
def run(fake: FakeEngine, tmp_path: Path) -> Iterator[Run]:
    """A run with a folder, a record and a container, whose note says where the engine is."""
    run_id = registry.new_run_id()
    folder = tmp_path / f"realstack-{run_id}"
    folder.mkdir()
    run = run_of_ours(run_id, folder, "tests")
    registry.write(Record(run))
    docker_engine.leave_note(run, find_engine())
    fake.holds("it", **{name.replace(".", "_"): value for name, value in run.labels.items()})
    yield run
    for process in psutil.process_iter():
        try:
            if "realstack.watchdog" in process.cmdline() and run_id in process.cmdline():
                process.kill()
        except psutil.Error:
            continue


def whether(condition: Callable[[], bool], within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_an_engine_that_takes_its_time_is_waited_for(fake: FakeEngine, run: Run, tmp_path: Path) -> None:
    fake.ping_after_s = 1.5
    with serving(fake, tmp_path / "engine.sock"):
        swept = sweep(run.run_id, run.folder)
    assert swept.removed == ("container it", f"folder {run.folder}")
    assert (fake.containers, run.folder.exists(), list(registry.records())) == ({}, False, [])


def test_folder_and_record_stay_until_the_engine_gave_up_what_it_holds(
    fake: FakeEngine, run: Run, tmp_path: Path
) -> None:
    swept = sweep(run.run_id, run.folder)
    assert swept.removed == ()
    assert swept.not_removed[0].startswith(f"what the engine holds of run {run.run_id}: Docker cannot be used: ")
    assert "engine.sock (from DOCKER_HOST): No such file or directory" in swept.not_removed[0]
    assert (docker_engine.note_of(run.folder).is_file(), [record.run for record in registry.records()]) == (True, [run])
    fake.refuses = "DELETE"
    with serving(fake, tmp_path / "engine.sock"):
        assert "refused by the fake engine" in sweep(run.run_id, run.folder).not_removed[0]
        assert run.folder.is_dir()
        fake.refuses = "never"
        assert sweep(run.run_id, run.folder).not_removed == ()
    assert (fake.containers, run.folder.exists(), list(registry.records())) == ({}, False, [])


def test_half_a_note_asks_the_usual_engine(fake: FakeEngine, run: Run, tmp_path: Path) -> None:
    docker_engine.note_of(run.folder).write_text('{"docker_h')
    with serving(fake, tmp_path / "engine.sock"):
        assert sweep(run.run_id, run.folder).removed == ("container it", f"folder {run.folder}")


def test_the_watchdog_comes_back_to_an_engine_that_was_away(fake: FakeEngine, run: Run, tmp_path: Path) -> None:
    Watchdog(run).hand_over()
    time.sleep(3)
    assert run.folder.is_dir()
    with serving(fake, tmp_path / "engine.sock"):
        assert whether(lambda: not run.folder.exists())
    assert (fake.containers, list(registry.records())) == ({}, [])


def test_the_watchdog_looks_again_for_what_an_engine_was_still_making(
    fake: FakeEngine, run: Run, tmp_path: Path
) -> None:
    """A dead client's last request may be carried out after the first look."""
    with serving(fake, tmp_path / "engine.sock"):
        Watchdog(run).hand_over()
        assert whether(lambda: fake.containers == {})
        fake.holds("late", realstack_run=run.run_id)
        assert whether(lambda: not run.folder.exists())
    assert fake.containers == {}


@pytest.mark.parametrize("problem", [OSError("no more"), ValueError("a test's own")], ids=["cut short", "other"])
def test_the_word_done_is_said_only_after_a_clean_end(fake: FakeEngine, run: Run, problem: Exception) -> None:
    """A process whose note was never written, since its disk was full, is the watchdog's if a step failed so."""
    docker_engine.note_of(run.folder).unlink()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, env={"REALSTACK_RUN": run.run_id}) as process:
        with pytest.raises(type(problem)), watched(registry.Record(run)):
            raise problem
        ended = whether(lambda: process.poll() is not None, within_s=8 if isinstance(problem, OSError) else 1)
        process.kill()
    assert ended == isinstance(problem, OSError)
    assert whether(lambda: not run.folder.exists() and not list(registry.records()))


def test_what_a_provider_did_not_remove_is_left_to_the_watchdog(fake: FakeEngine, run: Run, tmp_path: Path) -> None:
    fake.refuses = "DELETE"
    with serving(fake, tmp_path / "engine.sock"):
        with watched(registry.Record(run)):
            pass
        assert run.folder.is_dir()
        fake.refuses = "never"
        assert whether(lambda: not run.folder.exists())
    assert fake.containers == {}


def ended() -> Owner:
    """A process of this place that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = Owner(process.pid, psutil.Process(process.pid).create_time(), place.here())
        process.kill()
    return owner


def test_only_runs_whose_owner_is_from_here_and_dead_are_swept(fake: FakeEngine, tmp_path: Path) -> None:
    dead = ended()
    owners = {
        "here": dead,
        "lives": Owner(psutil.Process().pid, psutil.Process().create_time(), place.here()),
        "elsewhere": replace(dead, place=ELSEWHERE),
        "unknown": replace(dead, place=""),
    }
    for name, owner in owners.items():
        fake.holds(name, realstack_run=f"r-{name}", realstack_owner=str(owner))
    with serving(fake, tmp_path / "engine.sock"):
        swept = sweep_ended_runs()
    assert set(fake.containers) == {"lives", "elsewhere", "unknown"}
    assert swept.removed == ("container here",)
    assert [line.partition(",")[0] for line in swept.left_alone] == ["run r-elsewhere", "run r-unknown"]
    assert "another machine" in swept.left_alone[0]
    assert "--filter label=realstack.run=r-elsewhere" in swept.left_alone[0]


def recorded(fake: FakeEngine, tmp_path: Path, owner_host: str) -> Run:
    """A run that was recorded elsewhere, its folder on that memory; the engine holds its container."""
    dead = ended()
    run = Run("r-then", tmp_path / "realstack-r-then", dead.pid, dead.started, "tests", ELSEWHERE, owner_host)
    registry.write(Record(run))
    fake.holds("then", **{name.replace(".", "_"): value for name, value in run.labels.items()})
    return run


def test_a_record_in_a_shared_home_is_left_to_its_own_machine(fake: FakeEngine, tmp_path: Path) -> None:
    recorded(fake, tmp_path, "another-host")
    with serving(fake, tmp_path / "engine.sock"):
        swept = sweep_ended_runs()
    assert swept.left_alone == ("run r-then: it belongs to another-host",)
    assert (list(fake.containers), len(list(registry.records()))) == (["then"], 1)


def test_after_a_restart_of_this_machine_its_recorded_runs_are_swept(fake: FakeEngine, tmp_path: Path) -> None:
    recorded(fake, tmp_path, place.host())
    with serving(fake, tmp_path / "engine.sock"):
        swept = sweep_ended_runs()
    assert swept.removed == ("container then",)
    assert (fake.containers, list(registry.records())) == ({}, [])


def test_an_engine_that_falls_silent_is_reported(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realstack.providers.docker_api.LOOK_TIMEOUT_S", 0.3)
    fake.hangs = "/containers"
    with serving(fake, tmp_path / "engine.sock"):
        swept = sweep_ended_runs()
    assert "no answer within 0.3 s" in swept.not_removed[0]


def test_a_process_in_another_pid_namespace_is_from_another_place() -> None:
    program = [sys.executable, "-c", "from realstack import place; print(place.here())"]
    inside = subprocess.run(
        ["unshare", "--user", "--pid", "--fork", "--mount-proc", *program], capture_output=True, text=True, check=False
    )
    without(f"there is no PID namespace to be had: {inside.stderr}" if inside.returncode else "")
    here = subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()
    assert here == place.here()
    assert inside.stdout.strip() != here
    assert inside.stdout.partition("/")[0] == here.partition("/")[0]
