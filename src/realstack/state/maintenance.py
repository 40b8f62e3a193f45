"""One connection to a server's maintenance database for all lenders of a process, and their locks on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from realstack.model import Endpoint
from realstack.state.naming import lock_key
from realstack.state.server import connect_for_maintenance

if TYPE_CHECKING:
    import asyncpg

TRIES = 3
"""How often a work is begun whose connection is lost meanwhile."""

Result = TypeVar("Result")
Work = Callable[["asyncpg.Connection"], Awaitable[Result]]


class Maintenance:
    """Connects at the first :meth:`run`, again when the connection was lost, and leaves with the last lender.

    Each lender's advisory lock lies on it, which tells others that the lender lives. All of its use is in one event
    loop; tasks may call it side by side, and take turns.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection: asyncpg.Connection | None = None
        self._lenders: set[str] = set()
        self._locked: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Maintenance {self.endpoint.safe_url} for {len(self._lenders)}>"

    async def run(self, lender: str, work: Work[Result]) -> Result:
        """The result of ``work`` on the connection, while ``lender`` holds its lock.

        A connection that is lost meanwhile (a test ended all sessions) is made anew, and the work done anew.

        :raises RealstackError: the server does not let us in.
        """
        async with self._one_at_a_time:
            self._lenders.add(lender)
            for _ in range(TRIES - 1):
                try:
                    return await self._tried(work)
                except Exception as problem:
                    if not self._is_lost(problem):
                        raise
                self._cut()
            return await self._tried(work)

    async def leave(self, lender: str) -> None:
        """End the lock of ``lender``. May be called twice; a dead server is no error."""
        async with self._one_at_a_time:
            self._lenders.discard(lender)
            connection = self._connection
            if connection is None:
                return
            try:
                if not self._lenders:
                    await connection.close()
                    self._connection = None
                elif lender in self._locked:
                    self._locked.discard(lender)
                    await connection.execute("SELECT pg_advisory_unlock($1)", lock_key(lender))
            except Exception as problem:
                self._cut()
                if not is_connection_lost(problem):
                    raise

    async def _tried(self, work: Work[Result]) -> Result:
        if self._connection is None or self._connection.is_closed():
            self._locked.clear()
            self._connection = await connect_for_maintenance(self.endpoint)
        for lender in sorted(self._lenders - self._locked):
            await self._connection.execute("SELECT pg_advisory_lock($1)", lock_key(lender))
            self._locked.add(lender)
        return await work(self._connection)

    def _is_lost(self, problem: BaseException) -> bool:
        connection = self._connection
        return connection is not None and (connection.is_closed() or is_connection_lost(problem))

    def _cut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # a loop that is closed, say: it is gone in any case
                connection.terminate()


def is_connection_lost(problem: BaseException | None) -> bool:
    """Whether it, or its cause, says that a session was ended or cannot be had: no fault of the work's."""
    import asyncpg

    lost = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
    return problem is not None and (isinstance(problem, lost) or is_connection_lost(problem.__cause__))
