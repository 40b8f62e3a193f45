"""One client per event loop, made at its first use there, and closed before that loop closes.

Tests and their fixtures may run in different loops (pytest-asyncio's loop scopes, anyio's runner), and a
connection belongs to the loop that opened it. A handle that a synchronous fixture hands out must therefore
connect wherever it is used, and its connections must be closed by the loop that owns them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

Client = TypeVar("Client")

CLOSE_WITHIN_S = 5.0


class PerLoop(Generic[Client]):
    """Holds a ``Client`` for each loop in which :meth:`here` was awaited.

    A loop closes its client through ``loop.shutdown_asyncgens()``, which ``asyncio.Runner``, ``asyncio.run``
    and both pytest plugins call before they close a loop: the client's lifetime is an asynchronous
    generator, suspended while the client is in use. :meth:`close` does the same for loops that still live.
    """

    def __init__(self, make: Callable[[], Awaitable[Client]], close: Callable[[Client], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._lifetimes: dict[asyncio.AbstractEventLoop, AsyncGenerator[Client]] = {}
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"<PerLoop of {len(self._clients)} loops>"

    async def here(self) -> Client:
        """The client of the running loop. Tasks that ask at the same time get the same one."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            async with self._locks.setdefault(loop, asyncio.Lock()):
                if loop not in self._clients:
                    lifetime = self._lifetime(loop)
                    self._clients[loop] = await anext(lifetime)
                    self._lifetimes[loop] = lifetime
        return self._clients[loop]

    def clients(self) -> list[Client]:
        """The clients that are open now, in any loop."""
        return list(self._clients.values())

    async def close_here(self) -> None:
        """Close the running loop's client; the next :meth:`here` makes a new one."""
        lifetime = self._lifetimes.get(asyncio.get_running_loop())
        if lifetime is not None:
            await lifetime.aclose()

    def close(self, unless: Callable[[Client], Awaitable[bool]] | None = None) -> None:
        """Close what is open, from synchronous code: in loops that stand still, and in loops of other threads.

        ``unless`` is asked whether the client of a loop that stands still is to stay open. A client whose loop was
        closed before is left to the garbage collector: nothing else can end its connections.
        """
        for loop, lifetime in list(self._lifetimes.items()):
            client = self._clients.get(loop)
            if loop.is_closed():
                self._forget(loop)
            elif loop.is_running():
                with contextlib.suppress(TimeoutError):
                    asyncio.run_coroutine_threadsafe(_closed(lifetime), loop).result(CLOSE_WITHIN_S)
                self._forget(loop)
            elif unless is None or client is None or not loop.run_until_complete(_answer(unless, client)):
                loop.run_until_complete(_closed(lifetime))

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        for held in (self._clients, self._lifetimes, self._locks):
            held.pop(loop, None)

    async def _lifetime(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Client]:
        client = await self._make()
        try:
            yield client
        finally:
            self._forget(loop)
            await self._close(client)


async def _closed(lifetime: AsyncGenerator[Client]) -> None:
    await lifetime.aclose()


async def _answer(unless: Callable[[Client], Awaitable[bool]], client: Client) -> bool:
    return await unless(client)
