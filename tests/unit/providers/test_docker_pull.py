"""Pulls and builds end in time, against an engine whose registry stalls and a builder that comes to no end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realstack.errors import ImageUnavailable, ServiceStartFailed
from realstack.model import Build, Run, ServiceSpec
from realstack.providers.docker_address import Engine
from realstack.providers.docker_api import Api
from realstack.providers.docker_builds import build_image
from realstack.providers.docker_images import ensure_image
from realstack.providers.docker_pull import StoppedError
from realstack.registry import run_of_ours
from tests.fake_engine import FakeEngine, serving

SPEC = ServiceSpec("it", "generic", "it", 1, image="other:1")


class Stalling:
    """The answer to a pull: begins, and never goes on. ``cut`` is set once the asker has closed the connection."""

    def __init__(self, *, begins: bool) -> None:
        self.begins = begins
        self.cut = threading.Event()

    def __call__(self, request: Any) -> None:
        """Answer, and wait for the other end to be closed."""
        if self.begins:
            request.tell_piecemeal('{"status": "Pulling from library/other"}', ends=False)
        request.connection.settimeout(0.05)
        while not request.server.engine.ended.is_set():
            try:
                if not request.connection.recv(1):
                    self.cut.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                self.cut.set()
                return


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_of_ours("r0", tmp_path, "tests")


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def api(fake: FakeEngine, tmp_path: Path) -> Iterator[Api]:
    with serving(fake, tmp_path / "engine.sock") as host:
        yield Api(Engine(host, "a test"))


@pytest.mark.parametrize("begins", [True, False], ids=["in the middle", "before its first word"])
def test_a_registry_that_stalls_is_given_up_in_time(fake: FakeEngine, api: Api, run: Run, begins: bool) -> None:
    fake.pull = stalling = Stalling(begins=begins)
    began = time.monotonic()
    with pytest.raises(ImageUnavailable, match=r"was not pulled within 0\.5 s") as caught:
        ensure_image(api, SPEC, run, pull_within_s=0.5, stop=threading.Event())
    assert time.monotonic() - began < 5
    assert "pull_within_s" in caught.value.remedy
    if begins:
        assert stalling.cut.wait(5), "the engine must hear that nobody listens any more"


@pytest.mark.parametrize("begins", [True, False], ids=["in the middle", "before its first word"])
def test_a_start_that_is_given_up_does_not_wait_for_the_registry(
    fake: FakeEngine, api: Api, run: Run, begins: bool
) -> None:
    fake.pull = Stalling(begins=begins)
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        ensure_image(api, SPEC, run, pull_within_s=60, stop=stop)
    assert time.monotonic() - began < 5


def test_a_pull_that_comes_to_its_end_gives_the_image_and_an_error_is_told(
    fake: FakeEngine, api: Api, run: Run
) -> None:
    def pull(request: Any) -> None:
        fake.images.add("other:1")
        request.tell_piecemeal('{"status": "Pulling"}', '{"status": "Done"}')

    fake.pull = pull
    assert ensure_image(api, SPEC, run, pull_within_s=5, stop=threading.Event())["Id"] == "other:1"
    fake.images.clear()
    fake.pull = lambda request: request.tell_piecemeal('{"error": "manifest unknown"}')
    with pytest.raises(ImageUnavailable, match="cannot be pulled: manifest unknown"):
        ensure_image(api, SPEC, run, pull_within_s=5, stop=threading.Event())


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A command `docker` of that shell text; it writes its process id into the file that is returned."""

    def write(text: str) -> Path:
        command, noted = tmp_path / "bin/docker", tmp_path / "pid"
        command.parent.mkdir()
        command.write_text(f"#!/bin/sh\necho $$ >{noted}\n{text}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
        return noted

    return write


def built(run: Run, *, within_s: float, stop: threading.Event) -> None:
    build = Build(context=run.folder, dockerfile=run.folder / "Dockerfile")
    engine = Engine("unix:///nowhere", "a test")
    build_image(engine, SPEC, build, digest=None, run=run, within_s=within_s, stop=stop)


def gone(noted: Path) -> bool:
    try:
        os.kill(int(noted.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("hearing", ["", "trap '' TERM"], ids=["ends", "is deaf"])
def test_a_build_that_comes_to_no_end_is_ended(
    run: Run, builder: Callable[[str], Path], hearing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realstack.providers.docker_builds._ENDS_WITHIN_S", 0.5)
    noted = builder(f"{hearing}\necho step 1 of 2\nwhile :; do sleep 1; done")
    with pytest.raises(ServiceStartFailed, match=r"was not built within 1 s") as caught:
        built(run, within_s=1, stop=threading.Event())
    assert caught.value.stage == "build"
    assert "step 1 of 2" in str(caught.value)
    assert "pull_within_s" in caught.value.remedy
    assert gone(noted)


def test_a_build_is_ended_with_its_start(run: Run, builder: Callable[[str], Path]) -> None:
    noted = builder("while :; do sleep 1; done")
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(StoppedError):
        built(run, within_s=60, stop=stop)
    assert gone(noted)
