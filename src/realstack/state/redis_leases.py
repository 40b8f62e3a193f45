"""Who holds which database or prefix: leases in database 0, taken, renewed and taken over by compare and set."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

import psutil

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint
from realstack.registry import process_lives
from realstack.state import naming
from realstack.state.ownership import REDIS_MARK

if TYPE_CHECKING:
    from redis.asyncio import Redis

LEASE_S = 3600.0
"""How long a lease holds without being renewed by a lend, where its owner cannot be looked at (another machine)."""

LEASE = "realstack:lease:"
PREFIX = "rs:"
"""What every lent prefix begins with."""
STANDING = "up"
"""The worker of what an environment lends while it is up."""
OUR_NAME = "realstack"
"""The client name of realstack's own connections."""

_DEFAULT_DATABASES = 16

# Compare and set: two workers may find the same dead lease at the same time.
CHANGE_IF_SAME = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0"
)
DELETE_IF_SAME = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class NoDatabaseLeft(RealstackError):
    """Every logical database of a Redis server is somebody's."""


class Leases:
    """The databases, or prefixes, that one worker holds. Has one connection, to database 0, until :meth:`close`."""

    def __init__(self, endpoint: Endpoint, worker: str, run_id: str) -> None:
        self.endpoint = endpoint
        self.held: dict[int | str, str] = {}
        self.facts: dict[str, Any] = {
            "run": run_id,
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
        }
        self.databases = 0
        self._control: Redis | None = None

    @property
    def control(self) -> Redis:
        """The connection to database 0; opened at its first use."""
        if self._control is None:
            self._control = connection(self.endpoint, 0)
        return self._control

    def text(self) -> str:
        """A lease of ours that begins now."""
        return json.dumps({**self.facts, "until": time.time() + LEASE_S})

    async def take(self, *, from_top: bool = False) -> int:
        """Lease a database that is free: empty and without a lease, or with a lease whose owner is gone.

        What is lent is looked for from below, what is realstack's own use from the top.

        :raises NoDatabaseLeft: none is free.
        :raises NotOurs: a given server without our mark.
        """
        await self._assert_marked()
        if not self.databases:
            self.databases = await _database_count(self.control)
        filled = {int(name.removeprefix("db")) for name in await self.control.info("keyspace")}
        numbers = range(1, self.databases)
        for number in reversed(numbers) if from_top else numbers:
            if number not in self.held and await self._took(number, empty=number not in filled):
                return number
        raise NoDatabaseLeft(
            f"{self.endpoint.safe_url} has {self.databases} databases, and none is left for worker "
            f"{self.facts['worker']!r} (database 0 is realstack's own; others are leased to workers, or hold keys of "
            "somebody's).",
            remedy="start the server with more (`--databases 64` in the compose file's command), use fewer workers, "
            "or end the other runs.",
        )

    async def take_prefix(self) -> str:
        """Lease a prefix that nobody has had before, and take over those whose owner is gone: see :attr:`held`.

        :raises NotOurs: a given server without our mark.
        """
        await self._assert_marked()
        for key, text in (await self.texts()).items():
            prefix, lease = key.removeprefix(LEASE), self.text()
            if prefix.startswith(PREFIX) and is_over(text) and await self._changed(key, text, lease):
                self.held[prefix] = lease
        prefix, lease = f"{PREFIX}{secrets.token_hex(4)}:", self.text()
        await self.control.set(f"{LEASE}{prefix}", lease)
        self.held[prefix] = lease
        return prefix

    async def renewed(self, number: int | str) -> bool:
        """Extend the lease of ``number``; False if somebody took it over, or emptied the server and took it."""
        key, old, new = f"{LEASE}{number}", self.held[number], self.text()
        if await self._changed(key, old, new) or await self.control.set(key, new, nx=True):
            self.held[number] = new
            return True
        del self.held[number]
        return False

    async def release(self, number: int | str) -> None:
        """End the lease of ``number``, whose keys the caller has removed."""
        await self.control.eval(DELETE_IF_SAME, 1, f"{LEASE}{number}", self.held.pop(number))

    async def others(self) -> list[dict[str, Any]]:
        """The leases of other processes that live, and of other runs in this one."""
        mine = (self.facts["host"], self.facts["pid"], self.facts["run"])
        found = []
        for text in (await self.texts()).values():
            facts = _facts(text)
            whose = tuple(facts.get(name) for name in ("host", "pid", "run"))
            if "pid" in facts and whose != mine and not is_over(text):
                found.append(facts)
        return found

    async def texts(self) -> dict[str, bytes]:
        """All leases, by the name of their key."""
        control: Any = self.control
        keys = [key async for key in control.scan_iter(match=f"{LEASE}*", count=1000)]
        # One by one: in a cluster they lie on several nodes.
        values = [await control.get(key) for key in keys]
        return {key.decode(): value for key, value in zip(keys, values, strict=True) if value is not None}

    async def close(self) -> None:
        """Leave the server."""
        if self._control is not None:
            await self._control.aclose()
        self._control = None
        self.held.clear()

    async def _took(self, number: int, *, empty: bool) -> bool:
        key, lease = f"{LEASE}{number}", self.text()
        held = await self.control.get(key)
        if held is None:
            # Keys without a lease are somebody else's: this database is not ours to flush.
            taken = empty and await self.control.set(key, lease, nx=True)
        else:
            taken = is_over(held) and await self._changed(key, held, lease)
        if taken:
            self.held[number] = lease
        return bool(taken)

    async def _changed(self, key: str, old: bytes | str, new: str) -> bool:
        return bool(await self.control.eval(CHANGE_IF_SAME, 1, key, old, new))

    async def _assert_marked(self) -> None:
        if self.endpoint.provider == "external":
            if await self.control.get(REDIS_MARK) is None:
                raise NotOurs(
                    f"{self.endpoint.safe_url} is a given server without realstack's mark; nothing is written there.",
                    remedy="name a server that is for tests only, and let realstack mark it while it is empty.",
                )
        else:
            await self.control.set(REDIS_MARK, json.dumps({"realstack": naming.MARK_VERSION}), nx=True)


def connection(endpoint: Endpoint, number: int) -> Redis:
    """A client of realstack's own on the logical database ``number``."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    from realstack.services.redis import client

    # Once more at once, should the server have cut an idle connection; redis-py's own way waits for seconds.
    return client(endpoint, database=number, retry=Retry(NoBackoff(), 1), client_name=OUR_NAME)


def is_over(lease: bytes | str) -> bool:
    """Whether the owner of a lease is gone: its process is dead, or on another machine its time is up."""
    owner = _facts(lease)
    try:
        if owner["host"] == socket.gethostname():
            return not process_lives(int(owner["pid"]), float(owner["started"]))
        return float(owner["until"]) < time.time()
    except (ValueError, KeyError, TypeError):
        return False  # not written by us, or a seed's: not for a lender to end


def _facts(lease: bytes | str) -> dict[str, Any]:
    try:
        facts = json.loads(lease)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


async def _database_count(control: Redis) -> int:
    """How many logical databases the server has; managed servers may not tell."""
    from redis.exceptions import ResponseError

    try:
        answer = await control.config_get("databases")
    except ResponseError:
        return _DEFAULT_DATABASES
    return int(answer.get("databases") or _DEFAULT_DATABASES)
