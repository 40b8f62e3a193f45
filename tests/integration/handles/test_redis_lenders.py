"""Sets of seeds in one process: bounded by what the server has, and one memory of how the server was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from realstack.handles.redis_lenders import MOST_SEEDED, RedisLenders
from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import client
from realstack.state import redis_leases
from realstack.state.redis_leases import NoDatabaseLeft
from realstack.state.redis_state import RedisState
from tests.integration.state.conftest import endpoints

__all__ = ["endpoints"]


@pytest.fixture
async def server(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    async with opened(endpoints["redis"]) as control:
        await control.flushall()
    return endpoints["redis"]


@pytest.fixture
def plan(tmp_path: Path) -> RedisPlan:
    (tmp_path / "seed.yaml").write_text("greeting: hello\n")
    for number in range(20):
        (tmp_path / f"s{number}.yaml").write_text(f"extra: {number}\n")
    return RedisPlan(tmp_path, ("seed.yaml",))


@pytest.fixture
async def lenders(server: Endpoint, plan: RedisPlan) -> AsyncIterator[RedisLenders]:
    made = RedisLenders(server, plan, "gw0", "r1", [])
    yield made
    await made.close()


def opened(endpoint: Endpoint) -> Any:
    return client(endpoint, decode_responses=True)


async def used(lenders: RedisLenders, number: int | None, user: str = "", *commands: str) -> Endpoint:
    seeds = () if number is None else (f"s{number}.yaml",)
    lent = await lenders.lend(seeds, user)
    async with opened(lent) as redis:
        assert await redis.get("greeting") == "hello"
        assert await redis.get("extra") == (None if number is None else str(number))
        for command in commands:
            await redis.execute_command(*command.split())
    await lenders.take_back(seeds, lent)
    return lent


def few_databases(monkeypatch: pytest.MonkeyPatch, count: int = 16) -> None:
    async def counted(control: object) -> int:
        return count

    monkeypatch.setattr(redis_leases, "_database_count", counted)


async def test_more_sets_of_seeds_than_databases_are_lent_one_after_the_other(
    lenders: RedisLenders, server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_databases(monkeypatch)
    await used(lenders, None)
    for number in (*range(20), *range(20)):
        await used(lenders, number)
    async with opened(server) as control:
        leases = [key async for key in control.scan_iter(match="realstack:lease:*")]
    assert len(leases) <= 6  # two lenders', each with its sealed seed, and what the last build left


async def test_what_this_process_holds_for_other_seeds_makes_room(
    lenders: RedisLenders, server: Endpoint, plan: RedisPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_databases(monkeypatch, 5)
    others = [RedisState(server, plan, "gw1", f"other{number}") for number in range(3)]
    await used(lenders, None)
    held = [await other.lend() for other in others[:2]]
    assert len(held) == 2
    await used(lenders, 3)
    for other in others:
        await other.close()


async def test_where_nothing_is_left_to_let_go_it_is_told(
    lenders: RedisLenders, server: Endpoint, plan: RedisPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_databases(monkeypatch, 2)
    other = RedisState(server, plan, "gw1", "other")
    await other.lend()
    with pytest.raises(NoDatabaseLeft, match="has 2 databases"):
        await lenders.lend((), "test")
    await other.close()


async def test_no_more_sets_are_held_than_are_useful(lenders: RedisLenders) -> None:
    for number in range(MOST_SEEDED + 3):
        await used(lenders, number)
    assert repr(lenders).count("leased") == MOST_SEEDED


async def test_what_is_lent_is_not_let_go(lenders: RedisLenders, monkeypatch: pytest.MonkeyPatch) -> None:
    few_databases(monkeypatch)
    held = await lenders.lend(("s1.yaml",), "")
    for number in (2, 3, 4):
        await used(lenders, number)
    async with opened(held) as redis:
        assert await redis.get("extra") == "1"
    await lenders.take_back(("s1.yaml",), held)


async def test_a_change_of_the_server_is_told_once_of_the_test_that_made_it_whatever_seeds_come_next(
    lenders: RedisLenders, server: Endpoint
) -> None:
    await used(lenders, 1, "idle")
    await used(lenders, None, "sets", "CONFIG SET hz 11")
    await used(lenders, 2, "flushes", "FLUSHALL")
    await used(lenders, None, "reads")
    await used(lenders, 1, "reads too")
    await used(lenders, None, "last", "CONFIG SET hz 12")
    await lenders.close()
    assert lenders._notes == [
        "sets: CONFIG SET changed hz from '10' to '11'; it was put back",
        "flushes: FLUSHALL emptied every database of the server, those of other workers too, by this test or one that "
        "ran beside it",
        "last: CONFIG SET changed hz from '10' to '12'; it was put back",
    ]
    async with opened(server) as control:
        assert (await control.config_get("hz"))["hz"] == "10"


async def test_a_connection_that_a_test_left_is_told_though_the_next_has_other_seeds(lenders: RedisLenders) -> None:
    lent = await used(lenders, None, "subscribes")
    async with opened(lent) as redis, redis.pubsub() as listener:
        await listener.subscribe("news")
        await used(lenders, 1, "reads")
    assert len(lenders._notes) == 1
    assert lenders._notes[0].startswith("subscribes: a connection from ")
    assert "is subscribed to 1 channel(s)" in lenders._notes[0]
