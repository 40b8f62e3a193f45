"""Stored chat completions, by the unchanged ``openai`` SDK against the running server."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

from .conftest import Session
from .responses_sdk import left_over


def stored(client: openai.OpenAI, text: str, *, model: str = "m", **metadata: str) -> str:
    """A stored chat; returns its id."""
    hello: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=hello, store=True, metadata=metadata).id


def test_only_what_is_to_be_stored_is_and_can_be_looked_up_changed_and_deleted(chat: openai.OpenAI) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    passing = chat.chat.completions.create(model="m", messages=hello, n=2)
    kept = chat.chat.completions.create(model="m", messages=hello, n=2, store=True, metadata={"topic": "a"})
    found = chat.chat.completions.retrieve(kept.id)
    assert left_over(found) == []
    assert {**found.to_dict(), "metadata": None} == {**kept.to_dict(), "metadata": None}
    assert found.metadata == {"topic": "a"}
    assert chat.chat.completions.update(kept.id, metadata={"topic": "b"}).metadata == {"topic": "b"}
    assert chat.chat.completions.retrieve(kept.id).metadata == {"topic": "b"}
    gone = chat.chat.completions.delete(kept.id)
    assert (gone.id, gone.deleted, gone.object, left_over(gone)) == (kept.id, True, "chat.completion.deleted", [])
    for unknown in (kept.id, passing.id):
        with pytest.raises(openai.NotFoundError, match=unknown):
            chat.chat.completions.retrieve(unknown)


def test_a_streamed_chat_is_stored_whole(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "one two three", "fault": {"kind": "cut", "after_chunks": 2}}})
    hello: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises((httpx2.TransportError, openai.APIConnectionError)):
        list(chat.chat.completions.create(model="m", messages=hello, store=True, stream=True))
    (found,) = chat.chat.completions.list().data
    assert found.choices[0].message.content == "one two three"


async def test_stored_chats_are_listed_by_model_and_metadata_page_by_page(
    chat: openai.OpenAI, async_chat: openai.AsyncOpenAI
) -> None:
    ids = [stored(chat, "x", model="a" if n < 3 else "b", kind="odd" if n % 2 else "even") for n in range(5)]

    async def listed(**more: Any) -> list[str]:
        return [one.id async for one in async_chat.chat.completions.list(**more)]

    assert await listed(limit=2) == ids
    assert await listed(limit=2, order="desc") == ids[::-1]
    assert await listed(model="a") == ids[:3]
    assert await listed(metadata={"kind": "even"}) == ids[::2]
    assert await listed(model="b", metadata={"kind": "even"}) == [ids[4]]
    assert await listed(after=ids[3]) == [ids[4]]
    with pytest.raises(openai.BadRequestError):
        await listed(limit=0)


def test_the_messages_of_a_stored_chat_are_listed(chat: openai.OpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x.test/y.png"}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: Any = [
        {"role": "system", "content": "brief"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    made = chat.chat.completions.create(model="m", messages=messages, store=True)
    found = list(chat.chat.completions.messages.list(made.id, limit=3))
    assert [(one.role, one.content) for one in found] == [
        ("system", "brief"), ("user", "look"), ("assistant", None), ("tool", "42")
    ]  # fmt: skip
    assert [one.id for one in found] == [f"{made.id}-{place}" for place in range(4)]
    assert [part.type for part in found[1].content_parts or ()] == ["text", "image_url"]
    assert [one.id for one in found[2].tool_calls or ()] == ["c"]
    assert left_over(found) == []


def test_a_session_keeps_its_chats_to_itself_and_loses_them_by_a_reset(chat: openai.OpenAI, session: Session) -> None:
    stored(chat, "x")
    assert chat.with_options(api_key="sk-realstack-another").chat.completions.list().data == []
    assert len(chat.chat.completions.list().data) == 1
    session.call("POST", "/reset")
    assert chat.chat.completions.list().data == []
