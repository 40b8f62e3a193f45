"""Where a server has one database, workers share it by prefixes of keys, and tests read the same."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from realstack.errors import NotOurs, RealstackError
from realstack.handles.background import BackgroundLoop
from realstack.handles.redis import RedisDatabase
from realstack.model import Endpoint, RedisPlan, Run, ServiceSpec
from realstack.providers.embedded import Embedded
from realstack.readiness import until_ready
from realstack.registry import new_run_id
from realstack.services import service
from realstack.services.redis import client
from realstack.state.ownership import assert_ours
from realstack.state.redis_state import RedisState, restore_redis

SEED = """
string: v
list: [a, b, a]
hash: {f: 1, g: two}
set: {type: set, value: [a, b]}
zset: {type: zset, value: {low: 1, high: 2}}
stream: {type: stream, value: [{a: 1}], groups: {readers: 0}}
timed: {value: x, ttl_s: 60}
"""
NODES = {"one database": 0, "a cluster of one": 1, "a cluster of three": 3}
SLOTS = 16384


@pytest.fixture(scope="module", params=NODES)
def server(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    nodes = NODES[request.param]
    specs, buses = [], [_free_port() for _ in range(nodes or 1)]
    for number, bus in enumerate(buses):
        clustered = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
        command = ("redis-server", *(clustered if nodes else ("--databases", "1")))
        specs.append(ServiceSpec(f"redis{number}", "redis", "redis", 6379, command=command))
    folder = Path(tempfile.mkdtemp(prefix="realstack-test-redis-"))
    folder.chmod(0o711)
    run = Run(new_run_id(), folder, os.getpid(), psutil.Process().create_time(), "tests")
    loop, kind = BackgroundLoop(), service("redis")
    try:
        running = loop.enter(Embedded({spec.name: kind.recipe(spec) for spec in specs}).running(specs, run))
        endpoints = []
        for spec in specs:
            process = running[spec.name]
            # A cluster's nodes are found by host and port.
            endpoint = replace(kind.endpoint(spec, process.address, "embedded"), socket_dir=None)
            ready = until_ready(
                spec.name,
                lambda endpoint=endpoint: kind.probe(endpoint),  # type: ignore[misc]
                within_s=30,
                died=process.died,
                log=process.log_lines,
            )
            endpoints.append(loop.run(ready))
        if nodes:
            loop.run(_joined(endpoints, buses))
        yield endpoints[0]
    finally:
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _joined(endpoints: list[Endpoint], buses: list[int]) -> None:
    """Make one cluster of the nodes, each with its share of the slots."""
    nodes: list[Any] = [client(replace(endpoint, options={})) for endpoint in endpoints]
    share = -(-SLOTS // len(nodes))
    for number, node in enumerate(nodes):
        last = min(SLOTS, (number + 1) * share) - 1
        await node.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
        if number:
            await nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", endpoints[number].port, buses[number])
    async with asyncio.timeout(30):
        for node in nodes:
            # The server tells nobody: it must be asked.
            while not _is_whole(await node.execute_command("CLUSTER INFO"), len(nodes)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await node.aclose()


def _is_whole(info: dict[str, str], nodes: int) -> bool:
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(nodes)


@pytest.fixture
async def empty(server: Endpoint) -> Endpoint:
    async with client(server) as control:
        await control.flushall()
    return server


@pytest.fixture
def plan(tmp_path: Path) -> RedisPlan:
    (tmp_path / "seed.yaml").write_text(SEED)
    return RedisPlan(tmp_path, ("seed.yaml",))


@pytest.fixture
async def state(empty: Endpoint, plan: RedisPlan) -> AsyncIterator[RedisState]:
    made = RedisState(empty, plan, "gw0", "r1")
    yield made
    await made.close()


async def names(endpoint: Endpoint) -> set[bytes]:
    """All keys of the server, as it has them."""
    async with client(endpoint) as control:
        return {key async for key in control.scan_iter()}


def prefix_of(lent: Endpoint) -> str:
    return lent.options["key_prefix"]


async def test_a_prefix_is_lent_where_there_is_one_database(state: RedisState, empty: Endpoint) -> None:
    lent = await state.lend()
    assert prefix_of(lent).startswith("rs:")
    assert state.last_reset is not None
    assert state.last_reset.kind == "written"
    mine = {name for name in await names(empty) if name.startswith(prefix_of(lent).encode())}
    assert {name.decode().removeprefix(prefix_of(lent)) for name in mine} == {
        "string", "list", "hash", "set", "zset", "stream", "timed",
    }  # fmt: skip
    assert service("redis").environment(lent)["REDIS_KEY_PREFIX"] == prefix_of(lent)
    await state.close()
    assert await names(empty) == {b"realstack:mark"}


def handle(state: RedisState, lent: Endpoint) -> RedisDatabase:
    """What a test gets."""
    return RedisDatabase(lent, partial(state.changes, lent))


async def test_a_reset_touches_no_other_key(state: RedisState, empty: Endpoint, plan: RedisPlan) -> None:
    other = RedisState(empty, plan, "gw1", "r1")
    lent, beside = await state.lend(), await other.lend()
    mine, theirs = handle(state, lent), handle(other, beside)
    async with client(empty) as control:
        await control.set("somebody's", "1")
        await control.set("rs:somebody's", "1")
        await theirs.set("string", "theirs")
        await mine.delete("string", "list")
        await mine.set("new", "1")
        await mine.persist("timed")
        report = await state.reset(lent)
        assert report.kind == "written"
        assert await mine.get("string") == b"v"
        assert await mine.lrange("list", 0, -1) == [b"a", b"b", b"a"]
        assert await mine.exists("new") == 0
        assert 59_000 < await mine.pttl("timed") <= 60_000
        assert (await mine.xinfo_groups("stream"))[0]["name"] in (b"readers", "readers")
        assert await theirs.get("string") == b"theirs"
        assert await control.get("somebody's") == b"1"
        assert await control.get("rs:somebody's") == b"1"
    await mine.aclose()
    await theirs.aclose()
    await other.close()


async def test_changes_are_told_without_the_prefix(state: RedisState, empty: Endpoint) -> None:
    lent = await state.lend()
    redis = handle(state, lent)
    assert await state.changes(lent) == {}
    await redis.set("string", "w")
    await redis.rpush("new", "x")
    await redis.delete("hash")
    await redis.persist("timed")
    await redis.sadd("set", "c")
    await redis.expire("list", 100)
    assert await redis.changes() == {
        "added": {"new": ["x"]},
        "changed": {"string": ("v", "w"), "set": ({"a", "b"}, {"a", "b", "c"})},
        "removed": {"hash": {"f": "1", "g": "two"}},
        "retimed": {"timed": (60.0, None), "list": (None, 100.0)},
    }
    prefixes = {name.split(b":")[1] for name in await names(empty) if name.startswith(b"rs:")}
    assert len(prefixes) == 1  # what it was compared with is gone
    await redis.aclose()


async def test_what_a_killed_worker_left_is_swept(empty: Endpoint, plan: RedisPlan) -> None:
    dead = {"run": "r0", "worker": "gw0", "host": socket.gethostname(), "pid": 2**22 + 1, "started": 1.0, "until": 9e9}
    alive = {**dead, "host": "elsewhere"}
    async with client(empty) as control:
        for prefix, facts in (("rs:dead1:", dead), ("rs:dead2:", dead), ("rs:alive:", alive)):
            await control.set(f"realstack:lease:{prefix}", json.dumps(facts))
            await control.set(f"{prefix}k", "1")
        state = RedisState(empty, plan, "gw0", "r1")
        lent = await state.lend()
        left = {name for name in await names(empty) if not name.startswith(prefix_of(lent).encode())}
        assert left == {
            b"realstack:mark", b"realstack:lease:rs:alive:", b"rs:alive:k",
            f"realstack:lease:{prefix_of(lent)}".encode(),
        }  # fmt: skip
        await state.close()


async def test_a_given_server_without_our_mark_is_not_written(empty: Endpoint, plan: RedisPlan) -> None:
    given = replace(empty, provider="external")
    state = RedisState(given, plan, "gw0", "r1")
    with pytest.raises(NotOurs, match="without realstack's mark"):
        await state.lend()
    assert await names(empty) == set()
    async with client(empty) as control:
        await control.set("somebody's", "1")
    with pytest.raises(NotOurs, match="holds keys"):
        await assert_ours(given, declared_disposable=True)
    assert await names(empty) == {b"somebody's"}
    async with client(empty) as control:
        await control.delete("somebody's")
    await assert_ours(given, declared_disposable=True)
    await state.lend()
    await state.close()
    assert await names(empty) == {b"realstack:mark"}


async def test_a_lease_that_was_taken_over_is_left_alone(state: RedisState, empty: Endpoint) -> None:
    lent = await state.lend()
    redis = handle(state, lent)
    theirs = {"host": "elsewhere", "pid": 1, "started": 1.0, "until": 9e9}
    async with client(empty) as control:
        await control.set(f"realstack:lease:{prefix_of(lent)}", json.dumps(theirs))
    await redis.set("new", "1")
    with pytest.raises(NotOurs, match="taken over"):
        await state.reset(lent)
    assert await redis.exists("new") == 1
    assert prefix_of(await state.lend()) != prefix_of(lent)
    await redis.aclose()


async def test_what_emptied_the_one_database_is_told_and_mended(
    state: RedisState, empty: Endpoint, plan: RedisPlan
) -> None:
    lent = await state.lend()
    redis: Any = handle(state, lent)
    listener = redis.pubsub()
    await listener.subscribe("news")
    async with client(empty) as control:
        await control.flushdb()
        report = await state.reset(lent)
        if "cluster" in empty.options:
            assert report.noticed == ()  # nothing but keys is looked at there
        else:
            told = " ".join(report.noticed)
            assert "FLUSHDB emptied the one database" in told
            assert "is subscribed to 1 channel(s)" in told
            other = RedisState(empty, plan, "gw1", "r2")
            await other.lend()
            await listener.subscribe("more")
            assert (await state.reset(lent)).noticed == ()  # it may be the other worker's
            await other.close()
    assert await redis.get("string") == b"v"
    await listener.aclose()
    await redis.aclose()


async def test_any_process_may_restore_what_is_lent(state: RedisState, plan: RedisPlan) -> None:
    lent = await state.lend()
    redis = handle(state, lent)
    await redis.delete("string")
    await redis.set("new", "1")
    await restore_redis(lent, plan)
    assert await redis.get("string") == b"v"
    assert await redis.exists("new") == 0
    with pytest.raises(NotOurs):
        await restore_redis(replace(lent, options={**lent.options, "key_prefix": "rs:nobody:"}), plan)
    await redis.aclose()


async def test_databases_on_a_cluster_are_refused_with_a_remedy(empty: Endpoint, plan: RedisPlan) -> None:
    state = RedisState(empty, replace(plan, key_prefix=False), "gw0", "r1")
    with pytest.raises(RealstackError) as caught:
        await state.lend()
    assert caught.value.remedy
    await state.close()


# The handle


@pytest.fixture
async def redis(state: RedisState) -> AsyncIterator[Any]:
    made: Any = handle(state, await state.lend())
    yield made
    await made.aclose()


async def test_commands_of_every_form_have_their_keys_prefixed(redis: Any, empty: Endpoint) -> None:
    await redis.flushdb()
    await redis.set("{t}a", "{t}a")  # a value that looks like a key
    await redis.mset({"{t}b": "1", "{t}c": "2"})
    assert await redis.mget("{t}a", "{t}b", "{t}c") == [b"{t}a", b"1", b"2"]
    await redis.eval("redis.call('SET', KEYS[1], ARGV[1])", 1, "{t}script", "{t}a")
    await redis.register_script("redis.call('SET', KEYS[1], ARGV[1])")(keys=["{t}sha"], args=["x"])
    await redis.zadd("{t}z", {"m": 1})
    await redis.zunionstore("{t}union", ["{t}z", "{t}z"])
    await redis.xadd("{t}x", {"f": "v"}, id="1-0")
    await redis.xgroup_create("{t}x", "readers", "0")
    await redis.execute_command("xgroup", "CREATE", "{t}x", "others", "0")
    assert await redis.xreadgroup("readers", "me", {"{t}x": ">"}) in (
        [[b"{t}x", [(b"1-0", {b"f": b"v"})]]],
        {b"{t}x": [[(b"1-0", {b"f": b"v"})]]},
    )
    await redis.bitop("NOT", "{t}not", "{t}a")
    await redis.rename("{t}c", "{t}d")
    await redis.copy("{t}d", "{t}e")
    assert await redis.object("ENCODING", "{t}d") in (b"int", "int")
    assert await redis.memory_usage("{t}d")
    await redis.rpush("{t}l", "2", "1")
    await redis.sort("{t}l", store="{t}sorted")
    assert await redis.lmpop(1, "{t}l", direction="LEFT") == [b"{t}l", [b"2"]]
    async with redis.lock("{t}lock", timeout=5):
        assert await redis.exists("{t}lock") == 1
    everything = ["a", "b", "d", "e", "l", "not", "script", "sha", "sorted", "union", "x", "z"]
    assert sorted(await redis.keys()) == [f"{{t}}{name}".encode() for name in everything]
    assert all(name.startswith((redis.key_prefix.encode(), b"realstack:")) for name in await names(empty))


async def test_replies_name_keys_as_the_test_does(redis: Any) -> None:
    await redis.rpush("queue", "a", "b")
    await redis.zadd("board", {"m": 1, "n": 2})
    assert await redis.blpop(["queue"], timeout=1) in ((b"queue", b"a"), [b"queue", b"a"])
    assert await redis.brpop(["queue"], timeout=1) in ((b"queue", b"b"), [b"queue", b"b"])
    assert list(await redis.bzpopmin(["board"], timeout=1))[:2] == [b"board", b"m"]
    assert (await redis.zmpop(1, ["board"], min=True))[0] == b"board"
    assert b"string" in await redis.keys("str*")
    assert await redis.keys("nothing*") == []
    everything = {b"string", b"list", b"hash", b"set", b"zset", b"stream", b"timed"}
    assert {key async for key in redis.scan_iter()} == everything
    assert {key async for key in redis.scan_iter(match="*st*")} == {b"string", b"list", b"stream"}
    assert await redis.dbsize() == 7
    assert await redis.randomkey() in everything
    streams = await redis.xread({"stream": 0})
    assert (next(iter(streams)) if isinstance(streams, dict) else streams[0][0]) == b"stream"
    await redis.flushdb()
    assert await redis.dbsize() == 0
    assert await redis.randomkey() is None


async def test_pipelines_and_transactions_have_theirs_too(redis: Any, empty: Endpoint) -> None:
    async with redis.pipeline() as pipeline:
        pipeline.set("{t}a", "1").incr("{t}a").get("{t}a")
        assert await pipeline.execute() == [True, 2, b"2"]
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.get("string").lrange("list", 0, -1).get("no such key")
        assert await pipeline.execute() == [b"v", [b"a", b"b", b"a"], None]
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.incr("string").get("string")
        assert isinstance((await pipeline.execute(raise_on_error=False))[0], ResponseError)
    assert {n for n in await names(empty) if not n.startswith((b"realstack:", redis.key_prefix.encode()))} == set()


async def test_a_watched_key_is_ours(redis: Any) -> None:
    async def twice(pipeline: Any) -> None:
        old = await pipeline.get(key)
        pipeline.multi()
        pipeline.set(key, int(old or 1) * 2)

    tags = (f"{{t{number}}}n" for number in range(1000))
    # A transaction that watches goes to the node that was given.
    key = next(key for key in tags if key_slot(f"{redis.key_prefix}{key}".encode()) < SLOTS // 3)
    assert await redis.transaction(twice, key) == [True]
    assert await redis.get(key) == b"2"


@pytest.mark.parametrize("command", ["FLUSHALL", "SWAPDB 0 1", "SELECT 0", "MOVE string 1"])
async def test_what_reaches_other_keys_is_refused(redis: Any, command: str) -> None:
    with pytest.raises(NotOurs) as caught:
        await redis.execute_command(*command.split())
    assert caught.value.remedy
    async with redis.pipeline() as pipeline:
        pipeline.execute_command(*command.split())
        with pytest.raises(NotOurs):
            await pipeline.execute()


async def test_channels_have_no_prefix(redis: Any, empty: Endpoint) -> None:
    listener = redis.pubsub()
    await listener.subscribe("news")
    async with client(replace(empty, options={})) as other:
        await other.publish("news", "x")
        while (message := await listener.get_message(timeout=5)) and message["type"] != "message":
            pass
    assert message is not None
    assert (message["channel"], message["data"]) == (b"news", b"x")
    await listener.aclose()
