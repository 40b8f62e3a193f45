"""What OpenAI answers about conversations: ``/v1/conversations`` and everything below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.openai.metadata import metadata_of
from fake_llm.dialects.openai.pages import page
from fake_llm.dialects.openai.refusals import invalid, missing, wrong_type
from fake_llm.dialects.openai_responses.items import listed, messages_of, resolved
from fake_llm.dialects.openai_responses.output import find_item
from fake_llm.dialects.openai_responses.request import too_long
from fake_llm.kept import MAX_CONVERSATION, Kept, KeptConversation
from fake_llm.model import Json, ProtocolError, Stamp
from fake_llm.outcome import Outcome, decode, whole

MAX_ITEMS = 20
"""How many items one request may add."""


def answer(kept: Kept, method: str, rest: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp) -> Outcome:
    """As :meth:`fake_llm.stored.Area.answer`."""
    asked: Mapping[str, Json] = decode(body or b"{}") if method == "POST" else {}
    if not rest:
        return whole(_shown(_created(kept, asked, stamp, len(body))))
    name, _, below = rest.partition("/")
    found = _found(kept, name)
    if below:
        item_id = below.removeprefix("items").strip("/")
        if item_id:
            return whole(_about_item(found, method, item_id))
        return whole(page(found.items, query, order="desc") if method == "GET" else _added(kept, found, asked, stamp))
    if method == "DELETE":
        kept.conversations.drop(name)
        return whole({"id": name, "object": "conversation.deleted", "deleted": True})
    if method == "POST":
        if "metadata" not in asked:
            missing("metadata")
        found.metadata = metadata_of(asked["metadata"])
    return whole(_shown(found))


def _created(kept: Kept, asked: Mapping[str, Json], stamp: Stamp, size: int) -> KeptConversation:
    conversation = KeptConversation(f"conv_{stamp.id}", stamp.created, metadata_of(asked.get("metadata")))
    items = _items(kept, asked.get("items") or [], stamp)
    kept.conversations.add(conversation)
    kept.put_into(conversation, items, 3 * size)
    return conversation


def _about_item(conversation: KeptConversation, method: str, item_id: str) -> Json:
    item = next((item for item in conversation.items if item["id"] == item_id), None)
    if item is None:
        raise ProtocolError(f"Item with id '{item_id}' not found in conversation '{conversation.id}'.", status=404)
    if method == "DELETE":
        conversation.items.remove(item)
        return _shown(conversation)
    return item


def _added(kept: Kept, conversation: KeptConversation, asked: Mapping[str, Json], stamp: Stamp) -> Json:
    if asked.get("items") is None:
        missing("items")
    if conversation.size > MAX_CONVERSATION:
        too_long()
    items = _items(kept, asked["items"], stamp)
    kept.put_into(conversation, items, 1_000 + 3 * len(str(asked)))
    return page(items, {"limit": "100"}, order="asc")


def _items(kept: Kept, written: Json, stamp: Stamp) -> Sequence[dict[str, Json]]:
    """The items as the API lists them; each is checked, as those of a request for a response are."""
    if not isinstance(written, list):
        wrong_type("items", "array", written)
    if len(written) > MAX_ITEMS:
        invalid(
            f"Invalid 'items': array too long. Expected an array with maximum length {MAX_ITEMS}, but got an array "
            f"with length {len(written)} instead.",
            "items",
            "array_above_max_length",
        )
    items = resolved(written, lambda item_id: find_item(kept, item_id))
    messages_of(items, "items")
    return listed(items, stamp.id)


def _found(kept: Kept, name: str) -> KeptConversation:
    found = kept.conversations.find(name)
    if found is None:
        raise ProtocolError(f"Conversation with id '{name}' not found.", status=404)
    return found


def _shown(conversation: KeptConversation) -> dict[str, Json]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": conversation.created,
        "metadata": conversation.metadata,
    }
