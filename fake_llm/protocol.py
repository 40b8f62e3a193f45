"""HTTP/1.1 by httptools, with the connection in the scope so that a fault can reach it, and with bounded heads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fake_llm.connection import TRANSPORT, WHOLE

MAX_HEAD = 64 * 1024
MAX_FIELDS = 200


_FRAMING = frozenset({b"connection", b"transfer-encoding"})
_NO_NAME = bytes({*range(0x21), 0x7F, *b'()<>@,;:\\"[]={}'})
_NO_VALUE = bytes({*range(0x20), 0x7F} - {0x09})


class HeadTooLarge(Exception):
    """A request's head is larger, or has more fields, than this server takes."""


class Protocol(HttpToolsProtocol):
    """Refuses a head that is too large with 431, also one that never ends. A whole answer may leave in one write."""

    _head = 0
    _in_body = False
    _completed = False
    _refused = False

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is complete."""
        if self._refused:
            return
        self._completed = False
        super().data_received(data)
        self._head = 0 if self._in_body or self._completed else self._head + len(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Leave the transport in the scope."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """Serve the request, if its head is not too large."""
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value)
        if size > MAX_HEAD or len(self.headers) > MAX_FIELDS:
            self._head = MAX_HEAD + 1
            raise HeadTooLarge
        self._in_body = True
        super().on_headers_complete()
        self.scope[WHOLE] = partial(self._answer_whole, self.cycle)  # type: ignore[literal-required]

    def on_message_complete(self) -> None:
        """What follows is another head."""
        self._in_body = False
        self._completed = True
        super().on_message_complete()

    def _answer_whole(
        self, cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> bool:
        """Send a whole response in one write; False: it is none of those that can be sent so, and nothing was sent."""
        if cycle.response_started or cycle.disconnected:
            return False
        if not cycle.keep_alive or self.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        names = [name for name, _ in headers]
        if not body or status < 200 or status in (204, 304) or not _FRAMING.isdisjoint(names):
            return False
        if _has_any(_NO_NAME, names) or _has_any(_NO_VALUE, [value for _, value in headers]):
            return False
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if b"content-length" not in names:
            parts += (b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body), body, b"\r\n0\r\n\r\n")
        elif (b"content-length", b"%d" % len(body)) in headers:
            parts += (b"\r\n", body)
        else:
            return False
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join(parts))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def send_400_response(self, msg: str) -> None:
        """Say whether it was malformed or too large."""
        self._refused = True
        if self._head <= MAX_HEAD:
            super().send_400_response(msg)
            return
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        words = f"A request's head may have {MAX_HEAD} bytes and {MAX_FIELDS} fields."
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(words)}\r\nconnection: close\r\n\r\n{words}".encode("ascii")
        )
        self.transport.close()


def _has_any(unwanted: bytes, texts: Sequence[bytes]) -> bool:
    joined = b"".join(texts)
    return len(joined.translate(None, unwanted)) != len(joined)
