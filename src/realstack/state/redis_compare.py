"""Finds what differs in a Redis database, or below a prefix, from another that holds the seed.

Where a script may look into both databases, it finds the keys that differ by their serialised form, so that only
those are read. Sets and hashes of equal content may be serialised in another order: what is read decides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from realstack.state.redis_changes import RedisChanges, RedisValue
from realstack.state.redis_seed import RedisSeed

if TYPE_CHECKING:
    from redis.asyncio import Redis

_BATCH = 500
_NO_FIELD = -2
_TTL_TOLERANCE_MS = 50
"""Times to live are set and looked at in two moments on servers that tell only what is left of them."""

# Serialised forms end with the format's version and a check sum; both databases are of one server.
_COMPARE = """
redis.call('SELECT', ARGV[2])
local found = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4])
local theirs = {}
for i, key in ipairs(found[2]) do theirs[i] = redis.call('DUMP', key) end
redis.call('SELECT', ARGV[1])
local differ = {}
for i, key in ipairs(found[2]) do
  if theirs[i] and redis.call('DUMP', key) ~= theirs[i] then differ[#differ + 1] = key end
end
return {found[1], differ}
"""
_TTL = """
redis.call('SELECT', ARGV[1])
local now = redis.call('TIME')
local base = now[1] * 1000 + math.floor(now[2] / 1000)
local ends = {}
for i, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  ends[i] = left < 0 and tostring(left) or string.format('%.0f', base + left)
end
return ends
"""
_VOLATILE = """
redis.call('SELECT', ARGV[1])
local found = redis.call('SCAN', ARGV[2], 'COUNT', ARGV[3])
local volatile = {}
for _, key in ipairs(found[2]) do
  if redis.call('PTTL', key) ~= -1 then volatile[#volatile + 1] = key end
end
return {found[1], volatile}
"""

_SEAL = b"realstack:seal"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases that are compared; or of a database that both share, the keys with ``prefix``."""

    client: Redis
    number: int = 0
    prefix: bytes = b""


async def compare(before: Side, after: Side, seed: RedisSeed, since_ms: int) -> RedisChanges:
    """The differences of the database ``after`` from ``before``, which holds the seed without times to live.

    The seed's times to live count from ``since_ms`` by the server's clock. Nobody should write meanwhile.
    """
    there, here = await _keys(before), await _keys(after)
    over = _Over(seed, await _now(after) - since_ms + _TTL_TOLERANCE_MS)
    missing = await _values(before, sorted(there - here))
    expired = {key: None for key, value in missing.items() if over.ended(key, value)}
    removed = {key: value for key, value in missing.items() if key not in expired}
    added = await _values(after, sorted(here - there))
    timed = {key for key, _ in seed.field_ttls}  # an end that was taken away leaves the form of the seed's copy
    differ = sorted(await _differing(before, after, there & here) | timed & there & here)
    olds, news = await _values(before, differ), await _values(after, differ)
    retimed = await _retimed(after, there & here, seed.ttls, since_ms)
    hashes = [key for key in differ if key in news and news[key].kind == olds[key].kind == "hash"]
    retimed |= await _retimed_fields(after, hashes, seed, since_ms)
    gone = []
    for key in hashes:
        names = over.fields(key, olds[key], besides=news[key])
        gone += [_of(key, name) for name in names]
        olds[key] = _without(olds[key], names)
    return RedisChanges(
        {_text(key): value for key, value in added.items()},
        {_text(key): (olds[key], news[key]) for key in differ if key in news and olds[key] != news[key]},
        {_text(key): value for key, value in removed.items()},
        (*(_text(key) for key in expired), *gone),
        dict(sorted(retimed.items())),
    )


@dataclass(frozen=True, slots=True)
class _Over:
    """What of ``seed`` has ended by itself, ``after_ms`` after its times to live were set."""

    seed: RedisSeed
    after_ms: int

    def ended(self, key: bytes, value: RedisValue) -> bool:
        """Whether the key's time is over, or that of each field of the hash."""
        if key in self.seed.ttls and self.seed.ttls[key] <= self.after_ms:
            return True
        return value.kind == "hash" and len(self.fields(key, value)) == len(value.value)

    def fields(self, key: bytes, value: RedisValue, *, besides: RedisValue | None = None) -> list[bytes]:
        """Fields of the hash whose time is over, but for those that are in ``besides``."""
        names = [_bytes(name) for name in value.value if besides is None or name not in besides.value]
        return [name for name in names if self.seed.field_ttls.get((key, name), math.inf) <= self.after_ms]


def _without(value: RedisValue, names: list[bytes]) -> RedisValue:
    return replace(value, value={name: each for name, each in value.value.items() if _bytes(name) not in names})


def _of(key: bytes, name: bytes) -> str:
    return f"{_text(key)}[{_text(name)}]"


async def _keys(side: Side) -> set[bytes]:
    found = side.client.scan_iter(match=side.prefix + b"*", count=1000)
    return {key.removeprefix(side.prefix) async for key in found} - {_SEAL}


async def _now(side: Side) -> int:
    seconds, microseconds = await side.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _differing(before: Side, after: Side, keys: set[bytes]) -> set[bytes]:
    if not after.prefix:
        return await _scanned(after, _COMPARE, before.number, after.number) & keys
    ordered = sorted(keys)
    olds, news = await _each(before, "DUMP", ordered), await _each(after, "DUMP", ordered)
    return {key for key, old, new in zip(ordered, olds, news, strict=True) if old != new}


async def _each(side: Side, command: str, keys: list[bytes]) -> list[Any]:
    """The answers to ``command`` for each key, many at a time."""
    answers: list[Any] = []
    for start in range(0, len(keys), _BATCH):
        async with side.client.pipeline(transaction=False) as pipeline:
            for key in keys[start : start + _BATCH]:
                pipeline.execute_command(command, side.prefix + key)
            answers += await pipeline.execute()
    return answers


async def _scanned(side: Side, script: str, *numbers: int) -> set[bytes]:
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, keys = await side.client.eval(script, 0, *numbers, cursor, _BATCH)
        found.update(keys)
        if cursor == b"0":
            return found


async def _retimed(
    after: Side, keys: set[bytes], ttls: Mapping[bytes, int], since_ms: int
) -> dict[str, tuple[float | None, float | None]]:
    ends = await (_ends_by_script if not after.prefix else _ends_by_commands)(after, keys, ttls)
    now, found = await _now(after), {}
    for key, end_ms in sorted(ends.items()):
        wanted = since_ms + ttls[key] if key in ttls else -1
        if end_ms == -2 or abs(end_ms - wanted) <= _TTL_TOLERANCE_MS:
            continue
        left = None if end_ms < 0 else float(max(0, math.ceil((end_ms - now) / 1000)))
        found[_text(key)] = (ttls[key] / 1000 if key in ttls else None, left)
    return found


async def _ends_by_script(side: Side, keys: set[bytes], ttls: Mapping[bytes, int]) -> dict[bytes, int]:
    """By the server's clock in ms, of keys that have an end or should have one; -1 for none, -2 for no such key."""
    looked_at = sorted((await _scanned(side, _VOLATILE, side.number) | ttls.keys()) & keys)
    found: dict[bytes, int] = {}
    for start in range(0, len(looked_at), _BATCH):
        some = looked_at[start : start + _BATCH]
        ends = await side.client.eval(_TTL, len(some), *some, side.number)
        found.update(zip(some, map(int, ends), strict=True))
    return found


async def _ends_by_commands(side: Side, keys: set[bytes], _: Mapping[bytes, int]) -> dict[bytes, int]:
    ordered = sorted(keys)
    now = await _now(side)
    left = map(int, await _each(side, "PTTL", ordered))
    return {key: now + each if each >= 0 else each for key, each in zip(ordered, left, strict=True)}


async def _retimed_fields(
    side: Side, hashes: list[bytes], seed: RedisSeed, since_ms: int
) -> dict[str, tuple[float | None, float | None]]:
    """Fields of these hashes that end at another instant than the seed says."""
    from redis.exceptions import ResponseError

    client: Any = side.client
    now, found = await _now(side), {}
    for key in hashes:
        names = sorted(await client.hkeys(side.prefix + key))
        try:
            ends = await client.execute_command("HPEXPIRETIME", side.prefix + key, "FIELDS", len(names), *names)
        except ResponseError:
            break
        for name, end_ms in zip(names, ends or (), strict=False):
            ttl = seed.field_ttls.get((key, name))
            wanted = -1 if ttl is None else since_ms + ttl
            if end_ms == _NO_FIELD or abs(end_ms - wanted) <= _TTL_TOLERANCE_MS:
                continue
            left = None if end_ms < 0 else float(max(0, math.ceil((end_ms - now) / 1000)))
            found[_of(key, name)] = (None if ttl is None else ttl / 1000, left)
    return found


async def _values(side: Side, keys: Iterable[bytes]) -> dict[bytes, RedisValue]:
    """What the keys hold; those that have ended meanwhile are left out."""
    found = {}
    for key in keys:
        name = side.prefix + key
        kind = _text(await side.client.type(name))
        if kind != "none":
            found[key] = RedisValue(_NAMES.get(kind, kind), await _read(side.client, name, kind))
    return found


async def _read(client: Any, key: bytes, kind: str) -> Any:
    reader = _READERS.get(kind)
    if reader is not None:
        return await reader(client, key)
    if kind == "ReJSON-RL":
        return json.loads(await client.execute_command("JSON.GET", key))
    return await client.dump(key)  # a module's: told apart, if not explained


async def _string(client: Any, key: bytes) -> Any:
    return _plain(await client.get(key))


async def _list(client: Any, key: bytes) -> Any:
    return [_plain(item) for item in await client.lrange(key, 0, -1)]


async def _set(client: Any, key: bytes) -> Any:
    return {_plain(item) for item in await client.smembers(key)}


async def _hash(client: Any, key: bytes) -> Any:
    pairs = await client.hgetall(key)
    return {_plain(name): _plain(value) for name, value in sorted(pairs.items())}


async def _zset(client: Any, key: bytes) -> Any:
    return {_plain(pair[0]): float(pair[1]) for pair in await client.zrange(key, 0, -1, withscores=True)}


async def _stream(client: Any, key: bytes) -> Any:
    """Entries by id, and of each group how far it has read, what is pending, and with whom."""
    entries = {
        _text(identity): {_plain(name): _plain(value) for name, value in fields.items()}
        for identity, fields in await client.xrange(key)
    }
    groups = {}
    for group in await client.xinfo_groups(key):
        name = group["name"]
        pending = await client.xpending_range(key, name, "-", "+", 1000) if group["pending"] else []
        groups[_plain(name)] = {
            "last_id": _text(group["last-delivered-id"]),
            "pending": {_text(each["message_id"]): _plain(each["consumer"]) for each in pending},
            "consumers": sorted(_text(each["name"]) for each in await client.xinfo_consumers(key, name)),
        }
    last = (await client.xinfo_stream(key))["last-generated-id"]
    return {"entries": entries, "groups": groups, "last_id": _text(last)}


_NAMES = {"ReJSON-RL": "json"}
_READERS: dict[str, Callable[[Any, bytes], Any]] = {
    "string": _string,
    "list": _list,
    "set": _set,
    "hash": _hash,
    "zset": _zset,
    "stream": _stream,
}


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _plain(value: bytes | str) -> str | bytes:
    """Text where it is text."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
