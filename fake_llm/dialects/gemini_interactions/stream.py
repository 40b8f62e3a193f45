"""A reply as an interaction's events: it is begun, each of its steps is begun, filled and ended, and then itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fake_llm.dialects.gemini_interactions import interaction as whole
from fake_llm.dialects.wire import event, to_json
from fake_llm.finish import cut_text, stream_pieces
from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn

END = b"event: done\ndata: [DONE]\n\n"

Part = tuple[str, Mapping[str, Json]]
"""An event's type and its members beside type and id."""

_LISTS = frozenset({"google_search_result", "url_context_result"})
_BEGUN = {"code_execution_result": ""}


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """All events and the end mark."""
    return [*_numbered(_parts(turn, replies[0], stamp)), END]


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """The error event of a stream in which nothing was begun."""
    return _numbered([_error(error)])[0]


def stream_failure(error: ProtocolError, turn: Turn, stamp: Stamp, sent: int) -> bytes:
    """The error event after ``sent`` others, and the end mark."""
    return b"".join([*_numbered([_error(error)], sent), END])


def stream_cancelled(turn: Turn, stamp: Stamp) -> list[bytes]:
    """The events of an interaction that was cancelled before it said anything."""
    begun = ("interaction.created", {"interaction": _brief(turn, stamp, "in_progress")})
    cancelled = ("interaction.completed", {"interaction": _brief(turn, stamp, "cancelled")})
    return [*_numbered([begun, cancelled]), END]


def event_id(number: int) -> str:
    """The id of the event of that number, from 0."""
    return f"evt_{number}"


def _numbered(parts: Iterator[Part] | Sequence[Part], first: int = 0) -> list[bytes]:
    return [
        event(name, to_json({"event_type": name, **members, "event_id": event_id(number)}))
        for number, (name, members) in enumerate(parts, first)
    ]


def _error(error: ProtocolError) -> Part:
    return "error", {"error": whole.said_of(error)}


def _parts(turn: Turn, reply: Reply, stamp: Stamp) -> Iterator[Part]:
    own_id = {"interaction_id": whole.interaction_id(stamp)}
    yield "interaction.created", {"interaction": _brief(turn, stamp, "in_progress")}
    yield "interaction.status_update", {**own_id, "status": "in_progress"}
    for index, step in enumerate(whole.steps(turn, reply, stamp)):
        yield "step.start", {"index": index, "step": _begun(step)}
        for delta in _deltas(step, reply):
            yield "step.delta", {"index": index, "delta": delta}
        yield "step.stop", {"index": index}
    if failure := whole.failure_of(turn, reply):
        yield "error", {"error": failure}
    # the steps were all told of before
    ended = {**_brief(turn, stamp, whole.status_of(reply)), "usage": whole.usage(turn, reply)}
    yield "interaction.completed", {"interaction": ended}


def _brief(turn: Turn, stamp: Stamp, status: str) -> dict[str, Json]:
    found = whole.begun(turn, stamp, status)
    found.pop("previous_interaction_id", None)
    return {**found, "object": "interaction"}


def _begun(step: Mapping[str, Json]) -> dict[str, Json]:
    """The step as it is before its deltas: what its type must have, and no more."""
    kind = str(step["type"])
    found = {name: step[name] for name in ("type", "id", "call_id", "name", "server_name") if name in step}
    if "arguments" in step:
        found["arguments"] = {}
    if "result" in step:
        found["result"] = [] if kind in _LISTS else ""
    return found


def _deltas(step: Mapping[str, Json], reply: Reply) -> Iterator[dict[str, Json]]:
    kind = step["type"]
    if kind == "thought":
        for summary in step.get("summary") or ():
            for piece in cut_text(summary["text"], reply.chunk_size):
                yield {"type": "thought_summary", "content": {"type": "text", "text": piece}}
        yield {"type": "thought_signature", "signature": step["signature"]}
    elif kind == "model_output":
        for piece in stream_pieces(reply):
            yield {"type": "text", "text": piece}
        if notes := step["content"][0].get("annotations"):
            yield {"type": "text_annotation_delta", "annotations": notes}
    elif kind == "function_call":
        for piece in cut_text(to_json(step["arguments"]), reply.chunk_size):
            yield {"type": "arguments_delta", "arguments": piece}
    elif kind == "file_search_result":
        yield {"type": kind, "result": []}
    else:
        yield {name: value for name, value in step.items() if name not in ("id", "call_id")}
