"""Conversations, compaction and what else lasts between responses, by the unchanged ``openai`` SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import Session
from .responses_sdk import WEATHER, left_over


def test_a_conversation_is_made_changed_and_deleted(chat: openai.OpenAI) -> None:
    made = chat.conversations.create(metadata={"topic": "demo"}, items=[{"role": "user", "content": "Hello!"}])
    assert left_over(made) == []
    assert (made.metadata, made.object) == ({"topic": "demo"}, "conversation")
    assert chat.conversations.retrieve(made.id) == made
    assert chat.conversations.update(made.id, metadata={"topic": "x"}).metadata == {"topic": "x"}
    gone = chat.conversations.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "conversation.deleted")
    for call in (chat.conversations.retrieve, chat.conversations.delete, chat.conversations.items.list):
        with pytest.raises(openai.NotFoundError, match=f"Conversation with id '{made.id}' not found"):
            call(made.id)


async def test_items_are_added_listed_page_by_page_and_deleted(async_chat: openai.AsyncOpenAI) -> None:
    made = await async_chat.conversations.create()
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"role": "assistant", "content": "two"},
    ]
    added = await async_chat.conversations.items.create(made.id, items=items)
    assert left_over(added) == []
    assert [item.type for item in added.data] == ["message", "function_call", "function_call_output", "message"]
    listed = [item async for item in async_chat.conversations.items.list(made.id, limit=3, order="asc")]
    assert listed == added.data
    newest = await async_chat.conversations.items.list(made.id, limit=1)
    assert (newest.data, newest.has_more) == (added.data[3:], True)
    first = added.data[0]
    assert first.type == "message"
    assert await async_chat.conversations.items.retrieve(first.id, conversation_id=made.id) == first
    assert await async_chat.conversations.items.delete(first.id, conversation_id=made.id) == made
    with pytest.raises(openai.NotFoundError):
        await async_chat.conversations.items.retrieve(first.id, conversation_id=made.id)


@pytest.mark.parametrize("as_object", [False, True])
def test_a_conversation_grows_by_each_response_and_is_seen_whole(
    chat: openai.OpenAI, session: Session, as_object: bool
) -> None:
    session.add(
        {"match": {"turn": 1}, "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]}},
        {"match": {"turn": 2}, "reply": {"template": "{{ user }} It is {{ tool_result }}."}},
    )
    made = chat.conversations.create()
    asked: Any = {"model": "m", "conversation": {"id": made.id} if as_object else made.id, "tools": [WEATHER]}
    first = chat.responses.create(input="weather?", store=False, **asked)
    assert first.conversation is not None
    assert (first.conversation.id, left_over(first)) == (made.id, [])
    with pytest.raises(openai.NotFoundError):
        chat.responses.retrieve(first.id)
    call = first.output[0]
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "9"}
    events = list(chat.responses.create(input=[result], stream=True, **asked))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "weather? It is 9."
    items = chat.conversations.items.list(made.id, order="asc").data
    assert left_over(items) == []
    assert [item.type for item in items] == ["message", "function_call", "function_call_output", "message"]
    assert items[1].id == call.id


def test_a_conversation_is_its_sessions_own_and_no_response_beside_it(chat: openai.OpenAI, session: Session) -> None:
    made = chat.conversations.create()
    with pytest.raises(openai.NotFoundError):
        chat.with_options(api_key="sk-realstack-another").conversations.retrieve(made.id)
    response = chat.responses.create(model="m", input="x")
    with pytest.raises(openai.BadRequestError) as caught:
        chat.responses.create(model="m", input="x", conversation=made.id, previous_response_id=response.id)
    assert caught.value.code == "mutually_exclusive_parameters"
    session.add({"reply": {"fault": {"kind": "status", "status": 503}}})
    with pytest.raises(openai.InternalServerError):
        chat.responses.create(model="m", input="x", conversation=made.id)
    assert chat.conversations.items.list(made.id).data == []
    session.call("POST", "/reset")
    with pytest.raises(openai.NotFoundError):
        chat.conversations.retrieve(made.id)


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({"items": [{"role": "user", "content": "x"}] * 21}, "items", "array_above_max_length"),
        ({"items": [{"type": "chat"}]}, "items[0]", "invalid_value"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties"),
        ({"metadata": {"k" * 65: ""}}, "metadata", "string_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
        ({"metadata": {"k": 1}}, "metadata.k", "invalid_type"),
    ],
)
def test_a_conversation_is_refused_as_the_service_does(chat: openai.OpenAI, asked: Any, param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.conversations.create(**asked)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_compaction_stands_for_what_it_replaced_in_fewer_tokens(chat: openai.OpenAI, session: Session) -> None:
    long = "a long answer with many words " * 100
    session.add({"match": {"turn": 1}, "reply": long}, {"match": {"turn": 2}, "reply": "second"})
    first = chat.responses.create(model="m", input="tell me")
    compacted = chat.responses.compact(model="m", previous_response_id=first.id)
    assert left_over([compacted.usage, compacted.output[1]]) == []  # the SDK has no type for a user message there
    assert compacted.model_extra == {}
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.usage.input_tokens > 10 * compacted.usage.output_tokens
    more: Any = [*(item.to_dict(warnings=False) for item in compacted.output), {"role": "user", "content": "go on"}]
    second = chat.responses.create(model="m", input=more)
    assert second.output_text == "second"
    assert second.usage is not None
    assert second.usage.input_tokens < compacted.usage.input_tokens / 4
    said = [(m["role"], m["text"][:7]) for m in session.journal()[-1]["turn"]["messages"]]
    assert said == [("user", "tell me"), ("assistant", long[:7]), ("user", "go on")]
    more[1] = {**more[1], "encrypted_content": "gAAAA-of-others"}
    with pytest.raises(openai.BadRequestError) as caught:
        chat.responses.create(model="m", input=more)
    assert caught.value.code == "invalid_encrypted_content"


def test_a_reusable_prompt_is_not_found(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Prompt with id 'pmpt_1' not found"):
        chat.responses.create(model="m", input="x", prompt={"id": "pmpt_1"})


@pytest.mark.parametrize(("asked", "served"), [("fast", "priority"), ("flex", "flex"), ("auto", "default")])
def test_the_tier_that_served_is_named(chat: openai.OpenAI, asked: Any, served: str) -> None:
    assert chat.responses.create(model="m", input="x", service_tier=asked).service_tier == served
    hello: Any = [{"role": "user", "content": "x"}]
    assert chat.chat.completions.create(model="m", messages=hello, service_tier=asked).service_tier == served
