"""A reply as a response object, whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai.parameters import served_by
from fake_llm.dialects.openai_responses.output import INCOMPLETE, output_items, status_of
from fake_llm.dialects.openai_responses.tools import shown_tools
from fake_llm.dialects.wire import to_json
from fake_llm.envelopes.openai import from_fault
from fake_llm.model import Fault, Json, ProtocolError, Reply, Stamp, Turn, Usage


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The ``response`` object: the ended one, or for work in the background the one that was just begun."""
    if turn.raw.get("background"):
        return begun(stamp, settings(turn), "queued").encode("ascii")
    return rendered(turn, replies[0], stamp).encode("ascii")


def rendered(turn: Turn, reply: Reply, stamp: Stamp) -> str:
    """The response object at its end, from nothing."""
    return ended(turn, reply, stamp, settings(turn), output_items(turn, reply, stamp))


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
    if (conversation := conversation_id(raw)) is not None:
        repeated["conversation"] = {"id": conversation}
    return to_json(repeated)[1:-1]


def conversation_id(raw: Mapping[str, Json]) -> str | None:
    """The id of the conversation that the request belongs to, however it names it."""
    conversation = raw.get("conversation")
    return conversation["id"] if isinstance(conversation, Mapping) else conversation


def begun(stamp: Stamp, repeated: str, status: str = "in_progress") -> str:
    """The response object without a reply: queued, being made or cancelled; ``repeated`` are its :func:`settings`."""
    return _response(stamp, repeated, status)


def ended(turn: Turn, reply: Reply, stamp: Stamp, repeated: str, items: Sequence[str]) -> str:
    """The response object at its end."""
    status = status_of(reply)
    if status == "failed":
        error = from_fault(reply.fault or Fault("stream_error"), turn.model)
        return failed(stamp, repeated, error, items)
    reason = INCOMPLETE.get(reply.finish)
    return _response(
        stamp,
        repeated,
        status,
        output=",".join(items),
        usage=shown_usage(reply.usage or Usage()),
        details="null" if reason is None else f'{{"reason":"{reason}"}}',
        tier=served_by(turn.raw.get("service_tier")),
    )


def failed(stamp: Stamp, repeated: str, error: ProtocolError, items: Sequence[str] = ()) -> str:
    """The response object of a response that failed."""
    code = error.code or ("rate_limit_exceeded" if error.status == 429 else "server_error")
    said = to_json({"code": code, "message": error.message})
    return _response(stamp, repeated, "failed", output=",".join(items), error=said, tier="default")


def _response(
    stamp: Stamp,
    repeated: str,
    status: str,
    *,
    output: str = "",
    usage: str = "null",
    details: str = "null",
    error: str = "null",
    tier: str = "auto",
) -> str:
    """Put together by hand: this is every request's work."""
    completed_at = stamp.created if status == "completed" else "null"
    return (
        f'{{"id":"resp_{stamp.id}","object":"response","created_at":{stamp.created},"status":"{status}",'
        f'"completed_at":{completed_at},"error":{error},"incomplete_details":{details},{repeated},'
        f'"output":[{output}],"service_tier":"{tier}","usage":{usage}}}'
    )


def shown_usage(usage: Usage) -> str:
    """The usage as JSON."""
    return (
        f'{{"input_tokens":{usage.input_tokens},'
        f'"input_tokens_details":{{"cached_tokens":{usage.cached_tokens},"cache_write_tokens":0}},'
        f'"output_tokens":{usage.output_tokens},'
        f'"output_tokens_details":{{"reasoning_tokens":{usage.reasoning_tokens}}},'
        f'"total_tokens":{usage.input_tokens + usage.output_tokens}}}'
    )


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
