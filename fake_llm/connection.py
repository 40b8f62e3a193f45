"""One HTTP exchange over ASGI: reading the body, and sending as a plan says. The only module that sends."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from fake_llm.faults import Close, Pause, Step, Write

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

MAX_BODY = 64 * 1024 * 1024
TRANSPORT = "fake_llm.transport"
"""The key of the scope under which the server puts the connection's transport."""

HeaderList = list[tuple[bytes, bytes]]


class BodyTooLarge(Exception):
    """The request's body is larger than this server takes."""


class ClientLeft(Exception):
    """The client closed the connection before it had sent its request."""


class Connection:
    """The connection of one request; lives as long as that request is served."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.query: str = scope.get("query_string", b"").decode("latin-1")
        self._scope = scope
        self._receive = receive
        self._send = send
        self._left: asyncio.Task[None] | None = None

    async def body(self) -> bytes:
        """The whole body of the request.

        :raises BodyTooLarge: it is over ``MAX_BODY``; what follows is not read.
        :raises ClientLeft: it ends too early.
        """
        event = await self._receive()
        if event["type"] == "http.request" and not event.get("more_body"):
            return bytes(event["body"])
        parts, size = [], 0
        while event["type"] == "http.request":
            parts.append(event["body"])
            size += len(event["body"])
            if size > MAX_BODY:
                raise BodyTooLarge
            if not event.get("more_body"):
                return b"".join(parts)
            event = await self._receive()
        raise ClientLeft

    async def answer(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Send a whole response."""
        sized = [*headers, (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": sized})
        await self._send({"type": "http.response.body", "body": body})

    async def carry_out(self, status: int, headers: HeaderList, steps: Sequence[Step]) -> str:
        """Send as ``steps`` say; returns what became of it: ``sent``, ``client_left``, ``cut`` or ``hung``."""
        try:
            return await self._carry_out(status, headers, steps)
        finally:
            if self._left is not None:
                self._left.cancel()

    async def _carry_out(self, status: int, headers: HeaderList, steps: Sequence[Step]) -> str:
        started = False
        last = len(steps) - 1
        for place, step in enumerate(steps):
            if isinstance(step, Pause):
                if not await self._client_stays(step.seconds):
                    self._abort(reset=False)
                    return "client_left"
                continue
            if isinstance(step, Close):
                self._abort(reset=step.reset)
                return "cut" if started else "hung"
            if not started:
                await self._send({"type": "http.response.start", "status": status, "headers": headers})
                started = True
            await self._send({"type": "http.response.body", "body": step.data, "more_body": place != last})
            if isinstance(steps[min(place + 1, last)], Write | Close) and place != last:
                await asyncio.sleep(0)  # so that one write is not joined with the next
        return "sent"

    async def _client_stays(self, seconds: float | None) -> bool:
        """Wait; False as soon as the client closes the connection."""
        if self._left is None:
            self._left = asyncio.create_task(self._until_client_leaves())
        left, _ = await asyncio.wait({self._left}, timeout=seconds)
        return not left

    async def _until_client_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _abort(self, *, reset: bool) -> None:
        """Close the connection without ending the response; what was written before still goes out, if no reset."""
        transport = self._scope.get(TRANSPORT)
        if transport is None:
            return  # the server closes it, as the response is left unfinished
        if reset:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
