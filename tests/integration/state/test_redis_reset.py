"""A reset gives the seed back, fast where a clone is ready and right in any case, and tells what else was done."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import client
from realstack.state import redis_databases
from realstack.state.redis_databases import DatabaseLender
from realstack.state.redis_seed import read_redis_seed

SEED = """
string: v
bytes: !!binary AP8=
list: [a, b, a]
hash: {f: 1, g: two}
set: {type: set, value: [a, b]}
numbers: {type: set, value: [1, 2, 3]}
zset: {type: zset, value: {low: 1, high: .inf}}
stream: {type: stream, value: [{a: 1}, {id: 7-1, fields: {b: 2}}], groups: {readers: 1-0}}
bitmap: {type: bitmap, value: [0, 7]}
unique: {type: hyperloglog, value: [a, b, a]}
places: {type: geo, value: {Rome: [12.5, 41.9]}}
string in time: {value: gone soon, ttl_s: 60}
list in time: {value: [a], ttl_s: 61}
hash in time: {value: {a: 1}, ttl_s: 62}
set in time: {type: set, value: [a], ttl_s: 63}
zset in time: {type: zset, value: {a: 1}, ttl_s: 64}
stream in time: {type: stream, value: [{a: 1}], groups: {readers: 0}, ttl_s: 65}
"""
TTLS = {b"%s in time" % kind: 1000 * (60 + n) for n, kind in enumerate(b"string list hash set zset stream".split())}


@pytest.fixture
def plan(tmp_path: Path) -> RedisPlan:
    (tmp_path / "seed.yaml").write_text(SEED)
    return RedisPlan(tmp_path, ("seed.yaml",))


@pytest.fixture
async def state(empty_redis: Endpoint, plan: RedisPlan) -> AsyncIterator[DatabaseLender]:
    made = DatabaseLender(empty_redis, plan, "gw0", "r1")
    yield made
    await made.close()


def opened(endpoint: Endpoint, **options: Any) -> Any:
    """A client to which any command may be sent."""
    return client(endpoint, **options)


async def image(redis: Any) -> dict[bytes, bytes]:
    """Every key in the server's own serialised form."""
    return {key: await redis.dump(key) for key in sorted([key async for key in redis.scan_iter()])}


async def times(state: DatabaseLender, lent: Endpoint, redis: Any) -> dict[bytes, int]:
    """Each key's end, in ms after the reset; keys without one are left out."""
    ends = {key: await redis.pexpiretime(key) for key in [key async for key in redis.scan_iter()]}
    since = state._since[int(lent.database or 0)]
    return {key: end - since for key, end in ends.items() if end != -1}


async def prepared(state: DatabaseLender) -> None:
    """Until the clone for the next reset is ready."""
    assert await asyncio.gather(*(clone.task for clone in state._clones.values() if clone.task)) == [True]


async def test_the_first_reset_copies_and_later_ones_swap(state: DatabaseLender) -> None:
    lent = await state.lend()
    assert state.last_reset is not None
    assert state.last_reset.kind == "copied"
    async with opened(lent) as redis:
        first = await image(redis)
        assert await times(state, lent, redis) == TTLS
        for _ in range(3):
            await redis.flushdb()
            assert await redis.set("other", "1")
            report = await state.reset(lent)
            assert (report.kind, report.noticed) == ("swapped", ())
            assert await image(redis) == first
            assert await times(state, lent, redis) == TTLS


async def test_a_clone_that_is_not_ready_is_waited_for(state: DatabaseLender) -> None:
    lent = await state.lend()
    for _ in range(20):  # at once, one after the other: the clone has had no time
        assert (await state.reset(lent)).kind == "swapped"
        async with opened(lent) as redis:
            assert await redis.dbsize() == 17


async def test_connections_stay_and_see_the_seed(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent, single_connection_client=True) as redis:
        identity = await redis.client_id()
        await redis.delete("string")
        await state.reset(lent)
        assert await redis.get("string") == b"v"
        assert await redis.client_id() == identity


async def test_keys_that_expired_come_back(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        for key in TTLS:
            await redis.pexpireat(key, 1)
        assert await redis.exists(*TTLS) == 0
        await state.reset(lent)
        assert await redis.exists(*TTLS) == 6
        assert await times(state, lent, redis) == TTLS


async def test_two_workers_share_the_sealed_seed_and_nothing_else(empty_redis: Endpoint, plan: RedisPlan) -> None:
    states = [DatabaseLender(empty_redis, plan, f"gw{number}", "r1") for number in range(3)]

    async def works(state: DatabaseLender) -> None:
        for _ in range(15):
            lent = await state.lend()
            async with opened(lent) as redis:
                assert await redis.dbsize() == 17
                assert await redis.get("string") == b"v"
                await redis.set("string", repr(state))
                await redis.set("more", "1")
                await asyncio.sleep(0)
                assert await redis.get("string") == repr(state).encode()
            await state.give_back(lent)

    await asyncio.gather(*(works(state) for state in states))
    async with opened(empty_redis, database=0) as control:
        assert len(await control.keys("realstack:seed:????????????????????????????????")) == 1
    for state in states:
        assert state.last_reset is not None
        assert state.last_reset.kind == "swapped"
        await state.close()


async def test_a_server_of_few_databases_keeps_them_for_workers(state: DatabaseLender, empty_redis: Endpoint) -> None:
    state._leases.databases = 16
    lent = await state.lend()
    assert (await state.reset(lent)).kind == "copied"
    async with opened(empty_redis, database=0) as control:
        assert set(await control.info("keyspace")) == {"db0", "db1", "db15"}


async def test_without_a_database_for_the_seal_the_seed_is_written(empty_redis: Endpoint, plan: RedisPlan) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    state._leases.databases = 2
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.flushdb()
        assert (await state.reset(lent)).kind == "written"
        assert await redis.dbsize() == 17
        assert await times(state, lent, redis) == TTLS
    await state.close()


async def test_an_empty_seed_leaves_an_empty_database(empty_redis: Endpoint, tmp_path: Path) -> None:
    state = DatabaseLender(empty_redis, RedisPlan(tmp_path), "gw0", "r1")
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.set("a", "1")
        await state.reset(lent)
        assert await redis.dbsize() == 0
        await redis.set("a", "1")
        assert await state.changes(lent) == {"added": {"a": "1"}}
    await state.close()


async def test_another_seed_frees_the_copy_that_nobody_uses(empty_redis: Endpoint, plan: RedisPlan) -> None:
    old = DatabaseLender(empty_redis, plan, "gw0", "r1")
    await old.lend()
    await old.close()
    (plan.root / "seed.yaml").write_text("only: {value: 1, ttl_s: 9}")
    new = DatabaseLender(empty_redis, plan, "gw0", "r2")
    lent = await new.lend()
    async with opened(empty_redis, database=0) as control:
        assert len(await control.keys("realstack:seed:*")) == 2
        assert sorted(await control.keys("realstack:lease:*"))[0] == b"realstack:lease:1"
    await new.reset(lent)
    async with opened(lent) as redis:
        assert await redis.keys() == [b"only"]
    await new.close()


async def test_the_copy_of_a_seed_in_use_is_kept(empty_redis: Endpoint, plan: RedisPlan) -> None:
    old = DatabaseLender(empty_redis, plan, "gw0", "r1")
    lent = await old.lend()
    (plan.root / "seed.yaml").write_text("only: 1")
    new = DatabaseLender(empty_redis, plan, "gw0", "r2")
    await new.lend()
    assert (await old.reset(lent)).noticed == ()
    async with opened(lent) as redis:
        assert await redis.dbsize() == 17
    await old.close()
    await new.close()


# What an application does to the server


@pytest.mark.parametrize("command", ["FLUSHALL", "SWAPDB 1 4095", "SWAPDB 1 4094", "SWAPDB 4095 4094", "SWAPDB 0 1"])
async def test_what_reaches_other_databases_is_told_and_mended(
    empty_redis: Endpoint, state: DatabaseLender, plan: RedisPlan, command: str
) -> None:
    neighbour = DatabaseLender(empty_redis, plan, "gw1", "r1")
    lent, beside = await state.lend(), await neighbour.lend()
    async with opened(lent) as redis:
        seed = await written_by_hand(empty_redis, plan)
        for _ in range(2):
            await redis.execute_command(*command.split())
            for worker, held in ((state, lent), (neighbour, beside)):
                try:
                    told = " ".join((await worker.reset(held)).noticed)
                except NotOurs:  # its lease went with database 0; the next lend gets a new one
                    assert command.startswith("SWAPDB 0")
                    continue
                assert command.split(maxsplit=1)[0] in told
            lent, beside = await _again(state, lent), await _again(neighbour, beside)
            for held in (lent, beside):
                async with opened(held) as checked:
                    assert await image(checked) == seed
            if command.startswith("SWAPDB 0"):
                break
    await neighbour.close()


async def _again(state: DatabaseLender, lent: Endpoint) -> Endpoint:
    if int(lent.database or 0) in state._lent:
        await state.give_back(lent)
    return await state.lend()


async def test_a_write_into_the_sealed_copy_is_told_and_mended(empty_redis: Endpoint, state: DatabaseLender) -> None:
    lent = await state.lend()
    await prepared(state)
    async with opened(empty_redis, database=4095) as sealed:
        await sealed.set("stray", "1")
    assert (await state.reset(lent)).kind == "swapped"  # that clone was ready before
    report = await state.reset(lent)
    assert report.kind == "copied"
    assert "sealed copy" in " ".join(report.noticed)
    async with opened(lent) as redis:
        assert await redis.dbsize() == 17
        assert (await state.reset(lent)).noticed == ()


async def test_server_wide_changes_are_put_back_while_nobody_else_works(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await redis.execute_command("ACL SETUSER eve on nopass ~* +@all")
        await redis.execute_command("ACL SETUSER default -debug")
        await redis.function_load("#!lua name=mine\nredis.register_function('f', function() return 1 end)")
        told = (await state.reset(lent)).noticed
        assert [sentence.rpartition(";")[2] for sentence in told] == [" it was put back"] * 4
        assert "maxmemory-policy from 'noeviction' to 'allkeys-lru'" in told[0]
        assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert await redis.acl_users() == [b"default"] or await redis.acl_users() == ["default"]
        assert "-debug" not in str(await redis.acl_list())
        assert await redis.function_list() == []
        assert (await state.reset(lent)).noticed == ()


async def test_server_wide_changes_are_only_told_while_another_works(
    empty_redis: Endpoint, state: DatabaseLender, plan: RedisPlan
) -> None:
    neighbour = DatabaseLender(empty_redis, plan, "gw1", "r2")
    await neighbour.lend()
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("hz", "11")
        try:
            (told,) = (await state.reset(lent)).noticed
            assert told == "CONFIG SET changed hz from '10' to '11'; it stays so, as another worker runs"
            assert (await redis.config_get("hz"))["hz"] == "11"
            assert (await state.reset(lent)).noticed == ()
        finally:
            await redis.config_set("hz", "10")
    await neighbour.close()


@pytest.mark.parametrize(
    ("worker", "run_id"), [("gw0-1", "r1"), ("up", "r2")], ids=["of the same process", "while an environment is up"]
)
async def test_what_else_is_lent_is_no_other_worker(
    empty_redis: Endpoint, state: DatabaseLender, plan: RedisPlan, worker: str, run_id: str
) -> None:
    other = DatabaseLender(empty_redis, plan, worker, run_id)
    await other.lend()
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("hz", "11")
        assert (await state.reset(lent)).noticed == ("CONFIG SET changed hz from '10' to '11'; it was put back",)
    await other.close()


async def test_what_the_last_user_did_to_the_server_is_put_back_and_told_at_the_end(
    empty_redis: Endpoint, plan: RedisPlan
) -> None:
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("hz", "11")
        await state.give_back(lent)
        assert await state.close() == ("CONFIG SET changed hz from '10' to '11'; it was put back",)
        assert (await redis.config_get("hz"))["hz"] == "10"
    assert await state.close() == ()


async def test_the_last_worker_to_leave_puts_back_what_stayed_while_others_ran(
    empty_redis: Endpoint, plan: RedisPlan
) -> None:
    first, last = (DatabaseLender(empty_redis, plan, "gw0", run_id) for run_id in ("r1", "r2"))
    lent, beside = await first.lend(), await last.lend()
    async with opened(lent) as redis:
        await redis.config_set("hz", "11")
        told = "CONFIG SET changed hz from '10' to '11'; it stays so, as another worker runs"
        assert (await last.reset(beside)).noticed == (told,)
        assert await first.close() == (told,)
        assert await last.close() == ("CONFIG SET changed hz from '10' to '11'; it was put back",)
        assert (await redis.config_get("hz"))["hz"] == "10"


async def test_what_the_server_does_not_put_back_is_told(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("hz", "14")
        state.watch._before.settings["hz"] = "no number"
        (told,) = (await state.reset(lent)).noticed
        assert "stays so, as the server refuses to put it back" in told
        await redis.config_set("hz", "10")


async def test_settings_that_keep_the_server_from_writing_are_put_back_first(
    empty_redis: Endpoint, state: DatabaseLender, plan: RedisPlan
) -> None:
    neighbour = DatabaseLender(empty_redis, plan, "gw1", "r1")
    await neighbour.lend()  # whom it would hinder too
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.delete("string")
        for setting in ("maxmemory", "min-replicas-to-write"):
            await redis.config_set(setting, 1)
            told = " ".join((await state.reset(lent)).noticed)
            assert f"{setting} from '0' to '1'; it was put back" in told
            assert await redis.get("string") == b"v"
    await neighbour.close()


async def test_a_given_server_that_refuses_to_write_is_told_with_the_reason(
    empty_redis: Endpoint, plan: RedisPlan
) -> None:
    async with opened(empty_redis, database=0) as control:
        await control.set("realstack:mark", "{}")
        state = DatabaseLender(replace(empty_redis, provider="external"), plan, "gw0", "r1")
        lent = await state.lend()
        await control.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(RealstackError, match="refuses what a reset writes") as caught:
                await state.reset(lent)
            assert "min-replicas-to-write" in str(caught.value)
        finally:
            await control.config_set("min-replicas-to-write", 0)
    await state.close()


async def test_the_new_value_of_a_password_is_not_told(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("masterauth", "s3cret")
        told = (await state.reset(lent)).noticed
        assert any(sentence.startswith("CONFIG SET changed masterauth;") for sentence in told)
        assert "s3cret" not in " ".join(told)
        assert (await redis.config_get("masterauth"))["masterauth"] == ""


async def test_connections_in_the_midst_of_something_are_told_once(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent) as redis, opened(lent) as other, opened(lent, single_connection_client=True) as third:
        listener = redis.pubsub()
        await listener.subscribe("news")
        waiting: Any = asyncio.ensure_future(other.blpop(["no such queue"], timeout=30))
        await third.execute_command("MULTI")
        await _until(redis, "blpop")
        told = " ".join((await state.reset(lent)).noticed)
        assert "is subscribed to 1 channel(s)" in told
        assert "waits in BLPOP" in told
        assert "has left a MULTI open" in told
        assert (await state.reset(lent)).noticed == ()
        await listener.aclose()
        await redis.rpush("no such queue", "x")
        await waiting


async def _until(redis: Any, command: str) -> None:
    """Until the server shows a connection in ``command``."""
    # The server tells nobody: it must be asked.
    while not any(  # noqa: ASYNC110
        entry["cmd"] == command and "b" in entry["flags"] for entry in await redis.client_list()
    ):
        await asyncio.sleep(0.001)


async def test_counters_that_were_set_back_are_told(state: DatabaseLender) -> None:
    lent = await state.lend()
    async with opened(lent) as redis:
        await redis.config_set("hz", "12")
        await state.reset(lent)
        await redis.config_resetstat()
        await redis.config_set("hz", "13")
        told = " ".join((await state.reset(lent)).noticed)
        assert "RESETSTAT" in told
        assert "hz" in told
        assert (await redis.config_get("hz"))["hz"] == "10"


# Killed in the middle

CHILD = """
import asyncio, sys
from pathlib import Path
from realstack.model import Endpoint, RedisPlan
from realstack.state import redis_sealed, redis_databases
async def stands_still(*args, **options):
    print("there", flush=True)
    await asyncio.Event().wait()
async def main(where, root, port):
    endpoint = Endpoint("redis", "redis", "127.0.0.1", int(port), "redis", database="0", provider="embedded")
    state = redis_databases.DatabaseLender(endpoint, RedisPlan(Path(root), ("seed.yaml",)), "gw7", "r0")
    if where == "sealing":
        redis_sealed.SealedSeed._write_ttls = stands_still
    else:

        await_first = redis_sealed.SealedSeed.copy
        async def copy(self, sealed, to, *, mark, batch):
            if mark:
                place = (sealed.number, to, self.seed.name, "begin", 4, "word", sealed.keys, "")
                await self.leases.control.eval(redis_sealed.COPY, 0, *place)
                await stands_still()
            return await await_first(self, sealed, to, mark=mark, batch=batch)
        redis_sealed.SealedSeed.copy = copy
    lent = await state.lend()
    await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("where", ["sealing", "cloning"])
async def test_a_worker_killed_in_the_middle_leaves_nothing_that_is_taken_for_whole(
    empty_redis: Endpoint, plan: RedisPlan, where: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, where, str(plan.root), str(empty_redis.port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(redis_databases.__file__).parents[2])},
    )
    assert child.stdout
    try:
        assert (await asyncio.to_thread(child.stdout.readline)) == "there\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    async with opened(empty_redis, database=0) as control:
        left = await control.info("keyspace")
        assert "db4095" in left
        assert ("db4094" in left) == (where == "cloning")
    state = DatabaseLender(empty_redis, plan, "gw0", "r1")
    lent = await state.lend()
    for _ in range(3):
        async with opened(lent) as redis:
            assert await redis.dbsize() == 17
        assert (await state.reset(lent)).noticed == ()
    assert lent.database == "1"
    await state.close()
    async with opened(empty_redis, database=0) as control:
        assert set(await control.info("keyspace")) == {"db0", "db4095"}


async def written_by_hand(endpoint: Endpoint, plan: RedisPlan) -> dict[bytes, bytes]:
    """What the seed's commands make where nothing of what is tested here is between."""
    async with opened(endpoint, database=2000) as redis:
        for write in read_redis_seed(plan):
            if write.command[0] not in ("PEXPIRE", "HPEXPIRE"):
                await redis.execute_command(*write.command)
        return await image(redis)


async def test_a_clone_with_something_too_much_or_too_little_is_not_used(
    empty_redis: Endpoint, state: DatabaseLender
) -> None:
    lent = await state.lend()
    for damage in ("SET stray 1", "DEL list", "FLUSHDB"):
        await prepared(state)
        (clone,) = state._clones.values()
        async with opened(empty_redis, database=clone.number) as redis:
            await redis.execute_command(*damage.split())
        assert (await state.reset(lent)).kind == "copied"
        async with opened(lent) as redis:
            assert await redis.dbsize() == 17


async def test_only_what_is_lent_is_reset(state: DatabaseLender) -> None:
    lent = await state.lend()
    await state.give_back(lent)
    with pytest.raises(NotOurs):
        await state.reset(lent)
    with pytest.raises(NotOurs):
        await state.changes(lent)
