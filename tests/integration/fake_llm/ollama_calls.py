"""Clients of the unchanged ``ollama`` package, and calls that a test repeats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import ollama

from .conftest import Session

MODEL = "llama3.2"
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def key_of(session: Session) -> dict[str, str]:
    """The header by which a client names its session; Ollama itself asks for none."""
    return {"authorization": f"Bearer {session.api_key}"}


@contextmanager
def client_of(session: Session, **more: Any) -> Iterator[ollama.Client]:
    """A client whose key names the session."""
    with ollama.Client(host=session.url, headers=key_of(session), timeout=20, **more) as client:
        yield client


@asynccontextmanager
async def async_client_of(session: Session) -> AsyncIterator[ollama.AsyncClient]:
    """The same for the asynchronous client."""
    async with ollama.AsyncClient(host=session.url, headers=key_of(session), timeout=20) as client:
        yield client


def joined(parts: list[ollama.ChatResponse]) -> str:
    """The words of a stream."""
    return "".join(part.message.content or "" for part in parts)
