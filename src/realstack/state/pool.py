"""Copies of the template that are ready before a test asks for one, and dropped after it in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

from realstack.errors import RealstackError
from realstack.model import Endpoint
from realstack.state.clones import Databases

AHEAD = 2
"""How many copies are kept ready. As many may wait to be dropped before dropping comes first."""


@dataclass(slots=True)
class _Return:
    endpoint: Endpoint
    keep: bool


@dataclass(slots=True)
class _Work:
    """What the background has to do. Pure: :meth:`next` says what comes first."""

    ready: deque[Endpoint] = field(default_factory=deque)
    waiting: deque[asyncio.Future[Endpoint]] = field(default_factory=deque)
    returned: deque[_Return] = field(default_factory=deque)

    def next(self) -> str | None:
        """``make`` a copy, ``drop`` one, or None: nothing to do."""
        if self.waiting:
            return "make"
        if len(self.returned) > AHEAD or (self.returned and len(self.ready) >= AHEAD):
            return "drop"
        return "make" if len(self.ready) < AHEAD else None


class WarmPool:
    """Lends copies that were made ahead, from its first :meth:`lend` on until :meth:`close`.

    At most :data:`AHEAD` copies are ready, and ``AHEAD + 1`` wait to be dropped, beside what is lent. All of its use
    is in one event loop, in which it works in the background.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._work = _Work()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<WarmPool {len(self._work.ready)} ready, {len(self._work.returned)} to drop>"

    async def lend(self) -> Endpoint:
        """A copy; at once where one is ready.

        :raises RealstackError: the server cannot make it.
        """
        if self._worker is None:
            self._worker = asyncio.create_task(self._serve())
            self._worker.add_done_callback(self._ended)
        work = self._work
        if work.ready:
            self._wake.set()
            return work.ready.popleft()
        asked: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        work.waiting.append(asked)
        self._wake.set()
        try:
            return await asked
        except asyncio.CancelledError:
            if asked in work.waiting:
                work.waiting.remove(asked)
            elif asked.done() and not asked.cancelled() and asked.exception() is None:
                work.ready.append(asked.result())
            raise

    def give_back(self, lent: Endpoint, *, keep: bool = False) -> None:
        """Take it back; it is dropped in the background, or left where ``keep`` says so."""
        self._work.returned.append(_Return(lent, keep))
        self._wake.set()

    async def close(self) -> None:
        """End the background's work and mark what was to be kept; the rest is for :meth:`Databases.close` to drop."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
        work, self._work = self._work, _Work()
        for asked in work.waiting:
            asked.cancel()
        for returned in work.returned:
            if returned.keep:
                with contextlib.suppress(RealstackError):  # it stays in any case, for as long as its server
                    await self._databases.give_back(returned.endpoint, keep=True)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """Nobody may wait for a worker that is gone; the next to ask has another."""
        if worker is not self._worker:
            return  # close() has ended it
        self._worker = None
        problem = None if worker.cancelled() else worker.exception()
        while self._work.waiting:
            asked = self._work.waiting.popleft()
            if not asked.done():
                asked.set_exception(problem or RealstackError("the making of databases was ended."))

    async def _serve(self) -> None:
        while True:
            await self._step()

    async def _step(self) -> None:
        work = self._work
        match work.next():
            case "make":
                await self._make()
            case "drop":
                returned = work.returned.popleft()
                with contextlib.suppress(RealstackError):  # close() tries again, and tells
                    await self._databases.give_back(returned.endpoint, keep=returned.keep)
            case None:
                await self._probe()
                self._wake.clear()
                if work.next() is None:
                    await self._wake.wait()

    async def _probe(self) -> None:
        import asyncpg

        # Whoever asks for a copy is told what is wrong with the server; a way of copying is known without a measure.
        with contextlib.suppress(RealstackError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self._databases.probe()

    async def _make(self) -> None:
        import asyncpg

        work = self._work
        try:
            made = await self._databases.lend()
        except (RealstackError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            if not work.waiting:
                # Nobody asks: whoever does next is told then, by a new attempt.
                self._wake.clear()
                await self._wake.wait()
                return
            asked = work.waiting.popleft()
            if not asked.done():
                asked.set_exception(problem)
            return
        while work.waiting:
            asked = work.waiting.popleft()
            if not asked.done():
                asked.set_result(made)
                return
        work.ready.append(made)
