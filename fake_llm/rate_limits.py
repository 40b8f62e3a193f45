"""Rate limits that hold: a bucket of requests and one of tokens for each provider, filled evenly over time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a minute has room for; None: for any number."""

    requests: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a bucket stands: ``reset_s`` until it is full again."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A request for which a bucket has no room. ``wait_s`` None: it has never as much."""

    what: str
    limit: int
    used: int
    requested: int
    wait_s: float | None


class Bucket:
    """Begins full. What was spent beyond its end is a debt that is filled first."""

    def __init__(self, capacity: int, now: float) -> None:
        self.capacity = capacity
        self._level = float(capacity)
        self._at = now

    def __repr__(self) -> str:
        return f"<Bucket {self._level:.1f} of {self.capacity}>"

    def wait_s(self, amount: int, now: float) -> float | None:
        """Seconds until there is ``amount``; None: there never is."""
        if amount > self.capacity:
            return None
        return max(amount - self._filled(now), 0.0) * MINUTE_S / self.capacity

    def spend(self, amount: int, now: float) -> None:
        """Take ``amount`` out."""
        self._level, self._at = self._filled(now) - amount, now

    def standing(self, now: float) -> Standing:
        """How it stands."""
        level = self._filled(now)
        return Standing(self.capacity, max(int(level + 1e-9), 0), (self.capacity - level) * MINUTE_S / self.capacity)

    def _filled(self, now: float) -> float:
        return min(self._level + (now - self._at) * self.capacity / MINUTE_S, self.capacity)


@dataclass(slots=True)
class Limiter:
    """Limits and what was spent of them, for each provider by itself."""

    limits: Limits
    _buckets: dict[str, dict[str, Bucket]] = field(default_factory=dict)
    _apart: dict[str, Limiter] = field(default_factory=dict)

    def of_requests(self, endpoint: str) -> Limiter:
        """As many requests as here, counted apart for an endpoint that has limits of its own."""
        return self._apart.setdefault(endpoint, Limiter(Limits(self.limits.requests)))

    def buckets(self, provider: str, now: float) -> Mapping[str, Bucket]:
        """The provider's buckets by ``requests`` and ``tokens``, those that have a limit."""
        if provider not in self._buckets:
            sizes = {"requests": self.limits.requests, "tokens": self.limits.tokens}
            self._buckets[provider] = {name: Bucket(size, now) for name, size in sizes.items() if size is not None}
        return self._buckets[provider]


def exceeded(limiters: Sequence[Limiter], provider: str, tokens: int, now: float) -> Exceeded | None:
    """The limit for which a request of ``tokens`` tokens must wait the longest, or None where there is room for it."""
    found: list[Exceeded] = []
    for limiter in limiters:
        for what, bucket in limiter.buckets(provider, now).items():
            amount = 1 if what == "requests" else tokens
            wait_s = bucket.wait_s(amount, now)
            if wait_s is None or wait_s > 0:
                stands = bucket.standing(now)
                found.append(Exceeded(what, stands.limit, stands.limit - stands.remaining, amount, wait_s))
    return max(found, key=lambda one: float("inf") if one.wait_s is None else one.wait_s, default=None)


def spend(limiters: Sequence[Limiter], provider: str, tokens: int, now: float) -> None:
    """Take a request of ``tokens`` tokens out of every bucket."""
    for limiter in limiters:
        for what, bucket in limiter.buckets(provider, now).items():
            bucket.spend(1 if what == "requests" else tokens, now)


def standings(limiters: Sequence[Limiter], provider: str, now: float) -> dict[str, Standing]:
    """How requests and tokens stand, each in the bucket that has the least left."""
    found: dict[str, Standing] = {}
    for limiter in limiters:
        for what, bucket in limiter.buckets(provider, now).items():
            stands = bucket.standing(now)
            if what not in found or stands.remaining < found[what].remaining:
                found[what] = stands
    return found
