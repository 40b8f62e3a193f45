"""After a reset nothing of Redis differs from the seed, or it is told, whatever was done; planted bugs are found.

``REALSTACK_SEQUENCES`` is how many sequences are tried (300 unless set); pytest's ``--hypothesis-seed`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from realstack.compose_file import read_compose_file
from realstack.handles.background import BackgroundLoop
from realstack.model import Endpoint, RedisPlan, Run, ServiceSpec
from realstack.providers import docker_engine
from realstack.providers.containers import Containers
from realstack.readiness import until_ready
from realstack.registry import new_run_id
from realstack.services import service
from realstack.services.redis import client
from realstack.state import redis_clone, redis_databases, redis_notice, redis_prefixes, redis_sealed
from realstack.state.redis_databases import DatabaseLender
from realstack.state.redis_notice import ServerWatch
from realstack.state.redis_seed import RedisSeed
from realstack.state.redis_state import RedisState
from tests.integration.state.random_redis import Step, as_yaml, seeds, sequences
from tests.integration.state.redis_proof import Proof
from tests.lack import without

SEQUENCES = int(os.environ.get("REALSTACK_SEQUENCES", "300"))
PER_SEED = 25
DECLARATION = Path(__file__).parents[3] / "docker-compose.test.yml"

AT_FIRST = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "maxmemory-samples": "5",
    "min-replicas-to-write": "0",
    "hz": "10",
    "set-max-intset-entries": "512",
    "notify-keyspace-events": "",
}
"""What a planted bug may have left otherwise, and another test would miss."""

Patch = Callable[[pytest.MonkeyPatch], None]


def ours(server: Endpoint, plan: RedisPlan) -> DatabaseLender:
    return DatabaseLender(server, plan, "gw0", "r1")


def of_few_databases(server: Endpoint, plan: RedisPlan) -> DatabaseLender:
    state = ours(server, plan)
    state._leases.databases = redis_clone.ROOM_FOR_CLONES - 1
    return state


def given_to_us(server: Endpoint, plan: RedisPlan) -> DatabaseLender:
    return DatabaseLender(replace(server, provider="external"), plan, "gw0", "r1")


def prefixed(server: Endpoint, plan: RedisPlan) -> RedisState:
    return RedisState(server, replace(plan, key_prefix=True), "gw0", "r1")


WITHIN = ("data", "data", "data", "transaction", "script", "connection")
KINDS: dict[str, tuple[Callable[[Endpoint, RedisPlan], Any], tuple[str, ...], bool]] = {
    # How it is reset; which steps are tried (all if none is named); whether what is the server's is put back.
    "swapped": (ours, (), True),
    "copied": (of_few_databases, (), True),
    "written": (given_to_us, (*WITHIN, "server"), False),  # FLUSHALL takes our mark, and a given server is left alone
    "prefixed": (prefixed, ("keys", "keys", "keys", "transaction", "script", "connection", "server"), True),
}


@pytest.fixture
def flushed(redis_server: Endpoint) -> Iterator[Endpoint]:
    begin_anew(redis_server)
    yield redis_server
    begin_anew(redis_server)  # planted bugs leave settings and users to the tests that follow


def begin_anew(server: Endpoint) -> None:
    async def flush() -> None:
        async with client(server, database=0) as control:
            for name, value in AT_FIRST.items():
                await control.config_set(name, value)
            await control.function_flush()
            await control.acl_deluser("eve")
            await control.acl_setuser("default", enabled=True, keys=["*"], channels=["*"], categories=["+@all"])
            await control.flushall()
            await control.set("realstack:mark", "{}")

    asyncio.run(flush())


@pytest.fixture(scope="module")
def redis_8() -> Iterator[Endpoint]:
    """Redis from the image that the compose file names, where Docker can run it."""
    without(docker_engine.can_run(read_compose_file(DECLARATION).services))
    (declared,) = (spec for spec in read_compose_file(DECLARATION).services if spec.kind == "redis")
    command = ("redis-server", "--save", "", "--appendonly", "no", "--databases", "4096")
    spec = ServiceSpec("redis", "redis", "redis", 6379, image=declared.image, command=command)
    folder = Path(tempfile.mkdtemp(prefix="realstack-test-redis-"))
    run = Run(new_run_id(), folder, os.getpid(), psutil.Process().create_time(), "tests")
    loop, kind = BackgroundLoop(), service("redis")
    try:
        running = loop.enter(Containers().running([spec], run))["redis"]
        endpoint = kind.endpoint(spec, running.address, "containers")
        yield loop.run(
            until_ready("redis", lambda: kind.probe(endpoint), within_s=60, died=running.died, log=running.log_lines)
        )
    finally:
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        assert docker_engine.remove_run(run.run_id) == []


class FoundError(BaseException):
    """Ends Hypothesis at the first failure, as no other exception does.

    To try the sequence again, as it would, says nothing: a server that was left otherwise is another one.
    """

    def __init__(self, problem: AssertionError) -> None:
        super().__init__(problem)
        self.problem = problem


def try_many(server: Endpoint, root: Path, count: int, how: str, only: tuple[str, ...] = (), **options: Any) -> None:
    """Draw seeds, and for each of them sequences, until there were ``count``; all are checked."""
    made, kinds, puts_back = KINDS[how]

    with asyncio.Runner() as runner:

        async def one(seed: dict[str, Any], drawn: list[list[Step]]) -> None:
            (root / "seed.yaml").write_text(as_yaml(seed), encoding="utf-8")
            plan = RedisPlan(root, ("seed.yaml",))
            async with Proof(
                server, made(server, plan), kind="written" if how == "prefixed" else how, puts_back=puts_back
            ) as proof:
                await proof.prove(plan, drawn)

        @settings(
            max_examples=max(1, count // PER_SEED),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # the failing sequence is in the message
            **options,
        )
        @given(seeds(), st.lists(sequences(only or kinds), min_size=PER_SEED, max_size=PER_SEED))
        def holds(seed: dict[str, Any], drawn: list[list[Step]]) -> None:
            try:
                runner.run(one(seed, drawn))
            except AssertionError as problem:
                problem.add_note(f"the seed was {as_yaml(seed)[:2000]}")
                raise FoundError(problem) from problem

        try:
            holds()
        except FoundError as found:
            raise found.problem from None


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that seeds of few keys are copied in several steps too, and a test comes in between."""
    monkeypatch.setattr(redis_clone, "QUIET_BATCH", 5)


@pytest.mark.parametrize(("how", "share"), [("swapped", 1), ("copied", 5), ("written", 5), ("prefixed", 5)])
def test_nothing_differs_after_a_reset_whatever_was_done(
    flushed: Endpoint, tmp_path: Path, how: str, share: int
) -> None:
    try_many(flushed, tmp_path, SEQUENCES // share, how)


def test_nothing_differs_after_a_reset_of_redis_8(redis_8: Endpoint, tmp_path: Path) -> None:
    begin_anew(redis_8)
    try_many(redis_8, tmp_path, SEQUENCES // 2, "swapped")


def test_keys_without_the_prefix_are_not_touched(flushed: Endpoint, tmp_path: Path) -> None:
    theirs = {"string": b"1", "rs:": b"2", "rs:x": b"3", "xrs:1:string": b"4"}

    async def kept(write: bool) -> bool:
        async with client(flushed, database=0) as control:
            if write:
                await control.mset(theirs)
            return await control.mget(theirs) == list(theirs.values())

    assert asyncio.run(kept(write=True))
    try_many(flushed, tmp_path, 100, "prefixed", ("keys",))
    assert asyncio.run(kept(write=False))


@dataclass(frozen=True)
class Bug:
    """One rule broken, and the kinds of steps that can show it: to draw others too takes longer and finds the same."""

    plant: Patch
    shown_by: tuple[str, ...] = ("data",)
    how: str = "swapped"


def in_script(module: Any, name: str, old: str, new: str = "") -> Patch:
    """Another text in one of the scripts."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        text = getattr(module, name)
        assert old in text
        patch.setattr(module, name, text.replace(old, new))

    return plant


def instead(owner: Any, name: str, value: Any) -> Patch:
    """Another constant, function or method."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        assert hasattr(owner, name)
        patch.setattr(owner, name, value)

    return plant


def lost_on_the_way(command: str) -> Patch:
    """A copy that differs by that command."""
    spoiled = f"'REPLACE') redis.call('SELECT', to) redis.pcall({command}) redis.call('SELECT', from)"
    return in_script(redis_sealed, "COPY", "'REPLACE')", spoiled)


def untold(begin: str) -> Patch:
    """Sentences that begin so are kept from the report."""
    noticed = ServerWatch.noticed

    async def told(self: ServerWatch, *args: Any, **options: Any) -> list[str]:
        return [sentence for sentence in await noticed(self, *args, **options) if not sentence.startswith(begin)]

    return instead(ServerWatch, "noticed", told)


async def nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""


async def says_so(*_: Any) -> str:
    """Puts nothing back."""
    return "it was put back"


RENEWED = "redis.call('PEXPIREAT', string.sub(name, 2), ends)"
OF_FIELDS = "redis.call('HPEXPIREAT', key, string.format('%.0f', ends), 'FIELDS', 1, field)"
BUGS = {
    "the databases are not exchanged": Bug(
        in_script(redis_databases, "SWAP", "redis.call('SWAPDB', ARGV[5], ARGV[6])")
    ),
    "times to live are not set in a swap": Bug(in_script(redis_databases, "SWAP", RENEWED)),
    "fields' times to live are not set in a swap": Bug(in_script(redis_databases, "SWAP", OF_FIELDS)),
    "fields' times to live are not set after a copy": Bug(in_script(redis_sealed, "TTLS", OF_FIELDS), how="copied"),
    "fields' times to live are not written": Bug(
        instead(
            redis_databases,
            "write_ttls",
            lambda client, seed: redis_sealed.write_ttls(client, replace(seed, field_ttls={})),
        ),
        how="written",
    ),
    "times to live count from a second ago": Bug(
        in_script(redis_databases, "SWAP", "base + pairs_[i + 1]", "base - 1000 + pairs_[i + 1]")
    ),
    "the first time to live is forgotten": Bug(in_script(redis_databases, "SWAP", "for i = 1, #", "for i = 3, #")),
    "the mark of a clone stays in it": Bug(in_script(redis_databases, "SWAP", "redis.call('DEL', 'realstack:seal')")),
    "a clone is taken for whole": Bug(
        in_script(redis_databases, "SWAP", "if not whole or", "if"), ("others", "data")
    ),
    "no clone is made for the next reset": Bug(instead(DatabaseLender, "_prepare_next", lambda *_: None)),
    "a clone is made in a database that is not empty": Bug(
        in_script(redis_sealed, "COPY", "redis.call('FLUSHDB', 'ASYNC')")
    ),
    "a copy is made of whatever lies there": Bug(
        in_script(redis_sealed, "COPY", "~= seal or redis.call('DBSIZE') ~= keys + 1", "== 'never'"), ("data", "sealed")
    ),
    "a list loses an element on its way": Bug(lost_on_the_way("'RPOP', key")),
    "a set loses a member on its way": Bug(lost_on_the_way("'SPOP', key")),
    "a hash loses a field on its way": Bug(lost_on_the_way("'HDEL', key, 'a'")),
    "a sorted set gets another score on its way": Bug(lost_on_the_way("'ZINCRBY', key, 1, 'a'")),
    "a string grows on its way": Bug(lost_on_the_way("'APPEND', key, 'x'")),
    "a stream loses its groups on its way": Bug(lost_on_the_way("'XGROUP', 'DESTROY', key, 'readers'")),
    "a stream forgets its last id on its way": Bug(lost_on_the_way("'XSETID', key, '7777-7'")),
    "a field gets an end on its way": Bug(lost_on_the_way("'HPEXPIRE', key, 99999, 'FIELDS', 1, 'a'")),
    "times to live are not set after a copy": Bug(in_script(redis_sealed, "TTLS", RENEWED), how="copied"),
    "a database is copied into as it is": Bug(
        in_script(redis_sealed, "COPY", "redis.call('FLUSHDB', 'ASYNC')"), how="copied"
    ),
    "a key is left out when the seed is written": Bug(
        instead(redis_databases, "write_all", lambda client, writes: redis_sealed.write_all(client, writes[1:])),
        how="written",
    ),
    "times to live are not written": Bug(
        instead(redis_databases, "write_ttls", lambda client, seed: redis_sealed.write_ttls(client, RedisSeed())),
        how="written",
    ),
    "keys below a prefix are not removed": Bug(instead(redis_prefixes, "_unlinked", nothing), ("keys",), "prefixed"),
    "times to live below a prefix are not written": Bug(
        instead(redis_prefixes, "write_ttls", lambda client, seed: redis_sealed.write_ttls(client, RedisSeed())),
        ("keys",),
        "prefixed",
    ),
    "settings are not compared": Bug(instead(redis_notice, "_settings", lambda *_: []), ("server",)),
    "users are not compared": Bug(instead(redis_notice, "_users", lambda *_: []), ("server",)),
    "functions are not compared": Bug(instead(redis_notice, "_functions", lambda *_: []), ("server",)),
    "nothing of the server is put back": Bug(instead(ServerWatch, "_put_back", says_so), ("server",)),
    "FLUSHALL is not told": Bug(untold("FLUSHALL"), ("whole",)),
    "SWAPDB is not told": Bug(untold("SWAPDB"), ("whole",)),
    "SCRIPT FLUSH is not told": Bug(untold("SCRIPT"), ("server",)),
    "CONFIG RESETSTAT is not told": Bug(untold("CONFIG RESETSTAT"), ("server",)),
    "a connection that subscribes is not told": Bug(instead(redis_notice, "_SUBSCRIBED", ()), ("connection",)),
    "a connection that waits is not told": Bug(instead(redis_notice, "_BLOCKED", "?"), ("connection",)),
    "a MULTI that is open is not told": Bug(instead(redis_notice, "_IN_MULTI", "?"), ("transaction",)),
    "a connection that watches is not told": Bug(
        instead(redis_notice, "_watches", lambda facts: False), ("transaction",)
    ),
    "a watched key that was written is forgotten": Bug(
        instead(redis_notice, "_WATCHED_IN_VAIN", "?"), ("watched",)
    ),
    "every connection that has ever watched is told of": Bug(
        instead(redis_notice, "_IN_MULTI", "N"), ("transaction",)
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_a_planted_bug_is_found(flushed: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: Bug) -> None:
    bug.plant(monkeypatch)
    with pytest.raises(AssertionError):
        try_many(flushed, tmp_path, 1000, bug.how, bug.shown_by, derandomize=True, report_multiple_bugs=False)
