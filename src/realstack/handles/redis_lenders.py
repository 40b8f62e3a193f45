"""The Redis lenders of one process, one for each set of seeds, and what tests did to the server they share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from realstack.model import Endpoint, RedisPlan
from realstack.state.redis_changes import RedisChanges
from realstack.state.redis_leases import NoDatabaseLeft
from realstack.state.redis_state import RedisState

MOST_SEEDED = 6
"""How many sets of seeds of single tests hold databases at a time; one on a server that has few."""

Seeds = tuple[str, ...]


class RedisLenders:
    """Lends from what ``plan`` describes, with further seeds on top. All of its use is in one event loop.

    What a test did to the server itself is noticed by the next lend, or by :meth:`close`, and told in ``notes``.
    """

    def __init__(self, endpoint: Endpoint, plan: RedisPlan, worker: str, run_id: str, notes: list[str]) -> None:
        self._endpoint = endpoint
        self._plan = plan
        self._who = (worker, run_id)
        self._notes = notes
        self._states: dict[Seeds, RedisState] = {}
        self._numbers = 0
        self._latest: RedisState | None = None
        self._user = ""
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<RedisLenders {list(self._states.values())}>"

    async def lend(self, seeds: Seeds, user: str) -> Endpoint:
        """What holds the seed and ``seeds`` (paths), for the test ``user``.

        :raises SeedFailed: a seed is wrong; file, line and key are named.
        :raises RealstackError: the server has no database left.
        """
        async with self._one_at_a_time:
            state = await self._state(seeds)
            if self._latest is not None and self._latest is not state:
                self._tell(await self._latest.look())
                await state.follow(self._latest)
            endpoint = await self._lent_by(state)
            if state.last_reset is not None:
                self._tell(state.last_reset.noticed)
            self._latest, self._user = state, user
            return endpoint

    async def changes(self, seeds: Seeds, lent: Endpoint) -> RedisChanges:
        """What differs in it from its seeds."""
        return await self._states[seeds].changes(lent)

    async def take_back(self, seeds: Seeds, lent: Endpoint) -> None:
        """The end of :meth:`lend`."""
        await self._states[seeds].give_back(lent)

    async def close(self) -> None:
        """Look a last time, put back what can be, and end every lease."""
        async with self._one_at_a_time:
            states, self._states = list(self._states.values()), {}
            # The latest is the one that knows how things stood; the others have not looked for a while.
            for state in sorted(states, key=lambda state: state is not self._latest):
                self._tell(await state.close(looks=state is self._latest))
            self._latest = None

    async def _state(self, seeds: Seeds) -> RedisState:
        if seeds in self._states:
            self._states[seeds] = self._states.pop(seeds)  # the latest used is the last to go
            return self._states[seeds]
        has_room = all(state.has_room for state in self._states.values())
        seeded = [each for each, state in self._states.items() if each and not state.lends]
        if seeds and len(seeded) >= (MOST_SEEDED if has_room else 1):
            await self._evict(seeded[0])
        self._numbers += 1
        worker, run_id = self._who
        plan = replace(self._plan, seed=(*self._plan.seed, *seeds))
        state = RedisState(self._endpoint, plan, f"{worker}-{self._numbers}" if seeds else worker, run_id)
        self._states[seeds] = state
        return state

    async def _lent_by(self, state: RedisState) -> Endpoint:
        """Where the server has nothing left, what this process holds of it for other seeds is let go first."""
        while True:
            try:
                return await state.lend()
            except NoDatabaseLeft:
                others = [seeds for seeds, other in self._states.items() if other is not state and not other.lends]
                if not others:
                    raise
                await self._evict(others[0])

    async def _evict(self, seeds: Seeds) -> None:
        state = self._states.pop(seeds)
        self._tell(await state.close(looks=state is self._latest))
        if state is self._latest:
            self._latest = None

    def _tell(self, noticed: Iterable[str]) -> None:
        """It is the doing of the test that had a Redis before."""
        if self._user:
            self._notes += [f"{self._user}: {sentence}" for sentence in noticed]
