"""A reply as an interaction, whole: its status, its steps, its usage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from fake_llm.dialects.gemini_interactions.hosted import hosted_steps
from fake_llm.dialects.google.fields import get
from fake_llm.dialects.google.signatures import needs_signatures, of_text
from fake_llm.dialects.google.sources import segment, tool_tokens
from fake_llm.dialects.wire import arguments_of, to_bytes
from fake_llm.envelopes import gemini as envelope
from fake_llm.model import Citation, Fault, Json, Message, ProtocolError, Reply, Stamp, ToolCall, Turn, Usage

STATUSES = frozenset({"completed", "incomplete", "failed", "cancelled", "budget_exceeded", "requires_action"})

_CUT = frozenset({"length", "max_tokens", "MAX_TOKENS", "incomplete"})
_BLOCKED = frozenset({"content_filter", "refusal", "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"})


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The interaction: the ended one, or for work in the background the one that was just begun."""
    if turn.raw.get("background"):
        return to_bytes(begun(turn, stamp))
    return to_bytes(ended(turn, replies[0], stamp))


def begun(turn: Turn, stamp: Stamp, status: str = "in_progress") -> dict[str, Json]:
    """The interaction without a reply: being made, or cancelled."""
    at = datetime.fromtimestamp(stamp.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    previous = get(turn.raw, "previousInteractionId")
    return {
        "id": interaction_id(stamp),
        "model": turn.model,
        "status": status,
        "created": at,
        "updated": at,
        **({"previous_interaction_id": previous} if previous else {}),
    }


def ended(turn: Turn, reply: Reply, stamp: Stamp) -> dict[str, Json]:
    """The interaction at its end."""
    errors = [failure] if (failure := failure_of(turn, reply)) else []
    return {
        **begun(turn, stamp, status_of(reply)),
        "steps": steps(turn, reply, stamp),
        "usage": usage(turn, reply),
        **({"errors": errors} if errors else {}),
    }


def interaction_id(stamp: Stamp) -> str:
    """The interaction's id."""
    return f"v1_{stamp.id}"


def status_of(reply: Reply) -> str:
    """The status at the end."""
    if reply.refusal is not None or reply.finish in _BLOCKED:
        return "failed"
    if reply.finish in STATUSES:
        return reply.finish
    if any(arguments_of(call) is None for call in reply.tool_calls) and reply.finish not in _CUT:
        return "failed"
    if reply.finish in _CUT:
        return "incomplete"
    return "requires_action" if reply.tool_calls else "completed"


def failure_of(turn: Turn, reply: Reply) -> dict[str, Json] | None:
    """Why the interaction failed, or None where it did not."""
    if status_of(reply) != "failed":
        return None
    if reply.refusal is not None or reply.finish in _BLOCKED:
        return {"code": "content_blocked", "message": reply.refusal or "The response was blocked."}
    if reply.finish == "failed":
        return said_of(envelope.from_fault(reply.fault or Fault("stream_error"), turn.model))
    return {"code": "malformed_function_call", "message": "The model's function call could not be read."}


def said_of(error: ProtocolError) -> dict[str, Json]:
    """An error as interactions tell of it: a word in small letters, and the message."""
    return {"code": envelope.status_name(error).lower(), "message": error.message}


def steps(turn: Turn, reply: Reply, stamp: Stamp) -> list[dict[str, Json]]:
    """The steps in order: thought, tools of Google's, words, calls."""
    if reply.refusal is not None or (reply.finish == "failed" and not reply.text):
        return []
    found: list[dict[str, Json]] = []
    if reply.reasoning or needs_signatures(turn.model):
        summary = [{"type": "text", "text": reply.reasoning}] if turn.thinking == "shown" and reply.reasoning else None
        signature = of_text(reply.reasoning or reply.text)
        found.append({"type": "thought", "signature": signature, **({"summary": summary} if summary else {})})
    found.extend(hosted_steps(reply.server_tools, stamp))
    if reply.text:
        content: dict[str, Json] = {"type": "text", "text": reply.text}
        if notes := sources_of(reply):
            content["annotations"] = notes
        found.append({"type": "model_output", "content": [content]})
    for place, call in enumerate(reply.tool_calls):
        arguments = arguments_of(call)
        if arguments is None:
            break
        name = {"id": call_id(call, place, stamp), "name": call.name}
        found.append({"type": "function_call", **name, "arguments": arguments})
    return found


def sources_of(reply: Reply) -> list[Json]:
    """The sources of the text, each with the part of it that it stands for, in bytes."""
    return [_annotation(reply.text, citation) for citation in reply.citations]


def call_id(call: ToolCall, place: int, stamp: Stamp) -> str:
    """The id of the call at ``place``."""
    return call.id or f"call_{stamp.id}{place:02}"


def answered(reply: Reply, stamp: Stamp) -> Message:
    """The reply as the message that a later turn goes on from."""
    calls = tuple(
        ToolCall(call.name, call.arguments, call_id(call, place, stamp))
        for place, call in enumerate(reply.tool_calls)
        if arguments_of(call) is not None
    )
    return Message("assistant", reply.text, calls)


def usage(turn: Turn, reply: Reply) -> dict[str, Json]:
    """The tokens, those of the input by kind where it is all text."""
    used, by_tools = reply.usage or Usage(), tool_tokens(reply)
    thoughts = min(used.reasoning_tokens, used.output_tokens)
    said = used.output_tokens - thoughts
    counted: dict[str, Json] = {
        "total_input_tokens": used.input_tokens,
        "total_cached_tokens": used.cached_tokens,
        "total_output_tokens": said,
        "total_thought_tokens": thoughts,
        "total_tool_use_tokens": by_tools,
        "total_tokens": used.input_tokens + used.output_tokens + by_tools,
        "output_tokens_by_modality": [{"modality": "text", "tokens": said}],
    }
    if not any(one.attachments for one in turn.messages):
        counted["input_tokens_by_modality"] = [{"modality": "text", "tokens": used.input_tokens}]
    return counted


def _annotation(text: str, citation: Citation) -> Json:
    found = segment(text, citation.words)
    where = {"start_index": found[0], "end_index": found[1]} if found else {}
    if citation.url:
        return {"type": "url_citation", "url": citation.url, "title": citation.title, **where}
    return {"type": "file_citation", "file_name": citation.title, "source": citation.quote, **where}
