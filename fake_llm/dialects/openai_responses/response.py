"""A reply as a response object, whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.dialects.openai_responses import reasoning
from fake_llm.dialects.openai_responses.tools import shown_tools
from fake_llm.dialects.wire import quoted, to_json
from fake_llm.envelopes.openai import from_fault
from fake_llm.finish import cut_text
from fake_llm.kept import Kept
from fake_llm.model import Fault, Json, Message, ProtocolError, Reply, Stamp, ToolCall, Turn, Usage

_INCOMPLETE = {
    "length": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "max_output_tokens": "max_output_tokens",
    "incomplete": "max_output_tokens",
    "content_filter": "content_filter",
}
"""The words for a reply that ended too early, and the reason that the response gives."""

STAMP_LENGTH = 24


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The ``response`` object: the ended one, or for work in the background the one that was just begun."""
    if turn.raw.get("background"):
        return begun(stamp, settings(turn), "queued").encode("ascii")
    return rendered(turn, replies[0], stamp).encode("ascii")


def rendered(turn: Turn, reply: Reply, stamp: Stamp) -> str:
    """The response object at its end, from nothing."""
    return ended(turn, reply, stamp, settings(turn), output_items(turn, reply, stamp))


def status_of(reply: Reply) -> str:
    """``completed``, ``incomplete`` or ``failed``."""
    if reply.finish == "failed":
        return "failed"
    return "incomplete" if reply.finish in _INCOMPLETE else "completed"


def settings(turn: Turn) -> str:
    """What a response repeats of its request, as the members of a JSON object."""
    raw = turn.raw
    text = raw.get("text") or {}
    thinking = raw.get("reasoning") or {}
    repeated = {
        "instructions": raw.get("instructions"),
        "max_output_tokens": turn.max_tokens,
        "max_tool_calls": raw.get("max_tool_calls"),
        "model": turn.model,
        "parallel_tool_calls": turn.parallel_tool_calls,
        "previous_response_id": raw.get("previous_response_id"),
        "prompt": raw.get("prompt"),
        "prompt_cache_key": raw.get("prompt_cache_key"),
        "prompt_cache_retention": raw.get("prompt_cache_retention"),
        "reasoning": {"effort": thinking.get("effort"), "summary": thinking.get("summary")},
        "safety_identifier": raw.get("safety_identifier"),
        "temperature": _or(raw.get("temperature"), 1.0),
        "text": {"format": _shown_format(text.get("format")), "verbosity": text.get("verbosity") or "medium"},
        "tool_choice": raw.get("tool_choice") or "auto",
        "tools": shown_tools(raw),
        "top_logprobs": raw.get("top_logprobs") or 0,
        "top_p": _or(raw.get("top_p"), 1.0),
        "truncation": raw.get("truncation") or "disabled",
        "user": raw.get("user"),
        "metadata": raw.get("metadata") or {},
        "background": bool(raw.get("background")),
    }
    return to_json(repeated)[1:-1]


def begun(stamp: Stamp, repeated: str, status: str = "in_progress") -> str:
    """The response object without a reply: queued, being made or cancelled; ``repeated`` are its :func:`settings`."""
    return _response(stamp, repeated, status)


def ended(turn: Turn, reply: Reply, stamp: Stamp, repeated: str, items: Sequence[str]) -> str:
    """The response object at its end."""
    status = status_of(reply)
    if status == "failed":
        error = from_fault(reply.fault or Fault("stream_error"), turn.model)
        return failed(stamp, repeated, error, items)
    reason = _INCOMPLETE.get(reply.finish)
    return _response(
        stamp,
        repeated,
        status,
        output=",".join(items),
        usage=_usage(reply.usage or Usage()),
        details="null" if reason is None else f'{{"reason":"{reason}"}}',
    )


def failed(stamp: Stamp, repeated: str, error: ProtocolError, items: Sequence[str] = ()) -> str:
    """The response object of a response that failed."""
    code = error.code or ("rate_limit_exceeded" if error.status == 429 else "server_error")
    said = to_json({"code": code, "message": error.message})
    return _response(stamp, repeated, "failed", output=",".join(items), error=said)


def output_items(turn: Turn, reply: Reply, stamp: Stamp) -> list[str]:
    """The items of the output in order, as JSON: reasoning and message if there are any, then the calls."""
    whole = status_of(reply) == "completed"
    items = [reasoning.item(turn, stamp)] if reasoning.is_shown(turn, reply) else []
    if has_message(reply):
        status = "completed" if whole or reply.tool_calls else "incomplete"
        items.append(message_item(stamp, status, content_part(turn, reply, cut_text(reply.text, None))))
    last = len(reply.tool_calls) - 1
    for place, call in enumerate(reply.tool_calls):
        status = "completed" if whole or place != last else "incomplete"
        items.append(call_item(call, place, stamp, status, call.arguments))
    return items


def has_message(reply: Reply) -> bool:
    """Whether the reply says something, be it an empty text; a failed one need not."""
    if reply.refusal is not None or reply.text:
        return True
    return not reply.tool_calls and reply.finish != "failed"


def message_id(stamp: Stamp) -> str:
    """The id of the message in the output."""
    return f"msg_{stamp.id}00"


def message_item(stamp: Stamp, status: str, content: str) -> str:
    """The message in the output; ``content`` are its parts as JSON."""
    return (
        f'{{"id":"{message_id(stamp)}","type":"message","status":"{status}","content":[{content}],"role":"assistant"}}'
    )


def content_part(turn: Turn, reply: Reply, pieces: Sequence[str]) -> str:
    """The one part of the message; ``pieces`` are the tokens of its text."""
    if reply.refusal is not None:
        return f'{{"type":"refusal","refusal":{quoted(reply.refusal)}}}'
    logprobs = "[]" if turn.top_logprobs is None else to_json(token_logprobs(pieces, turn.top_logprobs, 0))
    return f'{{"type":"output_text","annotations":[],"logprobs":{logprobs},"text":{quoted(reply.text)}}}'


def call_item_id(call: ToolCall, place: int, stamp: Stamp) -> str:
    """The id of a call's item, which is not the call's id."""
    return f"{'ctc' if call.custom else 'fc'}_{stamp.id}{place:02x}"


def call_item(call: ToolCall, place: int, stamp: Stamp, status: str, arguments: str) -> str:
    """A call in the output; the SDK's type of a custom one has no status."""
    item_id, call_id = call_item_id(call, place, stamp), quoted(_call_id(call, place, stamp))
    if call.custom:
        return (
            f'{{"id":"{item_id}","type":"custom_tool_call","call_id":{call_id},"input":{quoted(arguments)},'
            f'"name":{quoted(call.name)}}}'
        )
    return (
        f'{{"id":"{item_id}","type":"function_call","status":"{status}","arguments":{quoted(arguments)},'
        f'"call_id":{call_id},"name":{quoted(call.name)}}}'
    )


def answered(reply: Reply, stamp: Stamp) -> Message:
    """The reply as the message that the next turn finds in its conversation."""
    calls = tuple(
        ToolCall(call.name, call.arguments, _call_id(call, place, stamp), call.custom)
        for place, call in enumerate(reply.tool_calls)
    )
    return Message("assistant", reply.text if reply.refusal is None else reply.refusal, calls)


def find_item(kept: Kept, item_id: str) -> Mapping[str, Json] | None:
    """The item of that id among what kept turns were sent and answered. The id names the turn."""
    turn = kept.find("resp_" + item_id.partition("_")[2][:STAMP_LENGTH])
    if turn is None:
        return None
    written = [json.loads(item) for item in output_items(turn.turn, turn.reply, turn.stamp)]
    return next((item for item in (*turn.items, *written) if item["id"] == item_id), None)


def _response(
    stamp: Stamp,
    repeated: str,
    status: str,
    *,
    output: str = "",
    usage: str = "null",
    details: str = "null",
    error: str = "null",
) -> str:
    """Put together by hand: this is every request's work."""
    tier = "auto" if status in ("queued", "in_progress") else "default"
    completed_at = stamp.created if status == "completed" else "null"
    return (
        f'{{"id":"resp_{stamp.id}","object":"response","created_at":{stamp.created},"status":"{status}",'
        f'"completed_at":{completed_at},"error":{error},"incomplete_details":{details},{repeated},'
        f'"output":[{output}],"service_tier":"{tier}","usage":{usage}}}'
    )


def _usage(usage: Usage) -> str:
    return (
        f'{{"input_tokens":{usage.input_tokens},'
        f'"input_tokens_details":{{"cached_tokens":{usage.cached_tokens},"cache_write_tokens":0}},'
        f'"output_tokens":{usage.output_tokens},'
        f'"output_tokens_details":{{"reasoning_tokens":{usage.reasoning_tokens}}},'
        f'"total_tokens":{usage.input_tokens + usage.output_tokens}}}'
    )


def _call_id(call: ToolCall, place: int, stamp: Stamp) -> str:
    return call.id or f"call_{stamp.id[:20]}{place:04x}"


def _shown_format(written: Json) -> Json:
    if not written or written["type"] != "json_schema":
        return {"type": written["type"] if written else "text"}
    return {
        "type": "json_schema",
        "description": written.get("description"),
        "name": written["name"],
        "schema": written["schema"],
        "strict": bool(written.get("strict")),
    }


def _or(value: Json, default: float) -> Json:
    return default if value is None else value
