"""The real server as a subprocess on a real port, and the unchanged SDKs pointed at it."""

from __future__ import annotations

import functools
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import anthropic
import httpx
import openai
import pytest

from realstack.handles.llm import FakeLLM
from realstack.model import Endpoint

if TYPE_CHECKING:
    import ollama
    from google import genai

ROOT = Path(__file__).parents[3]
CONTEXT_READ_ONCE = functools.cache(ssl.create_default_context)


@pytest.fixture(scope="module", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """All is plain HTTP here, and yet each client reads the machine's CA certificates: 40 ms, most of many a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", CONTEXT_READ_ONCE)
        yield


class FakeServer:
    """A running ``python -m fake_llm``."""

    def __init__(self, *arguments: str, log: Path) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fake_llm", "--port", "0", *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, log.read_text()
        self.ready = json.loads(line)
        self.url: str = self.ready["url"]

    def stop(self) -> int:
        """Ask it to stop, and wait until it did."""
        self.process.terminate()
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


class Session:
    """One test's session at the server, through its control API."""

    def __init__(self, url: str, session_id: str, control: httpx.Client) -> None:
        self.url = url
        self.id = session_id
        self.api_key = f"sk-realstack-{session_id}"
        self.control = control

    def call(self, method: str, path: str = "", *, expect: int = 200, **more: Any) -> Any:
        """One control call below the session."""
        answer = self.control.request(method, f"/_fake/sessions/{self.id}{path}", **more)
        assert answer.status_code == expect, answer.text
        return answer.json() if answer.content else None

    def add(self, *scenarios: dict[str, Any]) -> list[str]:
        """Put scenarios in front; returns their names."""
        added: list[str] = self.call("POST", "/scenarios", json={"scenarios": list(scenarios)})["added"]
        return added

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """The journal's entries."""
        entries: list[dict[str, Any]] = self.call("GET", f"/journal?since={since}")["entries"]
        return entries


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    running = FakeServer(log=tmp_path_factory.mktemp("fake_llm") / "log")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def control(server: FakeServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def llm(server: FakeServer) -> Iterator[FakeLLM]:
    """A test's own handle, as the pytest plugin gives one."""
    where = urlsplit(server.url)
    handle = FakeLLM(Endpoint("fake_llm", "fake_llm", str(where.hostname), where.port or 0, "http"), uuid4().hex)
    yield handle
    handle.close()


@pytest.fixture
def session(server: FakeServer, control: httpx.Client) -> Session:
    return Session(server.url, uuid4().hex, control)


@pytest.fixture
def chat(session: Session) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def async_chat(session: Session) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{session.url}/v1", api_key=session.api_key, max_retries=0, timeout=20
    ) as client:
        yield client


@pytest.fixture
def claude(session: Session) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=session.url, api_key=session.api_key, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def async_claude(session: Session) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=session.url, api_key=session.api_key, max_retries=0, timeout=20
    ) as client:
        yield client


@pytest.fixture
def gemini(session: Session) -> Iterator[genai.Client]:
    """Google's SDK; at the test's end it must have known every field that it was sent."""
    from .gemini_calls import client_of  # this SDK takes long to import, and few modules need it
    from .gemini_known import assert_known

    with client_of(session) as client:
        yield client
    assert_known(session)


@pytest.fixture
def llama(session: Session) -> Iterator[ollama.Client]:
    from .ollama_calls import client_of

    with client_of(session) as client:
        yield client


@pytest.fixture
async def async_llama(session: Session) -> AsyncIterator[ollama.AsyncClient]:
    from .ollama_calls import async_client_of

    async with async_client_of(session) as client:
        yield client
