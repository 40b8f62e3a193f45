"""Who lends databases in one process, each made when first asked for. Not thread-safe: the session is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from realstack.handles.background import BackgroundLoop
from realstack.model import POSTGRES
from realstack.running import Environment

if TYPE_CHECKING:
    from realstack.handles.isolation import Lender, Wish
    from realstack.state.maintenance import Maintenance


class Lenders:
    """A lender for each kind of template and set of seeds, the least recently used first. Who made them closes them.

    ``tell_late`` hears what the end of one that had to go has found: the test that made it go has done nothing.
    """

    def __init__(
        self, loop: BackgroundLoop, run_id: str, worker: str, tell_late: Callable[[Exception], None], *, prove: bool
    ) -> None:
        self.by_wish: dict[tuple[bool, tuple[str, ...]], Lender] = {}
        self._loop, self._run_id, self._worker, self._prove = loop, run_id, worker, prove
        self._tell_late = tell_late
        self._maintenance: Maintenance | None = None
        self._made = 0

    def __repr__(self) -> str:
        return f"<Lenders {list(self.by_wish)}>"

    def of(self, wish: Wish, environment: Environment, most_seeded: int) -> Lender:
        """The lender for that wish. A new one with seeds may close the one that was not used for longest."""
        from realstack.handles.isolation import resets_in_place

        key = (resets_in_place(wish, environment), wish.seeds)
        if key in self.by_wish:
            self.by_wish[key] = self.by_wish.pop(key)  # the latest used is the last to go
            return self.by_wish[key]
        seeded = [each for each in self.by_wish if each[1]]
        if wish.seeds and len(seeded) >= most_seeded:
            self._evict(self.by_wish.pop(seeded[0]))
        self.by_wish[key] = self._made_for(wish, environment)
        return self.by_wish[key]

    def clear(self) -> None:
        """Forget them all."""
        self.by_wish.clear()
        self._maintenance = None

    def _evict(self, lender: Lender) -> None:
        try:
            self._loop.run(lender.close())
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is another test's
            self._tell_late(problem)

    def _made_for(self, wish: Wish, environment: Environment) -> Lender:
        from realstack.handles.isolation import lender_for
        from realstack.state.maintenance import Maintenance

        if self._maintenance is None:
            self._maintenance = Maintenance(environment.endpoint(POSTGRES))
        self._made += 1
        worker = f"{self._worker}-{self._made}"
        return self._loop.run(lender_for(wish, environment, worker, self._run_id, self._maintenance, prove=self._prove))
