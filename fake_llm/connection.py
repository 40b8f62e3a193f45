"""One HTTP exchange over ASGI: reading the body, and sending as a plan says. The only module that sends."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from fake_llm.faults import Close, Pause, SlowHead, Step, Write

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

MAX_BODY = 64 * 1024 * 1024
MAX_CONTROL_BODY = 16 * 1024 * 1024
CLOSED_WITHIN_S = 5.0
TRANSPORT = "fake_llm.transport"
"""The key of the scope under which the server puts the connection's transport."""
WHOLE = "fake_llm.whole"
"""The key under which it puts what sends a whole response in one write, where it can: by status, headers and body."""

HeaderList = list[tuple[bytes, bytes]]
Found = TypeVar("Found")


class BodyTooLarge(Exception):
    """The request's body is larger than this server takes."""


class ClientLeft(Exception):
    """The client closed the connection before it had sent its request."""


def bounded(receive: Receive, limit: int = MAX_CONTROL_BODY) -> Receive:
    """``receive`` that ends the request as if the client had left where its body is over ``limit``."""
    size = 0

    async def receive_some() -> Event:
        nonlocal size
        event = await receive()
        size += len(event.get("body", b""))
        return event if size <= limit else {"type": "http.disconnect"}

    return receive_some


class Connection:
    """The connection of one request; lives as long as that request is served.

    ``bytes_sent`` counts what of the answer's body was written, the first of it at ``first_byte_at`` (by
    ``time.perf_counter``; 0: nothing was).
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.query: str = scope.get("query_string", b"").decode("latin-1")
        self._scope = scope
        self._receive = receive
        self._send = send
        self.bytes_sent = 0
        self.first_byte_at = 0.0
        self._left: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body of the request.

        :raises BodyTooLarge: it is over ``limit``; what follows is not read.
        :raises ClientLeft: it ends too early.
        """
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise BodyTooLarge
        event = await self._receive()
        if event["type"] == "http.request" and not event.get("more_body"):
            return bytes(event["body"])
        parts, size = [], 0
        while event["type"] == "http.request":
            parts.append(event["body"])
            size += len(event["body"])
            if size > limit:
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
        if len(steps) == 1 and isinstance(only := steps[0], Write) and self._sent_whole(status, headers, only.data):
            return "sent"
        due = time.monotonic()
        head: HeaderList | None = headers
        last = len(steps) - 1
        for place, step in enumerate(steps):
            if isinstance(step, Pause):
                due += step.seconds or 0
                if not await self._client_stays_until(None if step.seconds is None else due):
                    self._abort(reset=False)
                    return "client_left"
                continue
            if isinstance(step, Close):
                self._abort(reset=step.reset)
                return "hung" if place and isinstance(steps[place - 1], Pause) else "cut"
            if isinstance(step, SlowHead):
                return await self._by_hand(status, headers, step.seconds, steps[place + 1 :])
            if head is not None:
                await self._send({"type": "http.response.start", "status": status, "headers": head})
                head = None
            if not await self._write(step.data, more=place != last):
                return "client_left"
            if place != last and isinstance(steps[place + 1], Write | Close):
                await asyncio.sleep(0)  # so that one write is not joined with the next
        return "sent"

    def _sent_whole(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """Send all at once, if the server can."""
        whole = self._scope.get(WHOLE)
        if whole is None or self._scope[TRANSPORT].is_closing():
            return False
        self.first_byte_at = time.perf_counter()
        if not whole(status, headers, body):
            return False
        self.bytes_sent = len(body)
        return True

    async def _write(self, data: bytes, *, more: bool) -> bool:
        """Send a part of the body; False where the client closed the connection before it was sent."""
        transport = self._scope.get(TRANSPORT)
        if transport is not None and transport.is_closing():
            return False
        if not self.bytes_sent:
            self.first_byte_at = time.perf_counter()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self.bytes_sent += len(data)
        # After the last part the server itself closes a connection that is not kept.
        return transport is None or not transport.is_closing() or not (more or self._is_kept())

    def _is_kept(self) -> bool:
        return self._scope["http_version"] == "1.1" and "close" not in self.headers.get("connection", "").lower()

    async def _by_hand(self, status: int, headers: HeaderList, seconds: float, steps: Sequence[Step]) -> str:
        """Write the whole response past the server, its head byte by byte, and close the connection after it."""
        transport = self._scope.get(TRANSPORT)
        whole = [*headers, (b"connection", b"close")]
        head = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode("ascii"))
        head += b"".join(b"%s: %s\r\n" % header for header in whole) + b"\r\n"
        if transport is None:  # a server that hides the connection: as late, and the head in one piece
            return await self._carry_out(status, headers, [Pause(seconds * len(head)), *steps])
        due = time.monotonic()
        parts: list[Step] = [Write(bytes((byte,))) for byte in head]
        paced = [step for part in parts for step in (part, Pause(seconds))]
        for place, step in enumerate([*paced, *steps]):
            if isinstance(step, Pause):
                due += step.seconds or 0
                if not await self._client_stays_until(due):
                    return "client_left"
            elif isinstance(step, Write):
                transport.write(step.data)
                if place >= len(paced):
                    self.first_byte_at = self.first_byte_at or time.perf_counter()
                    self.bytes_sent += len(step.data)
        transport.close()
        await self._client_stays_until(time.monotonic() + CLOSED_WITHIN_S)
        return "sent"

    async def unless_left(self, work: Coroutine[Any, Any, Found]) -> Found:
        """What ``work`` comes to. It is cancelled where the client closes the connection before.

        :raises ClientLeft: it did.
        """
        working, leaving = asyncio.get_running_loop().create_task(work), self._watch()
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientLeft
            return working.result()
        finally:
            working.cancel()

    def _watch(self) -> asyncio.Task[None]:
        if self._left is None:
            self._left = asyncio.get_running_loop().create_task(self._until_client_leaves())
            self._left.add_done_callback(self._wake)
        return self._left

    async def _client_stays_until(self, due: float | None) -> bool:
        """Wait until ``due`` by the loop's clock, None: for ever; False as soon as the client closes the connection.

        Waits are counted from one beginning, so that they do not add up their delays. ``due`` comes from the clock and
        not from the loop, whose time stands still while it does something.
        """
        loop = asyncio.get_running_loop()
        left = self._watch()
        if left.done():
            return False
        self._waiter = loop.create_future()
        timer = None if due is None else loop.call_at(due, self._wake)
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
        return not left.done()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

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
