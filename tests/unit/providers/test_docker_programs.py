"""Which programs are asked for, and when: none where an image is here and a builder in sight."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realstack.model import Build, ServiceSpec
from realstack.providers import docker_builds
from realstack.providers.docker_address import Engine
from realstack.providers.docker_builds import why_not_buildable
from realstack.providers.docker_programs import builder_in_sight, why_no_builder, why_no_compose

ENGINE = Engine("unix:///here.sock", "a test")
Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a command `docker` of these lines of shell, the only program on PATH; it notes each call."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("realstack.providers.docker_programs._PLUGIN_FOLDERS", ())

    def make(lines: str) -> Path:
        calls = tmp_path / "calls"
        docker = programs / "docker"
        docker.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{lines}\n')
        docker.chmod(0o755)
        return calls

    return make


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[ServiceSpec]]:
    """The images that the engine has, by tag, and a service whose image is built."""
    images: dict[str, Any] = {}

    class Asked:
        def inspect_image(self, tag: str) -> Any:
            return images.get(tag)

    @contextlib.contextmanager
    def api_of(engine: Engine) -> Iterator[Asked]:
        yield Asked()

    monkeypatch.setattr(docker_builds, "api_of", api_of)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch")
    return images, [ServiceSpec("it", "generic", "it", 1, image="it", build=Build(context, context / "Dockerfile"))]


def plugin(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "cli-plugins"
    folder.mkdir(parents=True)
    (folder / "docker-buildx").touch()


def test_no_program_is_asked_where_the_image_is_here(
    install: Install, built: tuple[dict[str, Any], list[ServiceSpec]], tmp_path: Path
) -> None:
    calls = install("exit 1")
    plugin(tmp_path)
    images, specs = built
    images["it"] = {"Config": {"Labels": {docker_builds.BUILD_LABEL: "of another context"}}}
    assert builder_in_sight()
    assert why_not_buildable(ENGINE, specs) is None
    assert not calls.exists()


def test_an_image_that_is_not_here_or_is_stale_needs_a_builder(
    install: Install, built: tuple[dict[str, Any], list[ServiceSpec]]
) -> None:
    install("echo no such component >&2; exit 1")
    images, specs = built
    said = "the image it is to be built, and `docker buildx` cannot be used: no such component"
    assert why_not_buildable(ENGINE, specs) == said
    images["it"] = {"Config": {"Labels": {docker_builds.BUILD_LABEL: "of another context"}}}
    assert why_not_buildable(ENGINE, specs) == said
    images["it"] = {"Config": {"Labels": None}}  # somebody's own: it is taken as it is
    assert why_not_buildable(ENGINE, specs) is None


def test_a_command_of_before_23_builds_without_buildx(install: Install) -> None:
    install('[ "$1" = --version ] && echo "Docker version 20.10.24, build 297e128" || exit 1')
    assert why_no_builder() is None


def test_a_program_is_asked_once_in_a_process(install: Install) -> None:
    calls = install("exit 0")
    assert why_no_compose() is None
    assert why_no_compose() is None
    assert calls.read_text().splitlines() == ["compose version"]
