"""What Gemini answers about the interactions that a session keeps: all below ``/v1/interactions`` but making one."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fake_llm.dialects.gemini_interactions.interaction import begun, ended
from fake_llm.dialects.gemini_interactions.request import find
from fake_llm.dialects.gemini_interactions.stream import END, event_id, stream, stream_cancelled
from fake_llm.dialects.google.fields import wrong
from fake_llm.dialects.wire import EVENT_STREAM, to_bytes
from fake_llm.faults import Pause, Write
from fake_llm.kept import Kept, KeptTurn
from fake_llm.model import Json, ProtocolError, Stamp
from fake_llm.outcome import JSON_TYPE, Outcome


def answer(kept: Kept, method: str, rest: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp) -> Outcome:
    """The answer to ``method`` at ``rest``, which is the path below ``/v1/interactions/``.

    :raises ProtocolError: Gemini refuses the request.
    """
    interaction_id, _, aspect = rest.partition("/")
    found = find(kept, interaction_id)
    if aspect == "cancel":
        _cancel(found)
        return _json(shown(found), stamp)
    if method == "DELETE":
        kept.drop(interaction_id)
        return _json({}, stamp)
    if _truth(query, "stream"):
        return _replayed(found, query, stamp)
    if query.get("last_event_id"):
        raise ProtocolError("last_event_id can only be used if stream is true.", param="last_event_id")
    given = {"input": list(found.items)} if _truth(query, "include_input") else {}
    return _json({**shown(found), **given}, stamp)


def shown(found: KeptTurn) -> dict[str, Json]:
    """The interaction as it is now."""
    if found.cancelled:
        return begun(found.turn, found.stamp, "cancelled")
    if found.ready_at > time.time():
        return begun(found.turn, found.stamp)
    return ended(found.turn, found.reply, found.stamp)


def _cancel(found: KeptTurn) -> None:
    """Mark work in the background as cancelled; twice is as once."""
    if not found.cancelled and found.ready_at <= time.time():
        raise ProtocolError(
            "Only an interaction that runs in the background can be cancelled.", type="FAILED_PRECONDITION"
        )
    found.cancelled = True


def _replayed(found: KeptTurn, query: Mapping[str, str], stamp: Stamp) -> Outcome:
    """The stream's events after the one of the id ``last_event_id``."""
    events = (
        stream_cancelled(found.turn, found.stamp) if found.cancelled else stream(found.turn, [found.reply], found.stamp)
    )
    after = query.get("last_event_id")
    if after:
        ids = [event_id(number) for number in range(len(events) - 1)]
        if after not in ids:
            raise ProtocolError(f"Unknown last_event_id '{after}'.", param="last_event_id")
        events = events[ids.index(after) + 1 :] or [END]
    raw = b"".join(events)
    headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-cache")]
    left_s = 0.0 if found.cancelled else found.ready_at - time.time()
    return Outcome(200, headers, [*([Pause(left_s)] if left_s > 0 else []), Write(raw)], raw=raw)


def _json(answered: Json, stamp: Stamp) -> Outcome:
    raw = to_bytes(answered)
    headers = [JSON_TYPE, (b"content-length", b"%d" % len(raw))]
    return Outcome(200, headers, [Write(raw)], raw=raw)


def _truth(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in ("true", "false"):
        wrong(name, "TYPE_BOOL", value)
    return value == "true"
