"""What is kept of a turn, so that the client can look it up and go on from it."""

from __future__ import annotations

import json
from dataclasses import replace

from fake_llm.dialects.openai_responses.items import listed, resolved
from fake_llm.dialects.openai_responses.output import find_item, output_items
from fake_llm.dialects.openai_responses.request import conversation_of, earlier_of, items_of
from fake_llm.kept import MAX_CONVERSATION, Kept, KeptTurn
from fake_llm.model import Reply, Stamp, Turn


def is_background(turn: Turn) -> bool:
    """Whether the client gets a queued response, and asks for it again until it is done."""
    return bool(turn.raw.get("background")) and not turn.stream


def kept_turn(turn: Turn, reply: Reply, stamp: Stamp, kept: Kept, size: int) -> KeptTurn | None:
    """The turn to keep beside those ``kept``, or None where the client wants none; ``size`` is in bytes.

    A stream that was made to fail is kept as failed. What else went wrong on the way to the client, as a cut,
    leaves the response whole. A turn that belongs to a conversation goes into it, stored or not.
    """
    stored = turn.raw.get("store") is not False
    conversation = conversation_of(turn.raw, kept)
    if not stored and conversation is None:
        return None
    if reply.fault is not None and reply.fault.kind == "stream_error":
        reply = Reply(finish="failed", fault=reply.fault)
    elif reply.fault is not None:
        reply = replace(reply, fault=None)
    items = resolved(items_of(turn.raw, may_lack_input=True), lambda item_id: find_item(kept, item_id))
    earlier = earlier_of(turn.raw, kept)
    if earlier is not None and earlier.size > MAX_CONVERSATION:
        earlier = None  # truncated: the turn holds what is left
    said = output_items(turn, reply, stamp) if conversation is not None else ()
    return KeptTurn(
        f"resp_{stamp.id}",
        turn,
        reply,
        stamp,
        listed(items, stamp.id),
        earlier,
        size,
        conversation=conversation,
        written=tuple(json.loads(item) for item in said),
        stored=stored,
    )
