"""HTTP/1.1 by httptools, with the connection in the scope so that a fault can reach it, and with bounded heads."""

from __future__ import annotations

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fake_llm.connection import TRANSPORT

MAX_HEAD = 64 * 1024
MAX_FIELDS = 200


class HeadTooLarge(Exception):
    """A request's head is larger, or has more fields, than this server takes."""


class Protocol(HttpToolsProtocol):
    """Refuses a head that is too large with 431, also one that never ends."""

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
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD or len(self.headers) > MAX_FIELDS:
            self._head = MAX_HEAD + 1
            raise HeadTooLarge
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What follows is another head."""
        self._in_body = False
        self._completed = True
        super().on_message_complete()

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
