"""What OpenAI answers about stored chat completions: ``GET /v1/chat/completions`` and everything below that path."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fake_llm.dialects.openai.metadata import metadata_of
from fake_llm.dialects.openai.pages import page
from fake_llm.dialects.openai.refusals import missing
from fake_llm.dialects.openai_chat.reply import render
from fake_llm.dialects.openai_chat.storing import sent_messages
from fake_llm.kept import Kept, KeptChat
from fake_llm.model import Json, ProtocolError, Stamp
from fake_llm.outcome import Outcome, decode, whole

_METADATA = "metadata["


def answer(kept: Kept, method: str, rest: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp) -> Outcome:
    """As :meth:`fake_llm.stored.Area.answer`."""
    if not rest:
        return whole(page([shown(chat) for chat in kept.chats.all() if _is_meant(chat, query)], query, order="asc"))
    chat_id, _, aspect = rest.partition("/")
    chat = kept.chats.find(chat_id)
    if chat is None:
        raise ProtocolError(f"Chat completion with id '{chat_id}' not found.", status=404)
    if aspect == "messages":
        return whole(page(sent_messages(chat), query, order="asc"))
    if method == "DELETE":
        kept.chats.drop(chat_id)
        return whole({"id": chat_id, "object": "chat.completion.deleted", "deleted": True})
    if method == "POST":
        asked = decode(body)
        if "metadata" not in asked:
            missing("metadata")
        chat.metadata = metadata_of(asked["metadata"])
    return whole(shown(chat))


def shown(chat: KeptChat) -> dict[str, Json]:
    """The chat completion as it was answered, or as it would have been without a stream; with its metadata."""
    return {**json.loads(render(chat.turn, chat.replies, chat.stamp)), "metadata": chat.metadata}


def _is_meant(chat: KeptChat, query: Mapping[str, str]) -> bool:
    """Whether a query for a model and for pairs of metadata means the chat."""
    if query.get("model", chat.turn.model) != chat.turn.model:
        return False
    return all(
        chat.metadata.get(name.removeprefix(_METADATA).removesuffix("]")) == value
        for name, value in query.items()
        if name.startswith(_METADATA)
    )
