"""The journal: what a session was asked and what it answered. Bounded in entries and in bytes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fake_llm.model import Json, Reply, Turn

MAX_ENTRIES = 2_000
MAX_BYTES = 8 * 1024 * 1024

SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"})


@dataclass(slots=True)
class Entry:
    """One request and its answer. ``seq`` counts from 1 within the session and never starts again.

    ``turn`` is None where the request could not be understood. ``outcome`` tells what became of the answer:
    ``sent``, ``client_left``, ``cut``, ``hung``.
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

    def as_json(self) -> dict[str, Json]:
        """The entry as the control API shows it, without secrets."""
        reply, turn = self.reply, self.turn
        return {
            "seq": self.seq,
            "time": self.time,
            "duration_ms": round(self.duration_ms, 3),
            "dialect": self.dialect,
            "method": self.method,
            "path": self.path,
            "headers": redacted(self.headers),
            "model": turn.model if turn else None,
            "stream": turn.stream if turn else False,
            "turn": turn_json(turn) if turn else None,
            "request": self.body,
            "status": self.status,
            "error": self.error,
            "fault": self.fault,
            "scenario": self.scenario,
            "matched": self.matched,
            "reply": reply_json(reply) if reply else None,
            "reply_raw": self.reply_raw.decode("utf-8", "replace"),
            "usage": asdict(reply.usage) if reply and reply.usage else None,
            "outcome": self.outcome,
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

    def __repr__(self) -> str:
        return f"<Journal {len(self.entries)} entries, {self.unmatched} unmatched, {self.dropped} dropped>"

    def add(self, entry: Entry) -> None:
        """Give ``entry`` its number and keep it."""
        self.total += 1
        entry.seq = self.total
        self.entries.append(entry)
        self._bytes += entry.size
        while len(self.entries) > self._max_entries or (self._bytes > self._max_bytes and len(self.entries) > 1):
            self._bytes -= self.entries.popleft().size
            self.dropped += 1

    def since(self, seq: int) -> list[Entry]:
        """The entries with a number above ``seq``."""
        return [entry for entry in self.entries if entry.seq > seq]

    def clear(self) -> None:
        """Forget all entries. Numbers go on, so that a reader's ``since`` stays right."""
        self.entries.clear()
        self.dropped = self.unmatched = self._bytes = 0


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with secrets replaced by the first digits of their hash, which still tell one key from another."""
    return {name: _hashed(value) if name in SECRET_HEADERS else value for name, value in headers.items()}


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


def _hashed(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()[:12]


def _without_empty(message: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in message.items() if value or key in {"role", "text"}}
