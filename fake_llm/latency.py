"""How long a reply takes: to its first token, and between tokens. Drawn from lognormal spreads, seeded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from random import Random

from fake_llm.finish import stream_pieces
from fake_llm.model import Latency, Reply, Spread

P95 = 1.6448536269514722
"""The standard normal distribution's 95th percentile."""

PROFILES = {
    "fast": Latency(Spread(0.15, 0.3), Spread(0.008, 0.015)),
    "typical": Latency(Spread(0.5, 1.2), Spread(0.02, 0.05)),
    "slow": Latency(Spread(2.0, 6.0), Spread(0.06, 0.15)),
}


def drawn(spread: Spread | None, chance: Random) -> float:
    """Seconds of ``spread``; half of all draws are up to its median, 95 of 100 up to its ``p95_s``."""
    if spread is None or not spread.median_s:
        return 0.0
    if spread.p95_s is None or spread.p95_s <= spread.median_s:
        return spread.median_s
    return spread.median_s * exp(log(spread.p95_s / spread.median_s) / P95 * chance.gauss(0, 1))


def timed(reply: Reply, latency: Latency, seed: str, tokens: int) -> tuple[Reply, list[float]]:
    """``reply`` with its time to the first token, and the seconds before each of its tokens, the first of them 0.

    What the reply says itself stands.
    """
    chance = Random(seed)  # noqa: S311 - nothing here is to be kept secret
    first = drawn(latency.ttft, chance)
    gaps = [0.0, *(drawn(latency.inter_token, chance) for _ in range(tokens - 1))]
    if reply.chunk_delay_s is not None:
        gaps = [0.0, *(reply.chunk_delay_s for _ in range(tokens - 1))]
    return replace(reply, delay_s=reply.delay_s or first), gaps


def spoken_otherwise(replies: Sequence[Reply]) -> tuple[list[Reply], int]:
    """``replies`` that say something else in every token, and how many tokens these are."""
    changed: list[Reply] = []
    count = 0
    for reply in replies:
        said = ["".join("y" if char == "x" else "x" for char in piece) for piece in stream_pieces(reply)]
        count += len(said)
        changed.append(replace(reply, chunks=tuple(said)))
    return changed, count


def before_events(events: Sequence[bytes], others: Sequence[bytes], tokens: int, gaps: Sequence[float]) -> list[float]:
    """The seconds before each event; ``others`` is the same stream with other words.

    The first events that differ are those of the tokens; what is between them leaves with the token before.
    """
    if not tokens:
        return [0.0, *(gaps[min(place, len(gaps) - 1)] for place in range(1, len(events)))]
    found: list[float] = []
    seen = 0
    for event, other in zip(events, others, strict=False):
        is_token = event != other and seen < tokens
        found.append(gaps[min(seen, len(gaps) - 1)] if is_token and seen else 0.0)
        seen += is_token
    return found
