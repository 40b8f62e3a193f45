"""What a test holds of Redis: a client on its own logical database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool, Redis

from realstack.handles.per_loop import PerLoop
from realstack.model import Endpoint, Secret

if TYPE_CHECKING:
    from realstack.state.redis_changes import RedisChanges


class PerLoopConnections(ConnectionPool):
    """A connection pool that keeps a pool of its own for each event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        like = ConnectionPool.from_url(url)
        super().__init__(connection_class=like.connection_class, **like.connection_kwargs)
        self._pools: PerLoop[ConnectionPool] = PerLoop(self._open, self._shut)

    async def _open(self) -> ConnectionPool:
        pool: ConnectionPool = ConnectionPool.from_url(self._url)
        return pool

    async def _shut(self, pool: ConnectionPool) -> None:
        await pool.disconnect()

    async def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """A connection of the running loop."""
        pool: Any = await self._pools.here()
        return await pool.get_connection(*args, **kwargs)

    async def release(self, connection: Any) -> None:
        """Give it back to the pool of the running loop."""
        await (await self._pools.here()).release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the running loop's connections."""
        await self._pools.close_here()

    def shut(self) -> None:
        """Close every connection in every loop, from synchronous code."""
        self._pools.close()


class RedisDatabase(Redis):
    """A :class:`redis.asyncio.Redis` on one logical database, usable in every event loop.

    It connects at its first use in a loop and closes with it. It lives as long as the test that it was
    lent to; ``url`` and ``endpoint`` say where it is.
    """

    def __init__(self, endpoint: Endpoint, ask_changes: Callable[[], Awaitable[RedisChanges]]) -> None:
        self.endpoint = endpoint
        self._ask_changes = ask_changes
        self._connections = PerLoopConnections(endpoint.url)
        super().__init__(connection_pool=self._connections)

    def __repr__(self) -> str:
        return f"<RedisDatabase {self.endpoint.safe_url}>"

    async def changes(self) -> RedisChanges:
        """What differs from the seed: keys added, changed, removed, expired, and those that end at another time."""
        return await self._ask_changes()

    @property
    def url(self) -> Secret:
        """The logical database's address with its credentials."""
        return self.endpoint.url

    def shut(self) -> None:
        """Close every connection in every loop, from synchronous code. The fixture calls it."""
        self._connections.shut()
