"""The seed as a sealed copy in a logical database of its own, which every worker clones.

Create, fill, mark last: a record in database 0 names the copy by the seed's hash, and a key inside of the copy
says that it is whole. Whoever finds a record whose maker is dead, or a copy without its mark, makes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from realstack.errors import RealstackError, SeedFailed
from realstack.state.redis_leases import CHANGE_IF_SAME, DELETE_IF_SAME, LEASE, Leases, connection, is_over
from realstack.state.redis_scripts import COPY, DROP_SEED, SEAL_COPY, TTLS, WHOLE
from realstack.state.redis_seed import RedisSeed, Write

if TYPE_CHECKING:
    from redis.asyncio import Redis

BATCH = 1000
"""Commands of a seed that are sent at once."""
QUIET_BATCH, HURRIED_BATCH = 200, 2000
"""Keys that one step copies: few in the background, as all clients wait meanwhile; more when a test waits."""

_RECORD = "realstack:seed:"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed copy: in which database, and of how many keys."""

    number: int
    keys: int


class SealedSeed:
    """Finds or makes the sealed copy of ``seed``, and copies from it."""

    def __init__(self, leases: Leases, seed: RedisSeed) -> None:
        self.leases = leases
        self.seed = seed
        self.record = f"{_RECORD}{seed.name}"
        self.ttls = f"{_RECORD}{seed.name}:ttls"
        self.told: list[str] = []
        leases.facts["uses"] = seed.name

    async def found_or_made(self) -> Sealed | None:
        """The sealed copy; None while somebody else makes it, or where the server has no database for it.

        :raises SeedFailed: the server refuses a write of the seed.
        """
        control = self.leases.control
        held = await control.get(self.record)
        if held is not None:
            facts = json.loads(held)
            if facts.get("ready"):
                sealed = Sealed(int(facts["database"]), int(facts["keys"]))
                if await self._is_whole(sealed):
                    return sealed
                self.told.append(_DAMAGED)
                await self._drop_damaged(sealed.number)
            elif not is_over(held):
                return None
        building = json.dumps({**json.loads(self.leases.text()), "ready": False})
        if held is None:
            mine = await control.set(self.record, building, nx=True)
        else:
            mine = await control.eval(CHANGE_IF_SAME, 1, self.record, held, building)
        return await self._made(building) if mine else None

    async def copy(self, sealed: Sealed, to: int, *, mark: bool, batch: Callable[[], int]) -> bool:
        """Empty the database ``to`` and copy all keys into it; it gets its mark last if ``mark`` asks for it.

        False, and the reason among what is told, if the sealed copy or the new one is not whole.
        """
        word, mark_of_it = f"in the making {uuid4()}", self.seed.name if mark else ""
        cursor = b"begin"
        while count := batch():
            place = (sealed.number, to, self.seed.name, cursor, count, word, sealed.keys, mark_of_it)
            cursor = await self.leases.control.eval(COPY, 0, *place)
            if cursor == b"damaged":
                self.told.append(_DAMAGED)
            if cursor in (b"done", b"broken", b"damaged"):
                return bool(cursor == b"done")
        return False  # nobody wants it any more

    async def renew_ttls(self, number: int) -> int:
        """Set the times to live in the database ``number``, from now on; the server's time in ms."""
        base = await self.leases.control.eval(TTLS, 1, self.ttls, number, len(self.seed.kept_ttls))
        if not base:
            raise RealstackError(
                "the seed's times to live are gone from Redis.", remedy="a test emptied database 0; run it alone."
            )
        return int(base)

    async def _is_whole(self, sealed: Sealed) -> bool:
        control = self.leases.control
        whole = await control.eval(WHOLE, 0, sealed.number, self.seed.name, sealed.keys)
        return bool(whole) and int(await control.hlen(self.ttls)) == len(self.seed.kept_ttls)

    async def _made(self, building: str) -> Sealed | None:
        """Fill a database and seal it. Whatever happens, our record of building it does not stay."""
        control = self.leases.control
        number: int | None = None
        try:
            await self._drop_others()
            number = await self.leases.take(from_top=True)
            client = connection(self.leases.endpoint, number)
            try:
                await client.flushdb()
                await write_all(client, self.seed.writes)
                keys = int(await client.dbsize())
            finally:
                await client.aclose()
            await self._write_ttls(control)
            ready = json.dumps({"ready": True, "database": number, "keys": keys})
            held = self.leases.held[number]
            now, later = (building, held), (ready, json.dumps({"seed": self.seed.name}))
            done = await control.eval(
                SEAL_COPY, 2, self.record, f"{LEASE}{number}", *now, *later, number, self.seed.name
            )
            if done:
                del self.leases.held[number]
                return Sealed(number, keys)
        except SeedFailed:
            raise
        except RealstackError:
            return None  # no database is left: seeds are written as they are
        finally:
            await control.eval(DELETE_IF_SAME, 1, self.record, building)
            if number is not None and number in self.leases.held:
                await _flush(self.leases.endpoint, number)
                await self.leases.release(number)
        return None

    async def _drop_damaged(self, number: int) -> None:
        key, lease = f"{LEASE}{number}", self.leases.text()
        # Without its lease the database may be somebody else's by now.
        if await self.leases.control.eval(CHANGE_IF_SAME, 1, key, json.dumps({"seed": self.seed.name}), lease):
            self.leases.held[number] = lease
            await _flush(self.leases.endpoint, number)
            await self.leases.release(number)

    async def _write_ttls(self, control: Redis) -> None:
        items = list(self.seed.kept_ttls.items())
        await control.delete(self.ttls)
        for start in range(0, len(items), BATCH):
            await control.hset(self.ttls, mapping=dict(items[start : start + BATCH]))

    async def _drop_others(self) -> None:
        """Free the copies of seeds that no lender that lives uses any more."""
        control: Any = self.leases.control
        over = [text for text in (await self.leases.texts()).values() if is_over(text)]
        async for key in control.scan_iter(match=f"{_RECORD}*", count=1000, _type="string"):
            record = await control.get(key)
            facts: dict[str, Any] = json.loads(record) if record else {}
            name = key.decode().removeprefix(_RECORD)
            if name == self.seed.name or not facts.get("ready"):
                continue
            number, lease = int(facts["database"]), self.leases.text()
            keys = (key, f"{LEASE}{number}", f"{_RECORD}{name}:ttls")
            if await control.eval(DROP_SEED, 3, *keys, record, name, lease, *over):
                self.leases.held[number] = lease
                await _flush(self.leases.endpoint, number)
                await self.leases.release(number)


_DAMAGED = (
    "the sealed copy of the Redis seed was gone or changed, and was made anew: a test ran FLUSHALL or SWAPDB, or wrote "
    "into a database that is not its own"
)


async def write_all(client: Redis, writes: Sequence[Write]) -> None:
    """Send ``writes`` in order, many at a time.

    :raises SeedFailed: the server refuses one of them.
    """
    for start in range(0, len(writes), BATCH):
        await _write(client, writes[start : start + BATCH])


async def _write(client: Redis, writes: Sequence[Write]) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        for write in writes:
            pipeline.execute_command(*write.command)
        answers = await pipeline.execute(raise_on_error=False)
    for write, answer in zip(writes, answers, strict=True):
        if isinstance(answer, Exception):
            raise SeedFailed(
                f"{write.where}: the key {write.key!r}: {_server_words(answer)}",
                remedy=_remedy(write, answer),
            ) from answer


def _remedy(write: Write, answer: Exception) -> str:
    if write.command[0] == "HPTTL" and "unknown command" in str(answer).lower():
        return "take `field_ttl_s` out; fields of a hash can end since Redis 7.4 and Valkey 9.0."
    return f"correct the value; it is written by {write.command[0]!r}."


async def write_ttls(client: Redis, seed: RedisSeed) -> int:
    """Set the times to live of ``seed`` by commands; the server's time in ms from which they count."""
    seconds, microseconds = await client.time()
    base = int(seconds) * 1000 + int(microseconds) // 1000
    commands: list[tuple[Any, ...]] = [("PEXPIREAT", key, base + after) for key, after in seed.ttls.items()]
    for (key, name), after in seed.field_ttls.items():
        commands.append(("HPEXPIREAT", key, base + after, "FIELDS", 1, name))
    for start in range(0, len(commands), BATCH):
        async with client.pipeline(transaction=False) as pipeline:
            for command in commands[start : start + BATCH]:
                pipeline.execute_command(*command)
            await pipeline.execute()
    return base


async def _flush(endpoint: Any, number: int) -> None:
    client = connection(endpoint, number)
    try:
        await client.flushdb(asynchronous=True)
    finally:
        await client.aclose()


def _server_words(answer: Exception) -> str:
    """The server's answer without what redis-py tells of its pipeline."""
    text = str(answer)
    return text.rpartition(" of pipeline caused error: ")[2] or text
