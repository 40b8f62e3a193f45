"""Each bad input gives one clear error with a remedy and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from realstack import place, registry
from realstack.cli import main
from realstack.config import load_settings
from realstack.handles.session import up_name
from realstack.model import Choice, Endpoint, Run
from realstack.providers import docker_api, docker_engine
from realstack.providers.docker_address import Engine
from realstack.providers.docker_engine import leave_note
from tests.fake_engine import FakeEngine, serving
from tests.integration.cli.conftest import COMPOSE, SETTINGS, Shop

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
    answer = shop.call("run", "--", sys.executable, "-c", "print('ran')")
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert "ran" not in answer.stdout.split()
    assert named in answer.stderr
    assert f"[{slug}]" in answer.stderr
    assert "To mend it:" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(registry.records()) == []


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
        answer = shop.call("run", "--", sys.executable, "-c", "pass")
    assert answer.returncode == 2
    assert str(port) in answer.stderr
    assert "To mend it:" in answer.stderr
    assert list(registry.records()) == []


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
    name = up_name(load_settings(shop.path, environ={}))
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
