"""A request by a bare socket, where an HTTP client would hide what is on the wire."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hello"}]}),
    "openai_responses": ("/v1/responses", {"model": "m", "input": "hello"}),
    "anthropic": (
        "/v1/messages",
        {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]},
    ),
    "gemini": ("/v1beta/models/m:generateContent", {"contents": [{"parts": [{"text": "hello"}]}]}),
}
"""A small request of each dialect: its path and its body."""


def headers_of(key: str, **more: str) -> dict[str, str]:
    """Headers that every provider takes, with ``key``."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01", **named}


def request_of(dialect: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """The small request of that dialect, streaming or not."""
    path, body = BODIES[dialect]
    if not stream:
        return path, body
    if dialect == "gemini":
        return "/v1beta/models/m:streamGenerateContent?alt=sse", body
    return path, {**body, "stream": True}


@dataclass
class Exchanged:
    """What came back: ``pieces`` with the second in which each was read; ``reset``: the connection was torn."""

    pieces: list[tuple[float, bytes]]
    reset: bool

    @property
    def all(self) -> bytes:
        """All bytes."""
        return b"".join(data for _, data in self.pieces)


def exchange(
    url: str, path: str, body: Any, key: str, *, headers: Mapping[str, str] | None = None, within_s: float = 5
) -> Exchanged:
    """POST ``body`` and read until the server ends the connection, or is silent for ``within_s``."""
    where = urlsplit(url)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {**headers_of(key), "connection": "close", **(headers or {})}
    head = f"POST {path} HTTP/1.1\r\nhost: fake\r\ncontent-length: {len(data)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    pieces: list[tuple[float, bytes]] = []
    assert where.hostname
    assert where.port
    with socket.create_connection((where.hostname, where.port), timeout=within_s) as connection:
        began = time.perf_counter()  # before the server can have begun to count its delays
        connection.sendall(f"{head}\r\n".encode() + data)
        try:
            while piece := connection.recv(65_536):
                pieces.append((time.perf_counter() - began, piece))
        except ConnectionResetError:
            return Exchanged(pieces, reset=True)
    return Exchanged(pieces, reset=False)
