"""``isolation="transaction"``: all that a test does goes through one connection, in a transaction that is undone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from realstack.errors import RealstackError
from realstack.handles.database import Database
from realstack.handles.per_loop import PerLoop
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.sql_script import Script, UnfinishedError

if TYPE_CHECKING:
    from realstack.state.changes import Changes

Result = TypeVar("Result")

_TRANSACTION_WORD = re.compile(r"\b(begin|start|commit|end|rollback|abort)\b", re.IGNORECASE)
_SAVEPOINT = re.compile(r"(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO) __asyncpg_", re.IGNORECASE)
_ENDING = r"(\s+(work|transaction))?(\s+and\s+no\s+chain)?"
_WORDS = {
    "BEGIN": re.compile(
        r"(begin(\s+(work|transaction))?|start\s+transaction)(\s+(isolation|read|not|deferrable)\b.*)?", re.I
    ),
    "COMMIT": re.compile(rf"(commit|end){_ENDING}", re.I),
    "ROLLBACK": re.compile(rf"(rollback|abort){_ENDING}", re.I),
}
_INNER, _CHECK = "realstack_inner", "realstack_check"
CLOSE_WITHIN_S = 2.0


class InTransaction(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types of its own
    """A connection inside a transaction that nobody commits: a transaction of the test's is a savepoint of it.

    A statement outside of a transaction of the test's is a savepoint too, so that its failure undoes it alone (not so
    for statements of :meth:`prepare`). BEGIN, COMMIT and ROLLBACK sent as statements mean a savepoint.
    """

    __slots__ = ("_begun_by_statement", "_defers", "_depth")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._depth = 1  # until begin_outer() is done, statements go as they are
        self._begun_by_statement = False
        self._defers = False

    async def begin_outer(self) -> None:
        """Begin what the end of the connection undoes."""
        await super().transaction().start()
        self._defers = await self.fetchval("SELECT count(*) > 0 FROM pg_catalog.pg_constraint WHERE condeferred")
        self._depth = 0

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        """As asyncpg's, but for words that end or begin transactions."""
        if not args and not self._is_ours(query) and _TRANSACTION_WORD.search(query):
            return await self._by_statement(query, **kwargs)
        result: str = await self._alone(lambda: super(InTransaction, self).execute(query, *args, **kwargs))
        return result

    async def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._alone(lambda: super(InTransaction, self).executemany(*args, **kwargs))

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        """What fetch, fetchrow, fetchval and fetchmany come down to."""
        return await self._alone(lambda: super(InTransaction, self)._execute(*args, **kwargs))

    def transaction(self, **kwargs: Any) -> Any:
        """As asyncpg's; isolation level, read-only and deferrable are those of the outer transaction."""
        return _Counted(self, super().transaction())

    async def reset(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the session's state is part of the test, and ends with it."""

    async def check_deferred(self) -> None:
        """What a commit checks, which never comes here: constraints that are deferred. They stay deferred.

        :raises asyncpg.IntegrityConstraintViolationError: one does not hold.
        """
        if self._defers:
            await super().execute(f"SAVEPOINT {_CHECK}; SET CONSTRAINTS ALL IMMEDIATE")
            await super().execute(f"ROLLBACK TO SAVEPOINT {_CHECK}; RELEASE SAVEPOINT {_CHECK}")

    def _is_ours(self, query: str) -> bool:
        """asyncpg's own words for savepoints, and for the outer transaction."""
        return bool(_SAVEPOINT.match(query)) or (self._depth > 0 and self._top_xact is not None and query == "BEGIN;")

    async def _by_statement(self, script: str, **kwargs: Any) -> str:
        """A script that may end the transaction is sent piece by piece, with other words where it would."""
        try:
            pieces = Script(script).pieces
        except UnfinishedError:  # the server has its own words for that
            return str(await self._alone(lambda: super(InTransaction, self).execute(script, **kwargs)))
        done = ""
        for piece in pieces:
            statement = piece.sql[piece.body - piece.start :].strip().rstrip(";")
            if not statement:
                continue
            word = next((word for word, pattern in _WORDS.items() if pattern.fullmatch(statement)), None)
            if word is None:
                done = await self._alone(partial(super().execute, statement, **kwargs))
            else:
                done = await self._begun() if word == "BEGIN" else await self._ended(word)
        return done

    async def _begun(self) -> str:
        if not self._begun_by_statement:
            await super().execute(f"SAVEPOINT {_INNER}")
            self._begun_by_statement = True
            self._depth += 1
        return "BEGIN"

    async def _ended(self, how: str) -> str:
        if not self._begun_by_statement:
            return how  # no transaction of the test's is open; PostgreSQL only warns
        self._begun_by_statement = False
        self._depth -= 1
        plain = super().execute
        if how == "COMMIT":
            try:
                await self.check_deferred()
                await plain(f"RELEASE SAVEPOINT {_INNER}")
            except asyncpg.InFailedSQLTransactionError:
                how = "ROLLBACK"
            except asyncpg.IntegrityConstraintViolationError:
                await plain(f"ROLLBACK TO SAVEPOINT {_INNER}; RELEASE SAVEPOINT {_INNER}")
                raise
        if how == "ROLLBACK":
            await plain(f"ROLLBACK TO SAVEPOINT {_INNER}; RELEASE SAVEPOINT {_INNER}")
        return how

    async def _alone(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Outside of any transaction of the test's, a failure must not fail all that follows."""
        if self._depth:
            return await work()
        self._depth += 1
        try:
            async with super().transaction():
                result = await work()
                await self.check_deferred()
                return result
        finally:
            self._depth -= 1


class _Counted:
    """asyncpg's transaction, which the connection counts, so that statements inside get no savepoint each."""

    def __init__(self, connection: InTransaction, inner: Any) -> None:
        self._connection = connection
        self._inner = inner

    async def start(self) -> None:
        """As asyncpg's."""
        self._connection._depth += 1
        try:
            await self._inner.start()
        except BaseException:
            self._connection._depth -= 1
            raise

    async def commit(self) -> None:
        """As asyncpg's."""
        try:
            if self._connection._depth == 1:
                await self._checked()
            await self._inner.commit()
        finally:
            self._connection._depth -= 1

    async def _checked(self) -> None:
        try:
            await self._connection.check_deferred()
        except asyncpg.IntegrityConstraintViolationError:
            await self._inner.rollback()
            raise

    async def rollback(self) -> None:
        """As asyncpg's."""
        try:
            await self._inner.rollback()
        finally:
            self._connection._depth -= 1

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await (self.commit() if kind is None else self.rollback())


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

    def get_idle_size(self) -> int:
        """Whether it may be acquired at once."""
        return self.get_size() if self._held == 0 else 0


class TransactionDatabase(Database):
    """A :class:`Database` on one connection, whose outer transaction is undone at the end of the test.

    Everything happens in one session, so tasks wait for each other, and nobody outside sees what is written.
    """

    __slots__ = ("_loop",)

    def __init__(self, endpoint: Endpoint) -> None:
        async def refused() -> Changes:
            raise AssertionError("changes() is answered by the transaction's own connection")

        super().__init__(endpoint, PerLoop(self._open, self._shut), refused)
        self._loop: asyncio.AbstractEventLoop | None = None

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
        if self._loop is None:
            return None
        if self._loop.is_closed() or self._loop.is_running():
            raise RealstackError("its transaction ended with its event loop.")
        return self._loop.run_until_complete(asyncio.wait_for(self._changes_though_held(), within_s))

    async def _open(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise RealstackError(
                'isolation="transaction" has one connection, and it belongs to another event loop.',
                remedy="give the fixtures and the test one loop scope, or use another isolation.",
            )
        self._loop = loop
        connection = await asyncpg.connect(**connect_arguments(self.endpoint), connection_class=InTransaction)
        await connection.begin_outer()
        return OneConnection(connection)

    async def _shut(self, pool: Any) -> None:
        try:
            await asyncio.wait_for(pool.close(), CLOSE_WITHIN_S)
        except TimeoutError:
            pool.terminate()

    async def close(self) -> None:
        """Nothing: the connection holds what the test did. The fixture's end undoes it."""
