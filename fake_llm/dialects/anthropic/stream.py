"""A reply as a stream of events, from ``message_start`` to ``message_stop``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fake_llm.dialects.anthropic.content import Block, blocks
from fake_llm.dialects.anthropic.reply import ending, message, usage_of
from fake_llm.dialects.wire import event, quoted, to_json
from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn

PING = event("ping", '{"type":"ping"}')

_STOP = event("message_stop", '{"type":"message_stop"}')
_NO_ENDING: dict[str, Json] = {"stop_reason": None, "stop_sequence": None}
_ONLY_AT_THE_END = {"output_tokens_details", "server_tool_use"}
_ONLY_AT_THE_START = {"cache_creation", "service_tier"}


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The events, a ``ping`` among them after the first block has begun."""
    return list(_events(turn, replies[0], stamp))


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """The ``error`` event, whose data is the error envelope."""
    body = {"type": "error", "error": {"type": error.type, "message": error.message}}
    return event("error", to_json({**body, "request_id": f"req_{stamp.id}"}))


def _events(turn: Turn, reply: Reply, stamp: Stamp) -> Iterator[bytes]:
    usage = usage_of(turn, reply)
    begun = {key: value for key, value in usage.items() if key not in _ONLY_AT_THE_END} | {"output_tokens": 1}
    start = message(turn, stamp, [], _NO_ENDING, begun)
    yield event("message_start", to_json({"type": "message_start", "message": start}))
    pinged = False
    for index, block in enumerate(blocks(turn, reply, stamp)):
        first = to_json(_begun(block))
        yield event("content_block_start", f'{{"type":"content_block_start","index":{index},"content_block":{first}}}')
        if not pinged:
            yield PING
            pinged = True
        for delta in _deltas(block):
            yield event("content_block_delta", f'{{"type":"content_block_delta","index":{index},"delta":{delta}}}')
        yield event("content_block_stop", f'{{"type":"content_block_stop","index":{index}}}')
    if not pinged:
        yield PING
    used = {key: value for key, value in usage.items() if key not in _ONLY_AT_THE_START}
    end = ending(turn, reply, stamp)
    yield event("message_delta", to_json({"type": "message_delta", "delta": end, "usage": used}))
    yield _STOP


def _begun(block: Block) -> dict[str, Json]:
    """The block before anything is written in it; a block that is never written piece by piece is there at once."""
    whole = block.whole
    kind = whole["type"]
    if kind == "text":
        return {**whole, "text": "", "citations": [] if whole["citations"] else None}
    if kind == "thinking":
        return {**whole, "thinking": "", "signature": ""}
    return {**whole, "input": {}} if "input" in whole else whole


def _deltas(block: Block) -> Iterator[str]:
    whole = block.whole
    kind = whole["type"]
    if kind == "text":
        for piece in block.pieces:
            yield f'{{"type":"text_delta","text":{quoted(piece)}}}'
        for citation in whole["citations"] or ():
            yield to_json({"type": "citations_delta", "citation": citation})
    elif kind == "thinking":
        for piece in block.pieces:
            yield f'{{"type":"thinking_delta","thinking":{quoted(piece)}}}'
        yield f'{{"type":"signature_delta","signature":{quoted(whole["signature"])}}}'
    elif "input" in whole:
        for piece in block.pieces:
            yield f'{{"type":"input_json_delta","partial_json":{quoted(piece)}}}'
