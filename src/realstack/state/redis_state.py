"""Lends what a test uses of Redis, at its seed: a logical database, or a prefix of keys where there is but one.

One lender a worker process. Which of the two it is, the settings say, or else the server is asked.
"""

from __future__ import annotations

import asyncio

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import CLUSTER, KEY_PREFIX
from realstack.state.redis_changes import RedisChanges
from realstack.state.redis_databases import DatabaseLender
from realstack.state.redis_leases import LEASE, connection
from realstack.state.redis_prefixes import PrefixLender, rewritten
from realstack.state.redis_report import RedisResetReport
from realstack.state.redis_sealed import write_all, write_ttls
from realstack.state.redis_seed import seed_of


class RedisState:
    """Lends databases or prefixes, each brought to the seed of ``plan``.

    Holds connections from the first :meth:`lend` to :meth:`close`. What was given back is lent again, so a worker
    uses as many as it has lent at once: one, as a rule. All of its use is in one event loop; tasks may call it side
    by side. What is lent is an endpoint; ``options["key_prefix"]`` of it is set where keys have one.
    """

    def __init__(self, endpoint: Endpoint, plan: RedisPlan, worker: str, run_id: str) -> None:
        self.endpoint = endpoint
        self.plan = plan
        self._who = (worker, run_id)
        self._lender: DatabaseLender | PrefixLender | None = None
        self._choosing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<RedisState {self._lender or f'{self._who[0]} not used yet'}>"

    @property
    def last_reset(self) -> RedisResetReport | None:
        """How the last lend or reset went, and what the test before it left elsewhere; None before the first."""
        return self._lender.last_reset if self._lender is not None else None

    async def lend(self) -> Endpoint:
        """What is the caller's own, holding the seed and nothing else, until it is given back.

        :raises SeedFailed: the seed is wrong; file, line and key are named.
        :raises RealstackError: the server has no database left, or settings ask for databases where there is one.
        :raises NotOurs: a given server without our mark.
        """
        return await (await self._chosen()).lend()

    async def reset(self, lent: Endpoint) -> RedisResetReport:
        """Bring what was lent back to the seed in place; connections to it stay, and see the seed.

        :raises NotOurs: this lender did not lend it, or its lease was taken over.
        """
        return await (await self._chosen()).reset(lent)

    async def changes(self, lent: Endpoint) -> RedisChanges:
        """What differs from the seed as it was lent; keys without their prefix.

        :raises NotOurs: this lender did not lend it.
        """
        return await (await self._chosen()).changes(lent)

    async def give_back(self, lent: Endpoint) -> None:
        """The end of :meth:`lend`. It stays leased to this worker; its keys go at the next lend.

        :raises NotOurs: this lender did not lend it, or it was given back before.
        """
        await (await self._chosen()).give_back(lent)

    @property
    def has_room(self) -> bool:
        """Whether the server has room for many lenders."""
        return self._lender is None or self._lender.has_room

    @property
    def lends(self) -> bool:
        """Whether something is lent at the moment."""
        return self._lender is not None and self._lender.lends

    async def look(self) -> tuple[str, ...]:
        """What was done to the server beyond what was lent, since the last look; put back where that can be."""
        return await self._lender.look() if self._lender is not None else ()

    async def follow(self, other: RedisState) -> None:
        """Take for known what ``other``, of this process, has just looked at."""
        if other._lender is not None:
            (await self._chosen()).watch.follow(other._lender.watch)

    async def close(self, *, looks: bool = True) -> tuple[str, ...]:
        """Remove the keys of what was leased, and end the leases. May be called twice; a dead server is no error.

        With ``looks`` it has a last look before, and gives what it noticed.
        """
        return await self._lender.close(looks=looks) if self._lender is not None else ()

    async def _chosen(self) -> DatabaseLender | PrefixLender:
        async with self._choosing:
            if self._lender is None:
                made = PrefixLender if await wants_prefix(self.endpoint, self.plan) else DatabaseLender
                self._lender = made(self.endpoint, self.plan, *self._who)
            return self._lender


async def wants_prefix(endpoint: Endpoint, plan: RedisPlan) -> bool:
    """Whether keys get a prefix: as the settings say, or else where the server offers one database only.

    :raises RealstackError: the settings ask for databases, and the server is a cluster.
    """
    if CLUSTER in endpoint.options:
        if plan.key_prefix is False:
            raise RealstackError(
                f"{endpoint.safe_url} is a cluster, which has no databases to lend, and key_prefix is false.",
                remedy='leave [tool.realstack.redis] key_prefix at "auto".',
            )
        return True
    return await _has_one_database(endpoint) if plan.key_prefix is None else plan.key_prefix


async def _has_one_database(endpoint: Endpoint) -> bool:
    from redis.exceptions import ResponseError

    second = connection(endpoint, 1)
    try:
        await second.ping()
    except ResponseError as problem:
        if "SELECT" in str(problem).upper() or "DB INDEX" in str(problem).upper():
            return True
        raise
    finally:
        await second.aclose()
    return False


async def restore_redis(lent: Endpoint, plan: RedisPlan) -> None:
    """Bring the lent database, or the keys of the lent prefix, back to the seed of ``plan``, from any process.

    :raises NotOurs: nobody has leased it.
    :raises SeedFailed: the seed is wrong.
    """
    if prefix := lent.options.get(KEY_PREFIX):
        await rewritten(lent, plan, prefix)
        return
    number = int(lent.database or 0)
    seed = await asyncio.to_thread(seed_of, plan)
    control, database = connection(lent, 0), connection(lent, number)
    try:
        if await control.get(f"{LEASE}{number}") is None:
            raise NotOurs(f"the Redis database {number} was not lent by realstack.", remedy="`realstack env` names it.")
        await database.flushdb(asynchronous=True)
        await write_all(database, seed.writes)
        await write_ttls(database, seed)
    finally:
        await control.aclose()
        await database.aclose()
