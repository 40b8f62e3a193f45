"""What a session's prompt cache holds, and for how long."""

from __future__ import annotations

from fake_llm.model import Breakpoint, Usage
from fake_llm.prompt_cache import PromptCache


def point(tokens: int, ttl_s: int = 300, name: str = "a") -> Breakpoint:
    """A breakpoint whose only prefix is the one that it ends."""
    return Breakpoint(tokens, ttl_s, ((f"{name}{tokens}".encode(), tokens),))


def test_an_entry_ends_with_its_time_and_lives_on_when_it_is_read() -> None:
    cache = PromptCache()
    assert cache.look_up([point(2_000)], now=0) == (0, 2_000, 0)
    assert cache.look_up([point(2_000)], now=299) == (2_000, 0, 0)
    assert cache.look_up([point(2_000)], now=598) == (2_000, 0, 0)
    assert cache.look_up([point(2_000)], now=899) == (0, 2_000, 0)


def test_an_hour_outlives_five_minutes() -> None:
    cache = PromptCache()
    both = [point(2_000, 3_600), point(3_000)]
    assert cache.look_up(both, now=0) == (0, 1_000, 2_000)
    assert cache.look_up(both, now=3_000) == (2_000, 1_000, 0)


def test_the_longest_known_prefix_is_read() -> None:
    cache = PromptCache()
    cache.look_up([point(2_000)], now=0)
    longer = Breakpoint(5_000, 300, ((b"new", 5_000), (b"between", 3_000), (b"a2000", 2_000)))
    assert cache.look_up([longer], now=1) == (2_000, 3_000, 0)
    assert cache.look_up([longer], now=2) == (5_000, 0, 0)


def test_the_least_recently_used_is_dropped() -> None:
    cache = PromptCache(max_entries=2)
    for name, now in (("a", 0), ("b", 1), ("a", 2), ("c", 3)):
        cache.look_up([point(2_000, name=name)], now)
    assert len(cache) == 2
    assert cache.look_up([point(2_000, name="a")], now=4).read == 2_000
    assert cache.look_up([point(2_000, name="b")], now=5).read == 0


def test_what_is_read_or_written_is_not_counted_twice() -> None:
    found = PromptCache().look_up([point(2_000, 3_600), point(3_000)], now=0).in_usage(Usage(3_100, 7, 0, 2))
    assert (found.input_tokens, found.written_1h_tokens, found.written_5m_tokens) == (100, 2_000, 1_000)
    assert (found.output_tokens, found.reasoning_tokens, found.cached_tokens) == (7, 2, 0)
