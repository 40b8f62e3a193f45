"""Both Docker providers by one suite: what the compose file declares runs, explains its failures, and goes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from realstack.compose_file import ComposeProject, read_compose_file
from realstack.errors import (
    ComposeFileError,
    ImageUnavailable,
    ProviderUnavailable,
    ServiceStartFailed,
    UnsupportedByProvider,
)
from realstack.model import Run
from realstack.providers import docker_baked, docker_engine
from realstack.providers.base import Provider, Running
from realstack.providers.compose import Compose
from realstack.providers.containers import Containers
from realstack.readiness import until_ready
from realstack.services import service

ROOT = Path(__file__).parents[3]
Write = Callable[..., ComposeProject]
Made = Callable[[ComposeProject], Provider]
BOTH: list[Any] = [pytest.param(lambda project: Containers(), id="containers"), pytest.param(Compose, id="compose")]
both = pytest.mark.parametrize("made", BOTH)


def only(running: Mapping[str, Running]) -> Running:
    """The only service of a run."""
    (one,) = running.values()
    return one


async def answered(running: Running, provider: str) -> str:
    """Wait for the service by its own client; its version."""
    kind = service(running.spec.kind)
    endpoint = await until_ready(
        running.spec.name,
        lambda: kind.probe(kind.endpoint(running.spec, running.address, provider)),
        within_s=60,
        died=running.died,
        log=running.log_lines,
    )
    return endpoint.version or ""


async def log_with(running: Running, words: str) -> list[str]:
    """The service's log once it has ``words``."""
    with anyio.fail_after(30):
        while not any(words in line for line in running.log_lines()):  # noqa: ASYNC110 - a log has no event
            await anyio.sleep(0.02)
    return running.log_lines()


def marked(run: Run) -> list[str]:
    """What the engine holds of the run, by kind."""
    found = []
    for kind in ("container", "network", "volume"):
        for label in (f"realstack.run={run.run_id}", f"com.docker.compose.project=realstack-{run.run_id}"):
            listed = ["docker", kind, "ls", "--quiet", "--filter", f"label={label}"]
            listed += ["--all"] if kind == "container" else []
            out = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
            found += [kind] * len(out.split())
    return found


@both
async def test_the_repositorys_declaration_answers_its_clients_and_nothing_is_left(made: Made, docker_run: Run) -> None:
    project = read_compose_file(ROOT / "docker-compose.test.yml")
    provider = made(project)
    async with provider.running(project.services, docker_run) as running:
        assert list(running) == ["postgres", "redis", "fake_llm"]
        for one in running.values():
            assert one.address.host == "127.0.0.1"
            assert await answered(one, provider.name)
            assert one.died() is None
            assert one.log_lines()
        assert json.loads((docker_run.folder / "docker.json").read_text())["docker_host"]
        assert docker_engine.runs()[docker_run.run_id] == docker_run.labels["realstack.owner"]
    assert marked(docker_run) == []


async def test_the_repositorys_declaration_works_by_hand(docker_run: Run) -> None:
    """As its first lines say: `docker compose up --wait`, which its health checks end."""
    compose = ["docker", "compose", "-f", "docker-compose.test.yml", "-p", f"realstack-{docker_run.run_id}"]

    def call(*arguments: str) -> str:
        done = subprocess.run([*compose, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        call("up", "--wait", "--quiet-pull")
        healthy = [json.loads(line) for line in call("ps", "--format", "json").splitlines()]
        assert {each["Service"]: each["Health"] for each in healthy} == dict.fromkeys(
            ("postgres", "redis", "fake-llm"), "healthy"
        )
        ports = [call("port", name, str(port)) for name, port in (("postgres", 5432), ("redis", 6379))]
        assert all(port.startswith("127.0.0.1:") for port in ports)
    finally:
        call("down", "--volumes", "--timeout", "0")
    assert marked(docker_run) == []


@both
async def test_command_environment_mounts_user_and_folder_are_as_declared(
    made: Made, docker_run: Run, project: Write, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "note").write_text("from the host")
    declared = project("""
        services:
          it:
            image: $IMAGE
            entrypoint: [sh, -c]
            command:
            - id -u; pwd; echo "$$WORD"; cat /bound/note; grep -c " /fast tmpfs" /proc/mounts; echo told; sleep 60
            environment: {WORD: "it's $$5"}
            volumes: ["./here:/bound:ro", "kept:/kept"]
            tmpfs: /fast
            user: "65534"
            working_dir: /usr
        volumes: {kept: {}}
    """)
    async with made(declared).running(declared.services, docker_run) as running:
        lines = await log_with(only(running), "told")
        assert lines == ["65534", "/usr", "it's $5", "from the host1", "told"]
        assert only(running).log_lines(since=4) == ["told"]
    assert (tmp_path / "here" / "note").is_file()


@both
async def test_a_service_that_dies_is_told_with_its_status_and_last_words(
    made: Made, docker_run: Run, project: Write
) -> None:
    declared = project("""
        services:
          redis:
            image: $IMAGE
            entrypoint: [sh, -c, "echo my last words; exit 3"]
    """)
    provider = made(declared)
    with pytest.raises(ServiceStartFailed) as caught:
        async with provider.running(declared.services, docker_run) as running:
            await answered(running["redis"], provider.name)
    assert "exit status 3" in caught.value.problem
    assert "my last words" in str(caught.value)


@both
async def test_an_image_that_cannot_be_pulled_is_named_with_what_to_do(
    made: Made, docker_run: Run, project: Write
) -> None:
    declared = project("services: {it: {image: 'registry.invalid/no/such:image'}}")
    with pytest.raises(ImageUnavailable) as caught:
        async with made(declared).running(declared.services, docker_run):
            pass
    assert "registry.invalid" in str(caught.value)
    assert caught.value.remedy
    assert "registry.invalid/no/such:image is not here" in (docker_engine.can_run(declared.services) or "")


@both
async def test_a_taken_port_is_told_and_what_had_started_beside_it_goes(
    made: Made, docker_run: Run, project: Write
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        declared = project(f"""
            services:
              it:
                image: $IMAGE
                ports: ["127.0.0.1:{taken.getsockname()[1]}:6379"]
              other: {{image: $IMAGE}}
        """)
        with pytest.raises(ServiceStartFailed, match="taken") as caught:
            async with made(declared).running(declared.services, docker_run):
                pass
    assert (caught.value.service, caught.value.stage) == ("it", "port")
    assert marked(docker_run) == []


@both
async def test_a_command_that_is_not_in_the_image_is_told(made: Made, docker_run: Run, project: Write) -> None:
    declared = project("services: {it: {image: $IMAGE, entrypoint: [no-such-program]}}")
    with pytest.raises(ServiceStartFailed, match="no-such-program"):
        async with made(declared).running(declared.services, docker_run):
            pass


@both
async def test_what_depends_on_a_healthy_service_starts_after_it(made: Made, docker_run: Run, project: Write) -> None:
    declared = project("""
        services:
          after:
            image: $IMAGE
            entrypoint: [sh, -c, "cat /both/mark; echo told; sleep 60"]
            volumes: ["both:/both"]
            depends_on: {before: {condition: service_healthy}}
          before:
            image: $IMAGE
            entrypoint: [sh, -c, "sleep 0.5; echo was first >/both/mark; sleep 60"]
            volumes: ["both:/both"]
            healthcheck: {test: ["CMD", "test", "-s", "/both/mark"], interval: 100ms, retries: 100}
        volumes: {both: {}}
    """)
    async with made(declared).running(declared.services, docker_run) as running:
        assert await log_with(running["after"], "told") == ["was first", "told"]


async def test_only_what_is_waited_for_is_checked_by_the_engine_again_and_again(
    docker_run: Run, project: Write
) -> None:
    declared = project("""
        services:
          before: {image: $IMAGE, entrypoint: [sleep, "60"], healthcheck: {test: ["CMD", "true"], interval: 100ms}}
          after:
            image: $IMAGE
            entrypoint: [sleep, "60"]
            healthcheck: {test: ["CMD", "true"], interval: 100ms}
            depends_on: {before: {condition: service_healthy}}
    """)
    of_run = f"{docker_engine.project_of(docker_run.run_id)}-{{}}"
    async with Containers().running(declared.services, docker_run):
        checked = {
            name: subprocess.run(
                ["docker", "inspect", "--format", "{{if .State.Health}}yes{{end}}", of_run.format(name)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for name in ("before", "after")
        }
    assert checked == {"before": "yes", "after": ""}


@both
async def test_a_dependency_that_dies_before_it_is_healthy_ends_the_start(
    made: Made, docker_run: Run, project: Write
) -> None:
    declared = project("""
        services:
          after: {image: $IMAGE, depends_on: {before: {condition: service_healthy}}}
          before:
            image: $IMAGE
            entrypoint: [sh, -c, "echo gave up; exit 1"]
            healthcheck: {test: ["CMD", "false"], interval: 100ms}
    """)
    with pytest.raises(ServiceStartFailed, match="before"):
        async with made(declared).running(declared.services, docker_run):
            pass


@both
async def test_a_cancelled_start_leaves_nothing(made: Made, docker_run: Run, project: Write) -> None:
    declared = project("""
        services:
          after: {image: $IMAGE, depends_on: {before: {condition: service_healthy}}}
          before: {image: $IMAGE, healthcheck: {test: ["CMD", "false"], interval: 10s}}
    """)
    with anyio.move_on_after(1.5) as scope:
        async with made(declared).running(declared.services, docker_run):
            pytest.fail("it started without its dependency")
    assert scope.cancelled_caught
    assert marked(docker_run) == []


@both
@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.2, 0.4, 0.8])
async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing(
    made: Made, docker_run: Run, project: Write, after_s: float
) -> None:
    declared = project("services: {one: {image: $IMAGE}, two: {image: $IMAGE, depends_on: [one]}}")
    with anyio.move_on_after(after_s):
        async with made(declared).running(declared.services, docker_run):
            await anyio.sleep_forever()
    assert marked(docker_run) == []


async def test_compose_that_comes_to_no_end_is_ended(docker_run: Run, project: Write) -> None:
    declared = project("""
        services:
          after: {image: $IMAGE, depends_on: {before: {condition: service_healthy}}}
          before: {image: $IMAGE, healthcheck: {test: ["CMD", "false"], interval: 60s}}
    """)
    with pytest.raises(ServiceStartFailed, match="did not come to an end"):
        async with Compose(declared, ready_within_s=1).running(declared.services, docker_run):
            pass


@both
async def test_an_image_is_built_and_built_again_only_after_a_change(
    made: Made, docker_run: Run, project: Write, tmp_path: Path
) -> None:
    tag = f"realstack-test-{docker_run.run_id}"
    (tmp_path / "Dockerfile").write_text("ARG FROM\nFROM ${FROM}\nCOPY words /words\nCMD cat /words; sleep 60\n")
    (tmp_path / "words").write_text("first\n")
    text = f"services: {{it: {{image: {tag}, build: {{context: ., args: {{FROM: $IMAGE}}}}, init: true}}}}"

    async def words_and_image() -> tuple[str, str]:
        declared = project(text)
        async with made(declared).running(declared.services, docker_run) as running:
            (line,) = await log_with(only(running), "\n".join((tmp_path / "words").read_text().split()))
        inspected = subprocess.run(
            ["docker", "image", "inspect", "-f", "{{.Id}}", tag], capture_output=True, check=True
        )
        return line, inspected.stdout.decode()

    try:
        first = await words_and_image()
        again = await words_and_image()
        (tmp_path / "words").write_text("second\n")
        changed = await words_and_image()
    finally:
        subprocess.run(["docker", "image", "rm", "--force", tag], capture_output=True, check=False)
    assert first[0] == "first"
    assert again == first
    assert changed[0] == "second"


@both
async def test_a_build_that_fails_is_told_with_the_builders_words(
    made: Made, docker_run: Run, project: Write, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("ARG FROM\nFROM ${FROM}\nRUN echo no way in; exit 7\n")
    tag = f"realstack-test-{docker_run.run_id}"
    declared = project(f"services: {{it: {{image: {tag}, build: {{context: ., args: {{FROM: $IMAGE}}}}}}}}")
    with pytest.raises(ServiceStartFailed) as caught:
        async with made(declared).running(declared.services, docker_run):
            pass
    assert caught.value.stage == "build"
    assert "no way in" in str(caught.value)


IN_A_SECOND: list[Any] = [
    pytest.param(lambda project: Containers(pull_within_s=1), id="containers"),
    pytest.param(lambda project: Compose(project, pull_within_s=1, ready_within_s=1), id="compose"),
]


@pytest.mark.parametrize("made", IN_A_SECOND)
async def test_a_build_that_comes_to_no_end_is_ended(
    made: Made, docker_run: Run, project: Write, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("ARG FROM\nFROM ${FROM}\nARG RUN\nRUN echo $RUN; sleep 60\n")
    tag = f"realstack-test-{docker_run.run_id}"
    arguments = f"{{FROM: $IMAGE, RUN: {docker_run.run_id}}}"
    declared = project(f"services: {{it: {{image: {tag}, build: {{context: ., args: {arguments}}}}}}}")
    with anyio.fail_after(20), pytest.raises(ServiceStartFailed) as caught:
        async with made(declared).running(declared.services, docker_run):
            pass
    assert "pull_within_s" in caught.value.remedy


@both
async def test_two_runs_at_once_do_not_see_each_other(
    made: Made, docker_run: Run, project: Write, tmp_path: Path
) -> None:
    declared = project("services: {redis: {image: $IMAGE}}")
    other = replace(docker_run, run_id="r" + docker_run.run_id[:0:-1], folder=tmp_path)
    async with made(declared).running(declared.services, docker_run) as mine:
        async with made(declared).running(declared.services, other) as theirs:
            assert mine["redis"].address.port != theirs["redis"].address.port
            await log_with(theirs["redis"], "Ready")
            assert docker_engine.run_log_lines(other, declared.services[0]) == theirs["redis"].log_lines()
        assert await answered(mine["redis"], made(declared).name)
        assert mine["redis"].died() is None


@both
async def test_an_engine_that_is_not_there_is_a_clear_error(
    made: Made, run: Run, project: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    declared = project("services: {redis: {image: $IMAGE}}", {"IMAGE": "redis"})
    with pytest.raises(ProviderUnavailable, match=r"none\.sock"):
        async with made(declared).running(declared.services, run):
            pass


async def test_what_only_compose_honours_runs_with_compose_and_is_refused_by_containers(
    docker_run: Run, project: Write
) -> None:
    declared = project("""
        services: {it: {image: $IMAGE, hostname: my-name, entrypoint: [sh, -c, "hostname; sleep 60"], init: true}}
    """)
    with pytest.raises(UnsupportedByProvider, match=r"services\.it\.hostname"):
        async with Containers().running(declared.services, docker_run):
            pass
    async with Compose(declared).running(declared.services, docker_run) as running:
        assert await log_with(only(running), "my-name") == ["my-name"]


async def test_what_compose_itself_refuses_is_an_error_of_the_file(docker_run: Run, project: Write) -> None:
    declared = project("services: {it: {image: $IMAGE, networks: [undeclared]}}")
    with pytest.raises(ComposeFileError, match="undeclared"):
        async with Compose(declared).running(declared.services, docker_run):
            pass


async def test_compose_starts_the_wanted_services_and_their_dependencies_only(docker_run: Run, project: Write) -> None:
    declared = project("""
        services:
          wanted: {image: $IMAGE, depends_on: [needed]}
          needed: {image: $IMAGE}
          unwanted: {image: $IMAGE}
    """)
    wanted = [spec for spec in declared.services if spec.name == "wanted"]
    async with Compose(declared).running(wanted, docker_run) as running:
        assert list(running) == ["wanted"]
        assert marked(docker_run).count("container") == 3  # the wanted one has both marks


def test_what_a_killed_process_leaves_is_found_and_removed_by_its_mark(docker_run: Run, project: Write) -> None:
    declared = project("services: {redis: {image: $IMAGE}}")
    program = textwrap.dedent(f"""
        import anyio, os, sys
        from pathlib import Path
        from realstack.compose_file import read_compose_file
        from realstack.model import Run
        from realstack.providers.containers import Containers

        async def main():
            run = Run({docker_run.run_id!r}, Path({str(docker_run.folder)!r}), os.getpid(), 0.0, "tests")
            specs = read_compose_file(Path({str(declared.path)!r})).services
            async with Containers().running(specs, run):
                print("up", flush=True)
                await anyio.sleep_forever()

        anyio.run(main)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
    assert marked(docker_run) == ["container"]
    engine = docker_engine.engine_of(docker_run.folder)
    assert docker_engine.remove_run("r0000000000", engine) == []
    assert docker_engine.remove_run(docker_run.run_id, engine) == [f"container realstack-{docker_run.run_id}-redis"]
    assert marked(docker_run) == []


@pytest.mark.parametrize("is_there", ["command -v tar", "exit 1"], ids=["tar", "no tar"])
async def test_initialised_data_are_baked_once_and_start_the_next_run(
    docker_run: Run, project: Write, monkeypatch: pytest.MonkeyPatch, is_there: str
) -> None:
    """The server writes when it first initialised; a baked one finds that already written, whose it was and closed."""
    monkeypatch.setattr(docker_baked, "_HAS_TAR", is_there)
    declared = project(
        """
        x-realstack: {services: {it: {bake: /var/own}}}
        services:
          it:
            image: $IMAGE
            entrypoint: [sh, -c]
            command:
            - 'trap "exit 0" TERM; cd /var/own; if [ -e made ]; then echo found $$(cat made) $$(stat -c %u:%a . made);
              else touch made; chown 65534 . made; chmod 700 .; chmod 640 made;
              echo $$KEY >made; echo made; fi; while :; do sleep 0.1; done'
            environment: {KEY: $RUN}
            tmpfs: /var/own
            healthcheck: {test: ["CMD", "test", "-s", "/var/own/made"], interval: 1s}
    """,
        {"RUN": docker_run.run_id},
    )
    baked = ["docker", "image", "ls", "--quiet", "--filter", "label=realstack.baked.of=tests/it"]

    def images() -> list[str]:
        return subprocess.run(baked, capture_output=True, text=True, check=True).stdout.split()

    before = set(images())
    try:
        for _ in range(2):
            async with Containers().running(declared.services, docker_run) as running:
                assert await log_with(only(running), "found") == [f"found {docker_run.run_id} 65534:700 65534:640"]
            assert len(set(images()) - before) == 1
    finally:
        for image in set(images()) - before:
            subprocess.run(["docker", "image", "rm", "--force", image], capture_output=True, check=False)


async def test_a_service_that_cannot_be_baked_starts_the_plain_way(docker_run: Run, project: Write) -> None:
    declared = project("""
        x-realstack: {services: {it: {bake: /var/own}}}
        services:
          it:
            image: $IMAGE
            entrypoint: [sh, -c, "[ -e /fast ] || exit 1; echo plain; sleep 60"]
            tmpfs: [/fast]
            healthcheck: {test: ["CMD", "true"], interval: 1s}
    """)
    special = replace(declared.services[0], extra={"bake": "relative/path"})
    async with Containers().running([special], docker_run) as running:
        assert await log_with(only(running), "plain") == ["plain"]
