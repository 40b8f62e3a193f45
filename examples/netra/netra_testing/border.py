"""What stands at the process's border in unit tests: the model's server, Postgres, Redis.

Everything inside the process is the application's own code, the openai SDK included.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
from openai import AsyncOpenAI
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from netra_backend.app.llm.config import LLMConfig

CONFIG = LLMConfig(provider="openai", model="test-model", base_url="http://llm.invalid/v1", api_key="sk-planted")

Answer = Callable[[httpx2.Request], httpx2.Response]


def says(text: str | None, *, refusal: str | None = None, finish: str = "stop") -> Answer:
    """A whole completion with this text."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body = {**_envelope("chat.completion"), "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    return lambda request: httpx2.Response(200, json=body)


def says_json(**verdict: Any) -> Answer:
    """A whole completion whose text is this object."""
    return says(json.dumps(verdict))


def answers(status: int, *, body: Any = None, **headers: str) -> Answer:
    """An answer with this status; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx2.Response(status, headers=named, json=body or {"error": {"message": "no"}})


def raises(error: Exception) -> Answer:
    """A connection that fails with this error."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise error

    return fail


def streams(*deltas: dict[str, Any], finish: str | None = "stop", tail: str = "data: [DONE]\n\n") -> Answer:
    """A streamed completion of these deltas; without ``finish`` it ends too early."""
    choices: list[dict[str, Any]] = [{"index": 0, "delta": one, "finish_reason": None} for one in deltas]
    if finish is not None:
        choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    chunks = [{**_envelope("chat.completion.chunk"), "choices": [choice]} for choice in choices]
    chunks.append({**_envelope("chat.completion.chunk"), "choices": []})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + tail
    return lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=text)


def asks_tool(name: str, arguments: str, *, call_id: str = "call_1") -> Answer:
    """A streamed request for a tool, its arguments in two pieces as real servers send them."""
    half = len(arguments) // 2
    first = {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments[:half]}}
    second = {"index": 0, "function": {"arguments": arguments[half:]}}
    return streams({"tool_calls": [first]}, {"tool_calls": [second]}, finish="tool_calls")


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "test-model"}


@dataclass
class ModelServer:
    """The other side of the SDK: answers in the order given, the last one for ever; keeps the requests."""

    answers: list[Answer]
    requests: list[dict[str, Any]] = field(default_factory=list)
    client: AsyncOpenAI = field(init=False)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """The next answer of the script."""
        self.requests.append(json.loads(request.content))
        return self.answers[min(len(self.requests), len(self.answers)) - 1](request)


@asynccontextmanager
async def model_server(*script: Answer, max_retries: int = 1) -> AsyncIterator[ModelServer]:
    """A model's server that follows ``script``, and an SDK client that talks to it."""
    server = ModelServer(list(script))
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(server.answer)) as http:
        server.client = AsyncOpenAI(
            base_url=CONFIG.base_url, api_key=CONFIG.api_key, http_client=http, max_retries=max_retries
        )
        yield server


class Rows:
    """Postgres's side: the accounts it knows, canned rows for other reads, and what was inserted."""

    def __init__(self, *canned: dict[str, Any], broken: Exception | None = None) -> None:
        self.canned = list(canned)
        self.broken = broken
        self.refuses_inserts: Exception | None = None
        self.asked: list[tuple[Any, ...]] = []
        self.inserted: list[tuple[Any, ...]] = []

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """The account asked for, if it is one of three."""
        if self.broken:
            raise self.broken
        user_id = args[0]
        known = {"test": True, "former": False}
        if user_id not in known:
            return None
        return {
            "user_id": user_id,
            "organisation_id": "acme",
            "organisation": "Acme Logistics",
            "active": known[user_id],
        }

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """The canned rows."""
        self.asked.append(args)
        return self.canned

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """Take an INSERT's values and hand out its id."""
        if error := self.broken or self.refuses_inserts:
            raise error
        self.inserted.append(args)
        return f"id-{len(self.inserted)}"


class Keys:
    """Redis's side: strings with their time to live, and hashes."""

    def __init__(self, *, flags: dict[str, bytes] | None = None, away: bool = False) -> None:
        self.flags = flags or {}
        self.away = away
        self.strings: dict[str, bytes] = {}
        self.ttl: dict[str, int] = {}

    def client(self) -> Redis:
        """This double where the application wants a client."""
        return cast("Redis", self)

    async def get(self, name: str) -> bytes | None:
        """GET."""
        self._answer()
        return self.strings.get(name)

    async def set(self, name: str, value: str, *, ex: int) -> None:
        """SET … EX."""
        self._answer()
        self.strings[name] = value.encode()
        self.ttl[name] = ex

    async def hget(self, name: str, key: str) -> bytes | None:
        """HGET."""
        self._answer()
        return self.flags.get(key)

    def _answer(self) -> None:
        if self.away:
            raise RedisConnectionError("Connection refused")


def closed_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def request(message: str = "System is slow", user_id: str = "test") -> dict[str, Any]:
    """A request to an agent."""
    return {"message": message, "context": {"user_id": user_id}}
