"""An event loop in a thread of its own, for synchronous callers. It keeps an environment alive beside the tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

Result = TypeVar("Result")
Entered = TypeVar("Entered")

END_WITHIN_S = 60.0


class BackgroundLoop:
    """Runs coroutines for threads that have no loop, or whose loop must not be used.

    It starts at its first use and ends with :meth:`close`. Its thread is a daemon: an interpreter that ends
    without :meth:`close` does not wait for it.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._leave: list[tuple[asyncio.Event, concurrent.futures.Future[None]]] = []
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of ``work``. An interrupt (Ctrl-C) cancels it and waits for its clean-up before it goes on."""
        ended = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_telling(work, ended), self._running())
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            ended.wait(END_WITHIN_S)
            raise

    async def ask(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of ``work``, for a coroutine of another loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._running()))

    def enter(self, manager: AbstractAsyncContextManager[Entered]) -> Entered:
        """Enter ``manager`` in the loop; :meth:`close` leaves it, in the same task that entered it."""
        entered: concurrent.futures.Future[Entered] = concurrent.futures.Future()
        leave = asyncio.Event()
        ended = threading.Event()
        living = asyncio.run_coroutine_threadsafe(_telling(_live(manager, entered, leave), ended), self._running())
        living.add_done_callback(lambda done: _pass_on(done, entered))
        try:
            value = entered.result()
        except BaseException:
            living.cancel()
            ended.wait(END_WITHIN_S)
            raise
        self._leave.append((leave, living))
        return value

    def close(self) -> None:
        """Leave what was entered, latest first, and end the loop.

        :raises Exception: the first error that a manager raised while it was left.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        problems: list[BaseException] = []
        while self._leave:
            leave, living = self._leave.pop()
            loop.call_soon_threadsafe(leave.set)
            try:
                living.result(END_WITHIN_S)
            except BaseException as problem:  # noqa: BLE001 - the rest is to be left too
                problems.append(problem)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(END_WITHIN_S)
        self._loop = self._thread = None
        if problems:
            raise problems[0]

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._serve, args=(self._loop,), name="realstack", daemon=True)
                self._thread.start()
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


async def _telling(work: Coroutine[Any, Any, Result], ended: threading.Event) -> Result:
    """``work``, and a sign at its very end: a cancelled future is done before its task has cleaned up."""
    try:
        return await work
    finally:
        ended.set()


async def _live(
    manager: AbstractAsyncContextManager[Entered],
    entered: concurrent.futures.Future[Entered],
    leave: asyncio.Event,
) -> None:
    async with manager as value:
        entered.set_result(value)
        await leave.wait()


def _pass_on(living: concurrent.futures.Future[None], entered: concurrent.futures.Future[Any]) -> None:
    """Tell whoever waits for the entry that there will be none."""
    if entered.done():
        return
    if living.cancelled():
        entered.cancel()
    else:
        problem = living.exception()
        entered.set_exception(problem or RuntimeError("the context was left before it was entered"))
