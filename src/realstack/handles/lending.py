"""Who lends databases and Redis in one process, each made when first asked for. Not thread-safe: the session is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from realstack.handles.background import BackgroundLoop
from realstack.model import REDIS
from realstack.running import Environment

if TYPE_CHECKING:
    from realstack.handles.isolation import Lender, Wish
    from realstack.state.redis_state import RedisState

MOST_LENDERS = 6
"""How many databases with seeds of single tests a process holds ready at a time."""


class Lenders:
    """A lender for each kind of template and set of seeds, the least recently used first. Who made them closes them."""

    def __init__(self, loop: BackgroundLoop, run_id: str, worker: str, *, prove: bool) -> None:
        self.by_wish: dict[tuple[str, tuple[str, ...]], Lender] = {}
        self._loop, self._run_id, self._worker, self._prove = loop, run_id, worker, prove
        self._made = 0

    def __repr__(self) -> str:
        return f"<Lenders {list(self.by_wish)}>"

    def of(self, wish: Wish, environment: Environment) -> Lender:
        """The lender for that wish. A new one with seeds may close the one that was not used for longest."""
        from realstack.handles.isolation import lender_for

        key = ("database" if wish.isolation == "database" else "in place", wish.seeds)
        if key in self.by_wish:
            self.by_wish[key] = self.by_wish.pop(key)  # the latest used is the last to go
            return self.by_wish[key]
        seeded = [each for each in self.by_wish if each[1]]
        if len(seeded) >= MOST_LENDERS:
            self._loop.run(self.by_wish.pop(seeded[0]).close())
        self._made += 1
        worker = f"{self._worker}-{self._made}"
        self.by_wish[key] = self._loop.run(lender_for(wish, environment, worker, self._run_id, prove=self._prove))
        return self.by_wish[key]


class RedisStates:
    """What lends a Redis for each set of seeds. Who made them closes them."""

    def __init__(self, run_id: str, worker: str) -> None:
        self.by_seeds: dict[tuple[str, ...], RedisState] = {}
        self._run_id, self._worker = run_id, worker

    def __repr__(self) -> str:
        return f"<RedisStates {list(self.by_seeds)}>"

    def of(self, seeds: tuple[str, ...], environment: Environment) -> RedisState:
        """What lends a Redis with those seeds on top of the settings'."""
        if seeds not in self.by_seeds:
            from realstack.state.redis_state import RedisState

            plan = environment.settings.redis
            self.by_seeds[seeds] = RedisState(
                environment.endpoint(REDIS),
                replace(plan, seed=(*plan.seed, *seeds)),
                f"{self._worker}-{len(self.by_seeds)}" if seeds else self._worker,
                self._run_id,
            )
        return self.by_seeds[seeds]
