"""The items of a response's output, and what they say in the conversation that goes on from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.dialects.openai_responses import reasoning
from fake_llm.dialects.openai_responses.annotations import annotations_of
from fake_llm.dialects.openai_responses.hosted import hosted_items, waits
from fake_llm.dialects.openai_responses.steps import Hosted
from fake_llm.dialects.wire import quoted, to_json
from fake_llm.finish import cut_text
from fake_llm.kept import Kept
from fake_llm.model import Json, Message, Reply, Stamp, ToolCall, Turn

INCOMPLETE = {
    "length": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "max_output_tokens": "max_output_tokens",
    "incomplete": "max_output_tokens",
    "content_filter": "content_filter",
}
"""The words for a reply that ended too early, and the reason that the response gives."""


STAMP_LENGTH = 24


def status_of(reply: Reply) -> str:
    """``completed``, ``incomplete`` or ``failed``."""
    if reply.finish == "failed":
        return "failed"
    return "incomplete" if reply.finish in INCOMPLETE else "completed"


def output_items(turn: Turn, reply: Reply, stamp: Stamp, hosted: Sequence[Hosted] | None = None) -> list[str]:
    """The items of the output in order, as JSON: reasoning, hosted tools, message, calls, of each what there is.

    ``hosted`` are the :func:`~.hosted.hosted_items`, where they are at hand.
    """
    hosted = _hosted(turn, reply, stamp) if hosted is None else hosted
    items = [reasoning.item(turn, reply, stamp)] if reasoning.is_shown(turn, reply) else []
    items.extend(to_json(item.done) for item in hosted)
    if waits(hosted):
        return items
    whole = status_of(reply) == "completed"
    if has_message(reply):
        status = "completed" if whole or reply.tool_calls else "incomplete"
        items.append(message_item(stamp, status, content_part(turn, reply, cut_text(reply.text, None))))
    last = len(reply.tool_calls) - 1
    for place, call in enumerate(reply.tool_calls):
        status = "completed" if whole or place != last else "incomplete"
        items.append(call_item(call, place, stamp, status, call.arguments))
    return items


def has_message(reply: Reply) -> bool:
    """Whether the reply says something, be it an empty text; one that failed, or only thought, need not."""
    if reply.refusal is not None or reply.text:
        return True
    return not reply.tool_calls and reply.finish != "failed" and not (reply.reasoning and reply.finish == "length")


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
    noted = to_json(annotations_of(turn, reply)) if reply.citations else "[]"
    return f'{{"type":"output_text","annotations":{noted},"logprobs":{logprobs},"text":{quoted(reply.text)}}}'


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


def answered(turn: Turn, reply: Reply, stamp: Stamp) -> Message:
    """The reply as the message that the next turn finds in its conversation."""
    if waits(_hosted(turn, reply, stamp)):
        return Message("assistant")
    calls = tuple(
        ToolCall(call.name, call.arguments, _call_id(call, place, stamp), call.custom)
        for place, call in enumerate(reply.tool_calls)
    )
    return Message("assistant", reply.text if reply.refusal is None else reply.refusal, calls)


def find_item(kept: Kept, item_id: str) -> Mapping[str, Json] | None:
    """The item of that id among what kept turns were sent and answered, and what conversations hold.

    The id of a turn's item names the turn.
    """
    turn = kept.find("resp_" + item_id.partition("_")[2][:STAMP_LENGTH])
    if turn is not None:
        written = [json.loads(item) for item in output_items(turn.turn, turn.reply, turn.stamp)]
        return next((item for item in (*turn.items, *written) if item["id"] == item_id), None)
    held = (item for conversation in kept.conversations.all() for item in conversation.items)
    return next((item for item in held if item["id"] == item_id), None)


def _hosted(turn: Turn, reply: Reply, stamp: Stamp) -> Sequence[Hosted]:
    return hosted_items(turn, reply, stamp) if reply.server_tools else ()


def _call_id(call: ToolCall, place: int, stamp: Stamp) -> str:
    return call.id or f"call_{stamp.id[:20]}{place:04x}"
