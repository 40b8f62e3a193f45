"""Lends logical Redis databases at their seed. One lender a worker process.

Database 0 holds realstack's own keys and is never lent. A worker takes a database under a lease there; what
it resets is that database alone, never the server. On a server of ours the seed lies in a sealed copy, and a
clone of it waits to be exchanged for the lent database (SWAPDB): see ``docs/known_state.md``.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint, RedisPlan
from realstack.state.redis_changes import RedisChanges
from realstack.state.redis_clone import ROOM_FOR_CLONES, Clone
from realstack.state.redis_compare import Side, compare
from realstack.state.redis_leases import LEASE, Leases, connection
from realstack.state.redis_notice import CLIENTS, ServerWatch
from realstack.state.redis_report import How, RedisResetReport
from realstack.state.redis_scripts import SWAP
from realstack.state.redis_sealed import (
    HURRIED_BATCH,
    Sealed,
    SealedSeed,
    write_all,
    write_ttls,
)
from realstack.state.redis_seed import RedisSeed, seed_of

if TYPE_CHECKING:
    from redis.asyncio import Redis


class DatabaseLender:
    """Lends logical databases, each brought to the seed of ``plan``.

    Holds connections from the first :meth:`lend` to :meth:`close`, and on a server of ours a task that prepares
    the next reset. A database that was given back is lent again, so a worker uses as many as it has lent at once:
    one, as a rule. All of its use is in one event loop; tasks may call it side by side.
    """

    def __init__(self, endpoint: Endpoint, plan: RedisPlan, worker: str, run_id: str) -> None:
        self.endpoint = endpoint
        self.plan = plan
        self.last_reset: RedisResetReport | None = None
        self._leases = Leases(endpoint, worker, run_id)
        self.watch = ServerWatch(self._leases)
        self._one_at_a_time = asyncio.Lock()
        self._seed: RedisSeed | None = None
        self._store: SealedSeed | None = None
        self._sealed: Sealed | None = None
        self._clients: dict[int, Redis] = {}
        self._clones: dict[int, Clone] = {}
        self._since: dict[int, int] = {}
        self._lent: set[int] = set()

    @property
    def has_room(self) -> bool:
        """Whether the server has databases to spare; taken for granted until it was asked."""
        return not 0 < self._leases.databases < ROOM_FOR_CLONES

    @property
    def lends(self) -> bool:
        """Whether a database is lent at the moment."""
        return bool(self._lent)

    def __repr__(self) -> str:
        worker = self._leases.facts["worker"]
        return f"<{type(self).__name__} {worker} {len(self._lent)} lent, {len(self._clients)} leased>"

    async def lend(self) -> Endpoint:
        """A logical database of the caller's own, holding the seed and nothing else, until it is given back.

        ``last_reset`` tells how, and what the database's last user left elsewhere.

        :raises SeedFailed: the seed is wrong; file, line and key are named.
        :raises RealstackError: the server has no database left.
        :raises NotOurs: a given server without our mark.
        """
        async with self._one_at_a_time:
            seed = await self._read()
            free = sorted(set(self._clients) - self._lent)
            number = free[0] if free else await self._leased()
            self._lent.add(number)
            try:
                report = await self._reset(number, seed)
                if report is None:  # its lease is somebody else's by now
                    await self._dropped(number)
                    number = await self._leased()
                    self._lent.add(number)
                    report = await self._reset(number, seed)
            except BaseException:
                self._lent.discard(number)
                raise
            self.last_reset = report
        return replace(self.endpoint, database=str(number))

    async def reset(self, lent: Endpoint) -> RedisResetReport:
        """Bring a lent database back to the seed in place; connections to it stay, and see the seed.

        :raises NotOurs: this lender did not lend it, or its lease was taken over.
        """
        async with self._one_at_a_time:
            number = self._number(lent)
            report = await self._reset(number, await self._read())
            if report is None:
                await self._dropped(number)
                raise NotOurs(
                    f"the lease of the Redis database {number} was taken over by another process.",
                    remedy="a test emptied database 0, or this process stood still for an hour; lend another one.",
                )
            self.last_reset = report
            return report

    async def changes(self, lent: Endpoint) -> RedisChanges:
        """What differs in a lent database from the seed as it was lent.

        :raises NotOurs: this lender did not lend it.
        """
        async with self._one_at_a_time:
            number, seed = self._number(lent), await self._read()
            after = Side(self._clients[number], number)
            # Asked for anew each time: the test may have emptied the whole server.
            sealed = await self._store.found_or_made() if self._store is not None and seed.writes else None
            if sealed is not None:
                async with connection(self.endpoint, sealed.number) as before:
                    return await compare(Side(before, sealed.number), after, seed, self._since[number])
            return await self._compared_with_a_scratch(after, seed, self._since[number])

    async def give_back(self, lent: Endpoint) -> None:
        """The end of :meth:`lend`. The database stays leased to this worker; its keys go at the next lend.

        :raises NotOurs: this lender did not lend it, or it was given back before.
        """
        self._lent.discard(self._number(lent))

    async def look(self) -> tuple[str, ...]:
        """What was done beyond the databases since the last look, put back where that can be; a lend looks too."""
        async with self._one_at_a_time:
            return tuple(await self.watch.look(next(iter(self._clients), 0)))

    async def close(self, *, looks: bool = True) -> tuple[str, ...]:
        """Empty the leased databases and end the leases. May be called twice; a dead server is no error.

        ``looks``: as :meth:`look` does, first. The sealed copy of the seed stays for the server's next user; a build
        of another seed drops it.
        """
        from redis.exceptions import RedisError

        noticed: list[str] = []
        async with self._one_at_a_time:
            for clone in self._clones.values():
                await clone.stop()
            try:
                if looks and self._clients:
                    noticed = await self.watch.last_look(next(iter(self._clients)))
                for clone in self._clones.values():
                    await clone.drop()
                for number, client in self._clients.items():
                    await client.flushdb(asynchronous=True)
                    await self._leases.release(number)
            except (RedisError, OSError):
                pass  # the server is gone, and with it all that it held; or the next run takes the leases over
            finally:
                for client in self._clients.values():
                    await client.aclose()
                await self._leases.close()
                self._clients.clear()
                self._clones.clear()
                self._lent.clear()
        return tuple(noticed)

    def _number(self, lent: Endpoint) -> int:
        number = int(lent.database or 0)
        if number not in self._lent:
            raise NotOurs(
                f"the Redis database {number} was not lent by {self!r}.",
                remedy="give back what lend() returned, once.",
            )
        return number

    async def _read(self) -> RedisSeed:
        if self._seed is None:
            self._seed = await asyncio.to_thread(seed_of, self.plan)
            if self.endpoint.provider != "external":
                self._store = SealedSeed(self._leases, self._seed)
        return self._seed

    async def _leased(self) -> int:
        number = await self._leases.take()
        self._clients[number] = connection(self.endpoint, number)
        if not self.watch.is_on:
            await self.watch.begin()
        return number

    async def _dropped(self, number: int) -> None:
        """Forget a database that is no longer ours, without touching it."""
        self._lent.discard(number)
        self._leases.held.pop(number, None)
        await self._without_clone(number)
        await self._clients.pop(number).aclose()

    async def _reset(self, number: int, seed: RedisSeed) -> RedisResetReport | None:
        """None if the lease of ``number`` is no longer ours; then nothing was touched."""
        from redis.exceptions import ResponseError

        noticed: list[str] = []
        try:
            kind = await self._restored(number, seed, noticed)
        except ResponseError:
            # A test may have set what keeps a server from writing: maxmemory, min-replicas-to-write.
            if not self.watch.is_on:
                raise
            noticed += await self.watch.look(number, at_any_rate=True)
            try:
                kind = await self._restored(number, seed, noticed)
            except ResponseError as problem:
                raise RealstackError(
                    f"{self.endpoint.safe_url} refuses what a reset writes: {problem}",
                    details=noticed,
                    remedy="a test that sets what keeps a server from writing must set it back.",
                ) from problem
        if kind is None:
            return None
        if self._store is not None:
            noticed += self._store.told
            self._store.told = []
        self._prepare_next(number)
        return RedisResetReport(kind, tuple(dict.fromkeys(noticed)))

    async def _restored(self, number: int, seed: RedisSeed, noticed: list[str]) -> How | None:
        """By the clone if it is ready, else by what is slower; None if the lease of ``number`` is no longer ours."""
        clone = self._clones.get(number)
        if clone is not None and await clone.ready():
            kind = await self._swapped(number, seed, noticed)
            if kind is not None:
                return kind
        if not await self._leases.renewed(number):
            return None
        noticed += await self.watch.look(number)
        return await self._filled(number, seed)

    async def _swapped(self, number: int, seed: RedisSeed, noticed: list[str]) -> How | None:
        """One round trip: leases renewed, databases exchanged, times to live set, counters and clients read."""
        clone, leases, store, sealed = self._clones[number], self._leases, self._store, self._sealed
        assert store is not None  # noqa: S101 - without a sealed copy there is no clone
        assert sealed is not None  # noqa: S101
        lease = leases.text()
        keys = (f"{LEASE}{number}", f"{LEASE}{clone.number}", store.ttls)
        held = (leases.held[number], leases.held[clone.number])
        facts = (number, clone.number, seed.name, sealed.keys, len(seed.kept_ttls))
        async with leases.control.pipeline(transaction=False) as pipeline:
            # Before the exchange, as it serves clients that wait for keys of the seed.
            pipeline.execute_command(*CLIENTS)
            pipeline.eval(SWAP, 3, *keys, *held, lease, lease, *facts)
            clients, (status, *rest) = await pipeline.execute()
        if status != b"swapped":
            await self._without_clone(number)
            return None
        leases.held[number] = leases.held[clone.number] = lease
        self._since[number] = int(rest[1])
        clone.used()
        noticed += await self.watch.noticed(rest[0], clients, number)
        return "swapped"

    async def _filled(self, number: int, seed: RedisSeed) -> How:
        """The slow way: empty the database, then copy the sealed seed into it or write it command by command."""
        if self._store is not None and seed.writes:
            self._sealed = await self._store.found_or_made()
            if self._sealed is not None:
                if await self._store.copy(self._sealed, number, mark=False, batch=lambda: HURRIED_BATCH):
                    self._since[number] = await self._store.renew_ttls(number)
                    return "copied"
                self._sealed = None
        client = self._clients[number]
        await client.flushdb(asynchronous=True)
        await write_all(client, seed.writes)
        self._since[number] = await write_ttls(client, seed)
        return "written"

    def _prepare_next(self, number: int) -> None:
        """Begin to make the clone for the next reset of ``number``, where the server has room for one."""
        if self._store is None or self._sealed is None or not self.has_room:
            return
        self._clones.setdefault(number, Clone(self._leases, self._store)).prepare(self._sealed)

    async def _without_clone(self, number: int) -> None:
        if (clone := self._clones.pop(number, None)) is not None:
            await clone.drop()

    async def _compared_with_a_scratch(self, after: Side, seed: RedisSeed, since: int) -> RedisChanges:
        """Without a sealed copy the seed is written once more, into a database that is leased for that."""
        number = await self._leases.take(from_top=True)
        client = connection(self.endpoint, number)
        try:
            await write_all(client, seed.writes)
            return await compare(Side(client, number), after, seed, since)
        finally:
            await client.flushdb(asynchronous=True)
            await client.aclose()
            await self._leases.release(number)
