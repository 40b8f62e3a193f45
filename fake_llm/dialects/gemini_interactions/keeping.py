"""What is kept of an interaction, so that the client can look it up and go on from it."""

from __future__ import annotations

from dataclasses import replace

from fake_llm.dialects.gemini_interactions.inputs import steps_of
from fake_llm.dialects.gemini_interactions.interaction import interaction_id
from fake_llm.dialects.gemini_interactions.request import earlier_of
from fake_llm.kept import Kept, KeptTurn
from fake_llm.model import Reply, Stamp, Turn


def is_background(turn: Turn) -> bool:
    """Whether the client gets an interaction that was just begun, and asks for it again until it is done."""
    return bool(turn.raw.get("background")) and not turn.stream


def kept_turn(turn: Turn, reply: Reply, stamp: Stamp, kept: Kept, size: int) -> KeptTurn | None:
    """The turn to keep beside those ``kept``, or None where the client wants none; ``size`` is in bytes.

    A stream that was made to fail is kept as failed. What else went wrong on the way to the client leaves the
    interaction whole.
    """
    if turn.raw.get("store") is False:
        return None
    if reply.fault is not None and reply.fault.kind == "stream_error":
        reply = Reply(finish="failed", fault=reply.fault)
    elif reply.fault is not None:
        reply = replace(reply, fault=None)
    items = tuple(steps_of(turn.raw))
    return KeptTurn(interaction_id(stamp), turn, reply, stamp, items, earlier_of(turn.raw, kept), size)
