"""What is kept of a turn, so that the client can look it up and go on from it."""

from __future__ import annotations

from dataclasses import replace

from fake_llm.dialects.openai_responses.items import listed, resolved
from fake_llm.dialects.openai_responses.request import earlier_of, items_of
from fake_llm.dialects.openai_responses.response import find_item
from fake_llm.kept import Kept, KeptTurn
from fake_llm.model import Reply, Stamp, Turn


def is_background(turn: Turn) -> bool:
    """Whether the client gets a queued response, and asks for it again until it is done."""
    return bool(turn.raw.get("background")) and not turn.stream


def kept_turn(turn: Turn, reply: Reply, stamp: Stamp, kept: Kept, size: int) -> KeptTurn | None:
    """The turn to keep beside those ``kept``, or None where the client wants none; ``size`` is in bytes.

    A stream that was made to fail is kept as failed. What else went wrong on the way to the client, as a cut,
    leaves the response whole.
    """
    if turn.raw.get("store") is False:
        return None
    if reply.fault is not None and reply.fault.kind == "stream_error":
        reply = Reply(finish="failed", fault=reply.fault)
    elif reply.fault is not None:
        reply = replace(reply, fault=None)
    items = resolved(items_of(turn.raw, may_lack_input=True), lambda item_id: find_item(kept, item_id))
    earlier = earlier_of(turn.raw, kept)
    return KeptTurn(f"resp_{stamp.id}", turn, reply, stamp, listed(items, stamp.id), earlier, size)
