"""One request that the fake LLM has had, as a test sees it, and the tests of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from realstack.errors import FakeLLMError


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the session's journal has, and what became of it.

    ``request`` is the raw body, ``user`` the text of the last user message, ``scenario`` the rule that
    answered (None: none matched), ``outcome`` one of ``sent``, ``client_left``, ``cut``, ``hung``. ``then`` is what the
    client did next: ``read``, ``gave_up`` (after ``bytes_sent`` bytes), ``retried`` (after ``retried_after_ms``), or
    None; ``retry`` counts the same calls that failed before this one.
    """

    seq: int
    time: float
    dialect: str
    method: str
    path: str
    model: str | None
    stream: bool
    user: str
    system: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[str, ...]
    request: Any
    headers: Mapping[str, str]
    status: int
    error: str | None
    fault: str | None
    scenario: str | None
    reply: str
    tool_calls: tuple[Mapping[str, Any], ...]
    usage: Mapping[str, int] | None
    outcome: str
    duration_ms: float
    first_byte_ms: float | None = None
    bytes_sent: int = 0
    then: str | None = None
    retry: int = 0
    retried_after_ms: float | None = None

    def __str__(self) -> str:
        said = f"{self.user[:60]!r}" if self.user else "-"
        tools = ", ".join(call["name"] for call in self.tool_calls)
        became = (
            (self.error if self.fault == "scenario_failed" else self.fault) or self.error or self.reply[:60] or tools
        )
        rule = f"{self.scenario or 'no rule'}, {self.outcome}" + (f", {self.then}" if self.then == "retried" else "")
        return f"{self.seq}. {self.method} {self.path} {self.model} user={said} → {self.status} {became!r} ({rule})"


def call_from(entry: Mapping[str, Any]) -> Call:
    """An entry of the fake's journal as a call."""
    turn, reply = entry["turn"] or {}, entry["reply"] or {}
    return Call(
        seq=entry["seq"],
        time=entry["time"],
        dialect=entry["dialect"],
        method=entry["method"],
        path=entry["path"],
        model=entry["model"],
        stream=entry["stream"],
        user=turn.get("user", ""),
        system=turn.get("system", ""),
        messages=tuple(turn.get("messages", ())),
        tools=tuple(turn.get("tools", ())),
        request=entry["request"],
        headers=entry["headers"],
        status=entry["status"],
        error=entry["error"],
        fault=entry["fault"],
        scenario=entry["scenario"],
        reply=reply.get("text", ""),
        tool_calls=tuple(reply.get("tool_calls", ())),
        usage=entry["usage"],
        outcome=entry["outcome"],
        duration_ms=entry["duration_ms"],
        first_byte_ms=entry.get("first_byte_ms"),
        bytes_sent=entry.get("bytes_sent", 0),
        then=entry.get("then"),
        retry=entry.get("retry", 0),
        retried_after_ms=entry.get("retried_after_ms"),
    )


def matching(calls: Sequence[Call], wanted: Mapping[str, Any]) -> list[Call]:
    """Those of ``calls`` that pass every test of ``wanted``: names of a call's fields, and what they are to be.

    A compiled pattern is searched for; a text is contained in ``user``, ``system``, ``reply`` and ``error``, is
    ``model`` with ``*`` as wildcard, and is any other field; a function is asked; any other value is the field's.

    :raises FakeLLMError: a call has no such field.
    """
    known = [item.name for item in fields(Call)]
    for name in wanted:
        if name not in known:
            raise FakeLLMError(f"a call has no {name!r}.", remedy=f"use one of {', '.join(known)}.")
    return [call for call in calls if all(_passes(name, getattr(call, name), want) for name, want in wanted.items())]


def listed(calls: Sequence[Call]) -> str:
    """A line for each call, for a reader."""
    return "\n".join(f"  {call}" for call in calls) or "  (none)"


def _passes(name: str, value: Any, wanted: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and wanted.search(value) is not None
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, str) and isinstance(value, str):
        if name == "model":
            return fnmatchcase(value, wanted)
        return wanted in value if name in _CONTAINED else wanted == value
    return bool(value == wanted)


_CONTAINED = frozenset({"user", "system", "reply", "error"})
