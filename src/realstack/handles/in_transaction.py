"""A connection of asyncpg's inside a transaction that nobody commits, and which a test does not notice."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from realstack.handles.pools import AS_NEW, KeptConnection
from realstack.state.sql_script import Script, UnfinishedError

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


class InTransaction(KeptConnection):
    """A connection inside a transaction that nobody commits: a transaction of the test's is a savepoint of it.

    A statement outside of a transaction of the test's is a savepoint too, so that its failure undoes it alone; a
    prepared one and COPY as well. BEGIN, COMMIT and ROLLBACK sent as statements mean a savepoint.
    """

    __slots__ = ("_begun_by_statement", "_defers", "_depth", "_outer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outer: Any = None
        self._depth = 1  # outside of the outer transaction statements go as they are
        self._begun_by_statement = False
        self._defers: bool | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the outer transaction is open."""
        return self._outer is not None

    async def begin_outer(self) -> None:
        """Begin what :meth:`end_outer`, or the end of the connection, undoes."""
        if self._defers is None:
            self._defers = await self.fetchval("SELECT count(*) > 0 FROM pg_catalog.pg_constraint WHERE condeferred")
        outer = super().transaction()
        await outer.start()
        self._outer, self._depth = outer, 0

    async def end_outer(self) -> bool:
        """Undo all, and make the session as new. False where that cannot be: a transaction of the test's is open."""
        if self._outer is None:
            return True
        if self._depth - self._begun_by_statement:
            return False
        outer, self._outer = self._outer, None
        self._depth, self._begun_by_statement = 1, False
        await outer.rollback()
        await super().reset()
        await super().execute(AS_NEW)
        return True

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        """As asyncpg's, but for words that end or begin transactions."""
        if self._outer is not None and not args and not _SAVEPOINT.match(query) and _TRANSACTION_WORD.search(query):
            return await self._by_statement(query, **kwargs)
        result: str = await self._alone(lambda: super(InTransaction, self).execute(query, *args, **kwargs))
        return result

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        """What fetch, fetchrow and fetchval come down to."""
        return await self._alone(lambda: super(InTransaction, self)._execute(*args, **kwargs))

    async def _executemany(self, *args: Any, **kwargs: Any) -> Any:
        """What executemany and fetchmany come down to."""
        return await self._alone(lambda: super(InTransaction, self)._executemany(*args, **kwargs))

    async def _copy_in(self, *args: Any, **kwargs: Any) -> Any:
        """What copy_to_table comes down to."""
        return await self._alone(lambda: super(InTransaction, self)._copy_in(*args, **kwargs))

    async def _copy_out(self, *args: Any, **kwargs: Any) -> Any:
        """What copy_from_table and copy_from_query come down to."""
        return await self._alone(lambda: super(InTransaction, self)._copy_out(*args, **kwargs))

    async def copy_records_to_table(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._alone(lambda: super(InTransaction, self).copy_records_to_table(*args, **kwargs))

    async def prepare(self, query: str, **kwargs: Any) -> Any:
        """As asyncpg's."""
        made = await self._alone(lambda: super(InTransaction, self).prepare(query, **kwargs))
        return _Prepared(self, query, made._state)

    def is_in_transaction(self) -> bool:
        """As asyncpg's: whether a transaction of the test's is open. A cursor needs one."""
        return self._depth > 0 and bool(super().is_in_transaction())

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


class _Prepared(PreparedStatement):  # type: ignore[misc] # asyncpg has no types of its own
    """A prepared statement, each execution of which is undone alone if it fails."""

    __slots__ = ()

    async def fetch(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._connection._alone(lambda: super(_Prepared, self).fetch(*args, **kwargs))

    async def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._connection._alone(lambda: super(_Prepared, self).fetchval(*args, **kwargs))

    async def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._connection._alone(lambda: super(_Prepared, self).fetchrow(*args, **kwargs))

    async def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._connection._alone(lambda: super(_Prepared, self).fetchmany(*args, **kwargs))

    async def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncpg's."""
        return await self._connection._alone(lambda: super(_Prepared, self).executemany(*args, **kwargs))


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
