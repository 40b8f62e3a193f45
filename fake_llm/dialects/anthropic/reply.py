"""A reply as an Anthropic message, whole or as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from fake_llm.dialects.anthropic.request import parse
from fake_llm.dialects.wire import event, quoted, to_bytes, to_json
from fake_llm.finish import cut_text, stream_pieces
from fake_llm.model import Json, ProtocolError, Reply, Stamp, ToolCall, Turn, Usage
from fake_llm.tokens import count_input

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
PING = event("ping", '{"type":"ping"}')
_STOP = event("message_stop", '{"type":"message_stop"}')


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The ``message`` object."""
    reply = replies[0]
    content: list[Json] = []
    if text := _words(reply):
        content.append({"type": "text", "text": text, "citations": None})
    content.extend(_tool_use(call, place, stamp) for place, call in enumerate(reply.tool_calls))
    return to_bytes(_message(turn, stamp, content, _ending(reply), _usage(reply.usage or Usage())))


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The events, from ``message_start`` to ``message_stop``, a ``ping`` after the first block has begun."""
    return list(_events(turn, replies[0], stamp))


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """The ``error`` event, whose data is the error envelope."""
    body = {"type": "error", "error": {"type": error.type, "message": error.message}}
    return event("error", to_json({**body, "request_id": f"req_{stamp.id}"}))


def count_tokens(body: Mapping[str, Json], headers: Mapping[str, str]) -> bytes:
    """The answer of the counting endpoint: the input tokens that the same request's usage would show.

    :raises ProtocolError: Anthropic refuses the request.
    """
    return to_bytes({"input_tokens": count_input(parse(body, headers, counting=True))})


def _events(turn: Turn, reply: Reply, stamp: Stamp) -> Iterator[bytes]:
    usage = reply.usage or Usage()
    nothing_said = _message(turn, stamp, [], _NO_ENDING, {**_usage(usage), "output_tokens": 1})
    yield event("message_start", to_json({"type": "message_start", "message": nothing_said}))
    index = 0
    if _words(reply):
        yield _block_start(index, '{"type":"text","text":"","citations":null}')
        yield PING
        for piece in stream_pieces(reply):
            yield _block_delta(index, f'{{"type":"text_delta","text":{quoted(piece)}}}')
        yield _block_stop(index)
        index += 1
    for place, call in enumerate(reply.tool_calls):
        empty = {"type": "tool_use", "id": _call_id(call, place, stamp), "name": call.name, "input": {}}
        yield _block_start(index, to_json(empty))
        if index == 0:
            yield PING
        for piece in ["", *_argument_pieces(call, reply.chunk_size)]:
            yield _block_delta(index, f'{{"type":"input_json_delta","partial_json":{quoted(piece)}}}')
        yield _block_stop(index)
        index += 1
    if index == 0:
        yield PING
    used = {key: value for key, value in _usage(usage).items() if key in _DELTA_USAGE}
    yield event("message_delta", to_json({"type": "message_delta", "delta": _ending(reply), "usage": used}))
    yield _STOP


_NO_ENDING: dict[str, Json] = {"stop_reason": None, "stop_sequence": None}
_DELTA_USAGE = {"input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"}


def _message(
    turn: Turn, stamp: Stamp, content: list[Json], ending: dict[str, Json], usage: dict[str, Json]
) -> dict[str, Json]:
    return {
        "id": f"msg_{stamp.id}",
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": content,
        **ending,
        "usage": usage,
    }


def _words(reply: Reply) -> str:
    return reply.text if reply.refusal is None else reply.refusal


def _ending(reply: Reply) -> dict[str, Json]:
    refused = reply.refusal is not None and reply.finish == "stop"
    reason = "refusal" if refused else _STOP_REASONS.get(reply.finish, reply.finish)
    return {"stop_reason": reason, "stop_sequence": reply.stop_sequence if reason == "stop_sequence" else None}


def _tool_use(call: ToolCall, place: int, stamp: Stamp) -> dict[str, Json]:
    return {
        "type": "tool_use",
        "id": _call_id(call, place, stamp),
        "name": call.name,
        "input": _input(call.arguments),
    }


def _input(arguments: str) -> Json:
    """The arguments as an object: this dialect cannot carry text that is no JSON, except in a stream."""
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"value": found}


def _argument_pieces(call: ToolCall, chunk_size: int | None) -> Sequence[str]:
    return cut_text(call.arguments, chunk_size) if call.arguments != "{}" else []


def _call_id(call: ToolCall, place: int, stamp: Stamp) -> str:
    return call.id or f"toolu_{stamp.id[:22]}{place:02x}"


def _block_start(index: int, block: str) -> bytes:
    return event("content_block_start", f'{{"type":"content_block_start","index":{index},"content_block":{block}}}')


def _block_delta(index: int, delta: str) -> bytes:
    return event("content_block_delta", f'{{"type":"content_block_delta","index":{index},"delta":{delta}}}')


def _block_stop(index: int) -> bytes:
    return event("content_block_stop", f'{{"type":"content_block_stop","index":{index}}}')


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }
