"""What a provider's server does to any model output: stop sequences, token limits, counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fake_llm import tokens
from fake_llm.model import Reply, ToolCall, Turn, Usage

TOKENS_PER_CALL = 5
"""What a tool call costs beside its name and arguments."""


def finish(reply: Reply, turn: Turn, input_tokens: int) -> Reply:
    """``reply`` as the client sees it: cut at ``turn``'s stop sequences and token limit, with its usage.

    A scripted finish reason and a scripted usage stand, whatever the text. A computed answer has no tokens.
    """
    if turn.computed:
        return reply if reply.usage is not None else reply.with_usage(Usage(input_tokens))
    if turn.thinking == "off" and reply.reasoning:
        reply = replace(reply, reasoning="")
    if reply.tool_calls and any(tool.custom for tool in turn.tools):
        reply = replace(reply, tool_calls=_as_offered(reply.tool_calls, turn))
    scripted_finish = reply.finish != "stop"
    if turn.stop and not reply.tool_calls:
        reply = _stopped(reply, turn.stop)
    if turn.max_tokens is not None:
        reply = _limited(reply, turn.max_tokens)
    if reply.tool_calls and reply.finish == "stop" and not scripted_finish:
        reply = replace(reply, finish="tool_calls")
    if reply.usage is None:
        thought = tokens.count(reply.reasoning) if reply.reasoning else 0
        written = thought + count_output(reply)
        if turn.max_tokens is not None:
            written = min(written, turn.max_tokens)
        reply = reply.with_usage(Usage(input_tokens, written, reasoning_tokens=thought))
    return reply


def count_output(reply: Reply) -> int:
    """Tokens of the reply without its reasoning; at least one, as an empty reply still has its end token."""
    total = tokens.count(reply.text)
    if reply.refusal:
        total += tokens.count(reply.refusal)
    for call in reply.tool_calls:
        total += _call_tokens(call)
    return total or 1


def stream_pieces(reply: Reply) -> Sequence[str]:
    """The text of ``reply`` cut as its stream shows it; [] for no text."""
    if reply.chunks:
        return reply.chunks
    text = reply.refusal if reply.refusal is not None else reply.text
    return cut_text(text, reply.chunk_size)


def cut_text(text: str, chunk_size: int | None) -> Sequence[str]:
    """Cut by ``chunk_size`` characters, or by tokens where none is given."""
    if chunk_size is None:
        return tokens.pieces(text)
    return [text[start : start + chunk_size] for start in range(0, len(text), chunk_size)]


def _as_offered(calls: Sequence[ToolCall], turn: Turn) -> tuple[ToolCall, ...]:
    """``calls`` with those of tools that take free text marked as such, which a scenario need not know."""
    custom = {tool.name for tool in turn.tools if tool.custom}
    return tuple(replace(call, custom=True) if call.name in custom else call for call in calls)


def _call_tokens(call: ToolCall) -> int:
    return TOKENS_PER_CALL + tokens.count(call.name) + tokens.count(call.arguments)


def _stopped(reply: Reply, stops: tuple[str, ...]) -> Reply:
    found = [(at, stop) for stop in stops if stop and (at := reply.text.find(stop)) >= 0]
    if not found:
        return reply
    at, stop = min(found, key=lambda hit: (hit[0], -len(hit[1])))
    finish = "stop_sequence" if reply.finish == "stop" else reply.finish
    return replace(reply, text=reply.text[:at], chunks=_first(reply.chunks, at), finish=finish, stop_sequence=stop)


def _limited(reply: Reply, limit: int) -> Reply:
    """Cut reasoning first, then text, then the arguments of the calls, in the order in which a model writes them."""
    thought = tokens.pieces(reply.reasoning)
    if thought and len(thought) >= limit:
        nothing = replace(reply, text="", chunks=(), refusal=None, tool_calls=(), citations=(), server_tools=())
        return replace(nothing, reasoning="".join(thought[:limit]), finish="length")
    limit -= len(thought)
    parts = tokens.pieces(reply.text)
    left = limit - len(parts) - (tokens.count(reply.refusal) if reply.refusal else 0)
    if left < 0 and reply.refusal is None:
        text = "".join(parts[:limit])
        return replace(reply, text=text, chunks=_first(reply.chunks, len(text)), tool_calls=(), finish="length")
    calls: list[ToolCall] = []
    for call in reply.tool_calls:
        left -= TOKENS_PER_CALL + tokens.count(call.name)
        arguments = tokens.pieces(call.arguments)
        if left < len(arguments):
            calls.append(replace(call, arguments="".join(arguments[: max(left, 0)])))
            return replace(reply, tool_calls=tuple(calls), finish="length")
        left -= len(arguments)
        calls.append(call)
    return reply


def _first(chunks: tuple[str, ...], length: int) -> tuple[str, ...]:
    kept: list[str] = []
    for chunk in chunks:
        if length <= 0:
            break
        kept.append(chunk[:length])
        length -= len(chunk)
    return tuple(kept)
