"""The unchanged ``openai`` SDK against what the running server keeps of its responses."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from .conftest import Session
from .responses_sdk import WEATHER, left_over, streamed


def test_a_tool_loop_by_previous_response_needs_the_result_only(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {"match": {"turn": 1}, "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]}},
        {"match": {"turn": 2}, "reply": {"template": "{{ user }} It is {{ tool_result }}"}},
    )
    first = chat.responses.create(model="m", input="weather?", tools=[WEATHER])
    (call,) = first.output
    assert call.type == "function_call"
    result: Any = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": [{"type": "input_text", "text": "9"}],
    }
    second = chat.responses.create(model="m", input=[result], previous_response_id=first.id, tools=[WEATHER])
    assert (second.output_text, second.previous_response_id) == ("weather? It is 9", first.id)
    with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
        chat.responses.create(model="m", input="go on", previous_response_id=first.id)


def test_a_conversation_goes_on_and_leaves_the_instructions_behind(chat: openai.OpenAI, session: Session) -> None:
    first = chat.responses.create(model="m", input="one", instructions="be brief")
    second = chat.responses.create(model="m", input="two", previous_response_id=first.id)
    chat.responses.create(model="m", input="three", previous_response_id=second.id, instructions="be long")
    turns = [entry["turn"] for entry in session.journal()]
    assert [turn["number"] for turn in turns] == [1, 2, 3]
    assert [turn["system"] for turn in turns] == ["be brief", "", "be long"]
    said = [message["text"] for message in turns[2]["messages"]]
    assert said == ["be long", "one", "You said: one", "two", "You said: two", "three"]
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_reference_to_an_item_stands_for_it(chat: openai.OpenAI, session: Session) -> None:
    first = chat.responses.create(model="m", input="one")
    chat.responses.create(
        model="m",
        input=[{"type": "item_reference", "id": first.output[0].id or ""}, {"role": "user", "content": "two"}],
    )
    assert [m["text"] for m in session.journal()[1]["turn"]["messages"]] == ["You said: one", "two"]
    with pytest.raises(openai.NotFoundError, match="Item with id 'msg_x' not found"):
        chat.responses.create(model="m", input=[{"type": "item_reference", "id": "msg_x"}])


def test_a_response_is_retrieved_and_deleted(chat: openai.OpenAI) -> None:
    made = chat.responses.create(model="m", input="hello there")
    assert chat.responses.retrieve(made.id).to_dict() == made.to_dict()
    chat.responses.delete(made.id)
    for gone in (made.id, "resp_unknown"):
        with pytest.raises(openai.NotFoundError, match=f"Response with id '{gone}' not found"):
            chat.responses.retrieve(gone)
        with pytest.raises(openai.NotFoundError):
            chat.responses.delete(gone)


def test_what_is_not_to_be_stored_is_not_kept(chat: openai.OpenAI) -> None:
    made = chat.responses.create(model="m", input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        chat.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        chat.responses.create(model="m", input="more", previous_response_id=made.id)
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")


def test_a_session_keeps_its_responses_to_itself_and_loses_them_by_a_reset(
    chat: openai.OpenAI, session: Session
) -> None:
    made = chat.responses.create(model="m", input="hello")
    with pytest.raises(openai.NotFoundError):
        chat.with_options(api_key="sk-realstack-another").responses.retrieve(made.id)
    assert chat.responses.retrieve(made.id).id == made.id
    session.call("POST", "/reset")
    with pytest.raises(openai.NotFoundError):
        chat.responses.retrieve(made.id)


def test_a_stream_is_taken_up_where_it_broke_off(chat: openai.OpenAI, session: Session) -> None:
    import httpx2

    session.add(
        {"reply": {"text": "one two three four", "chunk_delay_s": 0, "fault": {"kind": "cut", "after_chunks": 6}}}
    )
    received: list[ResponseStreamEvent] = []
    with (
        pytest.raises((httpx2.TransportError, openai.APIConnectionError)),
        chat.responses.create(model="m", input="hello", stream=True) as stream,
    ):
        received.extend(stream)
    assert received[0].type == "response.created"
    rest = list(
        chat.responses.retrieve(received[0].response.id, stream=True, starting_after=received[-1].sequence_number)
    )
    numbers = [event.sequence_number for event in [*received, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].type == "response.completed"
    deltas = [event.delta for event in [*received, *rest] if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "one two three four"


def test_input_items_are_listed_page_by_page(chat: openai.OpenAI) -> None:
    items: Any = [
        {"role": "developer", "content": "brief"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
    ]
    first = chat.responses.create(model="m", input=items)
    second = chat.responses.create(model="m", input="next", previous_response_id=first.id)
    pages = list(chat.responses.input_items.list(second.id, limit=2, order="asc").iter_pages())
    assert [len(page.data) for page in pages] == [2, 2, 2]
    found = [item for page in pages for item in page.data]
    assert [item.type for item in found] == [
        "message", "message", "function_call", "function_call_output", "message", "message"
    ]  # fmt: skip
    assert [getattr(item, "role", None) for item in found] == ["developer", "user", None, None, "assistant", "user"]
    assert left_over(found) == []
    newest = chat.responses.input_items.list(second.id)
    assert [item.id for item in newest.data] == [item.id for item in reversed(found)]
    with pytest.raises(openai.BadRequestError):
        chat.responses.input_items.list(second.id, limit=101)


def test_only_work_in_the_background_can_be_cancelled(chat: openai.OpenAI, session: Session) -> None:
    made = chat.responses.create(model="m", input="hello")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        chat.responses.cancel(made.id)
    session.add({"match": {"user": "slow"}, "reply": {"text": "done", "delay_s": 60}})
    slow = chat.responses.create(model="m", input="slow", background=True)
    assert (slow.status, slow.output) == ("queued", [])
    assert chat.responses.retrieve(slow.id).status == "in_progress"
    for _ in range(2):
        assert chat.responses.cancel(slow.id).status == "cancelled"
    assert left_over([slow, chat.responses.retrieve(slow.id)]) == []


def test_work_in_the_background_is_done_when_its_delay_is_over(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "done", "delay_s": 0.2}})
    found: Response = chat.responses.create(model="m", input="hello", background=True)
    seen = [found.status]
    while found.status in ("queued", "in_progress"):
        found = chat.responses.retrieve(found.id)
        seen.append(found.status)
    assert (seen[0], seen[1], seen[-1], found.output_text) == ("queued", "in_progress", "completed", "done")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a completed response"):
        chat.responses.cancel(found.id)
    assert [event.type for event in streamed(chat, background=True)[:3]] == [
        "response.created", "response.queued", "response.in_progress"
    ]  # fmt: skip


async def test_input_tokens_agree_with_usage(async_chat: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "m", "input": "hello there", "instructions": "be brief", "tools": [WEATHER]}
    counted = await async_chat.responses.input_tokens.count(**asked)
    used = (await async_chat.responses.create(**asked)).usage
    assert used is not None
    assert (counted.input_tokens, counted.object) == (used.input_tokens, "response.input_tokens")
    assert left_over(counted) == []
