"""Promise 1 where an engine holds what a run made: containers, networks and volumes go too, however its owner ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from realstack import registry
from realstack.model import Run
from realstack.registry import Record
from tests.integration.plugin.conftest import Project
from tests.integration.providers.conftest import docker

__all__ = ["docker"]

COMPOSE = """
services:
  before: {image: "$IMAGE", ports: ["127.0.0.1::6379"]}
  redis:
    image: $IMAGE
    ports: ["127.0.0.1::6379"]
    volumes: ["kept:/data"]
    depends_on: [before]
volumes: {kept: {}}
"""
SETTINGS = """
[tool.realstack]
provider = "{provider}"
services = ["redis", "before"]
"""
HOLD = """
import pathlib, time

def test_hold(real_redis, realstack_env):
    pathlib.Path("run.txt").write_text(realstack_env.run.run_id)
    while True:
        time.sleep(0.05)
"""
BOTH = pytest.mark.parametrize("provider", ["containers", "compose"])


@dataclass
class Started:
    """A run that is up, and the process that owns it."""

    run: Run
    owner: psutil.Process


def held(run: Run) -> set[str]:
    """The kinds of things that the engine holds of the run."""
    found = set()
    for kind in ("container", "network", "volume"):
        for label in (f"realstack.run={run.run_id}", f"com.docker.compose.project=realstack-{run.run_id}"):
            listed = ["docker", kind, "ls", "--quiet", "--filter", f"label={label}"]
            listed += ["--all"] if kind == "container" else []
            if subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split():
                found.add(kind)
    return found


def left(run: Run) -> tuple[set[str], bool, bool]:
    """What the engine holds, and whether folder and record are there."""
    return held(run), run.folder.exists(), any(record.run.run_id == run.run_id for record in registry.records())


def gone_within(seconds: float, run: Run) -> tuple[set[str], bool, bool]:
    deadline = time.monotonic() + seconds
    while (what := left(run)) != (set(), False, False) and time.monotonic() < deadline:
        time.sleep(0.2)
    return what


def watchdogs(run: Run) -> list[psutil.Process]:
    commands = [(each, each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    return [each for each, command in commands if "realstack.watchdog" in command and run.run_id in command]


@pytest.fixture
def declared(docker: None, project: Project, provider: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, with a declaration that leads to containers, a network and a volume."""
    monkeypatch.setenv("IMAGE", os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8"))
    project.write("docker-compose.test.yml", COMPOSE)
    project.write("pyproject.toml", SETTINGS.format(provider=provider))
    project.write("test_hold.py", HOLD)
    return project


def record_of(run_id: str = "") -> Record:
    return next(record for record in registry.records() if run_id in ("", record.run.run_id))


@pytest.fixture
def by_pytest(declared: Project) -> Iterator[Started]:
    """A run that pytest owns."""
    with (
        (declared.path / "out.txt").open("w+") as out,
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=declared.path,
            stdout=out,
            stderr=out,
            start_new_session=True,
        ) as process,
    ):
        note, deadline = declared.path / "run.txt", time.monotonic() + 90
        while not (note.is_file() and note.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                out.seek(0)
                pytest.fail(out.read())
            time.sleep(0.05)
        yield Started(record_of(note.read_text()).run, psutil.Process(process.pid))
        if process.poll() is None:
            process.kill()


@pytest.fixture
def by_up(declared: Project) -> Started:
    """A run that the keeper of `realstack up` owns."""
    assert declared.realstack("up").returncode == 0
    run = record_of().run
    return Started(run, psutil.Process(run.owner_pid))


@BOTH
@pytest.mark.parametrize("owner", ["by_pytest", "by_up"])
def test_a_killed_owner_leaves_nothing(provider: str, owner: str, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue(owner)
    assert left(started.run) == ({"container", "network", "volume"}, True, True)
    started.owner.send_signal(signal.SIGKILL)
    assert gone_within(30, started.run) == (set(), False, False)


@BOTH
@pytest.mark.parametrize("owner", ["by_pytest", "by_up"])
def test_down_removes_what_a_killed_owner_left_whose_watchdog_died_too(
    provider: str, owner: str, declared: Project, request: pytest.FixtureRequest
) -> None:
    started: Started = request.getfixturevalue(owner)
    assert held(started.run) == {"container", "network", "volume"}
    for victim in (*watchdogs(started.run), started.owner):
        victim.send_signal(signal.SIGKILL)
    time.sleep(0.5)
    # A `down` of a test beside this one may sweep the engine of it meanwhile: the owner is dead, and from here.
    _, *here = left(started.run)
    assert here == [True, True]
    told = json.loads(declared.realstack("down", "--json").stdout)
    assert f"folder {started.run.folder}" in told["removed"]
    assert (told["not_removed"], left(started.run)) == ([], (set(), False, False))
