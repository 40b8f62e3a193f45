"""The unchanged ``openai`` SDK's Responses against the running server: words, structure, streams."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from openai.types.responses import ResponseInputParam
from pydantic import BaseModel, Field

from .conftest import Session
from .responses_sdk import CLOCK, WEATHER, kinds, left_over, streamed


class Step(BaseModel):
    title: str
    minutes: int = Field(ge=1, le=60)


class Triage(BaseModel):
    severity: Literal["low", "high"]
    steps: list[Step]
    follow_up: Step | None


def test_an_unscripted_call_is_answered(chat: openai.OpenAI) -> None:
    found = chat.responses.create(model="gpt-5.5", input="hello there")
    assert found.output_text == "You said: hello there"
    assert (found.status, found.model, found.error, found.incomplete_details) == ("completed", "gpt-5.5", None, None)
    assert found._request_id is not None
    assert found._request_id.startswith("req_")
    assert found.id.startswith("resp_")
    assert left_over(found) == []


async def test_the_async_client_is_answered_as_well(async_chat: openai.AsyncOpenAI) -> None:
    found = await async_chat.responses.create(model="gpt-5.5", input=[{"role": "user", "content": "hello there"}])
    assert found.output_text == "You said: hello there"


def test_a_response_repeats_its_settings(chat: openai.OpenAI) -> None:
    found = chat.responses.create(
        model="gpt-5.5",
        input="hello there",
        instructions="be brief",
        metadata={"case": "7"},
        temperature=0,
        tools=[WEATHER, CLOCK, {"type": "web_search"}],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]},
        parallel_tool_calls=False,
        reasoning={"effort": "low"},
        text={"verbosity": "low"},
        max_output_tokens=100,
        user="u1",
    )
    assert (found.instructions, found.metadata, found.temperature) == ("be brief", {"case": "7"}, 0)
    assert (found.parallel_tool_calls, found.max_output_tokens, found.user) == (False, 100, "u1")
    assert found.reasoning is not None
    assert found.text is not None
    assert (found.reasoning.effort, found.text.verbosity) == ("low", "low")
    assert [tool.type for tool in found.tools] == ["function", "function", "web_search"]
    assert [tool.strict for tool in found.tools if tool.type == "function"] == [True, False]
    assert found.tool_choice != "auto"
    assert left_over(found) == []


def test_instructions_and_developer_messages_are_the_system_text(chat: openai.OpenAI, session: Session) -> None:
    session.add({"match": {"system": {"regex": "brief\npolite"}, "dialect": "openai_responses"}, "reply": "matched"})
    asked: ResponseInputParam = [{"role": "developer", "content": "polite"}, {"role": "user", "content": "hello"}]
    assert chat.responses.create(model="m", input=asked, instructions="brief").output_text == "matched"
    assert chat.responses.create(model="m", input=asked).output_text != "matched"


def test_images_and_files_are_counted_as_attachments(chat: openai.OpenAI, session: Session) -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    bare = chat.responses.create(model="m", input="look").usage
    found = chat.responses.create(
        model="m",
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": picture, "detail": "auto"},
                    {"type": "input_file", "file_id": "file_1"},
                ],
            }
        ],
    )
    assert found.output_text == "You said: look"
    assert session.journal()[1]["turn"]["messages"][0]["attachments"] == 2
    assert bare is not None
    assert found.usage is not None
    assert found.usage.input_tokens > bare.input_tokens + 100


def test_a_text_stream_has_every_event_in_order(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo ", "you"]}})
    events = streamed(chat)
    assert kinds(events) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["Hel", "lo ", "you"]
    first, last = events[0], events[-1]
    assert first.type == "response.created"
    assert (first.response.status, first.response.output, first.response.usage) == ("in_progress", [], None)
    assert last.type == "response.completed"
    assert (last.response.output_text, last.response.id) == ("Hello you", first.response.id)
    assert last.response.usage is not None
    assert last.response.usage.output_tokens > 0


async def test_the_stream_helper_assembles_the_same_response(async_chat: openai.AsyncOpenAI, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo"], "chunk_delay_s": 0.01}})
    async with async_chat.responses.stream(model="gpt-5.5", input="hello there") as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert snapshots == ["Hel", "Hello"]
    assert final.output_text == "Hello"


def test_parse_gives_a_model_from_an_unscripted_reply(chat: openai.OpenAI) -> None:
    found = chat.responses.parse(model="gpt-5.5", input="hello", text_format=Triage)
    assert isinstance(found.output_parsed, Triage)
    assert found.text is not None
    assert found.text.format is not None
    assert found.text.format.type == "json_schema"


async def test_parse_gives_a_model_from_a_scripted_reply(async_chat: openai.AsyncOpenAI, session: Session) -> None:
    session.add({"reply": {"json": {"severity": "high", "steps": [], "follow_up": None}}})
    found = await async_chat.responses.parse(model="gpt-5.5", input="hello", text_format=Triage)
    assert found.output_parsed == Triage(severity="high", steps=[], follow_up=None)


def test_json_mode_gives_an_object_and_wants_the_word(chat: openai.OpenAI) -> None:
    json_object: Any = {"format": {"type": "json_object"}}
    found = chat.responses.create(model="m", input="some JSON please", text=json_object)
    assert isinstance(json.loads(found.output_text), dict)
    assert left_over(found) == []
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        chat.responses.create(model="m", input="some please", instructions="JSON", text=json_object)


def test_a_refusal_is_whole_and_streamed_and_not_parsed(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"refusal": "I cannot do that"}})
    found = chat.responses.parse(model="m", input="hello", text_format=Triage)
    assert (found.output_parsed, found.output_text) == (None, "")
    assert found.output[0].type == "message"
    assert found.output[0].content[0].type == "refusal"
    assert found.output[0].content[0].refusal == "I cannot do that"
    events = streamed(chat)
    assert "".join(event.delta for event in events if event.type == "response.refusal.delta") == "I cannot do that"
    assert kinds(events)[3:7] == [
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
    ]


def test_a_limit_leaves_the_response_incomplete(chat: openai.OpenAI) -> None:
    long = "word " * 50
    found = chat.responses.create(model="m", input=long, max_output_tokens=16)
    assert (found.status, found.usage and found.usage.output_tokens) == ("incomplete", 16)
    assert found.incomplete_details is not None
    assert found.incomplete_details.reason == "max_output_tokens"
    assert found.output[0].type == "message"
    assert found.output[0].status == "incomplete"
    assert left_over(found) == []
    last = streamed(chat, input=long, max_output_tokens=16)[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == found.output_text
    with pytest.raises(openai.BadRequestError, match="Expected a value >= 16"):
        chat.responses.create(model="m", input=long, max_output_tokens=15)


@pytest.mark.parametrize(
    ("reason", "status", "detail"),
    [("length", "incomplete", "max_output_tokens"), ("content_filter", "incomplete", "content_filter")],
)
def test_a_scripted_finish_is_said_in_the_apis_words(
    chat: openai.OpenAI, session: Session, reason: str, status: str, detail: str
) -> None:
    session.add({"reply": {"text": "x", "finish_reason": reason}})
    found = chat.responses.create(model="m", input="hello")
    assert found.incomplete_details is not None
    assert (found.status, found.incomplete_details.reason) == (status, detail)


def test_a_response_can_fail_without_an_error_of_http(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "half", "finish_reason": "failed"}})
    found = chat.responses.create(model="m", input="hello")
    assert found.error is not None
    assert (found.status, found.error.code) == ("failed", "server_error")
    assert left_over(found) == []
    last = streamed(chat)[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None


def test_log_probabilities_come_when_they_are_included(chat: openai.OpenAI) -> None:
    wanted: Any = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    found = chat.responses.create(model="m", input="hello there", **wanted)
    part = found.output[0].content[0]
    assert "".join(entry.token for entry in part.logprobs) == found.output_text
    assert {len(entry.top_logprobs) for entry in part.logprobs} == {2}
    assert left_over(found) == []
    deltas = [event for event in streamed(chat, **wanted) if event.type == "response.output_text.delta"]
    assert [event.logprobs[0].token for event in deltas] == [event.delta for event in deltas]


def test_reasoning_is_an_item_where_a_summary_is_asked_for(chat: openai.OpenAI) -> None:
    wanted: Any = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False}
    found = chat.responses.create(model="m", input="hello", **wanted)
    thought = found.output[0]
    assert thought.type == "reasoning"
    assert thought.encrypted_content
    assert (len(thought.summary), found.output_text) == (1, "You said: hello")
    assert left_over(found) == []
    events = streamed(chat, input="hello", **wanted)
    assert kinds(events)[2:8] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]
    again = chat.responses.create(model="m", input=[item.to_dict() for item in found.output], **wanted)
    assert again.status == "completed"


def test_usage_has_its_details(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {
            "reply": {
                "text": "x",
                "usage": {"input_tokens": 90, "output_tokens": 7, "cached_tokens": 64, "reasoning_tokens": 3},
            }
        }
    )
    found = chat.responses.create(model="m", input="hello")
    assert [item.type for item in found.output] == ["reasoning", "message"]
    usage = found.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (90, 7, 97)
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (64, 3)
