"""What a test holds of Redis: a client on its own logical database, or on its own keys of a shared one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.client import Pipeline

from realstack.errors import NotOurs
from realstack.handles.per_loop import PerLoop
from realstack.model import Endpoint, Secret
from realstack.services.redis import CLUSTER, KEY_PREFIX, client
from realstack.services.redis_keys import CommandKeys, pattern_positions, split_name, stripped_replies, text_of

if TYPE_CHECKING:
    from realstack.state.redis_changes import RedisChanges

Ask = Callable[..., Awaitable[Any]]


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

    Where keys have a prefix instead of a database (``key_prefix`` is not empty), it puts the prefix before every key
    that it sends and takes it from the keys that replies name, so that a test reads the same. On a cluster, commands
    go to the node that has the key.

    It connects at its first use in a loop and closes with it. It lives as long as the test that it was
    lent to; ``url`` and ``endpoint`` say where it is.
    """

    def __init__(self, endpoint: Endpoint, ask_changes: Callable[[], Awaitable[RedisChanges]]) -> None:
        self.endpoint = endpoint
        self._ask_changes = ask_changes
        self.key_prefix = endpoint.options.get(KEY_PREFIX, "")
        self._connections = PerLoopConnections(endpoint.url)
        self._clusters: PerLoop[RedisCluster] | None = None
        super().__init__(connection_pool=self._connections)
        self._keys = PrefixedKeys(self.key_prefix.encode(), self._sent) if self.key_prefix else None
        if self._keys is not None:
            self._keys.strip_replies_of(self)
            if CLUSTER in endpoint.options:
                self._clusters = PerLoop(self._open_cluster, RedisCluster.aclose)

    def __repr__(self) -> str:
        keys = f" {self.key_prefix}*" if self.key_prefix else ""
        return f"<RedisDatabase {self.endpoint.safe_url}{keys}>"

    async def changes(self) -> RedisChanges:
        """What differs from the seed: keys added, changed, removed, expired, and those that end at another time."""
        return await self._ask_changes()

    @property
    def url(self) -> Secret:
        """The logical database's address with its credentials."""
        return self.endpoint.url

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command; where keys have a prefix, its keys get it.

        :raises NotOurs: it would reach other workers' keys, as FLUSHALL does.
        """
        if self._keys is None:
            return await self._sent(*args, **options)
        instead = _OF_THE_WHOLE_DATABASE.get(text_of(args[0]).upper())
        if instead is not None:
            return await instead(self)
        sent = await self._keys.prefixed(args)
        if self._clusters is None:
            return await self._sent(*sent, **options)
        if text_of(args[0]).upper() == "KEYS":  # of all nodes
            return [key async for key in self.scan_iter(args[1], count=1000)]
        cluster = await self._clusters.here()
        split = _SPLIT.get(text_of(args[0]).upper())
        if split is not None:  # over the nodes, as RedisCluster's own methods do
            return await split(cluster, *sent[1:])
        return await cluster.execute_command(*sent, **options)

    async def _sent(self, *args: Any, **options: Any) -> Any:
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """A pipeline, with the same care for keys. On a cluster a transaction's keys must lie in one slot."""
        if self._keys is None:
            return super().pipeline(transaction, shard_hint)
        made = _PrefixedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.keys_of, made.clusters = self._keys, self._clusters
        return made

    async def scan_iter(  # type: ignore[override]
        self, match: Any = None, count: int | None = None, _type: str | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """Every key that fits; on a cluster, of all its nodes."""
        if self._clusters is None:
            async for key in super().scan_iter(match, count, _type, **options):
                yield key
            return
        assert self._keys is not None  # noqa: S101 - a cluster always has a prefix
        cluster = await self._clusters.here()
        pattern = self._keys.with_prefix("*" if match is None else match)
        async for key in cluster.scan_iter(pattern, count, _type, **options):
            yield key

    async def _open_cluster(self) -> RedisCluster:
        cluster: Any = client(self.endpoint)
        assert self._keys is not None  # noqa: S101
        self._keys.strip_replies_of(cluster)
        await cluster.initialize()
        opened: RedisCluster = cluster
        return opened

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the running loop's connections; the next command opens new ones."""
        await super().aclose(close_connection_pool)
        if self._clusters is not None:
            await self._clusters.close_here()

    def shut(self) -> None:
        """Close every connection in every loop, from synchronous code. The fixture calls it."""
        if self._clusters is not None:
            self._clusters.close()
        self._connections.shut()


async def _dbsize(redis: RedisDatabase) -> int:
    return len([key async for key in redis.scan_iter(count=1000)])


async def _randomkey(redis: RedisDatabase) -> Any:
    keys = [key async for key in redis.scan_iter(count=1000)]
    return random.choice(keys) if keys else None  # noqa: S311 - as random as Redis's own


async def _flushdb(redis: RedisDatabase) -> bool:
    """Our keys are our database."""
    keys = [key async for key in redis.scan_iter(count=1000)]
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.unlink(key)
        await pipeline.execute()
    return True


_OF_THE_WHOLE_DATABASE: dict[str, Callable[[RedisDatabase], Awaitable[Any]]] = {
    "DBSIZE": _dbsize,
    "RANDOMKEY": _randomkey,
    "FLUSHDB": _flushdb,
}
_BEYOND_OURS = frozenset({"FLUSHALL", "SWAPDB", "MOVE", "MIGRATE", "SELECT", *_OF_THE_WHOLE_DATABASE})
_SPLIT: dict[str, Callable[..., Awaitable[Any]]] = {
    "DEL": RedisCluster.delete,
    "UNLINK": RedisCluster.unlink,
    "EXISTS": RedisCluster.exists,
    "TOUCH": RedisCluster.touch,
}


class PrefixedKeys:
    """Puts a prefix before the keys of commands, by what the server says of each; ``ask`` sends it a command."""

    def __init__(self, prefix: bytes, ask: Ask) -> None:
        self.prefix = prefix
        self._ask = ask
        self._known: dict[str, CommandKeys | None] = {}

    def strip_replies_of(self, redis: Any) -> None:
        """Let ``redis`` take the prefix from the keys that replies name, before it makes of them what it does."""
        for name, strip in stripped_replies(self.prefix).items():
            known = redis.response_callbacks.get(name) if hasattr(redis, "response_callbacks") else None
            redis.set_response_callback(name, _behind(strip, known))

    async def prefixed(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same command, of our keys.

        :raises NotOurs: it reaches other keys too.
        """
        words = split_name(arguments)
        name = text_of(words[0]).upper()
        if name in _BEYOND_OURS:
            raise NotOurs(
                f"{name} reaches keys that are not this test's: they share a database, by the prefix {self.prefix!r}.",
                remedy="FLUSHDB by this handle removes this test's keys; what needs a database or a server of its own "
                "needs a server with more than one database.",
            )
        if name == "SCAN" and "MATCH" not in {text_of(word).upper() for word in words}:
            words, arguments = [*words, "MATCH", "*"], (*arguments, "MATCH", "*")
        places = {*await self._places(words), *pattern_positions(words)}
        more = len(words) - len(arguments)  # words of the name that are one argument
        return tuple(
            self.with_prefix(word) if place + more in places and place else word for place, word in enumerate(arguments)
        )

    def with_prefix(self, key: Any) -> bytes:
        """``key`` as the server has it."""
        return self.prefix + (bytes(key) if isinstance(key, bytes | memoryview) else str(key).encode())

    async def _places(self, words: list[Any]) -> list[int]:
        name = text_of(words[0]).lower()
        if name not in self._known:
            (info,) = await self._ask("COMMAND INFO", name)
            self._known[name] = CommandKeys(info) if info else None
        known = self._known[name]
        return known.positions(words) if known is not None else []


class _PrefixedPipeline(Pipeline):
    """A pipeline whose commands get their prefix when they are sent."""

    keys_of: PrefixedKeys
    clusters: PerLoop[RedisCluster] | None = None

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """What is sent at once: WATCH, and what follows until MULTI."""
        sent = await self.keys_of.prefixed(args)
        return await super().immediate_execute_command(*sent, **options)  # type: ignore[no-untyped-call]

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what was collected; the answers in order."""
        sent = [(await self.keys_of.prefixed(args), options) for args, options in self.command_stack]
        if self.clusters is None or self.watching:
            self.command_stack = sent
            return await super().execute(raise_on_error)
        cluster = await self.clusters.here()
        try:
            async with cluster.pipeline(transaction=self.is_transaction or self.explicit_transaction) as pipeline:
                for args, options in sent:
                    pipeline.execute_command(*args, **options)
                answers: list[Any] = await pipeline.execute(raise_on_error=raise_on_error)
                return answers
        finally:
            await self.reset()  # type: ignore[no-untyped-call]


def _behind(strip: Callable[[Any], Any], known: Callable[..., Any] | None) -> Callable[..., Any]:
    def stripped(reply: Any, **options: Any) -> Any:
        reply = strip(reply)
        return known(reply, **options) if known is not None else reply

    return stripped
