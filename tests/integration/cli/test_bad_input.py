"""Each bad input gives one clear error with a remedy and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from realstack import place, registry
from realstack.attaching import up_name
from realstack.cli import main
from realstack.compose_file import read_compose_file
from realstack.config import load_settings
from realstack.model import Choice, Endpoint, Run
from realstack.providers import docker_api, docker_engine
from realstack.providers.docker_address import Engine
from realstack.providers.docker_engine import leave_note
from tests.fake_engine import FakeEngine, serving
from tests.integration.cli.conftest import COMPOSE, SETTINGS, Shop
from tests.integration.cli.leftovers import looked_for
from tests.lack import without

REDIS_IMAGE = os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8")

Spoil = Callable[[Shop], None]


def compose(old: str, new: str) -> Spoil:
    def spoil(shop: Shop) -> None:
        shop.write("docker-compose.test.yml", COMPOSE.replace(old, new))

    return spoil


def settings(old: str, new: str) -> Spoil:
    def spoil(shop: Shop) -> None:
        shop.write("pyproject.toml", SETTINGS.replace(old, new))

    return spoil


def written(name: str, text: str) -> Spoil:
    def spoil(shop: Shop) -> None:
        shop.write(name, text)

    return spoil


def variable(name: str, value: str) -> Spoil:
    def spoil(shop: Shop) -> None:
        shop.environ[name] = value

    return spoil


def broken_postgres(shop: Shop) -> None:
    for name in ("postgres", "initdb"):
        program = shop.write(f"bin/{name}", "#!/bin/sh\necho 'cannot open libicuuc.so.72' >&2\nexit 127\n")
        program.chmod(0o755)
    shop.environ["REALSTACK_POSTGRES_BIN"] = str(shop.path / "bin")


def no_room_for_records(shop: Shop) -> None:
    """A folder of records in which none can be made, whoever asks."""
    home = shop.path / "home"
    home.mkdir()
    (home / "runs").symlink_to("/proc")
    shop.environ["REALSTACK_HOME"] = str(home)


def without_engine(shop: Shop) -> None:
    shop.environ |= {"DOCKER_HOST": "unix:///nowhere/docker.sock", "REALSTACK_PROVIDER": "containers"}


def compose_without_engine(shop: Shop) -> None:
    shop.environ |= {"DOCKER_HOST": "unix:///nowhere/docker.sock", "REALSTACK_PROVIDER": "compose"}


CASES: dict[str, tuple[Spoil, str, str]] = {
    "no engine for containers": (without_engine, "Docker", "provider-unavailable"),
    "no engine for compose": (compose_without_engine, "Docker", "provider-unavailable"),
    "compose file with a syntax error": (
        written("docker-compose.test.yml", "services:\n  postgres: [unclosed\n"),
        "docker-compose.test.yml:",
        "compose-file",
    ),
    "unknown service": (
        settings("[tool.realstack]", '[tool.realstack]\nservices = ["postgrse"]'),
        "did you mean 'postgres'",
        "settings",
    ),
    "missing variable": (compose("secret-word", "${SHOP_PASSWORD:?set it}"), "SHOP_PASSWORD", "compose-file"),
    "migration with an SQL error": (
        written("db/001.sql", "CREATE TABLE users (id int);\n\nSELCT 1;\n"),
        "001.sql:3",
        "migration",
    ),
    "seed naming a missing column": (written("db/users.yaml", "users:\n  - {id: 1, nmae: Ada}\n"), "name", "seed"),
    "seed naming a missing table": (written("db/users.yaml", "usres:\n  - {id: 1, name: Ada}\n"), "users", "seed"),
    "seed that is missing": (settings("db/users.yaml", "db/nobody.yaml"), "nobody.yaml", "seed"),
    "Redis seed of an unknown type": (
        written("db/redis.yaml", "greeting: {type: sorted_sets, value: {a: 1}}\n"),
        "redis.yaml",
        "seed",
    ),
    "wrong key in the settings": (settings("provider =", "provdier ="), "did you mean 'provider'", "settings"),
    "postmaster that dies at start": (
        compose("image: postgres:17", "image: postgres:17\n    command: postgres -c shared_buffers=nonsense"),
        "shared_buffers",
        "service-start",
    ),
    "unknown isolation": (
        variable("REALSTACK_ISOLATION", "transactoin"),
        "REALSTACK_ISOLATION names the unknown isolation 'transactoin'",
        "settings",
    ),
    "unknown kind of service": (
        written("docker-compose.test.yml", f"{COMPOSE}x-realstack: {{services: {{postgres: {{kind: postgress}}}}}}\n"),
        "x-realstack.services.postgres.kind",
        "compose-file",
    ),
    "arguments for initdb with an open quote": (
        compose("{POSTGRES_PASSWORD: secret-word}", '{POSTGRES_INITDB_ARGS: "--locale=\'C"}'),
        "services.postgres.environment.POSTGRES_INITDB_ARGS",
        "compose-file",
    ),
    "PostgreSQL that does not run": (broken_postgres, "libicuuc.so.72", "provider-unavailable"),
    "home that cannot be made": (variable("REALSTACK_HOME", "/proc"), "REALSTACK_HOME", "home"),
    "home that cannot be written": (no_room_for_records, "REALSTACK_HOME", "home"),
    "external without addresses": (
        settings('"embedded"', '"external"'),
        "REALSTACK_POSTGRES_URL",
        "provider-unavailable",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_one_clear_error_and_leaves_nothing(shop: Shop, case: str) -> None:
    spoil, named, slug = CASES[case]
    spoil(shop)
    refused(shop, named, slug)


def refused(shop: Shop, named: str, slug: str, *arguments: str) -> None:
    """The command ends with one clear error, and leaves no record, no folder and no process."""
    left = looked_for()
    answer = shop.call(*(arguments or ("run", "--", sys.executable, "-c", "print('ran')")))
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert "ran" not in answer.stdout.split()
    assert named in answer.stderr
    assert f"[{slug}]" in answer.stderr
    assert "To mend it:" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(registry.records()) == []
    assert left() == []


@pytest.mark.parametrize("case", ["unknown isolation", "home that cannot be made", "home that cannot be written"])
def test_up_refuses_before_it_starts_anything(shop: Shop, case: str) -> None:
    spoil, named, slug = CASES[case]
    spoil(shop)
    refused(shop, named, slug, "up")


def test_a_home_that_cannot_be_made_is_told_by_status_too(shop: Shop) -> None:
    shop.environ["REALSTACK_HOME"] = "/proc"
    refused(shop, "/proc", "home", "status")


@pytest.fixture
def containers(shop: Shop) -> Shop:
    """The shop with a Redis in a container as its only service; skipped where Docker cannot run it."""
    shop.environ |= {"REALSTACK_PROVIDER": "containers", "REALSTACK_SERVICES": "redis"}
    shop.write("docker-compose.test.yml", COMPOSE.replace("redis:8", REDIS_IMAGE))
    redis = [spec for spec in read_compose_file(shop.path / "docker-compose.test.yml").services if spec.name == "redis"]
    without(docker_engine.can_run(redis))
    return shop


@pytest.mark.parametrize("provider", ["containers", "auto"])
@pytest.mark.parametrize("image", ["Redis:8", "redis:"])
def test_what_cannot_be_an_image_is_told_by_service_key_and_value(containers: Shop, image: str, provider: str) -> None:
    containers.environ["REALSTACK_PROVIDER"] = provider
    compose("image: redis:8", f"image: '{image}'")(containers)
    refused(containers, f"services.redis.image names the image '{image}'", "compose-file")


def test_an_image_that_cannot_be_pulled_is_named(containers: Shop) -> None:
    compose("image: redis:8", "image: registry.invalid/no/such:image")(containers)
    refused(containers, "registry.invalid/no/such:image", "image-unavailable")


def test_a_port_that_is_taken_is_named_where_a_container_asks_for_it(containers: Shop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = COMPOSE.replace("redis:8", REDIS_IMAGE).replace("127.0.0.1::6379", f"127.0.0.1:{port}:6379")
        containers.write("docker-compose.test.yml", text)
        refused(containers, str(port), "service-start")


def test_the_doctor_tells_of_a_postgresql_that_does_not_run(shop: Shop) -> None:
    broken_postgres(shop)
    looked = shop.call("doctor")
    assert looked.returncode == 1
    assert f"note embedded postgres: {shop.path}/bin/postgres does not run here" in looked.stdout
    assert "libicuuc.so.72" in looked.stdout
    assert "Traceback" not in looked.stderr


def test_an_error_of_a_start_says_what_was_chosen_and_why(shop: Shop) -> None:
    shop.write("db/001.sql", "SELCT 1;\n")
    answer = shop.call("run", "--", sys.executable, "-c", "pass")
    assert "postgres, redis, fake_llm: embedded, because [tool.realstack] provider asks for it" in answer.stderr


def test_up_tells_the_same_error_as_run(shop: Shop) -> None:
    """`up` starts a process of its own: its error must come through whole."""
    shop.write("db/001.sql", "CREATE TABLE users (id int);\n\nSELCT 1;\n")
    answer = shop.call("up")
    assert answer.returncode == 2
    assert "001.sql:3" in answer.stderr
    assert "[migration]" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(registry.records()) == []


@pytest.fixture
def silent_engine(tmp_path: Path) -> Iterator[str]:
    """A socket that accepts and never answers."""
    path = tmp_path / "docker.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"unix://{path}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in held:
        connection.close()


def test_an_engine_that_hangs_is_given_up_on_when_asked_for(shop: Shop, silent_engine: str) -> None:
    shop.environ |= {"DOCKER_HOST": silent_engine, "REALSTACK_PROVIDER": "containers"}
    answer = shop.call("run", "--", sys.executable, "-c", "pass")
    assert answer.returncode == 2
    assert "[provider-unavailable]" in answer.stderr


def test_an_engine_that_hangs_makes_auto_choose_embedded_and_say_why(shop: Shop, silent_engine: str) -> None:
    shop.environ |= {"DOCKER_HOST": silent_engine, "REALSTACK_PROVIDER": "auto"}
    answer = shop.call("up")
    assert answer.returncode == 0, answer.stderr
    assert "embedded, because" in answer.stdout
    assert "docker.sock" in answer.stdout


def test_a_port_that_is_taken_is_named(shop: Shop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        compose("127.0.0.1::5432", f"127.0.0.1:{port}:5432")(shop)
        refused(shop, str(port), "service-start")


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_a_wrong_password_in_a_given_address_ends_the_wait_at_once_by_its_variable(shop: Shop, service: str) -> None:
    compose("image: redis:8", "image: redis:8\n    command: redis-server --requirepass secret-word")(shop)
    assert shop.call("up").returncode == 0
    [record] = registry.records()
    shop.environ |= {
        f"REALSTACK_{name.upper()}_URL": str(replace(endpoint, socket_dir=None).url)
        for name, endpoint in record.endpoints.items()
    }
    shop.environ["REALSTACK_DISPOSABLE"] = "postgres,redis"  # else which of two refusals is told is a race
    given = f"REALSTACK_{service.upper()}_URL"
    shop.environ[given] = shop.environ[given].replace("secret-word", "secret-wrod")
    began = time.monotonic()
    answer = shop.call("run", "--provider", "external", "--", sys.executable, "-c", "pass")
    assert time.monotonic() - began < 20
    assert answer.returncode == 2
    assert f"Service {service!r} failed at stage 'ready': the credentials in {given} are refused" in answer.stderr
    assert f"To mend it: correct user and password in {given}" in answer.stderr
    assert "secret-w" not in answer.stderr
    assert [each.run.run_id for each in registry.records()] == [record.run.run_id]


def test_a_given_database_that_nobody_declared_disposable_is_not_touched(shop: Shop) -> None:
    """It is another run's server here; what counts is that it is a given address."""
    assert shop.call("up").returncode == 0
    [record] = registry.records()
    shop.environ |= {
        "REALSTACK_PROVIDER": "external",
        "REALSTACK_POSTGRES_URL": str(record.endpoints["postgres"].url),
        "REALSTACK_REDIS_URL": str(record.endpoints["redis"].url),
    }
    answer = shop.call("run", "--", sys.executable, "-c", "pass")
    assert answer.returncode == 2
    assert "[not-ours]" in answer.stderr
    assert "secret-word" not in answer.stderr
    del shop.environ["REALSTACK_PROVIDER"]


def dead_run_on(engine: str, tmp_path: Path) -> registry.Record:
    """A recorded run whose owner has ended, and whose note names that engine."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        started = psutil.Process(owner.pid).create_time()
        owner.kill()
    folder = tmp_path / "realstack-r0123456789"
    folder.mkdir()
    run = Run("r0123456789", folder, owner.pid, started, "shop", place.here(), place.host())
    leave_note(run, Engine(engine, "a test"))
    registry.write(registry.Record(run))
    return registry.Record(run)


def test_down_says_what_it_could_not_remove_and_can_be_tried_again(shop: Shop, tmp_path: Path) -> None:
    fake = FakeEngine()
    fake.holds("kept", realstack_run="r0123456789", realstack_owner="1:1.00")
    fake.holds("another", realstack_run="ranother", realstack_owner="1:1.00@another-machine/1")
    fake.refuses = "DELETE"
    with serving(fake, tmp_path / "docker.sock") as engine:
        shop.environ["DOCKER_HOST"] = engine
        record = dead_run_on(engine, tmp_path)
        answer = shop.call("down")
        assert answer.returncode == 1, answer.stdout + answer.stderr
        assert "not removed: what the engine holds of run r0123456789: refused by the fake engine" in answer.stdout
        assert (record.run.folder.is_dir(), record.path.is_file()) == (True, True)
        fake.refuses = "never"
        again = shop.call("down")
        assert again.returncode == 0, again.stdout + again.stderr
        assert "removed container kept\n" in again.stdout
        assert "left alone: run ranother, of which the engine holds something: its owner is of another" in again.stdout
    assert (list(fake.containers), record.run.folder.exists(), record.path.exists()) == (["another"], False, False)


def test_the_logs_of_an_engine_that_is_gone_are_one_clear_error(shop: Shop, tmp_path: Path) -> None:
    run = registry.run_of_ours("r0123456789", tmp_path, "shop")
    name = up_name(load_settings(shop.path, environ={}).project)
    at = Endpoint("redis", "redis", "127.0.0.1", 1, "redis", provider="containers")
    choices = {"redis": Choice("containers", "a test")}
    registry.write(registry.Record(run, name=name, ready=True, choices=choices, endpoints={"redis": at}))
    shop.environ["DOCKER_HOST"] = f"unix://{tmp_path}/gone.sock"
    answer = shop.call("logs")
    registry.forget(run.run_id)
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert "[provider-unavailable]" in answer.stderr
    assert "To mend it:" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_engine_that_hangs_after_its_first_answer_is_one_clear_error(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, so that it need not take the half minute that an engine is given."""
    monkeypatch.setattr(docker_api, "LOOK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(docker_api, "CALL_TIMEOUT_S", 0.5)
    monkeypatch.chdir(shop.path)
    monkeypatch.setattr(sys, "argv", ["realstack", "run", "--provider", "containers", "--", "true"])
    fake = FakeEngine()
    fake.hangs = "^(?!GET /_ping)"
    with serving(fake, tmp_path / "docker.sock") as engine:
        monkeypatch.setenv("DOCKER_HOST", engine)
        with pytest.raises(SystemExit) as ended:
            main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "gave no answer within 0.5 s" in told
    assert "could not be removed" in told
    assert "To mend it:" in told
    [record] = registry.records()
    docker_engine.note_of(record.run.folder).unlink()  # nothing was made: its watchdog need not come back for it
    deadline = time.monotonic() + 30
    while list(registry.records()) and time.monotonic() < deadline:
        time.sleep(0.1)
