"""The fake LLM as realstack sees it: its health over plain HTTP, the SDKs' variables, its command line."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realstack.model import Address, Endpoint, Run, Secret, ServiceSpec
from realstack.services.fake_llm import FakeLLM
from realstack.services.fake_llm_local import FakeLLMRecipe

RUN = Run("r1", Path("/nonexistent"), 1, 0.0, "tests")


def spec(**extra: object) -> ServiceSpec:
    return ServiceSpec("fake_llm", "fake_llm", "fake-llm", 8080, extra=extra)


def endpoint(port: int = 7000, url: str | None = None) -> Endpoint:
    return FakeLLM().endpoint(spec(), Address("127.0.0.1", port, url=Secret(url) if url else None), "embedded")


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield endpoint(server.sockets[0].getsockname()[1]), asked


async def test_health_gives_the_version() -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"status": "ok", "version": "1.2"}'
    async with answering(answer) as (where, asked):
        assert (await FakeLLM().probe(where)).version == "1.2"
    assert asked[0].startswith(b"GET /_fake/health HTTP/1.0\r\n")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\nnot yet", "503"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"status": "starting"}', "starting"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "Expecting value"),
        (b"-ERR unknown command 'GET'\r\n", "not an HTTP answer"),
        (b"", "not an HTTP answer"),
    ],
)
async def test_any_other_answer_is_a_problem_that_says_what_came(answer: bytes, problem: str) -> None:
    async with answering(answer) as (where, _):
        with pytest.raises((ConnectionError, ValueError), match=problem):
            await FakeLLM().probe(where)


def test_the_sdks_find_it() -> None:
    assert FakeLLM().environment(endpoint()) == {
        "OPENAI_BASE_URL": "http://127.0.0.1:7000/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:7000/v1",
        "OPENAI_API_KEY": "sk-realstack-default",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:7000",
        "ANTHROPIC_API_KEY": "sk-realstack-default",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:7000",
        "GEMINI_API_KEY": "sk-realstack-default",
        "GOOGLE_API_KEY": "sk-realstack-default",
        "OLLAMA_HOST": "http://127.0.0.1:7000",
        "OLLAMA_API_KEY": "sk-realstack-default",
    }


def test_the_path_of_a_given_url_is_kept() -> None:
    variables = FakeLLM().environment(endpoint(443, "https://ci.example/fake/"))
    assert variables["OPENAI_BASE_URL"] == "https://127.0.0.1:443/fake/v1"


class TestRecipe:
    @pytest.fixture
    def port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return int(free.getsockname()[1])

    def launched(self, port: int, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
        launch = FakeLLMRecipe().prepare(spec(), tmp_path, RUN, port)
        with socket.socket(fileno=launch.inherit_fds[0]):
            # It listens before the process is there: no first request is refused.
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert launch.argv[launch.argv.index("--fd") + 1] == str(launch.inherit_fds[0])
        return list(launch.argv), dict(launch.environment)

    def test_it_is_this_interpreter_on_a_socket_that_listens(self, port: int, tmp_path: Path) -> None:
        argv, environment = self.launched(port, tmp_path)
        assert argv[:3] == [sys.executable, "-m", "fake_llm"]
        assert "PYTHONDONTWRITEBYTECODE" not in environment

    def test_byte_code_is_cached_where_it_shall_not_lie_beside_the_sources(
        self, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("realstack.services.fake_llm_local.cache_folder", lambda name: tmp_path / name)
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        assert self.launched(port, tmp_path)[1]["PYTHONPYCACHEPREFIX"] == str(tmp_path / "pycache")
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
        monkeypatch.setattr("os.access", lambda path, mode: True)
        assert "PYTHONPYCACHEPREFIX" not in self.launched(port, tmp_path)[1]
