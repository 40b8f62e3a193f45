"""Who may use the control API, and what a request may not be: too large, too many, a path."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from realstack.errors import FakeLLMError
from realstack.handles.llm import FakeLLM as Handle
from realstack.model import Address, Secret, ServiceSpec
from realstack.services.fake_llm import FakeLLM

from .conftest import FakeServer, Session
from .raw import BODIES, exchange, headers_of

TOKEN = "t0ken with/slash"


def own_address() -> str:
    """An address of this machine that is no loopback one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        found: str = probe.getsockname()[0]
    return found


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("FAKE_LLM_CONTROL_TOKEN", TOKEN)
    running = FakeServer("--control-from", "none", log=tmp_path / "log")
    yield running
    running.stop()


def test_a_token_lets_in_what_comes_from_elsewhere(guarded: FakeServer) -> None:
    def status(path: str, **headers: str) -> int:
        return httpx.get(guarded.url + path, headers=headers, trust_env=False, timeout=30).status_code

    assert status("/_fake/sessions") == status("/_fake/sessions", authorization="Bearer wrong") == 403
    assert status("/_fake/sessions", authorization=f"Bearer {TOKEN}") == 200
    assert status("/_fake/health") == 200
    path, body = BODIES["openai_chat"]
    assert exchange(guarded.url, path, body, "sk-any").all.startswith(b"HTTP/1.1 200")
    refused = httpx.put(f"{guarded.url}/_fake/files", json={"files": []}, trust_env=False, timeout=30)
    assert refused.json()["error"]["problems"] == [
        "The control API wants its token here: Authorization: Bearer <token>."
    ]


def test_realstacks_handle_takes_the_token_from_the_address_and_hands_it_to_nobody(guarded: FakeServer) -> None:
    where = urlsplit(guarded.url)

    def handle(url: str) -> Handle:
        address = Address(str(where.hostname), where.port or 0, url=Secret(url))
        spec = ServiceSpec("fake_llm", "fake_llm", "fake-llm", 8080)
        return Handle(FakeLLM().endpoint(spec, address, "external"), "s1")

    llm = handle(f"http://:t0ken%20with%2Fslash@{where.netloc}")
    llm.on().reply("mine")
    config = llm.config("openai")
    assert config.base_url == f"{guarded.url}/v1"
    variables = FakeLLM().environment(llm.endpoint)
    assert not any("t0ken" in value for value in [*variables.values(), repr(llm), repr(llm.endpoint)])
    llm.close()
    with pytest.raises(FakeLLMError, match="wants its token"):
        handle(guarded.url)


def test_addresses_that_are_no_loopback_are_refused_and_told_what_to_do(tmp_path: Path) -> None:
    server = FakeServer("--host", "0.0.0.0", log=tmp_path / "log")
    try:
        port = server.ready["port"]
        assert httpx.get(f"http://127.0.0.1:{port}/_fake/sessions", trust_env=False, timeout=30).status_code == 200
        if (own := own_address()).startswith("127."):
            raise AssertionError("this machine has no address but loopback")
        refused = httpx.get(f"http://{own}:{port}/_fake/sessions", trust_env=False, timeout=30)
        assert refused.status_code == 403
        assert "--control-from private" in refused.json()["error"]["message"]
        assert (
            httpx.get(
                f"http://{own}:{port}/v1/models", headers=headers_of("k"), trust_env=False, timeout=30
            ).status_code
            == 200
        )
    finally:
        server.stop()


# --- what a request may be ---------------------------------------------------------------------------------------


def sent(session: Session, head: bytes, body: bytes = b"") -> bytes:
    where = urlsplit(session.url)
    with socket.create_connection((str(where.hostname), where.port), timeout=5) as connection:
        try:
            connection.sendall(head + body)
            found = b""
            while piece := connection.recv(65_536):
                found += piece
                if b"\r\n\r\n" in found:
                    return found
        except (ConnectionResetError, BrokenPipeError):
            pass
    return found


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-long: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        HEAD + b"".join(b"x-%d: a\r\n" % place for place in range(300)) + b"\r\n",
        HEAD + b"x-endless: " + b"a" * 100_000,
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=["one long field", "many fields", "a head without an end", "a long address"],
)
def test_a_head_that_is_too_large_is_a_431(session: Session, head: bytes) -> None:
    assert sent(session, head).startswith(b"HTTP/1.1 431 ")


def test_a_head_of_a_usual_size_is_served_again_and_again_on_one_connection(session: Session) -> None:
    path, body = BODIES["openai_chat"]
    with httpx.Client(base_url=session.url, headers=headers_of(session.api_key), trust_env=False, timeout=30) as client:
        for _ in range(20):
            assert client.post(path, json=body, headers={"x-some": "a" * 8_000}).status_code == 200
        long = {**body, "messages": [{"role": "user", "content": "y" * 300_000}]}
        assert client.post(path, json=long).status_code == 200
        assert client.post(path, json=body).status_code == 200


@pytest.mark.parametrize(
    ("path", "size"),
    [("/v1/chat/completions", 65 * 1024 * 1024), ("/v1/nothing", 2 * 1024 * 1024), ("/_fake/files", 17 * 1024 * 1024)],
)
def test_a_body_that_is_announced_too_large_is_a_413_before_it_is_read(session: Session, path: str, size: int) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {size}\r\n\r\n"
    assert sent(session, head.encode(), b"{").startswith(b"HTTP/1.1 413")


def test_a_control_body_without_an_announced_length_is_cut_off_too(session: Session) -> None:
    head = (
        b"PUT /_fake/files HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    assert b" 200 " not in sent(session, head, chunk * 18)[:20]
    assert session.call("GET", "/scenarios")["scenarios"] == []


@pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", "a/b", "a\\b", "a\nb", "x" * 201])
def test_a_scenarios_name_is_no_path(session: Session, name: str) -> None:
    body = {"scenarios": [{"name": name, "reply": "x"}]}
    session.call("POST", "/scenarios", expect=422, json=body)
    where = urlsplit(session.url)
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    data = json.dumps({"reply": "x"}).encode()
    head = f"PUT /_fake/sessions/{session.id}/scenarios/{quoted} HTTP/1.1\r\nhost: {where.netloc}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    assert sent(session, head.encode(), data).split()[1] in (b"404", b"422")
    assert session.call("GET", "/scenarios")["scenarios"] == []


def test_a_token_is_not_in_the_log(guarded: FakeServer) -> None:
    httpx.get(
        f"{guarded.url}/_fake/sessions", headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30
    )
    assert TOKEN not in guarded.log.read_text()
    assert os.environ["FAKE_LLM_CONTROL_TOKEN"] == TOKEN
