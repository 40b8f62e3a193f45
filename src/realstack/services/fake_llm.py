"""The fake LLM as realstack sees it: a server that speaks HTTP, and the variables of the providers' SDKs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from realstack.model import Address, Endpoint, Secret, ServiceSpec
from realstack.providers.base import Recipe

API_KEY_PREFIX = "sk-realstack-"  # what follows names a session of the fake; opens nothing
DEFAULT_SESSION = "default"
_HEALTH = "/_fake/health"
_MAX_ANSWER_BYTES = 65_536


class FakeLLM:
    """The stand-in for OpenAI's and Anthropic's APIs."""

    kind: ClassVar[str] = "fake_llm"
    client: ClassVar[str] = ""
    default_port: ClassVar[int] = 8080

    def endpoint(self, spec: ServiceSpec, address: Address, provider: str) -> Endpoint:
        """An HTTP address; of a given URL the path is ``options["path"]``, its password the control token."""
        scheme, options = "http", {}
        token: Secret | None = None
        if address.url:
            parts = urlsplit(address.url)
            scheme = parts.scheme
            if path := parts.path.rstrip("/"):
                options["path"] = path
            token = Secret(unquote(parts.password)) if parts.password else None
        return Endpoint(
            spec.name,
            spec.kind,
            address.host,
            address.port,
            scheme,
            password=token,
            provider=provider,
            options=options,
        )

    async def probe(self, endpoint: Endpoint) -> Endpoint:
        """GET its health and read ``{"status": "ok", "version": …}``."""
        # Written out here because importing an HTTP client costs several times the whole exchange.
        status, body = await exchange(endpoint, "GET", _HEALTH)
        if status != 200:
            raise ConnectionError(f"{_HEALTH} answered {status}: {body[:200]!r}")
        health = json.loads(body)
        if not isinstance(health, dict) or health.get("status") != "ok":
            raise ConnectionError(f"{_HEALTH} says {body[:200]!r}")
        version = health.get("version")
        return replace(endpoint, version=str(version) if version else None)

    def refuses(self, problem: Exception) -> bool:
        """Never: it takes every key."""
        return False

    def environment(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Base addresses and keys as the official SDKs read them; ``options["session"]`` chooses the fake's session.

        ``OPENAI_API_BASE`` is the older name, which LangChain and LlamaIndex read.
        """
        base = base_url(endpoint)
        key = API_KEY_PREFIX + endpoint.options.get("session", DEFAULT_SESSION)
        return {
            "OPENAI_BASE_URL": f"{base}/v1",
            "OPENAI_API_BASE": f"{base}/v1",
            "OPENAI_API_KEY": key,
            "ANTHROPIC_BASE_URL": base,
            "ANTHROPIC_API_KEY": key,
            "GOOGLE_GEMINI_BASE_URL": base,
            "GEMINI_API_KEY": key,
            "GOOGLE_API_KEY": key,
            "OLLAMA_HOST": base,
            "OLLAMA_API_KEY": key,
        }

    def recipe(self, spec: ServiceSpec) -> Recipe:
        """``python -m fake_llm`` by this interpreter."""
        from realstack.services.fake_llm_local import FakeLLMRecipe

        return FakeLLMRecipe()


def base_url(endpoint: Endpoint) -> str:
    """Its address without a trailing slash, and without the control token: what is tested has no need of that."""
    return replace(endpoint, password=None).safe_url + endpoint.options.get("path", "")


def control_headers(endpoint: Endpoint) -> dict[str, str]:
    """What lets a request in to the control API, where the fake wants a token."""
    return {"Authorization": f"Bearer {endpoint.password}"} if endpoint.password else {}


async def exchange(endpoint: Endpoint, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request by HTTP/1.0, which has no chunks and closes after the answer: status and body.

    :raises OSError: there is no answer, or none that is HTTP.
    """
    reader, writer = await asyncio.open_connection(
        endpoint.host, endpoint.port, ssl=True if endpoint.scheme == "https" else None
    )
    try:
        head = f"{method} {endpoint.options.get('path', '')}{path} HTTP/1.0\r\n"
        head += f"Host: {endpoint.host}:{endpoint.port}\r\nConnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in control_headers(endpoint).items())
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{head}\r\n".encode("ascii") + body)
        answer = await reader.read(_MAX_ANSWER_BYTES)
        while more := await reader.read(_MAX_ANSWER_BYTES):
            answer += more
    finally:
        writer.close()
    before, _, answered = answer.partition(b"\r\n\r\n")
    words = before.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError(f"not an HTTP answer: {answer[:80]!r}")
    return int(words[1]), answered
