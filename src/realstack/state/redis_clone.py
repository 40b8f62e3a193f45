"""A clone of the sealed seed that is made in the background, for the next reset of one lent database."""

from __future__ import annotations

import asyncio

from realstack.errors import RealstackError
from realstack.state.redis_leases import Leases
from realstack.state.redis_scripts import FLUSH
from realstack.state.redis_sealed import HURRIED_BATCH, QUIET_BATCH, Sealed, SealedSeed

ROOM_FOR_CLONES = 64
"""Only a server with so many databases has some to spare for clones; of fewer each is left to the workers."""


class Clone:
    """Holds the lease of the database ``number`` from its first :meth:`prepare` to :meth:`drop`."""

    def __init__(self, leases: Leases, store: SealedSeed) -> None:
        self.number = 0
        self.task: asyncio.Task[bool] | None = None
        self._leases = leases
        self._store = store
        self._batch = QUIET_BATCH

    def prepare(self, sealed: Sealed) -> None:
        """Begin to make it, whatever its database holds by now."""
        self._batch = QUIET_BATCH
        self.task = asyncio.create_task(self._made(sealed))

    async def ready(self) -> bool:
        """Whether it is whole; waits until it is, and lets it hurry."""
        if self.task is None:
            return False
        self._batch = HURRIED_BATCH
        return await asyncio.shield(self.task)

    def used(self) -> None:
        """It was exchanged for the lent database, and holds what a test left."""
        self.task = None

    async def stop(self) -> None:
        """Give up what is being made."""
        self._batch = 0
        if self.task is not None:
            await self.task

    async def drop(self) -> None:
        """Empty its database and end the lease, unless that is somebody else's by now."""
        await self.stop()
        if self.number in self._leases.held and await self._leases.renewed(self.number):
            await self._leases.control.eval(FLUSH, 0, self.number)
            await self._leases.release(self.number)

    async def _made(self, sealed: Sealed) -> bool:
        """A failure here is the next reset's slow way, which tells what is wrong."""
        from redis.exceptions import RedisError

        try:
            if not self.number:
                self.number = await self._leases.take(from_top=True)
            return await self._store.copy(sealed, self.number, mark=True, batch=lambda: self._batch)
        except (RedisError, OSError, RealstackError):
            return False
