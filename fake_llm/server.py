"""uvicorn, started fast and stopped fast."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from types import FrameType
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

from fake_llm.app import WARM_UP_AFTER_S, App
from fake_llm.dialects.wire import to_json

BACKLOG = 2_048
COLLECT_AFTER = (20_000, 20, 50)
"""Thresholds of the collector of cycles. A request leaves none, and each full look stops every paced stream."""


class FastStoppingServer(Server):
    """A server that says when it is ready, and on a signal ends at once, whatever connections are open."""

    def __init__(self, config: Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, print one JSON line with the address, and let the control API be imported."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            sys.stdout.write(to_json(_ready(listener)) + "\n")
        sys.stdout.flush()
        self._loop.call_later(WARM_UP_AFTER_S, self._warm_up)

    def _warm_up(self) -> None:
        """Import what is left; modules live as long as the process, so the collector need not look at them again."""
        self._app.warm_up().add_done_callback(lambda _: gc.freeze())

    async def main_loop(self) -> None:
        """Wait for the signal, and tick once a second for the date header."""
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._woken.wait(), timeout=1)
            except TimeoutError:
                continue

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Remember the signal and wake the loop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners and drop every connection; the loop's end cancels what hangs."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)
        self._captured_signals.clear()  # asked to stop, it stopped: exit status 0


def serve(app: App, listener: socket.socket, *, debug: bool = False) -> None:
    """Serve ``app`` at ``listener`` until SIGTERM or SIGINT."""
    gc.set_threshold(*COLLECT_AFTER)
    logging.getLogger("uvicorn.error").setLevel(logging.DEBUG if debug else logging.CRITICAL)
    config = Config(
        app,
        loop="uvloop" if _has("uvloop") else "asyncio",
        http=_protocol(),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
    )
    FastStoppingServer(config, app).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    :raises OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def adopt(fd: int) -> socket.socket:
    """The listening socket that the parent process left open at ``fd``.

    :raises OSError: there is none.
    """
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    return listener


def _protocol() -> Any:
    """httptools where there is one, so that a fault can reach the connection itself; h11 bounds heads by its own."""
    if not _has("httptools"):
        return "h11"
    from fake_llm.protocol import Protocol  # noqa: PLC0415 - httptools may be missing

    return Protocol


def _has(module: str) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415

    return find_spec(module) is not None


def _ready(listener: socket.socket) -> dict[str, Any]:
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return {"event": "ready", "url": f"http://{reachable}:{port}", "host": host, "port": port}
