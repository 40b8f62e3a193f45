"""A worker gets a logical database of its own at the seed, and touches no other."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from realstack.errors import NotOurs, RealstackError, SeedFailed
from realstack.model import Endpoint, RedisPlan, ServiceSpec
from realstack.readiness import until_ready
from realstack.services.redis import SOCKET_NAME, Redis, client
from realstack.services.redis_local import RedisRecipe
from realstack.state.redis_databases import DatabaseLender
from realstack.state.redis_state import RedisState

SEED = """
string: v
bytes: !!binary AP8=
list: [a, b, a]
hash: {f: 1}
set: {type: set, value: [a, b]}
zset: {type: zset, value: {low: 1, high: .inf}}
stream: {type: stream, value: [{a: 1}, {id: 7-1, fields: {b: 2}}], groups: {readers: 1-0}}
bitmap: {type: bitmap, value: [0, 7]}
unique: {type: hyperloglog, value: [a, b, a]}
places: {type: geo, value: {Rome: [12.5, 41.9]}}
short: {value: gone soon, ttl_s: 60}
"""


@pytest.fixture
def plan(tmp_path: Path) -> RedisPlan:
    (tmp_path / "seed.yaml").write_text(SEED)
    return RedisPlan(tmp_path, ("seed.yaml",))


async def test_every_type_is_written(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    async with client(await state.lend()) as redis:
        assert await redis.get("string") == b"v"
        assert await redis.get("bytes") == b"\x00\xff"
        assert await redis.lrange("list", 0, -1) == [b"a", b"b", b"a"]
        assert await redis.hgetall("hash") == {b"f": b"1"}
        assert await redis.smembers("set") == {b"a", b"b"}
        assert await redis.zscore("zset", "high") == float("inf")
        assert await redis.xlen("stream") == 2
        assert (await redis.xinfo_groups("stream"))[0]["name"] in (b"readers", "readers")
        assert await redis.bitcount("bitmap") == 2
        assert await redis.pfcount("unique") == 2
        assert len(await redis.geosearch("places", longitude=12.5, latitude=41.9, radius=1, unit="km")) == 1
        assert 0 < await redis.pttl("short") <= 60_000
        assert await redis.dbsize() == 11
    await state.close()


async def test_each_lend_is_at_the_seed_whatever_the_last_test_did(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    first = await state.lend()
    async with client(first) as redis:
        await redis.delete("string")
        await redis.set("more", "1")
        await redis.persist("short")
        await state.give_back(first)
        again = await state.lend()
        assert again.database == first.database
        assert await redis.get("string") == b"v"
        assert await redis.exists("more") == 0
        assert await redis.pttl("short") > 0
    await state.close()


async def test_workers_get_databases_of_their_own_and_reset_no_other(empty_redis: Endpoint, plan: RedisPlan) -> None:
    states = [DatabaseLender(empty_redis, plan, f"gw{number}", "r1") for number in range(4)]
    lent = await asyncio.gather(*(state.lend() for state in states))
    assert len({each.database for each in lent}) == 4
    assert "0" not in {each.database for each in lent}
    async with client(lent[0]) as redis:
        await redis.set("mine", "1")
        await states[1].give_back(lent[1])
        await states[1].lend()
        assert await redis.get("mine") == b"1"
    for state in states:
        await state.close()


async def test_one_worker_may_hold_two(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    one, two = await state.lend(), await state.lend()
    assert one.database != two.database
    assert repr(state) == "<DatabaseLender gw0 2 lent, 2 leased>"
    await state.give_back(one)
    with pytest.raises(NotOurs):
        await state.give_back(one)
    await state.close()
    await state.close()


async def test_closing_leaves_the_sealed_seed_alone(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    await state.give_back(await state.lend())
    await state.lend()
    await state.close()
    async with client(empty_redis, database=0) as control:
        assert set(await control.info("keyspace")) == {"db0", "db4095"}
        assert [key async for key in control.scan_iter(match="realstack:lease:*")] == [b"realstack:lease:4095"]


async def test_closing_leaves_a_given_server_no_keys_and_no_lease(empty_redis: Endpoint, plan: RedisPlan) -> None:
    async with client(empty_redis, database=0) as control:
        await control.set("realstack:mark", "{}")
        state = DatabaseLender(replace(empty_redis, provider="external"), plan, "gw0", "r1")
        await state.give_back(await state.lend())
        await state.lend()
        assert state.last_reset is not None
        assert state.last_reset.kind == "written"
        await state.close()
        assert set(await control.info("keyspace")) == {"db0"}
        assert await control.keys("*") == [b"realstack:mark"]


async def _lease(control: Client, number: int, **facts: object) -> None:
    await control.set(f"realstack:lease:{number}", json.dumps({"run": "r0", "worker": "gw0", **facts}))


@pytest.mark.parametrize(
    ("facts", "free"),
    [
        ({"host": socket.gethostname(), "pid": 2**22 + 1, "started": 1.0, "until": 9e9}, True),
        ({"host": "elsewhere", "pid": 1, "started": 1.0, "until": 1.0}, True),
        ({"host": "elsewhere", "pid": 1, "started": 1.0, "until": 9e9}, False),
    ],
    ids=["its process is dead", "another machine's is out of time", "another machine's holds"],
)
async def test_a_lease_ends_with_its_owner(
    empty_redis: Endpoint, plan: RedisPlan, facts: dict[str, object], *, free: bool
) -> None:
    async with client(empty_redis, database=0) as control, client(empty_redis, database=1) as left:
        await _lease(control, 1, **facts)
        await left.set("left", "1")
        state = DatabaseLender(empty_redis, plan, "gw0", "r1")
        assert ((await state.lend()).database == "1") is free
        assert await left.exists("left") == (not free)
        await state.close()


async def test_a_worker_whose_lease_was_taken_over_moves_on(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    await state.give_back(await state.lend())
    async with client(empty_redis, database=0) as control:
        await _lease(control, 1, host="elsewhere", pid=1, started=1.0, until=9e9)
        assert (await state.lend()).database == "2"
    await state.close()


async def test_a_test_that_flushed_the_whole_server_does_no_lasting_harm(
    empty_redis: Endpoint, plan: RedisPlan
) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    lent = await state.lend()
    async with client(lent) as redis:
        await redis.flushall()
        await state.give_back(lent)
        assert (await state.lend()).database == lent.database
        assert await redis.get("string") == b"v"
    await state.close()


async def test_more_workers_than_databases_is_told_with_a_remedy(empty_redis: Endpoint, plan: RedisPlan) -> None:
    async with client(empty_redis, database=0) as control:
        count = int((await control.config_get("databases"))["databases"] or 0)
        for number in range(1, count):
            await _lease(control, number, host="elsewhere", pid=1, started=1.0, until=9e9)
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    with pytest.raises(RealstackError, match=rf"has {count} databases") as caught:
        await state.lend()
    assert "--databases" in caught.value.remedy
    await state.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nk: {type: stream, value: [{id: 5-1, fields: {a: 1}}, {a: 2}]}", "seed.yaml:2: the key 'k': "),
        ("k: {type: geo, value: {x: [500, 0]}}", "seed.yaml:1: the key 'k': invalid longitude"),
        ("k: {type: json, value: {}}", "seed.yaml:1: the key 'k': unknown command"),
    ],
)
async def test_what_the_server_refuses_names_file_and_key(
    empty_redis: Endpoint, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "seed.yaml").write_text(text)
    state = DatabaseLender(empty_redis, RedisPlan(tmp_path, ("seed.yaml",)), "gw0", "r1")
    with pytest.raises(SeedFailed) as caught:
        await state.lend()
    assert said in str(caught.value)
    assert "pipeline" not in str(caught.value)
    await state.close()


@pytest.fixture
async def server_without_ends_of_fields(tmp_path: Path) -> AsyncIterator[Endpoint]:
    """A server that does not know the command, as Redis 7.2 and Valkey 8 do not."""
    program = RedisRecipe(ServiceSpec("redis", "redis", "redis", 6379))._program
    assert program
    arguments = ["--port", "0", "--save", "", "--databases", "80", "--unixsocket", str(tmp_path / SOCKET_NAME)]
    for name in ("HPTTL", "HPEXPIREAT"):
        arguments += ["--rename-command", name, ""]
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.DEVNULL, cwd=tmp_path)
    endpoint = Endpoint("redis", "redis", "127.0.0.1", 1, "redis", socket_dir=tmp_path, provider="embedded")
    try:
        yield await until_ready("redis", lambda: Redis().probe(endpoint), within_s=10, died=lambda: None, log=list)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("key_prefix", [False, True])
async def test_a_server_whose_fields_cannot_end_refuses_such_a_seed_by_file_line_and_key(
    server_without_ends_of_fields: Endpoint, tmp_path: Path, *, key_prefix: bool
) -> None:
    (tmp_path / "seed.yaml").write_text("a: 1\nk: {value: {f: 1}, field_ttl_s: {f: 60}}")
    plan = RedisPlan(tmp_path, ("seed.yaml",), key_prefix=key_prefix)
    state = RedisState(server_without_ends_of_fields, plan, "gw0", "r1")
    with pytest.raises(SeedFailed, match=r"seed\.yaml:2: the key 'k': unknown command") as caught:
        await state.lend()
    assert "since Redis 7.4 and Valkey 9.0" in caught.value.remedy
    await state.close()


async def test_a_server_that_is_gone_is_no_error_at_the_end(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    number = int((await state.lend()).database or 0)
    await state._without_clone(number)
    await state._clients[number].aclose()
    state._clients[number] = client(replace(empty_redis, port=1, socket_dir=None), retry=Retry(NoBackoff(), 0))
    await state.close()
    assert repr(state) == "<DatabaseLender gw0 0 lent, 0 leased>"
