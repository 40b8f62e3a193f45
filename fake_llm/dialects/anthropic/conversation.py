"""The system prompt and the messages of a request as neutral messages, and what each block of them costs in tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fake_llm.dialects.anthropic.blocks import Reading, non_empty, read_block
from fake_llm.dialects.anthropic.checks import mapping, refuse
from fake_llm.model import Json, Message
from fake_llm.tokens import TOKENS_PER_MESSAGE, count

_ROLES = ("user", "assistant", "system")


class Part(NamedTuple):
    """What the client may have cached by itself: a tool, or a block of the system prompt or of a message."""

    at: str
    role: str
    written: Json
    tokens: int


@dataclass(slots=True)
class Conversation:
    """All messages, and the parts that they were written in."""

    messages: list[Message] = field(default_factory=list)
    system: list[Part] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


def read(body: Mapping[str, Json], version: str) -> Conversation:
    """The conversation.

    :raises ProtocolError: Anthropic refuses it.
    """
    found = Conversation()
    _read_system(body.get("system"), found)
    written = body.get("messages")
    if written is None:
        refuse("messages: Field required")
    if not isinstance(written, list):
        refuse("messages: Input should be a valid list")
    if not written:
        refuse("messages: at least one message is required")
    first = len(found.messages)
    led = [_read_message(message, f"messages.{place}", version, found) for place, message in enumerate(written)]
    _check_tool_results(found.messages[first:], led)
    last = found.messages[-1]
    if last.role == "assistant" and last.text and last.text != last.text.rstrip():
        refuse("messages: final assistant content cannot end with trailing whitespace")
    return found


def _read_system(written: Json, found: Conversation) -> None:
    if not written and not isinstance(written, dict):
        return
    if isinstance(written, str):
        found.messages.append(Message("system", written))
        found.system.append(Part("system", "system", _said(written), TOKENS_PER_MESSAGE + count(written)))
        return
    if not isinstance(written, list):
        refuse("system: Input should be a valid string or list")
    texts: list[str] = []
    for place, block in enumerate(written):
        if not isinstance(block, Mapping) or block.get("type") != "text":
            refuse(f"system.{place}.type: Input should be 'text'")
        texts.append(non_empty(block, f"system.{place}"))
        extra = 0 if place else TOKENS_PER_MESSAGE
        found.system.append(Part(f"system.{place}", "system", block, extra + count(texts[-1])))
    found.messages.append(Message("system", "\n".join(texts)))


def _read_message(written: Json, where: str, version: str, found: Conversation) -> set[str]:
    """Read a message; returns the calls that it answers before it says anything else."""
    role = mapping(written, where).get("role")
    if role is None:
        refuse(f"{where}.role: Field required")
    if role not in _ROLES:
        refuse(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    content = written.get("content")
    if content is None:
        refuse(f"{where}.content: Field required")
    if isinstance(content, str):
        found.messages.append(Message(role, content))
        found.parts.append(Part(f"{where}.content", role, _said(content), TOKENS_PER_MESSAGE + count(content)))
        return set()
    if not isinstance(content, list):
        refuse(f"{where}.content: Input should be a valid string or list")
    if not content and role != "assistant":
        refuse(f"{where}: all messages must have non-empty content except for the optional final assistant message")
    reading = Reading(role, version)
    for place, block in enumerate(content):
        at = f"{where}.content.{place}"
        tokens = read_block(mapping(block, at), at, reading)
        found.parts.append(Part(at, role, block, tokens if place else TOKENS_PER_MESSAGE + tokens))
    calls, results = tuple(reading.calls), tuple(reading.results)
    found.messages.append(Message(role, "\n".join(reading.texts), calls, results, reading.attachments))
    return reading.led


def _said(words: str) -> dict[str, str]:
    """The block that a text by itself stands for."""
    return {"type": "text", "text": words}


def _check_tool_results(messages: list[Message], led: list[set[str]]) -> None:
    """Results answer the calls of the message right before, all of them, in one message and before its other blocks."""
    calls: dict[str, int] = {}
    for place, message in enumerate(messages):
        if message.role == "system" or not (calls or message.tool_calls or message.tool_results):
            continue
        for number, result in enumerate(message.tool_results):
            if result.call_id not in calls:
                refuse(
                    f"messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result.call_id}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message."
                )
        if calls:
            _all_answered(calls, led[place])
        calls = {call.id: place for call in message.tool_calls}
        if len(calls) < len(message.tool_calls):
            refuse(f"messages.{place}: `tool_use` ids must be unique")
    _all_answered(calls, set())


def _all_answered(calls: Mapping[str, int], answered: set[str]) -> None:
    if unanswered := [call for call in calls if call not in answered]:
        refuse(
            f"messages.{calls[unanswered[0]]}: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(unanswered)}. Each `tool_use` block must have a corresponding "
            "`tool_result` block in the next message."
        )
