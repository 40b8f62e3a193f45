"""Promise 1: nothing outlives its run, however the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.plugin.conftest import Project

HOLD = """
import pathlib, time

def test_hold(real_db, real_redis, fake_llm, realstack_env):
    pathlib.Path("run.txt").write_text(f"{realstack_env.run.run_id} {realstack_env.run.folder}")
    while True:
        time.sleep(0.05)
"""
FORK = """
import os, pathlib, time

def test_hold(real_db, realstack_env):
    child = os.fork()
    if child == 0:
        time.sleep(90)
        os._exit(0)
    pathlib.Path("child.txt").write_text(str(child))
    pathlib.Path("run.txt").write_text(f"{realstack_env.run.run_id} {realstack_env.run.folder}")
    while True:
        time.sleep(0.05)
"""


def of_run(run_id: str, folder: Path) -> list[str]:
    """Every process that belongs to the run: by its mark or by its folder."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("REALSTACK_RUN") == run_id
            command = process.cmdline()
        except psutil.Error:
            continue
        if marked or any(str(folder) in word or run_id in word for word in command):
            found.append(f"{process.pid} {' '.join(command)[:120]}")
    return found


def gone_within(seconds: float, run_id: str, folder: Path) -> tuple[list[str], bool]:
    """What is left of a run after waiting for it to be gone."""
    deadline = time.monotonic() + seconds
    left, exists = of_run(run_id, folder), folder.exists()
    while (left or exists) and time.monotonic() < deadline:
        time.sleep(0.1)
        left, exists = of_run(run_id, folder), folder.exists()
    return left, exists


def started(project: Project, *arguments: str, text: str = HOLD) -> tuple[subprocess.Popen[bytes], str, Path]:
    """pytest in a session of its own, holding all services; with its run's id and folder."""
    project.write("test_hold.py", text)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # nohup and some CI runners ignore it, which is inherited
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509 - no threads run here
    )
    note = project.path / "run.txt"
    deadline = time.monotonic() + 60
    while not (note.is_file() and note.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail((process.communicate()[0] or b"").decode())
        time.sleep(0.05)
    run_id, folder = note.read_text().split()
    assert of_run(run_id, Path(folder)), "the run is there to begin with"
    return process, run_id, Path(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda n: n.name)
def test_a_run_that_is_ended_by_a_signal_leaves_nothing(project: Project, number: signal.Signals) -> None:
    process, run_id, folder = started(project)
    os.kill(process.pid, number)
    process.communicate(timeout=30)
    assert gone_within(15, run_id, folder) == ([], False)


def test_the_whole_process_group_killed_at_once_leaves_nothing(project: Project) -> None:
    """A closed terminal or a CI job's end kills the group; the watchdog is in none of them."""
    process, run_id, folder = started(project)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert gone_within(15, run_id, folder) == ([], False)


def test_a_killed_run_whose_forked_child_lives_on_leaves_nothing(project: Project) -> None:
    """The child has the owner's end of the watchdog's pipe too, so that the pipe tells nothing."""
    process, run_id, folder = started(project, text=FORK)
    child = psutil.Process(int((project.path / "child.txt").read_text()))
    try:
        process.kill()
        process.wait(30)
        assert gone_within(20, run_id, folder) == ([], False)
        assert child.is_running()
    finally:
        child.kill()
        process.communicate()


def test_killed_controller_and_workers_of_xdist_leave_nothing(project: Project) -> None:
    process, run_id, folder = started(project, "-n", "2")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert gone_within(20, run_id, folder) == ([], False)


def test_down_after_a_kill_leaves_nothing_even_if_the_watchdog_died_too(project: Project) -> None:
    process, run_id, folder = started(project)
    # process_iter's own look gives None for what has just ended, where cmdline() would raise.
    commands = [(each, each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    watchdogs = [each for each, command in commands if "realstack.watchdog" in command and run_id in command]
    assert len(watchdogs) == 1
    for victim in (*watchdogs, psutil.Process(process.pid)):
        victim.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert of_run(run_id, folder), "with the watchdog dead, something must be left for `down` to find"
    assert "removed" in project.realstack("down").stdout
    assert (of_run(run_id, folder), folder.exists()) == ([], False)


def test_a_sweep_leaves_another_living_run_alone(project: Project) -> None:
    process, run_id, folder = started(project)
    try:
        assert project.realstack("down").returncode == 0
        assert of_run(run_id, folder)
        assert folder.exists()
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert gone_within(15, run_id, folder) == ([], False)


NOTE = """
import pathlib

def test_note(real_db, real_redis, fake_llm, realstack_env):
    pathlib.Path("run.txt").write_text(str(realstack_env.run.folder))
"""


def test_a_run_that_ends_in_good_order_leaves_nothing_at_once(project: Project) -> None:
    project.write("test_note.py", NOTE)
    project.run().assert_outcomes(passed=1)
    folder = Path((project.path / "run.txt").read_text())
    assert not folder.exists()
    assert of_run(folder.name.removeprefix("realstack-"), folder) == []
