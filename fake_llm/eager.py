"""Coroutines that run at once as far as they come, as eager tasks do from Python 3.12 on. Most need no task at all."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any


def resumed(coroutine: Coroutine[Any, None, None]) -> Coroutine[Any, None, None] | None:
    """Run ``coroutine`` until it waits, and return what is left of it for a task to run; None: it came to its end."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    return _run(_Rest(coroutine, waits_for))


class _Rest:
    """A coroutine that waits for ``waits_for``, which is still to be told to whoever runs it."""

    def __init__(self, coroutine: Coroutine[Any, None, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        while True:
            try:
                got = yield self._waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation too is the coroutine's to handle
                thrown: BaseException | None = error
            else:
                thrown = None
            try:
                if thrown is None:
                    self._waits_for = self._coroutine.send(got)
                else:
                    self._waits_for = self._coroutine.throw(thrown)
            except StopIteration:
                return


async def _run(rest: _Rest) -> None:
    await rest
