"""How answers leave, on a transport that notes what is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from fake_llm.app import App
from fake_llm.protocol import Protocol

DELAYED = {"x-fake-llm-fault": "slow;delay_s=0.01"}


class Transport(asyncio.Transport):
    """Notes each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note ``data``."""
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        """There is nothing to read."""

    def resume_reading(self) -> None:
        """There is nothing to read."""

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closing

    def close(self) -> None:
        """Close it."""
        self.closing = True


def connected() -> tuple[Protocol, Transport]:
    """A connection of a new server; call in the event loop."""
    config = Config(App(), interface="asgi3", lifespan="off", proxy_headers=False, log_config=None)
    protocol, transport = Protocol(config, ServerState(), {}), Transport()
    protocol.connection_made(transport)
    return protocol, transport


def asked(text: str, headers: Mapping[str, str] | None = None, *, stream: bool = False) -> bytes:
    """A chat completion request."""
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]})
    fields = {"authorization": "Bearer k", "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n{body}".encode()


async def settled(protocol: Protocol) -> None:
    """Wait for what the connection's tasks do."""
    while protocol.tasks or protocol.pipeline:
        await asyncio.gather(*protocol.tasks)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_is_there_as_a_whole_is_answered_in_one_write(stream: bool) -> None:
    protocol, transport = connected()
    protocol.data_received(asked("hello", stream=stream))
    await settled(protocol)
    (answer,) = transport.written
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hello" in body
    if stream:
        size, _, rest = body.partition(b"\r\n")
        assert b"transfer-encoding: chunked" in head
        assert rest[int(size, 16) :] == b"\r\n0\r\n\r\n"
    else:
        assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"


async def test_requests_in_one_piece_of_data_are_answered_in_their_order() -> None:
    protocol, transport = connected()
    protocol.data_received(asked("one") + asked("two"))
    await settled(protocol)
    assert [b"one" in transport.written[0], b"two" in transport.written[1], len(transport.written)] == [True, True, 2]


async def test_a_request_behind_one_that_waits_waits_too() -> None:
    protocol, transport = connected()
    protocol.data_received(asked("one", DELAYED) + asked("two"))
    assert (len(protocol.tasks), transport.written) == (1, [])
    await settled(protocol)
    found = b"".join(transport.written)
    assert 0 < found.index(b"said: one") < found.index(b"said: two")


@pytest.mark.parametrize("cut", [60, -10])
async def test_a_request_in_pieces_is_answered_once_it_is_whole(cut: int) -> None:
    protocol, transport = connected()
    data = asked("hello")
    protocol.data_received(data[:cut])
    assert transport.written == []
    protocol.data_received(data[cut:])
    await settled(protocol)
    assert b"You said: hello" in b"".join(transport.written)


@pytest.mark.parametrize("headers", [{"connection": "close"}, {"x-fake-llm-fault": "empty"}])
async def test_an_answer_that_cannot_be_sent_as_a_whole_is_sent_as_by_any_application(headers: dict[str, str]) -> None:
    protocol, transport = connected()
    protocol.data_received(asked("hello", headers, stream=True))
    await settled(protocol)
    head, _, body = b"".join(transport.written).partition(b"\r\n\r\n")
    assert (len(transport.written) > 1, head[:15]) == (True, b"HTTP/1.1 200 OK")
    assert body.endswith(b"0\r\n\r\n")
    assert transport.closing == ("connection" in headers)
