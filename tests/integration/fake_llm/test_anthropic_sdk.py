"""The unchanged ``anthropic`` SDK against the running server."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, ToolParam
from pydantic import BaseModel

from .conftest import Session
from .test_openai_sdk import nothing_left_over

HELLO: list[MessageParam] = [{"role": "user", "content": "hello there"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
    },
}
ASK: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 500, "messages": HELLO}


def test_an_unscripted_call_is_answered(claude: anthropic.Anthropic) -> None:
    found = claude.messages.create(**ASK)
    assert [block.type for block in found.content] == ["text"]
    assert found.content[0].type == "text"
    assert found.content[0].text == "You said: hello there"
    assert (found.stop_reason, found.stop_sequence) == ("end_turn", None)
    assert found._request_id is not None
    assert nothing_left_over(found)


async def test_the_async_client_streams(async_claude: anthropic.AsyncAnthropic, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo there"], "chunk_delay_s": 0.01}})
    async with async_claude.messages.stream(**ASK) as stream:
        words = [word async for word in stream.text_stream]
        final = await stream.get_final_message()
    assert words == ["Hel", "lo there"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 1


def test_text_and_parallel_tool_uses_come_back_whole_and_as_a_stream(
    claude: anthropic.Anthropic, session: Session
) -> None:
    calls = [{"name": "get_weather", "arguments": {"city": city, "days": 3}} for city in ("Paris", "Rome")]
    session.add({"reply": {"text": "Let me look.", "tool_calls": calls}})
    whole = claude.messages.create(**ASK, tools=[WEATHER])
    with claude.messages.stream(**ASK, tools=[WEATHER]) as stream:
        streamed = stream.get_final_message()
    both: tuple[Any, ...] = (whole, streamed)
    for found in both:
        assert found.stop_reason == "tool_use"
        assert [block.type for block in found.content] == ["text", "tool_use", "tool_use"]
        assert [b.input for b in found.content if b.type == "tool_use"] == [call["arguments"] for call in calls]
        assert len({b.id for b in found.content if b.type == "tool_use"}) == 2


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_that_must_be_used_is_used_with_input_that_fits(claude: anthropic.Anthropic, choice: Any) -> None:
    found = claude.messages.create(**ASK, tools=[WEATHER], tool_choice=choice)
    (block,) = found.content
    assert block.type == "tool_use"
    assert block.input == {"city": "city", "days": 3}


def test_a_tool_loop_ends_with_what_the_tool_said(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"match": {"turn": 1}, "reply": {"tool_calls": [{"name": "get_weather"}]}})
    first = claude.messages.create(**ASK, tools=[WEATHER])
    assert first.content[0].type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "17 degrees"}
    messages: Any = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    last = claude.messages.create(**{**ASK, "messages": messages}, tools=[WEATHER])
    assert last.content[0].type == "text"
    assert last.content[0].text == "The tool answered: 17 degrees"


class Answer(BaseModel):
    city: str
    days: int


def test_structured_output_fits_its_schema(claude: anthropic.Anthropic) -> None:
    found = claude.messages.parse(**ASK, output_format=Answer)
    assert isinstance(found.parsed_output, Answer)


def test_counting_agrees_with_usage(claude: anthropic.Anthropic) -> None:
    system = "You are brief. " * 20
    counted = claude.messages.count_tokens(model=ASK["model"], messages=HELLO, system=system, tools=[WEATHER])
    used = claude.messages.create(**ASK, system=system, tools=[WEATHER]).usage
    assert counted.input_tokens == used.input_tokens > 60


def test_stop_sequences_and_limits_are_told_apart(claude: anthropic.Anthropic) -> None:
    stopped = claude.messages.create(**ASK, stop_sequences=[" there"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " there")
    limited = claude.messages.create(**{**ASK, "max_tokens": 2})
    assert (limited.stop_reason, limited.usage.output_tokens) == ("max_tokens", 2)


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_a_scripted_status_is_the_sdks_exception(
    claude: anthropic.Anthropic, session: Session, status: int, expected: type[anthropic.APIStatusError], kind: str
) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": status}}})
    with pytest.raises(expected) as caught:
        claude.messages.create(**ASK)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == kind  # type: ignore[index]
    assert caught.value.request_id


def test_an_overloaded_service_is_retried(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"sequence": [{"fault": {"kind": "status", "status": 529, "retry_after_ms": 5}}, "made it"]})
    found = claude.with_options(max_retries=1).messages.create(**ASK)
    assert found.content[0].type == "text"
    assert found.content[0].text == "made it"


def test_an_error_event_inside_a_stream_is_raised(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"reply": {"text": "one two", "fault": {"kind": "stream_error", "status": 529, "after_chunks": 4}}})
    with pytest.raises(anthropic.APIStatusError) as caught, claude.messages.stream(**ASK) as stream:
        stream.get_final_message()
    assert (caught.value.status_code, "verloaded" in str(caught.value)) == (200, True)


def test_a_cut_stream_breaks_in_the_clients_hands(claude: anthropic.Anthropic, session: Session) -> None:
    import httpx2

    session.add({"reply": {"text": "one two three", "fault": {"kind": "cut", "after_chunks": 4}}})
    with (
        pytest.raises((httpx2.TransportError, anthropic.APIConnectionError)),
        claude.messages.stream(**ASK) as stream,
    ):
        stream.get_final_message()


def test_sampling_parameters_are_refused_under_the_new_version(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        claude.messages.create(**ASK, extra_body={"temperature": 1})
    old = claude.with_options(default_headers={"anthropic-version": "2023-06-01"})
    assert old.messages.create(**ASK, extra_body={"temperature": 1}).content


def test_models_are_anthropics(claude: anthropic.Anthropic) -> None:
    ids = [model.id for model in claude.models.list(limit=1)]
    assert len(ids) == len(set(ids)) > 1
    assert claude.models.retrieve(ids[0]).type == "model"
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("gpt-4o")


def test_the_old_key_header_is_taken_and_none_is_refused(session: Session) -> None:
    headers = {"anthropic-version": "2023-06-01", "x-api-key": session.api_key}
    found = httpx.post(f"{session.url}/v1/messages", json=ASK, headers=headers, timeout=30)
    assert found.status_code == 200
    del headers["x-api-key"]
    refused = httpx.post(f"{session.url}/v1/messages", json=ASK, headers=headers, timeout=30)
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "authentication_error"
    assert refused.headers["request-id"] == refused.json()["request_id"]


def test_every_stream_event_is_named(session: Session) -> None:
    headers = {"anthropic-version": "2026-10-21", "authorization": f"Bearer {session.api_key}"}
    raw = httpx.post(f"{session.url}/v1/messages", json={**ASK, "stream": True}, headers=headers, timeout=30)
    assert raw.headers["content-type"].startswith("text/event-stream")
    for block in raw.text.strip().split("\n\n"):
        name, data = block.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
