"""Steps that must come to their end, whatever fails and even if we are cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from realstack.errors import RealstackError


@asynccontextmanager
async def ended_by(end: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run ``end`` to its end on exit. If both fail, the body's error of ours is told, with the other in a line."""
    try:
        yield
    except RealstackError as problem:
        try:
            await all_to_their_end([end()])
        except RealstackError as other:
            problem.context += (other.problem,)
        raise
    except BaseException:
        await all_to_their_end([end()])
        raise
    else:
        await all_to_their_end([end()])


async def all_to_their_end(steps: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all side by side to their end; then raise the cancellation that came meanwhile, or the first problem.

    A thread that is about to spawn a process cannot be cancelled: leaving it alone would leave its process.
    """
    tasks = [asyncio.ensure_future(step) for step in steps]
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as problem:
            cancelled = problem
    problems = [task.exception() for task in tasks]
    if cancelled is not None:
        raise cancelled
    for failed in filter(None, problems):
        raise failed
