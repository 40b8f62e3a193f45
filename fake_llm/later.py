"""An outcome that has to be waited for, as a function is asked for its words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fake_llm.model import ProtocolError
from fake_llm.outcome import Outcome
from fake_llm.session import Selected


class Later(Exception):
    """Raised in place of an outcome. ``wait`` gets what is chosen, ``go_on`` makes the outcome of it or of an error."""

    def __init__(
        self, wait: Callable[[], Awaitable[Selected]], go_on: Callable[[Selected | ProtocolError], Outcome]
    ) -> None:
        self._wait = wait
        self.go_on = go_on
        super().__init__()

    def then(self, more: Callable[[Outcome], Outcome]) -> Later:
        """The same, with ``more`` done to the outcome."""
        before = self.go_on
        return Later(self._wait, lambda chosen: more(before(chosen)))

    async def outcome(self) -> Outcome:
        """The outcome, as soon as there is one."""
        try:
            chosen = await self._wait()
        except ProtocolError as error:
            return self.go_on(error)
        return self.go_on(chosen)
