"""A reply as a stream of response events, each with its number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.dialects.openai_responses import output, reasoning
from fake_llm.dialects.openai_responses import response as whole
from fake_llm.dialects.openai_responses.annotations import annotations_of
from fake_llm.dialects.openai_responses.hosted import hosted_items, waits
from fake_llm.dialects.openai_responses.steps import Hosted
from fake_llm.dialects.wire import event, quoted, to_json
from fake_llm.finish import cut_text, stream_pieces
from fake_llm.model import ProtocolError, Reply, Stamp, ToolCall, Turn

Part = tuple[str, str]
"""An event's name, and its members beside type and number as JSON."""


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """All events from ``response.created`` to the one that ends the response. There is no other end mark."""
    return _numbered(_parts(turn, replies[0], stamp))


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """The error event of a stream in which no response was begun."""
    return _numbered([_error(error)])[0]


def stream_failure(error: ProtocolError, turn: Turn, stamp: Stamp, sent: int) -> bytes:
    """The end of a stream that fails after ``sent`` events: the error event, then the failed response."""
    response = whole.failed(stamp, whole.settings(turn), error)
    return b"".join(_numbered([_error(error), ("response.failed", f'"response":{response}')], sent))


def _numbered(parts: Iterable[Part], first: int = 0) -> list[bytes]:
    return [
        event(name, f'{{"type":"{name}","sequence_number":{number},{members}}}')
        for number, (name, members) in enumerate(parts, first)
    ]


def _error(error: ProtocolError) -> Part:
    """Nested, as the live service sends it and the SDKs raise it; the documented form is flat."""
    said = {"type": error.type, "code": error.code, "message": error.message, "param": error.param}
    return "error", f'"error":{to_json(said)}'


def _parts(turn: Turn, reply: Reply, stamp: Stamp) -> Iterator[Part]:
    repeated = whole.settings(turn)
    begun = f'"response":{whole.begun(stamp, repeated)}'
    if turn.raw.get("background"):
        queued = f'"response":{whole.begun(stamp, repeated, "queued")}'
        yield "response.created", queued
        yield "response.queued", queued
    else:
        yield "response.created", begun
    yield "response.in_progress", begun
    hosted = hosted_items(turn, reply, stamp) if reply.server_tools else []
    items = output.output_items(turn, reply, stamp, hosted)
    at = 0
    if reasoning.is_shown(turn, reply):
        yield from reasoning.parts(turn, reply, stamp, items[0])
        at = 1
    for item in hosted:
        yield from _hosted(item, items[at], at=at)
        at += 1
    if not waits(hosted):
        if output.has_message(reply):
            yield from _message(turn, reply, stamp, items[at], at=at)
            at += 1
        for place, call in enumerate(reply.tool_calls):
            yield from _call(reply, call, place, stamp, items[at + place], at=at + place)
    ended = whole.ended(turn, reply, stamp, repeated, items)
    yield f"response.{output.status_of(reply)}", f'"response":{ended}'


def _hosted(item: Hosted, done: str, *, at: int) -> Iterator[Part]:
    where = f'"item_id":{quoted(item.done["id"])},"output_index":{at}'
    yield "response.output_item.added", f'"output_index":{at},"item":{to_json(item.added)}'
    for name, members in item.between:
        yield name, f"{where},{to_json(members)[1:-1]}" if members else where
    yield "response.output_item.done", f'"output_index":{at},"item":{done}'


def _message(turn: Turn, reply: Reply, stamp: Stamp, done: str, *, at: int) -> Iterator[Part]:
    """The message, which has one part."""
    refused = reply.refusal is not None
    name, key = ("refusal", "refusal") if refused else ("output_text", "text")
    empty = '{"type":"refusal","refusal":""}' if refused else _EMPTY_TEXT
    where = f'"item_id":"{output.message_id(stamp)}","output_index":{at},"content_index":0'
    pieces = stream_pieces(reply)
    yield "response.output_item.added", f'"output_index":{at},"item":{output.message_item(stamp, "in_progress", "")}'
    yield "response.content_part.added", f'{where},"part":{empty}'
    for piece in pieces:
        yield f"response.{name}.delta", f'{where},"delta":{quoted(piece)}{_logprobs(turn, reply, [piece])}'
    for number, one in enumerate(annotations_of(turn, reply)):
        noted = f'"annotation_index":{number},"annotation":{to_json(one)}'
        yield "response.output_text.annotation.added", f"{where},{noted}"
    text = reply.text if reply.refusal is None else reply.refusal
    yield f"response.{name}.done", f'{where},"{key}":{quoted(text)}{_logprobs(turn, reply, pieces)}'
    yield "response.content_part.done", f'{where},"part":{output.content_part(turn, reply, cut_text(text, None))}'
    yield "response.output_item.done", f'"output_index":{at},"item":{done}'


_EMPTY_TEXT = '{"type":"output_text","annotations":[],"logprobs":[],"text":""}'


def _logprobs(turn: Turn, reply: Reply, pieces: Sequence[str]) -> str:
    """The member ``logprobs`` of an event, which unlike that of an item shows no bytes. A refusal has none."""
    if reply.refusal is not None:
        return ""
    if turn.top_logprobs is None:
        return ',"logprobs":[]'
    shown = [
        {
            "token": entry["token"],
            "logprob": entry["logprob"],
            "top_logprobs": [{"token": one["token"], "logprob": one["logprob"]} for one in entry["top_logprobs"]],
        }
        for entry in token_logprobs(pieces, turn.top_logprobs, 0)
    ]
    return f',"logprobs":{to_json(shown)}'


def _call(reply: Reply, call: ToolCall, place: int, stamp: Stamp, done: str, *, at: int) -> Iterator[Part]:
    """One call, whole before the next begins."""
    name, key = ("custom_tool_call_input", "input") if call.custom else ("function_call_arguments", "arguments")
    where = f'"item_id":"{output.call_item_id(call, place, stamp)}","output_index":{at}'
    added = output.call_item(call, place, stamp, "in_progress", "")
    yield "response.output_item.added", f'"output_index":{at},"item":{added}'
    for piece in cut_text(call.arguments, reply.chunk_size):
        yield f"response.{name}.delta", f'{where},"delta":{quoted(piece)}'
    called = "" if call.custom else f',"name":{quoted(call.name)}'
    yield f"response.{name}.done", f'{where},"{key}":{quoted(call.arguments)}{called}'
    yield "response.output_item.done", f'"output_index":{at},"item":{done}'
