"""A Docker engine for the tests that need one, and compose projects written by a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import pytest

from realstack.compose_file import ComposeProject, read_compose_file
from realstack.model import Run
from realstack.providers import docker_engine
from tests.lack import without

Project = Callable[..., ComposeProject]


DECLARATION = Path(__file__).parents[3] / "docker-compose.test.yml"


@lru_cache
def why_no_docker() -> str | None:
    """Why these tests cannot run here: no engine answers, or it has not the images and cannot get them."""
    return docker_engine.can_run(read_compose_file(DECLARATION).services)


@pytest.fixture
def docker() -> None:
    """Skip where Docker cannot run the services; with REALSTACK_REQUIRE_DOCKER=1 that is a failure."""
    require_docker()


def require_docker() -> None:
    """What the fixture does, for a test that needs Docker for some of its parameters only."""
    without(why_no_docker())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A compose file of the given text; ``$IMAGE`` in it is an image with a shell that is here."""

    def write(text: str, environ: Mapping[str, str] | None = None) -> ComposeProject:
        file = tmp_path / "docker-compose.test.yml"
        file.write_text(text, encoding="utf-8")
        image = os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8")
        return read_compose_file(file, {**os.environ, "IMAGE": image, **(environ or {})})

    return write


@pytest.fixture
def docker_run(docker: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run of whose mark the engine must hold nothing at the end of the test."""
    # Compose itself reads the variable from the process's environment.
    monkeypatch.setenv("IMAGE", os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8"))
    run = Run("r" + run.folder.name[-10:].encode().hex()[:10], run.folder, run.owner_pid, run.owner_started, "tests")
    yield run
    assert docker_engine.remove_run(run.run_id) == []
