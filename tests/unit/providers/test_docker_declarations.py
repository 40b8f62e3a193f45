"""What declarations become for the engine, for the builder and for Compose; and what Compose's words mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from realstack.compose_file import ComposeProject
from realstack.errors import (
    ComposeFileError,
    ImageUnavailable,
    RealstackError,
    ServiceStartFailed,
    UnsupportedByProvider,
)
from realstack.model import Build, Dependency, HealthCheck, Port, Run, ServiceSpec, Volume
from realstack.providers.compose import explained, override_of
from realstack.providers.containers import refuse_unsupported
from realstack.providers.docker_address import Engine
from realstack.providers.docker_builds import base_images, context_hash
from realstack.providers.docker_config import container_config, in_bytes, published, published_ports

SPEC = ServiceSpec("postgres", "postgres", "db", 5432, image="postgres:17")
RUN = Run("r0123456789", Path("/nowhere"), 1, 2.0, "tests")


def test_what_containers_cannot_honour_is_refused_by_name_with_the_advice_to_use_compose() -> None:
    app = replace(SPEC, compose_name="app", depends_on=(Dependency("other"),))
    with pytest.raises(UnsupportedByProvider) as caught:
        refuse_unsupported([replace(SPEC, unsupported=("cap_add", "build.ssh")), app])
    assert "services.db.cap_add, services.db.build.ssh, services.app.depends_on.other" in caught.value.problem
    assert "compose" in caught.value.remedy


ENGINE = Engine("unix:///here.sock", "a test")


def test_a_declaration_becomes_the_engines_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    spec = replace(
        SPEC,
        command=("postgres", "-cfsync=off"),
        environment={"A": "it's $5", "B": ""},
        tmpfs=("/data", "/tmp:size=64m,mode=1777"),
        volumes=(Volume("/conf", "/here/conf", read_only=True, bind=True), Volume("/named", "named"), Volume("/own")),
        health_check=HealthCheck(("CMD", "x"), interval_s=1.5, retries=3),
        user="65534",
        shm_size="256mb",
        init=True,
    )
    labels = {"Labels": RUN.labels}
    assert container_config(spec, RUN, ENGINE) == {
        "Cmd": ["postgres", "-cfsync=off"],
        "Env": ["A=it's $5", "B="],
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1_500_000_000, "Retries": 3},
        "User": "65534",
        "HostConfig": {
            "Tmpfs": {"/data": "", "/tmp": "size=64m,mode=1777"},
            "Mounts": [
                {"Target": "/conf", "ReadOnly": True, "Type": "bind", "Source": "/here/conf"},
                {
                    "Target": "/named",
                    "ReadOnly": False,
                    "Type": "volume",
                    "Source": "realstack-r0123456789_named",
                    "VolumeOptions": labels,
                },
                {"Target": "/own", "ReadOnly": False, "Type": "volume", "Source": "", "VolumeOptions": labels},
            ],
            "ShmSize": 256 << 20,
            "Init": True,
        },
    }


def test_ports_are_published_where_the_engine_says() -> None:
    config = published({"User": "1", "HostConfig": {"Init": True}}, replace(SPEC, ports=(Port(80, 8080),)), ENGINE)
    assert config == {
        "User": "1",
        "ExposedPorts": {"5432/tcp": {}, "80/tcp": {}},
        "HostConfig": {
            "Init": True,
            "PortBindings": {
                "5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}],
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
            },
        },
    }


def test_the_proxies_of_the_users_docker_reach_containers_below_what_is_declared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    proxies = {"default": {"httpProxy": "http://all:1"}, ENGINE.host: {"httpProxy": "http://one:1", "noProxy": "db"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    declared = replace(SPEC, environment={"NO_PROXY": "mine"})
    assert container_config(declared, RUN, ENGINE)["Env"] == [
        "HTTP_PROXY=http://one:1",
        "NO_PROXY=mine",
        "http_proxy=http://one:1",
        "no_proxy=db",
    ]
    other = Engine("tcp://there:1", "a test")
    assert container_config(SPEC, RUN, other)["Env"] == ["HTTP_PROXY=http://all:1", "http_proxy=http://all:1"]


@pytest.mark.parametrize(
    ("size", "count"), [("1024", 1024), ("64k", 65536), ("256MB", 256 << 20), ("1.5g", 3 << 29), ("2b", 2)]
)
def test_sizes_are_read_as_docker_reads_them(size: str, count: int) -> None:
    assert in_bytes(SPEC, size) == count


def test_what_is_no_size_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedByProvider, match=r"services\.db\.shm_size: 'much'"):
        in_bytes(SPEC, "much")


def test_the_clients_port_is_published_even_where_the_file_publishes_none() -> None:
    assert published_ports(SPEC) == [(5432, None)]
    assert published_ports(replace(SPEC, ports=(Port(5432, 15432), Port(80)))) == [(5432, 15432), (80, None)]
    assert published_ports(replace(SPEC, port=0)) == []


def test_the_runs_own_compose_file_marks_services_and_publishes_what_is_not_published() -> None:
    override = override_of([SPEC], RUN, "127.0.0.1", {"app": "abc"})
    assert override["services"]["db"]["labels"]["realstack.run"] == RUN.run_id
    assert override["services"]["db"]["labels"]["realstack.service"] == "postgres"
    assert override["services"]["db"]["ports"] == ["127.0.0.1::5432"]
    assert override["services"]["app"] == {"build": {"labels": {"realstack.build": "abc"}}}
    published = override_of([replace(SPEC, ports=(Port(5432),))], RUN, "127.0.0.1", {})
    assert "ports" not in published["services"]["db"]


def test_the_images_that_a_build_needs_are_read_from_its_dockerfile(tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        "ARG PYTHON=python:3.13\nARG OTHER\nFROM ${PYTHON} AS base\nFROM --platform=linux/amd64 $OTHER AS tools\n"
        "ARG PYTHON=ignored\nFROM base\nCOPY --from=tools /a /a\nFROM scratch\nFROM ${NONE:-debian:13}\n"
    )
    build = Build(tmp_path, dockerfile, args={"OTHER": "busybox"})
    assert base_images(build) == ["python:3.13", "busybox", "debian:13"]
    assert base_images(replace(build, dockerfile=tmp_path / "none")) == []


def test_the_hash_of_a_build_follows_contents_and_arguments_and_not_what_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / ".dockerignore").write_text("# nothing of these\nignored\n")
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "ignored").write_text("1")
    build = Build(tmp_path, tmp_path / "Dockerfile")
    first = context_hash(build)
    assert first is not None
    (tmp_path / "ignored").write_text("2")
    assert context_hash(build) == first
    assert context_hash(replace(build, args={"A": "1"})) != first
    (tmp_path / "code.py").write_text("2")
    assert context_hash(build) != first


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (
            ["Error response from daemon: driver failed programming external connectivity on endpoint "
             "realstack-r0123456789-db-1: Bind for 0.0.0.0:5432 failed: port is already allocated"],
            ServiceStartFailed,
            "Service 'postgres' failed at stage 'port'",
        ),
        (["validating /x/f.yml: services.db additional properties 'foo' not allowed"], ComposeFileError, "foo"),
        (["required variable PW is missing a value: set it"], ComposeFileError, "PW"),
        (["no such service: dbb"], ComposeFileError, "dbb"),
        (
            [" db Error", 'Error response from daemon: Get "https://r/v2/": dial tcp: lookup r: no such host'],
            ImageUnavailable,
            "no such host",
        ),
        (
            ["#3 [app internal] load metadata for hub/python:3.13", "#3 ERROR: no such host",
             "failed to solve: python:3.13: no such host"],
            ImageUnavailable,
            "realstack-app",
        ),
        (["#5 ERROR: process did not complete", "failed to solve: exit code: 1"], ServiceStartFailed, "'build'"),
        (["compose build requires buildx 0.17.0 or later"], ServiceStartFailed, "its buildx component"),
        (["write /x: no space left on device"], ServiceStartFailed, "'disk'"),
        (["something new"], ServiceStartFailed, "something new"),
        ([], ServiceStartFailed, "it said nothing"),
    ],
)  # fmt: skip
def test_composes_last_words_become_an_error_with_a_remedy(
    output: Sequence[str], kind: type[RealstackError], words: str, tmp_path: Path
) -> None:
    app = ServiceSpec("app", "generic", "app", 0, build=Build(tmp_path, tmp_path / "Dockerfile"))
    project = ComposeProject(Path("/x/f.yml"), "x", (SPEC, app))
    error = explained(project, [SPEC, app], "\n".join(output))
    assert type(error) is kind
    assert words in str(error)
    assert error.remedy
