"""Which beginnings of prompts a session's client has had cached: their keys and their ends in time. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from fake_llm.model import Breakpoint, Usage, value

MAX_ENTRIES = 2_000
LONG_TTL_S = 3_600


@value()
class CachedUsage(Usage):
    """A usage whose ``input_tokens`` are those that came neither from the cache nor went into it."""

    written_5m_tokens: int = 0
    written_1h_tokens: int = 0


class Found(NamedTuple):
    """How many of the prompt's tokens were read from the cache, and how many were written to it, by their lifetime."""

    read: int
    written_5m: int
    written_1h: int

    def in_usage(self, usage: Usage) -> CachedUsage:
        """``usage``, whose input was counted as a whole, with its part of the cache told apart."""
        return CachedUsage(
            usage.input_tokens - self.read - self.written_5m - self.written_1h,
            usage.output_tokens,
            self.read,
            usage.reasoning_tokens,
            self.written_5m,
            self.written_1h,
        )


class PromptCache:
    """The cached prefixes of one session by their keys, the least recently used dropped first."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._ends: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._max = max_entries

    def __len__(self) -> int:
        return len(self._ends)

    def look_up(self, breakpoints: Sequence[Breakpoint], now: float) -> Found:
        """Read the longest prefix that is known, and write all that a breakpoint ends and is not.

        ``breakpoints`` are in the order of the prompt. A prefix that is read lives on for as long again.
        """
        read = 0
        for point in breakpoints:
            for key, tokens in point.prefixes:
                if self._touch(key, now):
                    read = max(read, tokens)
                    break
        written = {True: 0, False: 0}
        reached = read
        for point in breakpoints:
            if point.tokens > reached:
                written[point.ttl_s >= LONG_TTL_S] += point.tokens - reached
                reached = point.tokens
            key = point.prefixes[0][0]
            if not self._touch(key, now):
                self._write(key, now, point.ttl_s)
        return Found(read, written[False], written[True])

    def _touch(self, key: bytes, now: float) -> bool:
        known = self._ends.get(key)
        if known is None or known[0] <= now:
            return False
        self._write(key, now, known[1])
        return True

    def _write(self, key: bytes, now: float, ttl_s: int) -> None:
        self._ends[key] = (now + ttl_s, ttl_s)
        self._ends.move_to_end(key)
        if len(self._ends) > self._max:
            self._ends.popitem(last=False)
