"""``isolation="transaction"``: all that a test does goes through one connection, in a transaction that is undone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from realstack.errors import RealstackError
from realstack.handles.database import Database
from realstack.handles.in_transaction import InTransaction
from realstack.handles.pools import CLOSE_WITHIN_S, Kept, schema_lasts
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments

if TYPE_CHECKING:
    from realstack.state.changes import Changes


class OneConnection:
    """What :class:`Database` uses as its pool: one connection, lent to one task at a time.

    A task that holds it and asks again gets it again.
    """

    def __init__(self, connection: InTransaction) -> None:
        self.connection = connection
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None
        self._held = 0

    async def acquire(self, *, timeout: float | None = None) -> InTransaction:  # noqa: ASYNC109 - asyncpg's own name
        """The connection, once no other task holds it."""
        me = asyncio.current_task()
        if self._holder is not me:
            await asyncio.wait_for(self._lock.acquire(), timeout)
            self._holder = me
        self._held += 1
        if not self.connection.is_begun:
            try:
                await self.connection.begin_outer()
            except BaseException:
                await self.release(self.connection)
                raise
        return self.connection

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Give it back."""
        self._held -= 1
        if self._held == 0:
            self._holder = None
            self._lock.release()

    def __getattr__(self, name: str) -> Any:
        """``execute``, ``fetch``, ``copy_to_table`` …: as the connection's, while it is held."""
        method = getattr(self.connection, name)

        async def held(*args: Any, **kwargs: Any) -> Any:
            await self.acquire()
            try:
                return await method(*args, **kwargs)
            finally:
                await self.release(self.connection)

        return held

    async def expire_connections(self) -> None:
        """Nothing: there is no other."""

    async def close(self) -> None:
        """Undo everything."""
        await self.connection.close()

    def terminate(self) -> None:
        """Cut it."""
        self.connection.terminate()

    def get_size(self) -> int:
        """One, until it is closed."""
        return 0 if self.connection.is_closed() else 1

    def is_idle(self) -> bool:
        """Whether nobody holds it, and it is open."""
        return self._held == 0 and not self.connection.is_closed()

    def get_idle_size(self) -> int:
        """Whether it may be acquired at once."""
        return self.get_size() if self._held == 0 else 0


class Transactions(Kept[OneConnection]):
    """One connection to ``endpoint`` for each event loop; a test uses that of one loop alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(self._open, self._shut)
        self.endpoint = endpoint
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop in which the test has connected."""
        self._schema_lasts: bool | None = None

    def __repr__(self) -> str:
        return f"<Transactions {self.endpoint.safe_url}>"

    async def here(self) -> OneConnection:
        """The running loop's connection.

        :raises RealstackError: the test has used another loop's.
        """
        loop = asyncio.get_running_loop()
        if self.loop is not None and self.loop is not loop and not self.loop.is_closed():
            raise RealstackError(
                'isolation="transaction" has one connection, and it belongs to another event loop.',
                remedy="give the fixtures and the test one loop scope, or use another isolation.",
            )
        self.loop = loop
        return await super().here()

    def end_of_test(self) -> None:
        """Undo all that the test did, and keep what the next test cannot tell from a new connection."""
        self.loop = None
        self.close(unless=self._is_as_new)

    async def _open(self) -> OneConnection:
        connection = await asyncpg.connect(**connect_arguments(self.endpoint), connection_class=InTransaction)
        if self._schema_lasts is None:
            self._schema_lasts = await schema_lasts(connection)
        connection.changed = False
        return OneConnection(connection)

    async def _shut(self, one: OneConnection) -> None:
        try:
            await asyncio.wait_for(one.close(), CLOSE_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            one.terminate()

    async def _is_as_new(self, one: OneConnection) -> bool:
        if self._schema_lasts or not one.is_idle() or one.connection.changed:
            return False
        try:
            as_new = await asyncio.wait_for(one.connection.end_outer(), CLOSE_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return as_new and one.is_idle() and not one.connection.changed  # tasks that the test has left may come between


class TransactionDatabase(Database):
    """A :class:`Database` on one connection, whose outer transaction is undone at the end of the test.

    Everything happens in one session, so tasks wait for each other, and nobody outside sees what is written.
    """

    __slots__ = ("_transactions",)

    def __init__(self, endpoint: Endpoint, transactions: Transactions) -> None:
        self._transactions = transactions

        async def refused() -> Changes:
            raise AssertionError("changes() is answered by the transaction's own connection")

        super().__init__(endpoint, transactions, refused)

    async def changes(self) -> Changes:
        """What the test's transaction has changed, against the known state."""
        one = await self._pools.here()
        connection = await one.acquire()
        try:
            return await self._changes_though_held()
        finally:
            await one.release(connection)

    async def _changes_though_held(self) -> Changes:
        """A test that failed may never have given the connection back."""
        from realstack.state.reset.difference import read_changes

        return await read_changes((await self._pools.here()).connection)

    def changes_until_now(self, within_s: float) -> Changes | None:
        """As :meth:`changes`, for synchronous callers while the test's loop stands still; None if nobody connected.

        :raises RealstackError: the loop is closed, and with it the transaction undone; or it runs.
        :raises TimeoutError: the server does not answer.
        """
        loop = self._transactions.loop
        if loop is None:
            return None
        if loop.is_closed() or loop.is_running():
            raise RealstackError("its transaction ended with its event loop.")
        done: Changes = loop.run_until_complete(asyncio.wait_for(self._changes_though_held(), within_s))
        return done

    async def close(self) -> None:
        """Nothing: the connection holds what the test did. The fixture's end undoes it."""
