"""What is stored of a chat completion, where the client wants it stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai.metadata import metadata_of
from fake_llm.kept import KeptChat
from fake_llm.model import Json, Reply, Stamp, Turn

_PARTS = ("text", "image_url")
"""The parts of a message that a stored one shows."""


def kept_chat(turn: Turn, replies: Sequence[Reply], stamp: Stamp, size: int) -> KeptChat | None:
    """The chat to keep, or None where the client did not ask for it; ``size`` is in bytes."""
    if not turn.raw.get("store"):
        return None
    return KeptChat(f"chatcmpl-{stamp.id}", turn, replies, stamp, metadata_of(turn.raw.get("metadata")), size)


def sent_messages(chat: KeptChat) -> list[dict[str, Json]]:
    """The messages of the request, as the API lists them."""
    sent: Sequence[Mapping[str, Json]] = chat.turn.raw["messages"]
    said = [message.text for message in chat.turn.messages]
    return [_listed(message, said[place], f"{chat.id}-{place}") for place, message in enumerate(sent)]


def _listed(message: Mapping[str, Json], text: str, message_id: str) -> dict[str, Json]:
    content = message.get("content")
    parts = [part for part in content if part["type"] in _PARTS] if isinstance(content, list) else None
    shown: dict[str, Json] = {
        "id": message_id,
        "role": message["role"],
        "content": text if isinstance(content, list) else content,
        "refusal": message.get("refusal"),
        "content_parts": parts,
    }
    return shown if message.get("tool_calls") is None else {**shown, "tool_calls": message["tool_calls"]}
