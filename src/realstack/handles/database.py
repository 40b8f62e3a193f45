"""What a test holds of Postgres: a pool on its own database."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from realstack.handles.connections import POOL_SIZE
from realstack.handles.per_loop import PerLoop
from realstack.handles.pools import Kept
from realstack.model import Endpoint, Secret

if TYPE_CHECKING:
    from realstack.state.changes import Changes


class Database(asyncpg.Pool):  # type: ignore[misc] # asyncpg types its Pool for the connection class it was given
    """An :class:`asyncpg.Pool` on one database, usable in every event loop.

    It connects at its first use in a loop and closes with it. Everything that asyncpg documents for a pool
    works; `url` and `endpoint` say where it is. It lives as long as the test that it was lent to.
    """

    __slots__ = ("_ask_changes", "_max_size", "_pools", "endpoint")

    def __init__(
        self,
        endpoint: Endpoint,
        pools: PerLoop[Any],
        ask_changes: Callable[[], Awaitable[Changes]],
        max_size: int = POOL_SIZE,
    ) -> None:
        self.endpoint = endpoint
        self._pools = pools
        self._ask_changes = ask_changes
        self._max_size = max_size

    def __repr__(self) -> str:
        return f"<Database {self.endpoint.safe_url}>"

    @property
    def url(self) -> Secret:
        """The database's address with its credentials, for an application or a tool of your own."""
        return self.endpoint.url

    async def changes(self) -> Changes:
        """What was committed to the database since the test began: rows by table, sequences, changes of the schema.

        :raises RealstackError: the database does not answer.
        """
        return await self._ask_changes()

    def shut(self) -> None:
        """Close every connection in every loop, from synchronous code. The fixture calls it."""
        self._pools.close()

    def end_of_test(self) -> Kept[Any] | None:
        """From synchronous code: what can serve another test on the same database; all else is closed.

        Whoever still holds this handle, a task that the test has left behind say, gets nothing by it any more.
        """
        pools, self._pools = self._pools, _Ended()
        if isinstance(pools, Kept):
            pools.end_of_test()
            return pools
        pools.close()
        return None

    def acquire(self, *, timeout: float | None = None) -> Acquired:
        """A connection: ``async with db.acquire() as connection``, or ``await db.acquire()`` and :meth:`release`."""
        return Acquired(self._pools, timeout)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Give a connection back."""
        pool = await self._pools.here()
        await pool.release(connection, timeout=timeout)

    async def execute(self, *args: Any, **kwargs: Any) -> str:
        """As :meth:`asyncpg.Connection.execute`."""
        done: str = await (await self._pools.here()).execute(*args, **kwargs)
        return done

    async def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.executemany`."""
        return await (await self._pools.here()).executemany(*args, **kwargs)

    async def fetch(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As :meth:`asyncpg.Connection.fetch`."""
        rows: list[Any] = await (await self._pools.here()).fetch(*args, **kwargs)
        return rows

    async def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetchmany`."""
        return await (await self._pools.here()).fetchmany(*args, **kwargs)

    async def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetchrow`."""
        return await (await self._pools.here()).fetchrow(*args, **kwargs)

    async def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetchval`."""
        return await (await self._pools.here()).fetchval(*args, **kwargs)

    async def copy_from_query(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.copy_from_query`."""
        return await (await self._pools.here()).copy_from_query(*args, **kwargs)

    async def copy_from_table(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.copy_from_table`."""
        return await (await self._pools.here()).copy_from_table(*args, **kwargs)

    async def copy_to_table(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.copy_to_table`."""
        return await (await self._pools.here()).copy_to_table(*args, **kwargs)

    async def copy_records_to_table(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.copy_records_to_table`."""
        return await (await self._pools.here()).copy_records_to_table(*args, **kwargs)

    async def expire_connections(self) -> None:
        """As :meth:`asyncpg.Pool.expire_connections`."""
        await (await self._pools.here()).expire_connections()

    async def close(self) -> None:
        """Close this loop's connections. The next use opens new ones: the database lives as long as its test."""
        await self._pools.close_here()

    def terminate(self) -> None:
        """Cut the connections of all loops at once."""
        for pool in self._pools.clients():
            with contextlib.suppress(RuntimeError):  # a loop that is closed has cut them already
                pool.terminate()

    def is_closing(self) -> bool:
        """Never: see :meth:`close`."""
        return False

    def get_size(self) -> int:
        """How many connections are open, in all loops."""
        return sum(pool.get_size() for pool in self._pools.clients())

    def get_init_size(self) -> int:
        """How many connections it opens at once."""
        return 0

    def get_min_size(self) -> int:
        """How many connections a loop keeps."""
        return 0

    def get_max_size(self) -> int:
        """How many connections a loop may open."""
        return self._max_size

    def get_idle_size(self) -> int:
        """How many open connections are not in use, in all loops."""
        return sum(pool.get_idle_size() for pool in self._pools.clients())

    def set_connect_args(self, dsn: str | None = None, **connect_kwargs: Any) -> None:
        """Refused: the handle is bound to the test's own database."""
        raise TypeError("a test's database handle stays on its own database; open a pool of your own for another.")

    def __await__(self) -> Generator[Any, None, Database]:
        yield from self._pools.here().__await__()
        return self

    async def __aenter__(self) -> Database:
        await self._pools.here()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class _Ended(PerLoop[asyncpg.Pool]):
    """No pools, and none to be had."""

    def __init__(self) -> None:
        super().__init__(self._refuse, self._refuse)

    async def _refuse(self, *given: object) -> Any:
        raise asyncpg.InterfaceError("the test that this database was lent to has ended")


class Acquired:
    """A connection being acquired: to be awaited, or entered with ``async with``."""

    __slots__ = ("_connection", "_pools", "_timeout")

    def __init__(self, pools: PerLoop[asyncpg.Pool], timeout: float | None) -> None:
        self._pools = pools
        self._timeout = timeout
        self._connection: PoolConnectionProxy | None = None

    async def _acquire(self) -> PoolConnectionProxy:
        pool = await self._pools.here()
        return await pool.acquire(timeout=self._timeout)

    def __await__(self) -> Generator[Any, None, PoolConnectionProxy]:
        return self._acquire().__await__()

    async def __aenter__(self) -> PoolConnectionProxy:
        self._connection = await self._acquire()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await (await self._pools.here()).release(connection)
