"""Buckets over a clock that the test turns, and latencies over seeds."""

from __future__ import annotations

from random import Random

import pytest

from fake_llm.latency import PROFILES, drawn, timed
from fake_llm.model import Latency, Reply, Spread
from fake_llm.rate_limits import Limiter, Limits, exceeded, spend, standings


def test_a_bucket_is_full_at_first_and_fills_evenly() -> None:
    limiters = [Limiter(Limits(requests=6))]
    for _ in range(6):
        assert exceeded(limiters, "openai", 1, 0.0) is None
        spend(limiters, "openai", 1, 0.0)
    over = exceeded(limiters, "openai", 1, 4.0)
    assert over is not None
    assert (over.what, over.limit, over.used) == ("requests", 6, 6)
    assert over.wait_s == pytest.approx(6.0)
    assert exceeded(limiters, "openai", 1, 10.0) is None
    stands = standings(limiters, "openai", 25.0)["requests"]
    assert (stands.limit, stands.remaining) == (6, 2)
    assert stands.reset_s == pytest.approx(35.0)
    assert standings(limiters, "openai", 1_000.0)["requests"].remaining == 6


def test_each_provider_has_its_own_bucket() -> None:
    limiters = [Limiter(Limits(requests=1))]
    spend(limiters, "openai", 1, 0.0)
    assert exceeded(limiters, "openai", 1, 0.0) is not None
    assert exceeded(limiters, "anthropic", 1, 0.0) is None


def test_tokens_may_be_spent_into_a_debt_and_more_than_a_minute_has_never_fit() -> None:
    limiters = [Limiter(Limits(tokens=60))]
    spend(limiters, "openai", 80, 0.0)
    assert standings(limiters, "openai", 0.0)["tokens"].remaining == 0
    over = exceeded(limiters, "openai", 10, 0.0)
    assert over is not None
    assert over.wait_s == pytest.approx(30.0)
    never = exceeded(limiters, "openai", 61, 0.0)
    assert never is not None
    assert never.wait_s is None


def test_of_several_limits_the_longest_wait_and_the_least_left_are_told() -> None:
    limiters = [Limiter(Limits(requests=60)), Limiter(Limits(requests=2))]
    spend(limiters, "openai", 1, 0.0)
    spend(limiters, "openai", 1, 0.0)
    over = exceeded(limiters, "openai", 1, 0.0)
    assert over is not None
    assert (over.limit, standings(limiters, "openai", 0.0)["requests"].remaining) == (2, 0)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_draws_have_their_median_and_their_95th_percentile(profile: str) -> None:
    spread = PROFILES[profile].ttft
    assert spread is not None
    assert spread.p95_s
    chance = Random(1)
    found = sorted(drawn(spread, chance) for _ in range(20_000))
    assert found[10_000] == pytest.approx(spread.median_s, rel=0.03)
    assert found[19_000] == pytest.approx(spread.p95_s, rel=0.06)


def test_the_same_seed_draws_the_same_times_and_a_scripted_delay_stands() -> None:
    latency = Latency(Spread(1, 2), Spread(0.1, 0.3))
    assert timed(Reply(), latency, "a", 5) == timed(Reply(), latency, "a", 5) != timed(Reply(), latency, "b", 5)
    reply, gaps = timed(Reply(delay_s=7, chunk_delay_s=0.5), latency, "a", 3)
    assert (reply.delay_s, gaps) == (7, [0.0, 0.5, 0.5])
    assert timed(Reply(), Latency(Spread(1), Spread(0.25)), "a", 3)[1] == [0.0, 0.25, 0.25]
