"""What a test changed in Redis, against the seed: complete, comparable, in a stable order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import client
from realstack.state.redis_changes import RedisChanges, RedisValue
from realstack.state.redis_state import RedisState

SEED = """
string: v
list: [a, b]
hash: {f: 1, g: two}
set: {type: set, value: [a, b]}
zset: {type: zset, value: {low: 1, high: 2}}
stream: {type: stream, value: [{a: 1}, {id: 7-1, fields: {b: 2}}], groups: {readers: 1-0}}
bitmap: {type: bitmap, value: [0, 7]}
unique: {type: hyperloglog, value: [a, b]}
places: {type: geo, value: {Rome: [12.5, 41.9]}}
timed: {value: x, ttl_s: 60}
brief: {value: x, ttl_s: 0.05}
"""


@pytest.fixture(params=["embedded", "external"])
async def state(empty_redis: Endpoint, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RedisState]:
    (tmp_path / "seed.yaml").write_text(SEED.replace("0.05", "600"))
    async with client(empty_redis, database=0) as control:
        await control.set("realstack:mark", "{}")
    made = RedisState(replace(empty_redis, provider=request.param), RedisPlan(tmp_path, ("seed.yaml",)), "gw0", "r1")
    yield made
    await made.close()


def opened(endpoint: Endpoint) -> Any:
    return client(endpoint)


async def test_nothing_changed_is_false_and_empty(state: RedisState) -> None:
    lent = await state.lend()
    for _ in range(2):
        changes = await state.changes(lent)
        assert not changes
        assert changes == {}
        assert changes.text() == ""
        await state.reset(lent)


async def test_keys_of_every_type_are_compared_by_what_they_hold(state: RedisState) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.set("string", b"\xff")
        await redis.rpush("list", "c")
        await redis.hset("hash", "g", "three")
        await redis.srem("set", "a")
        await redis.zincrby("zset", 1.5, "low")
        await redis.xadd("stream", {"c": "3"}, id="8-1")
        await redis.setbit("bitmap", 7, 0)
        await redis.geoadd("places", (1, 1, "Sea"))
        await redis.pfadd("unique", "c")
        changes = await state.changes(lent)
        assert list(changes.changed) == sorted(changes.changed)
        told = changes.as_dict()["changed"]
        assert told.pop("places")[1].keys() == {"Rome", "Sea"}
        assert {type(value) for value in told.pop("unique")} <= {str, bytes}
        old, new = told.pop("stream")
        assert old["entries"] == {"1-0": {"a": "1"}, "7-1": {"b": "2"}}
        assert new["entries"] == {**old["entries"], "8-1": {"c": "3"}}
        assert told == {
            "bitmap": (b"\x81", b"\x80"),
            "hash": ({"f": "1", "g": "two"}, {"f": "1", "g": "three"}),
            "list": (["a", "b"], ["a", "b", "c"]),
            "set": ({"a", "b"}, {"b"}),
            "string": ("v", b"\xff"),
            "zset": ({"low": 1.0, "high": 2.0}, {"high": 2.0, "low": 2.5}),
        }
        await state.reset(lent)
        assert await state.changes(lent) == {}


async def test_what_a_group_has_read_is_a_change(state: RedisState) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.xreadgroup("readers", "ann", {"stream": ">"})
        ((_, (old, new)),) = (await state.changes(lent)).as_dict()["changed"].items()
        assert old["groups"] == {"readers": {"last_id": "1-0", "pending": {}, "consumers": []}}
        assert new["groups"] == {"readers": {"last_id": "7-1", "pending": {"7-1": "ann"}, "consumers": ["ann"]}}


async def test_added_removed_retyped_and_retimed(state: RedisState) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.set("new", "1", ex=100)
        await redis.lpush("more", "x")
        await redis.delete("hash", "timed")
        await redis.delete("list")
        await redis.set("list", "now text")
        await redis.persist("brief")
        await redis.expire("string", 500)
        assert await state.changes(lent) == {
            "added": {"more": ["x"], "new": "1"},
            "changed": {"list": (["a", "b"], "now text")},
            "removed": {"hash": {"f": "1", "g": "two"}, "timed": "x"},
            "retimed": {"brief": (600.0, None), "string": (None, 500.0)},
        }


async def test_a_field_with_an_end_of_its_own_is_told(state: RedisState) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.hexpire("hash", 100, "g")
        assert await state.changes(lent) == {"retimed": {"hash[g]": (None, 100.0)}}
        await state.reset(lent)
        assert await state.changes(lent) == {}
        assert await redis.httl("hash", "f", "g") == [-1, -1]


FIELDS = (
    "timed: {value: {a: 1, b: 2, c: 3}, field_ttl_s: {a: 60, b: 0.3}}\nbrief: {value: {x: 1}, field_ttl_s: {x: 0.3}}"
)


@pytest.mark.parametrize("kind", ["swapped", "copied", "written", "prefixed"])
async def test_fields_end_as_the_seed_says_and_whoever_moves_that_is_told(
    empty_redis: Endpoint, tmp_path: Path, kind: str
) -> None:
    async with opened(replace(empty_redis, database="0")) as control:
        await control.set("realstack:mark", "{}")
    (tmp_path / "seed.yaml").write_text(FIELDS)
    provider = "external" if kind == "written" else "embedded"
    plan = RedisPlan(tmp_path, ("seed.yaml",), key_prefix=kind == "prefixed")
    state = RedisState(replace(empty_redis, provider=provider), plan, "gw0", "r1")
    lent = await state.lend()
    prefix = lent.options.get("key_prefix", "")
    timed, brief = prefix + "timed", prefix + "brief"
    async with opened(lent) as redis:
        for repetition in range(2):
            if kind == "swapped" or repetition:
                report = await state.reset(lent)
                assert report.kind == ("written" if prefix else "swapped" if kind == "copied" else kind)
            assert await redis.exists(brief)
            assert 55 < (await redis.httl(timed, "a"))[0] <= 60
            while await redis.exists(brief):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.005)
            assert await redis.hkeys(timed) == [b"a", b"c"]
            assert await state.changes(lent) == {"expired": ["brief", "timed[b]"]}
            await redis.hpersist(timed, "a")
            await redis.hexpire(timed, 100, "c")
            assert await state.changes(lent) == {
                "expired": ["brief", "timed[b]"],
                "retimed": {"timed[a]": (60.0, None), "timed[c]": (None, 100.0)},
            }
            await redis.hdel(timed, "c")
            await redis.hset(timed, "b", "4")
            assert await state.changes(lent) == {
                "expired": ["brief"],
                "changed": {"timed": ({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4"})},
                "retimed": {"timed[a]": (60.0, None), "timed[b]": (0.3, None)},
            }
    await state.close()


async def test_an_end_that_was_taken_away_is_told_where_nothing_else_differs(
    empty_redis: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "seed.yaml").write_text("timed: {value: {a: 1, b: 2}, field_ttl_s: {a: 60}}")
    state = RedisState(empty_redis, RedisPlan(tmp_path, ("seed.yaml",)), "gw0", "r1")
    lent = await state.lend()
    async with opened(lent) as redis:
        assert await state.changes(lent) == {}
        await redis.delete("timed")
        await redis.hset("timed", mapping={"a": "1", "b": "2"})
        assert await state.changes(lent) == {"retimed": {"timed[a]": (60.0, None)}}
    await state.close()


async def test_after_flushall_every_key_is_missing(state: RedisState) -> None:
    lent = await state.lend()
    await state.reset(lent)
    async with opened(lent) as redis:
        await redis.execute_command("FLUSHALL")
        async with opened(replace(lent, database="0")) as control:
            await control.set("realstack:mark", "{}")  # which a given server needs
        changes = await state.changes(lent)
        assert len(changes.removed) == 11
        assert not changes.added


async def test_the_same_again_is_no_change(state: RedisState) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.set("string", "other")
        await redis.set("string", "v")
        await redis.sadd("set", *(f"m{n}" for n in range(600)))  # another encoding from now on
        await redis.srem("set", *(f"m{n}" for n in range(600)))
        assert await state.changes(lent) == {}


async def test_what_ended_as_the_seed_says_is_expired(empty_redis: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text(SEED)
    state = RedisState(empty_redis, RedisPlan(tmp_path, ("seed.yaml",)), "gw0", "r1")
    lent = await state.lend()
    async with opened(lent) as redis:
        while await redis.exists("brief"):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)
        changes = await state.changes(lent)
        assert changes == {"expired": ["brief"]}
        assert changes.text() == "- brief: expired"
        await state.reset(lent)
        assert await redis.exists("brief")
    await state.close()


async def test_many_keys_are_compared(empty_redis: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("\n".join(f"key:{n}: {n}" for n in range(3000)))
    state = RedisState(empty_redis, RedisPlan(tmp_path, ("seed.yaml",)), "gw0", "r1")
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.delete("key:7")
        await redis.set("key:2999", "x")
        await redis.set("key:3000", "x")
        changes = await state.changes(lent)
        assert changes == {
            "added": {"key:3000": "x"},
            "changed": {"key:2999": ("2999", "x")},
            "removed": {"key:7": "7"},
        }
        assert changes.without("key:2*", "key:7") == {"added": {"key:3000": "x"}}
    await state.close()


def test_the_text_is_short_and_in_order() -> None:
    text = RedisValue("string", "x" * 200)
    changes = RedisChanges(
        {f"new:{n}": RedisValue("set", {"b", "a"}) for n in range(3)},
        {"k": (RedisValue("string", "1"), text)},
        {"gone": RedisValue("list", ["a"])},
        ("late",),
        {"k": (60.0, None)},
    )
    lines = changes.text(5).splitlines()
    assert lines[0] == "+ new:0: set ['a', 'b']"
    assert lines[3].startswith("~ k: string '1' → string 'xxx")
    assert len(lines[3]) < 120
    assert lines[4] == "~ k: ends in 60 s → never"
    assert lines[5] == "… and 2 more"
    assert changes.text().splitlines()[-2:] == ["- gone: list ['a']", "- late: expired"]
    assert changes.as_dict()["expired"] == ["late"]
    assert (changes == 1) is False
