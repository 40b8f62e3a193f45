"""The cache and the switches."""

from __future__ import annotations

import pytest

from netra_backend.app.cache import AnswerCache, feature_enabled, open_redis
from netra_testing.border import Keys, closed_port


async def test_what_was_put_is_got() -> None:
    cache = AnswerCache(Keys().client(), prefix="p", ttl_s=5)
    await cache.put("k", {"a": [1, None]})
    assert await cache.get("k") == {"a": [1, None]}
    assert await cache.get("other") is None


@pytest.mark.parametrize("entry", [b"", b"{", b"[1]", b"\xff"])
async def test_an_entry_that_cannot_be_read_is_a_miss(entry: bytes) -> None:
    keys = Keys()
    keys.strings["k"] = entry
    assert await AnswerCache(keys.client(), prefix="p", ttl_s=5).get("k") is None


def test_keys_differ_by_user_and_by_each_part() -> None:
    cache = AnswerCache(Keys().client(), prefix="p", ttl_s=5)
    keys = {cache.key("u", "ab", "c"), cache.key("u", "a", "bc"), cache.key("v", "ab", "c")}
    assert len(keys) == 3
    assert all(key.startswith(("p:u:", "p:v:")) for key in keys)


@pytest.mark.parametrize(("value", "on"), [(None, True), (b"on", True), (b"off", False)])
async def test_a_switch_is_on_unless_switched_off(value: bytes | None, *, on: bool) -> None:
    keys = Keys(flags={} if value is None else {"f": value})
    assert await feature_enabled(keys.client(), "f") is on


async def test_a_redis_that_is_away_costs_the_cache_and_nothing_else() -> None:
    redis = open_redis(f"redis://127.0.0.1:{closed_port()}/0")
    cache = AnswerCache(redis, prefix="p", ttl_s=5)
    try:
        await cache.put("k", {})
        assert await cache.get("k") is None
        assert await feature_enabled(redis, "f") is True
    finally:
        await redis.aclose()
