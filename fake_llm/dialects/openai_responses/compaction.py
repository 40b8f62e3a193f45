"""Compaction: an item that stands for a conversation's earlier part, which it carries in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai_responses.sealed import opened, sealed
from fake_llm.model import Json, Message, ProtocolError, Stamp, ToolCall, ToolResult

KEPT_CHARACTERS = 200
"""How much stays of what the model and its tools said; what the user said stays whole."""


def compaction_item(said: Sequence[Message], stamp: Stamp) -> dict[str, Json]:
    """The item that stands for ``said``."""
    content = sealed({"compacted": [_packed(message) for message in said]})
    return {"id": f"cmp_{stamp.id}00", "type": "compaction", "encrypted_content": content}


def replaced_by(item: Mapping[str, Json], before: Sequence[Message]) -> list[Message]:
    """What was said as ``item`` has it; of the messages ``before`` it only those of the system stand beside it.

    :raises ProtocolError: the item was made elsewhere.
    """
    found = opened(item.get("encrypted_content"))
    compacted = found.get("compacted") if isinstance(found, Mapping) else None
    if not isinstance(compacted, list):
        raise ProtocolError("The encrypted content is of no compaction item.", code="invalid_encrypted_content")
    restored = [_unpacked(one) for one in compacted]
    return [message for message in before if message.role == "system" and message not in restored] + restored


def shortened(message: Message) -> Message:
    """The message as it is after a compaction."""
    if message.role == "user":
        return message
    return Message(
        message.role,
        message.text[:KEPT_CHARACTERS],
        tuple(ToolCall(call.name, "{}", call.id, call.custom) for call in message.tool_calls),
        tuple(ToolResult(result.call_id, result.text[:KEPT_CHARACTERS]) for result in message.tool_results),
        message.attachments,
    )


def _packed(message: Message) -> Json:
    calls = [[call.name, call.arguments, call.id, call.custom] for call in message.tool_calls]
    results = [[result.call_id, result.text] for result in message.tool_results]
    return [message.role, message.text, calls, results, message.attachments]


def _unpacked(packed: Json) -> Message:
    role, text, calls, results, attachments = packed
    return Message(
        role,
        text,
        tuple(ToolCall(*call) for call in calls),
        tuple(ToolResult(*result) for result in results),
        attachments,
    )
