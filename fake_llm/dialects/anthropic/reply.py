"""A reply as an Anthropic message, and what a message and a stream of one have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.anthropic import server_tools
from fake_llm.dialects.anthropic.content import blocks
from fake_llm.dialects.anthropic.request import parse
from fake_llm.dialects.wire import to_bytes
from fake_llm.model import Json, Reply, Stamp, Turn, Usage
from fake_llm.prompt_cache import CachedUsage
from fake_llm.tokens import count_input

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The ``message`` object."""
    reply = replies[0]
    content = [block.whole for block in blocks(turn, reply, stamp)]
    return to_bytes(message(turn, stamp, content, ending(turn, reply, stamp), usage_of(turn, reply)))


def count_tokens(body: Mapping[str, Json], headers: Mapping[str, str]) -> bytes:
    """The answer of the counting endpoint: the input tokens that the same request's usage would show.

    :raises ProtocolError: Anthropic refuses the request.
    """
    return to_bytes({"input_tokens": count_input(parse(body, headers, counting=True))})


def message(
    turn: Turn, stamp: Stamp, content: list[dict[str, Json]], end: Mapping[str, Json], usage: Mapping[str, Json]
) -> dict[str, Json]:
    """The object of a message."""
    return {
        "id": f"msg_{stamp.id}",
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": content,
        **end,
        "usage": usage,
    }


def ending(turn: Turn, reply: Reply, stamp: Stamp) -> dict[str, Json]:
    """Why the message ended, and in what container code was run."""
    refused = reply.refusal is not None and reply.finish == "stop"
    reason = "refusal" if refused else _STOP_REASONS.get(reply.finish, reply.finish)
    if turn.max_tokens == 0:
        reason = "max_tokens"
    found: dict[str, Json] = {
        "stop_reason": reason,
        "stop_sequence": reply.stop_sequence if reason == "stop_sequence" else None,
    }
    if reason == "refusal":
        found["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    if reply.server_tools and (container := server_tools.container(turn, reply.server_tools, stamp)):
        found["container"] = container
    return found


def usage_of(turn: Turn, reply: Reply) -> dict[str, Json]:
    """The usage. What went into the prompt cache, and what came out of it, is not among the input tokens."""
    usage = reply.usage or Usage()
    short, long = (usage.written_5m_tokens, usage.written_1h_tokens) if isinstance(usage, CachedUsage) else (0, 0)
    found: dict[str, Json] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }
    if usage.reasoning_tokens or turn.thinking == "always":
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if (counted := server_tools.usage(reply.server_tools)) is not None:
        found["server_tool_use"] = counted
    return found
