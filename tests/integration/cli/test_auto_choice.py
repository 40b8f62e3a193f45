"""`auto` goes on to what can run here, with the reason; what was asked for by name says which program is missing."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Shop
from tests.integration.providers.conftest import require_docker

REDIS = os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8")
WITH_DEPENDENCY = f"""
services:
  redis:
    image: {REDIS}
    ports: ["127.0.0.1::6379"]
    depends_on: [beside]
  beside:
    image: {REDIS}
"""
COMPOSE_ONLY = f"""
services:
  redis:
    image: {REDIS}
    ports: ["127.0.0.1::6379"]
    hostname: cache
"""
TO_BE_BUILT = f"""
services:
  redis:
    image: realstack-test-{uuid.uuid4().hex[:8]}
    build: .
    ports: ["127.0.0.1::6379"]
"""
LACKING = """#!/bin/sh
case "$1" in
  --version) echo "Docker version 28.2.2, build e6534b4";;
  build)
    echo "ERROR: BuildKit is enabled but the buildx component is missing or broken." >&2
    echo "       Install the buildx component to build images with BuildKit:" >&2
    echo "       https://docs.docker.com/go/buildx/" >&2
    exit 1;;
  *) echo "docker: unknown command: docker $1" >&2; exit 1;;
esac
"""
"""What the command `docker` says without its components."""


@pytest.fixture
def project(shop: Shop) -> Shop:
    """A project that leaves the choice to us, of a Redis only, where an engine answers."""
    require_docker()
    shop.write("pyproject.toml", '[tool.realstack]\nservices = ["redis"]\n')
    shop.write("Dockerfile", f"FROM {REDIS}\n")
    return shop


@pytest.fixture(params=["no docker", "no components"])
def lacking(request: pytest.FixtureRequest, project: Shop, tmp_path: Path) -> str:
    """The engine answers, and the programs beside it are not there: what is then said of them."""
    programs = tmp_path / "bin"
    programs.mkdir()
    project.environ["PATH"] = str(programs)
    if request.param == "no docker":
        return "there is no command `docker`"
    docker = programs / "docker"
    docker.write_text(LACKING)
    docker.chmod(0o755)
    return "docker: unknown command: docker"


def chosen(shop: Shop) -> str:
    """What `realstack doctor` says that would be chosen."""
    looked = json.loads(shop.call("doctor", "--json").stdout)
    (finding,) = (one["finding"] for one in looked if one["name"] == "provider")
    return str(finding)


def test_what_depends_on_a_service_outside_the_run_is_run_by_compose(project: Shop) -> None:
    project.write("docker-compose.test.yml", WITH_DEPENDENCY)
    up = project.call("up")
    assert up.returncode == 0, up.stderr
    assert "compose, because" in up.stdout
    assert "only Docker Compose honours depends_on beside" in up.stdout
    assert project.call("down").returncode == 0


@pytest.mark.parametrize("declared", [WITH_DEPENDENCY, COMPOSE_ONLY])
def test_what_only_compose_honours_runs_embedded_where_there_is_no_compose(
    project: Shop, lacking: str, declared: str
) -> None:
    project.write("docker-compose.test.yml", declared)
    said = chosen(project)
    assert said.startswith("redis: embedded, because a Docker engine answered, but only Docker Compose honours ")
    assert f"`docker compose` cannot be used: {lacking}" in said


def test_an_image_that_cannot_be_built_here_is_run_embedded_instead(project: Shop, lacking: str) -> None:
    project.write("docker-compose.test.yml", TO_BE_BUILT)
    said = chosen(project)
    assert said.startswith("redis: embedded, because a Docker engine answered, but the image realstack-test-")
    assert f"is to be built, and `docker buildx` cannot be used: {lacking}" in said


def test_an_image_that_is_to_be_built_is_run_in_a_container_where_buildx_is(project: Shop) -> None:
    project.write("docker-compose.test.yml", TO_BE_BUILT)
    assert chosen(project).startswith("redis: containers, because")


def test_containers_by_name_names_the_program_that_builds(project: Shop, lacking: str) -> None:
    project.write("docker-compose.test.yml", TO_BE_BUILT)
    refused = project.call("up", "--provider", "containers")
    assert refused.returncode == 2
    assert "is to be built, and " in refused.stderr
    assert "To mend it: install Docker's command line with its buildx component" in refused.stderr
    assert "correct the Dockerfile" not in refused.stderr


def test_compose_by_name_names_the_program_that_is_missing(project: Shop, lacking: str) -> None:
    project.write("docker-compose.test.yml", COMPOSE_ONLY)
    refused = project.call("up", "--provider", "compose")
    assert refused.returncode == 2
    assert lacking in refused.stderr
    assert "install Docker's command line with Compose v2" in refused.stderr
