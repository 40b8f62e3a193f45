"""Finding the engine and asking it, against engines that hang, refuse or talk nonsense."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from realstack.errors import ProviderUnavailable
from realstack.model import ServiceSpec
from realstack.providers import docker_engine
from realstack.providers.docker_address import Engine, find_engine
from realstack.providers.docker_container import refusal
from realstack.providers.docker_engine import can_run, require_engine, why_silent


@contextmanager
def engine_that_says(folder: Path, answer: bytes | None) -> Iterator[str]:
    """A unix socket that accepts, and answers so; None: never."""
    place = folder / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        accepted: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                accepted.append(caller)
                if answer is not None:
                    caller.recv(4096)
                    caller.sendall(answer)
                    caller.close()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield f"unix://{place}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()
            for caller in accepted:
                caller.close()


def test_an_engine_that_accepts_and_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_that_says(tmp_path, None) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(ProviderUnavailable, match=r"gave no answer within 1 s") as caught:
            require_engine()
        spec = ServiceSpec("it", "generic", "it", 1, image="it")
        assert "gave no answer" in (can_run([spec]) or "")
    assert "REALSTACK_PROVIDER=embedded" in caught.value.remedy


def test_no_engine_is_told_with_the_socket_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ProviderUnavailable) as caught:
        require_engine()
    assert f"{tmp_path}/none.sock (from DOCKER_HOST): No such file or directory" in caught.value.problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", None),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered with status 500"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP|closed|reset"),
    ],
)
def test_only_an_answer_that_says_ok_counts(tmp_path: Path, answer: bytes, problem: str | None) -> None:
    with engine_that_says(tmp_path, answer) as host:
        told = why_silent(Engine(host, "a test"))
    if problem is None:
        assert told is None
    else:
        assert told is not None
        assert any(words in told for words in problem.split("|"))


def test_a_host_that_no_client_knows_is_a_problem_not_a_crash() -> None:
    assert "no such way" in (why_silent(Engine("gopher://there", "a test")) or "")


def test_docker_host_wins_over_a_context(tmp_path: Path) -> None:
    _write_context(tmp_path, "unix:///context.sock")
    engine = find_engine({"DOCKER_HOST": "tcp://there:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"})
    assert engine == Engine("tcp://there:2376", "DOCKER_HOST", Path("/c"))
    assert engine.environment() == {
        "DOCKER_HOST": "tcp://there:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": "/c",
    }


def test_the_current_context_is_followed_and_docker_context_names_another(tmp_path: Path) -> None:
    _write_context(tmp_path, "unix:///context.sock")
    assert find_engine({"DOCKER_CONFIG": str(tmp_path)}) == Engine("unix:///context.sock", "the context 'mine'")
    fallback = find_engine({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "default"})
    assert fallback.named_by == "the default socket"


@pytest.mark.parametrize("config", ["", "[]", '{"currentContext": "gone"}', '{"currentContext": 7}'])
def test_a_broken_configuration_of_docker_falls_back_to_the_default_socket(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    assert find_engine({"DOCKER_CONFIG": str(tmp_path)}).named_by == "the default socket"


def _write_context(folder: Path, host: str) -> None:
    meta = folder / "contexts/meta" / hashlib.sha256(b"mine").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": "mine", "Endpoints": {"docker": {"Host": host}}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": "mine"}))


@pytest.mark.parametrize(
    ("host", "address", "publish_ip"),
    [
        ("unix:///var/run/docker.sock", "127.0.0.1", "127.0.0.1"),
        ("tcp://127.0.0.1:2375", "127.0.0.1", "127.0.0.1"),
        ("tcp://build-host:2376", "build-host", "0.0.0.0"),
        ("ssh://me@build-host", "build-host", "0.0.0.0"),
    ],
)
def test_ports_of_a_remote_engine_are_reached_at_its_host(
    host: str, address: str, publish_ip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TESTCONTAINERS_HOST_OVERRIDE", raising=False)
    engine = Engine(host, "a test")
    assert (engine.address, engine.publish_ip) == (address, publish_ip)


def test_runs_and_removal_say_when_no_engine_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert docker_engine.runs() == {}
    with pytest.raises(ProviderUnavailable):
        docker_engine.remove_run("r0000000000")


@pytest.mark.parametrize(
    ("words", "stage"),
    [
        ("driver failed: Bind for 127.0.0.1:5432 failed: port is already allocated", "port"),
        ("listen tcp4 127.0.0.1:5432: bind: address already in use", "port"),
        ("write /var/lib/docker/x: no space left on device", "disk"),
        ('exec: "nonsense": executable file not found in $PATH: unknown', "start"),
        ("something new", "start"),
    ],
)
def test_what_the_engine_refuses_is_told_with_a_remedy(words: str, stage: str) -> None:
    found, problem, remedy = refusal(words, 5432)
    assert found == stage
    assert words in problem
    assert remedy
    assert ("127.0.0.1::5432" in remedy) == (stage == "port")
