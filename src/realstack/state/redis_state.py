"""Lends logical Redis databases at their seed. One lender a worker process.

Database 0 holds realstack's own keys and is never lent. A worker takes a database under a lease there; what
it resets is that database alone, never the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from realstack.errors import NotOurs, RealstackError, SeedFailed
from realstack.model import Endpoint, RedisPlan
from realstack.registry import process_lives
from realstack.state import naming
from realstack.state.ownership import REDIS_MARK
from realstack.state.redis_seed import Write, read_redis_seed

if TYPE_CHECKING:
    from redis.asyncio import Redis

LEASE_S = 3600.0
"""How long a lease holds without being renewed by a lend, where its owner cannot be looked at (another machine)."""

_LEASE = "realstack:lease:"
_DEFAULT_DATABASES = 16
_BATCH = 1000

# Compare and set: two workers may find the same dead lease at the same time.
_TAKE_OVER = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisState:
    """Lends logical databases, each brought to the seed of ``plan``.

    Holds connections from the first :meth:`lend` to :meth:`close`. A database that was given back is lent
    again, so a worker uses as many as it has lent at once: one, as a rule. All of its use is in one event
    loop; tasks may call it side by side.
    """

    def __init__(self, endpoint: Endpoint, plan: RedisPlan, worker: str, run_id: str) -> None:
        self.endpoint = endpoint
        self.plan = plan
        own = psutil.Process()
        self._owner = {
            "run": run_id,
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": own.create_time(),
        }
        self._one_at_a_time = asyncio.Lock()
        self._seed: list[Write] | None = None
        self._control: Redis | None = None
        self._clients: dict[int, Redis] = {}
        self._leases: dict[int, str] = {}
        self._lent: set[int] = set()

    def __repr__(self) -> str:
        return f"<RedisState {self._owner['worker']} {len(self._lent)} lent, {len(self._leases)} leased>"

    async def lend(self) -> Endpoint:
        """A logical database of the caller's own, holding the seed and nothing else, until it is given back.

        :raises SeedFailed: the seed is wrong; file, line and key are named.
        :raises RealstackError: the server has no database left.
        :raises NotOurs: a given server without our mark.
        """
        async with self._one_at_a_time:
            if self._seed is None:
                self._seed = await asyncio.to_thread(read_redis_seed, self.plan)
            free = sorted(set(self._leases) - self._lent)
            number = free[0] if free and await self._renewed(free[0]) else await self._leased()
            self._lent.add(number)
            try:
                await self._reset(number, self._seed)
            except BaseException:
                self._lent.discard(number)
                raise
        return replace(self.endpoint, database=str(number))

    async def give_back(self, lent: Endpoint) -> None:
        """The end of :meth:`lend`. The database stays leased to this worker; its keys go at the next lend.

        :raises NotOurs: this lender did not lend it, or it was given back before.
        """
        number = int(lent.database or 0)
        if number not in self._lent:
            raise NotOurs(
                f"the Redis database {number} was not lent by {self!r}.",
                remedy="give back what lend() returned, once.",
            )
        self._lent.discard(number)

    async def close(self) -> None:
        """Empty the leased databases and end the leases. May be called twice; a dead server is no error."""
        from redis.exceptions import RedisError

        async with self._one_at_a_time:
            try:
                for number, lease in self._leases.items():
                    await self._clients[number].flushdb()
                    await self._controller().eval(_RELEASE, 1, f"{_LEASE}{number}", lease)
            except (RedisError, OSError):
                pass  # the server is gone, and with it all that it held; or the next run takes the leases over
            finally:
                for client in (*self._clients.values(), self._control):
                    if client is not None:
                        await client.aclose()
                self._leases.clear()
                self._clients.clear()
                self._lent.clear()
                self._control = None

    async def _reset(self, number: int, seed: Sequence[Write]) -> None:
        client = self._clients[number]
        await client.flushdb()
        for start in range(0, len(seed), _BATCH):
            await _write(client, seed[start : start + _BATCH])

    async def _renewed(self, number: int) -> bool:
        """Extend the lease of ``number``; False if somebody took it over, or emptied the server and took it."""
        key, old, new = f"{_LEASE}{number}", self._leases[number], self._lease()
        control = self._controller()
        if await control.eval(_TAKE_OVER, 1, key, old, new) or await control.set(key, new, nx=True):
            self._leases[number] = new
            return True
        del self._leases[number]
        await self._clients.pop(number).aclose()
        return False

    async def _leased(self) -> int:
        """Take a database that is free: empty and without a lease, or with a lease whose owner is gone."""
        control = self._controller()
        await self._assert_marked(control)
        count = await _database_count(control)
        filled = {int(name.removeprefix("db")) for name in await control.info("keyspace")}
        for number in range(1, count):
            if number not in self._leases and await self._took(control, number, empty=number not in filled):
                self._clients[number] = self._client(number)
                return number
        raise RealstackError(
            f"{self.endpoint.safe_url} has {count} databases, and none is left for worker {self._owner['worker']!r} "
            "(database 0 is realstack's own; others are leased to workers, or hold keys of somebody's).",
            remedy="start the server with more (`--databases 64` in the compose file's command), use fewer workers, "
            "or end the other runs.",
        )

    async def _took(self, control: Redis, number: int, *, empty: bool) -> bool:
        key, lease = f"{_LEASE}{number}", self._lease()
        held = await control.get(key)
        if held is None:
            # Keys without a lease are somebody else's: this database is not ours to flush.
            taken = empty and await control.set(key, lease, nx=True)
        else:
            taken = _is_over(held) and await control.eval(_TAKE_OVER, 1, key, held, lease)
        if taken:
            self._leases[number] = lease
        return bool(taken)

    async def _assert_marked(self, control: Redis) -> None:
        if self.endpoint.provider == "external":
            if await control.get(REDIS_MARK) is None:
                raise NotOurs(
                    f"{self.endpoint.safe_url} is a given server without realstack's mark; nothing is written there.",
                    remedy="name a server that is for tests only, and let realstack mark it while it is empty.",
                )
        else:
            await control.set(REDIS_MARK, json.dumps({"realstack": naming.MARK_VERSION}), nx=True)

    def _lease(self) -> str:
        return json.dumps({**self._owner, "until": time.time() + LEASE_S})

    def _controller(self) -> Redis:
        if self._control is None:
            self._control = self._client(0)
        return self._control

    def _client(self, number: int) -> Redis:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        from realstack.services.redis import client

        # Once more at once, should the server have cut an idle connection; redis-py's own way waits for seconds.
        return client(self.endpoint, database=number, retry=Retry(NoBackoff(), 1))


async def restore_redis(lent: Endpoint, plan: RedisPlan) -> None:
    """Bring the lent logical database back to the seed of ``plan``, from any process.

    :raises NotOurs: nobody has leased that database.
    :raises SeedFailed: the seed is wrong.
    """
    from realstack.services.redis import client

    number = int(lent.database or 0)
    seed = await asyncio.to_thread(read_redis_seed, plan)
    control, database = client(lent, database=0), client(lent, database=number)
    try:
        if await control.get(f"{_LEASE}{number}") is None:
            raise NotOurs(f"the Redis database {number} was not lent by realstack.", remedy="`realstack env` names it.")
        await database.flushdb()
        for start in range(0, len(seed), _BATCH):
            await _write(database, seed[start : start + _BATCH])
    finally:
        await control.aclose()
        await database.aclose()


async def _write(client: Redis, writes: Sequence[Write]) -> None:
    """Send ``writes`` in one go.

    :raises SeedFailed: the server refuses one of them.
    """
    if not writes:
        return
    async with client.pipeline(transaction=False) as pipeline:
        for write in writes:
            pipeline.execute_command(*write.command)
        answers = await pipeline.execute(raise_on_error=False)
    for write, answer in zip(writes, answers, strict=True):
        if isinstance(answer, Exception):
            raise SeedFailed(
                f"{write.where}: the key {write.key!r}: {_server_words(answer)}",
                remedy=f"correct the value; it is written by {write.command[0]!r}.",
            ) from answer


def _server_words(answer: Exception) -> str:
    """The server's answer without what redis-py tells of its pipeline."""
    text = str(answer)
    return text.rpartition(" of pipeline caused error: ")[2] or text


async def _database_count(control: Redis) -> int:
    """How many logical databases the server has; managed servers may not tell."""
    from redis.exceptions import ResponseError

    try:
        answer = await control.config_get("databases")
    except ResponseError:
        return _DEFAULT_DATABASES
    return int(answer.get("databases") or _DEFAULT_DATABASES)


def _is_over(lease: bytes | str) -> bool:
    """Whether the owner of a lease is gone: its process is dead, or on another machine its time is up."""
    try:
        owner = json.loads(lease)
        if owner["host"] == socket.gethostname():
            return not process_lives(int(owner["pid"]), float(owner["started"]))
        return float(owner["until"]) < time.time()
    except (ValueError, KeyError, TypeError):
        return False  # not written by us: not ours to end
