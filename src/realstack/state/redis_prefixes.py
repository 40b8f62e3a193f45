"""Lends prefixes of keys at their seed, where a server has one database: a cluster, some managed servers.

A prefix is leased like a database is, and nobody has had it before. Only keys that begin with it are ever removed or
written; the server is never emptied, and nothing of it is set. The prefix has no hash tag, so that a cluster's rules
for commands with several keys are as the application meets them in production.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from realstack.errors import NotOurs
from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import CLUSTER, KEY_PREFIX
from realstack.state.redis_changes import RedisChanges
from realstack.state.redis_compare import Side, compare
from realstack.state.redis_leases import LEASE, Leases, connection
from realstack.state.redis_notice import ServerWatch
from realstack.state.redis_report import RedisResetReport
from realstack.state.redis_sealed import write_all, write_ttls
from realstack.state.redis_seed import RedisSeed, seed_of

_BATCH = 1000


class PrefixLender:
    """Lends prefixes of one database, each with the keys of ``plan``'s seed and no other.

    The same contract as :class:`realstack.state.redis_databases.DatabaseLender`.
    """

    has_room = True

    def __init__(self, endpoint: Endpoint, plan: RedisPlan, worker: str, run_id: str) -> None:
        self.endpoint = endpoint
        self.plan = plan
        self.last_reset: RedisResetReport | None = None
        self._leases = Leases(endpoint, worker, run_id)
        self.watch = ServerWatch(self._leases, shares_database=True)
        self._one_at_a_time = asyncio.Lock()
        self._seed: RedisSeed | None = None
        self._free: list[str] = []
        self._since: dict[str, int] = {}
        """The prefixes that are lent, and from when their times to live count, by the server's clock in ms."""

    def __repr__(self) -> str:
        return f"<PrefixLender {self._leases.facts['worker']} {len(self._since)} lent, {len(self._leases.held)} leased>"

    async def lend(self) -> Endpoint:
        """A prefix of the caller's own (``options["key_prefix"]``), at the seed, until it is given back.

        :raises SeedFailed: the seed is wrong; file, line and key are named.
        :raises NotOurs: a given server without our mark.
        """
        async with self._one_at_a_time:
            seed = await self._read()
            report = None
            while report is None:  # a lease may be somebody else's by now
                prefix = self._free.pop() if self._free else await self._leased()
                report = await self._reset(prefix, seed)
            self.last_reset = report
        options = {**self.endpoint.options, KEY_PREFIX: prefix}
        return replace(self.endpoint, database="0", options=options)

    async def reset(self, lent: Endpoint) -> RedisResetReport:
        """Bring the keys of a lent prefix back to the seed.

        :raises NotOurs: this lender did not lend it, or its lease was taken over.
        """
        async with self._one_at_a_time:
            prefix = self._prefix(lent)
            report = await self._reset(prefix, await self._read())
            if report is None:
                raise NotOurs(
                    f"the lease of the Redis keys {prefix}* was taken over by another process.",
                    remedy="this process stood still for an hour, or a test wrote realstack's own keys.",
                )
            self.last_reset = report
            return report

    async def changes(self, lent: Endpoint) -> RedisChanges:
        """What differs from the seed as it was lent; keys are told without the prefix.

        The seed is written once more, below a prefix that is leased for that, and removed.

        :raises NotOurs: this lender did not lend it.
        """
        async with self._one_at_a_time:
            prefix, seed, control = self._prefix(lent), await self._read(), self._leases.control
            beside = await self._leases.take_prefix()
            try:
                await write_all(control, seed.below(beside.encode()).writes)
                before, after = (Side(control, prefix=each.encode()) for each in (beside, prefix))
                return await compare(before, after, seed, self._since[prefix])
            finally:
                await self._removed(beside)

    async def give_back(self, lent: Endpoint) -> None:
        """The end of :meth:`lend`. The prefix stays leased to this worker; its keys go at the next lend.

        :raises NotOurs: this lender did not lend it, or it was given back before.
        """
        prefix = self._prefix(lent)
        del self._since[prefix]
        self._free.append(prefix)

    @property
    def lends(self) -> bool:
        """Whether a prefix is lent at the moment."""
        return bool(self._since)

    async def look(self) -> tuple[str, ...]:
        """What was done beyond keys since the last look, put back where that can be."""
        async with self._one_at_a_time:
            return tuple(await self.watch.look(0))

    async def close(self, *, looks: bool = True) -> tuple[str, ...]:
        """Remove all keys of the leased prefixes and end the leases, after a last look. A dead server is no error."""
        from redis.exceptions import RedisError

        noticed: list[str] = []
        async with self._one_at_a_time:
            try:
                if looks and self._leases.held:
                    noticed = await self.watch.last_look(0)
                for prefix in list(self._leases.held):
                    await self._removed(str(prefix))
            except (RedisError, OSError):
                pass  # with the server goes what it held; or the next run takes the leases over
            finally:
                await self._leases.close()
                self._free.clear()
                self._since.clear()
        return tuple(noticed)

    def _prefix(self, lent: Endpoint) -> str:
        prefix = lent.options.get(KEY_PREFIX, "")
        if prefix not in self._since:
            raise NotOurs(
                f"the Redis keys {prefix}* were not lent by {self!r}.", remedy="give back what lend() returned, once."
            )
        return prefix

    async def _read(self) -> RedisSeed:
        if self._seed is None:
            self._seed = await asyncio.to_thread(seed_of, self.plan)
        return self._seed

    async def _leased(self) -> str:
        """A new prefix. What workers that are gone have left is removed on the way."""
        prefix = await self._leases.take_prefix()
        for left in set(self._leases.held) - {prefix, *self._free, *self._since}:
            await self._removed(str(left))
        if not self.watch.is_on and CLUSTER not in self.endpoint.options:
            await self.watch.begin()
        return prefix

    async def _reset(self, prefix: str, seed: RedisSeed) -> RedisResetReport | None:
        """None if its lease is no longer ours; then nothing was touched."""
        self._since.pop(prefix, None)
        if not await self._leases.renewed(prefix):
            return None
        noticed = await self.watch.look(0)
        self._since[prefix] = await _written(self._leases.control, seed, prefix)
        return RedisResetReport("written", tuple(dict.fromkeys(noticed)))

    async def _removed(self, prefix: str) -> None:
        """Its keys, then its lease, if that is still ours."""
        if await self._leases.renewed(prefix):
            await _unlinked(self._leases.control, prefix)
            await self._leases.release(prefix)


async def rewritten(lent: Endpoint, plan: RedisPlan, prefix: str) -> None:
    """Bring the keys of a lent prefix back to the seed of ``plan``, from any process.

    :raises NotOurs: nobody has leased it.
    :raises SeedFailed: the seed is wrong.
    """
    seed = await asyncio.to_thread(seed_of, plan)
    control = connection(lent, 0)
    try:
        if await control.get(f"{LEASE}{prefix}") is None:
            raise NotOurs(f"the Redis keys {prefix}* were not lent by realstack.", remedy="`realstack env` names them.")
        await _written(control, seed, prefix)
    finally:
        await control.aclose()


async def _written(control: Any, seed: RedisSeed, prefix: str) -> int:
    """Remove the prefix's keys and write the seed's; the server's time in ms from which times to live count."""
    below = seed.below(prefix.encode())
    await _unlinked(control, prefix)
    await write_all(control, below.writes)
    return await write_ttls(control, below)


async def _unlinked(control: Any, prefix: str) -> None:
    async for keys in _batches(control, prefix):
        async with control.pipeline(transaction=False) as pipeline:
            for key in keys:  # one each: in a cluster they lie in many slots
                pipeline.execute_command("UNLINK", key)
            await pipeline.execute()


async def _batches(control: Any, prefix: str) -> AsyncIterator[list[bytes]]:
    keys: list[bytes] = []
    async for key in control.scan_iter(match=f"{prefix}*", count=_BATCH):
        keys.append(key)
        if len(keys) >= _BATCH:
            yield keys
            keys = []
    if keys:
        yield keys
