"""The journal: what a session was asked and what it answered. Bounded in entries and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fake_llm.model import Json, Reply, Turn
from fake_llm.redaction import redacted, redacted_body, redacted_text

MAX_ENTRIES = 2_000
MAX_BYTES = 8 * 1024 * 1024
MAX_RAW = 64 * 1024
"""Bytes of a request's body that are kept as they were sent."""

RETRY_WITHIN_S = 30.0
RETRY_COUNT = "x-stainless-retry-count"
"""The header in which the SDKs of OpenAI and Anthropic count retries of one call."""


@dataclass(slots=True)
class Entry:
    """One request and its answer. ``seq`` counts from 1 within the session and never starts again.

    ``turn`` is None where the request could not be understood. ``outcome`` tells what became of the answer: ``sent``,
    ``client_left``, ``cut``, ``hung``. ``bytes_sent`` of its body were written. ``retry`` counts the
    calls before this one that were the same and failed, ``retry_of`` is the last of them.
    """

    method: str
    path: str
    time: float
    dialect: str = ""
    seq: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    size: int = 0
    turn: Turn | None = None
    reply: Reply | None = None
    reply_raw: bytes = b""
    status: int = 0
    error: str | None = None
    fault: str | None = None
    scenario: str | None = None
    matched: bool = False
    outcome: str = "sent"
    duration_ms: float = 0.0
    first_byte_ms: float | None = None
    bytes_sent: int = 0
    request_raw: bytes = b""
    request_bytes: int = 0
    same: int = 0
    retry: int = 0
    retry_of: int | None = None
    retried_after_ms: float | None = None

    def asked(self, body: bytes) -> None:
        """Keep what the client sent, as far as there is room, and the mark of requests that are the same."""
        self.request_raw, self.request_bytes = body[:MAX_RAW], len(body)
        self.same = hash((self.path, body))

    @property
    def then(self) -> str | None:
        """What the client did next, as far as it was seen: ``retried``, ``gave_up``, ``read``, or None."""
        if self.retried_after_ms is not None:
            return "retried"
        return {"sent": "read", "client_left": "gave_up"}.get(self.outcome)

    @property
    def has_failed(self) -> bool:
        """Whether the answer was one that clients retry."""
        return self.status in (408, 409, 429) or self.status >= 500 or self.outcome != "sent" or self.fault is not None

    def as_json(self) -> dict[str, Json]:
        """The entry as the control API shows it, without secrets."""
        reply, turn = self.reply, self.turn
        return {
            "seq": self.seq,
            "time": self.time,
            "duration_ms": round(self.duration_ms, 3),
            "first_byte_ms": None if self.first_byte_ms is None else round(self.first_byte_ms, 3),
            "dialect": self.dialect,
            "method": self.method,
            "path": self.path,
            "headers": redacted(self.headers),
            "model": turn.model if turn else None,
            "stream": turn.stream if turn else False,
            "turn": turn_json(turn) if turn else None,
            "request": redacted_text(self.body) if isinstance(self.body, str) else redacted_body(self.body),
            "request_raw": redacted_text(self.request_raw.decode("utf-8", "replace")),
            "request_bytes": self.request_bytes,
            "status": self.status,
            "error": self.error,
            "fault": self.fault,
            "scenario": self.scenario,
            "matched": self.matched,
            "reply": reply_json(reply) if reply else None,
            "reply_raw": redacted_text(self.reply_raw.decode("utf-8", "replace")),
            "usage": asdict(reply.usage) if reply and reply.usage else None,
            "outcome": self.outcome,
            "bytes_sent": self.bytes_sent,
            "then": self.then,
            "retry": self.retry,
            "retry_of": self.retry_of,
            "retried_after_ms": None if self.retried_after_ms is None else round(self.retried_after_ms, 3),
        }


class Journal:
    """A session's entries, oldest first; the oldest are dropped, and counted, when there are too many."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self.entries: deque[Entry] = deque()
        self.dropped = 0
        self.total = 0
        self.unmatched = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._last: dict[int, Entry] = {}

    def __repr__(self) -> str:
        return f"<Journal {len(self.entries)} entries, {self.unmatched} unmatched, {self.dropped} dropped>"

    def add(self, entry: Entry) -> None:
        """Give ``entry`` its number and keep it."""
        self.total += 1
        entry.seq = self.total
        self._follow(entry)
        self.entries.append(entry)
        self._bytes += entry.size
        while len(self.entries) > self._max_entries or (self._bytes > self._max_bytes and len(self.entries) > 1):
            oldest = self.entries.popleft()
            self._bytes -= oldest.size
            self.dropped += 1
            if self._last.get(oldest.same) is oldest:
                del self._last[oldest.same]

    def _follow(self, entry: Entry) -> None:
        """Find out whether ``entry`` is the retry of an earlier one, and write it into both."""
        before, self._last[entry.same] = self._last.get(entry.same), entry
        if before is None:
            return
        waited_s = entry.time - before.time - before.duration_ms / 1_000
        counted = entry.headers.get(RETRY_COUNT, "")
        if counted.isdecimal():
            entry.retry = int(counted)
        elif before.has_failed and waited_s <= RETRY_WITHIN_S:
            entry.retry = before.retry + 1
        if entry.retry:
            entry.retry_of, before.retried_after_ms = before.seq, max(waited_s * 1_000, 0)

    def since(self, seq: int) -> list[Entry]:
        """The entries with a number above ``seq``."""
        return [entry for entry in self.entries if entry.seq > seq]

    def clear(self) -> None:
        """Forget all entries. Numbers go on, so that a reader's ``since`` stays right."""
        self.entries.clear()
        self._last.clear()
        self.dropped = self.unmatched = self._bytes = 0


def turn_json(turn: Turn) -> dict[str, Json]:
    """The neutral turn for a reader: what was said, what was offered, what was asked for."""
    return {
        "number": turn.number,
        "system": turn.system,
        "user": turn.user,
        "messages": [_without_empty(asdict(message)) for message in turn.messages],
        "tools": [tool.name for tool in turn.tools],
        "tool_choice": asdict(turn.tool_choice),
        "tool_results": [asdict(result) for result in turn.tool_results],
        "output": turn.output.kind,
        "max_tokens": turn.max_tokens,
        "seed": turn.seed,
    }


def reply_json(reply: Reply) -> dict[str, Json]:
    """The neutral reply for a reader."""
    return {
        "text": reply.text,
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls],
        "refusal": reply.refusal,
        "finish": reply.finish,
    }


def _without_empty(message: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in message.items() if value or key in {"role", "text"}}
