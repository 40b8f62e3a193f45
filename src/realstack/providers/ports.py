"""Free ports on loopback, kept free until the server that wants one has it."""

from __future__ import annotations

import socket
import sys
from types import TracebackType

LOOPBACK = "127.0.0.1"

# Linux lets a second socket with SO_REUSEADDR bind a port that the first has bound and does not listen on,
# and never gives such a port to a bind to port 0. macOS refuses the second bind.
CAN_HOLD = sys.platform == "linux"


class PortTakenError(Exception):
    """Somebody else listens on the wanted port."""


class ReservedPort:
    """A port of 127.0.0.1 that nobody else gets before :meth:`release`, as far as the system can promise.

    ``held`` is False where it cannot: then another process may come first, and the server that was to have
    the port dies with "address already in use".
    """

    def __init__(self, wanted: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._bind(wanted)
        except BaseException:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]
        self.held = CAN_HOLD
        if not self.held:
            self._socket.close()

    def _bind(self, wanted: int | None) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, wanted or 0))
        except OSError as problem:
            raise PortTakenError(f"port {wanted} of {LOOPBACK} is taken: {problem.strerror}") from problem

    def release(self) -> None:
        """Let go of the port. May be called twice."""
        self._socket.close()

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def listening_socket(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1:``port``, for a server that takes an open one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener
