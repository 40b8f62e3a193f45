"""The unchanged ``openai`` SDK against the running server."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel, Field

from .conftest import Session

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TWO_CALLS = {
    "reply": {
        "tool_calls": [
            {"name": "get_weather", "arguments": {"city": "Paris", "unit": "c"}},
            {"name": "get_weather", "arguments": {"city": "Rome", "unit": "f"}},
        ]
    }
}


class Step(BaseModel):
    title: str
    minutes: int = Field(ge=1, le=60)


class Triage(BaseModel):
    severity: Literal["low", "high"]
    steps: list[Step]
    follow_up: Step | None


def nothing_left_over(found: BaseModel) -> bool:
    """Whether the SDK's types know every field, all the way down."""
    if found.model_extra:
        return False
    values = [getattr(found, name) for name in type(found).model_fields]
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return all(nothing_left_over(one) for one in flat if isinstance(one, BaseModel))


def test_an_unscripted_call_is_answered(chat: openai.OpenAI) -> None:
    found = chat.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert found.choices[0].message.content == "You said: hello there"
    assert found.choices[0].finish_reason == "stop"
    assert found.model == "gpt-4o"
    assert found._request_id is not None
    assert found._request_id.startswith("req_")
    assert nothing_left_over(found)


async def test_the_async_client_is_answered_as_well(async_chat: openai.AsyncOpenAI) -> None:
    found = await async_chat.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert found.choices[0].message.content == "You said: hello there"


def test_a_scripted_reply_is_given(chat: openai.OpenAI, session: Session) -> None:
    session.add({"match": {"user": "hello"}, "reply": {"json": {"severity": "high"}}})
    found = chat.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert json.loads(found.choices[0].message.content or "") == {"severity": "high"}


def test_a_stream_carries_the_words_and_the_usage(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo ", "you"]}})
    chunks = list(
        chat.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert [c.choices[0].delta.content for c in chunks[1:-2]] == ["Hel", "lo ", "you"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert all(nothing_left_over(chunk) for chunk in chunks)


async def test_the_stream_helper_assembles_the_same_completion(
    async_chat: openai.AsyncOpenAI, session: Session
) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo"], "chunk_delay_s": 0.01}})
    async with async_chat.chat.completions.stream(model="gpt-4o", messages=HELLO) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "Hello"


def test_parallel_tool_calls_come_back_whole_and_as_a_stream(chat: openai.OpenAI, session: Session) -> None:
    session.add(TWO_CALLS)
    whole = chat.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[WEATHER])
    with chat.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=[WEATHER]) as stream:
        streamed = stream.get_final_completion()
    for found in (whole.choices[0], streamed.choices[0]):
        assert found.finish_reason == "tool_calls"
        calls = found.message.tool_calls or []
        assert [json.loads(call.function.arguments)["city"] for call in calls if call.type == "function"] == [
            "Paris",
            "Rome",
        ]
        assert len({call.id for call in calls}) == 2


def test_a_required_tool_is_called_with_arguments_that_fit(chat: openai.OpenAI) -> None:
    found = chat.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[WEATHER], tool_choice="required")
    (call,) = found.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "city", "unit": "c"}


def test_a_tool_loop_ends_with_what_the_tool_said(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {"match": {"turn": 1}, "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]}},
        {"match": {"tool_result": {"regex": r"\d+"}}, "reply": {"template": "It is {{ tool_result }}"}},
    )
    messages = list(HELLO)
    first = chat.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER]).choices[0].message
    assert first.tool_calls
    messages.append(first.to_dict())  # type: ignore[arg-type]
    messages.append({"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "17 degrees"})
    last = chat.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert last.choices[0].message.content == "It is 17 degrees"


def test_parse_gives_a_model_from_an_unscripted_reply(chat: openai.OpenAI) -> None:
    found = chat.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Triage)
    assert isinstance(found.choices[0].message.parsed, Triage)


async def test_parse_gives_a_model_from_a_scripted_reply(async_chat: openai.AsyncOpenAI, session: Session) -> None:
    session.add({"reply": {"json": {"severity": "high", "steps": [], "follow_up": None}}})
    found = await async_chat.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Triage)
    assert found.choices[0].message.parsed == Triage(severity="high", steps=[], follow_up=None)


def test_a_refusal_is_not_parsed(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"refusal": "I cannot do that"}})
    message = chat.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Triage).choices[0].message
    assert (message.refusal, message.parsed, message.content) == ("I cannot do that", None, None)


def test_parse_says_that_the_reply_was_cut_by_its_limit(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        chat.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Triage, max_completion_tokens=3)


def test_limits_stops_choices_and_log_probabilities_are_kept(chat: openai.OpenAI) -> None:
    limited = chat.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=2)
    assert (limited.choices[0].finish_reason, limited.usage and limited.usage.completion_tokens) == ("length", 2)
    stopped = chat.chat.completions.create(model="gpt-4o", messages=HELLO, stop=" there")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("You said: hello", "stop")
    several = chat.chat.completions.create(model="gpt-4o", messages=HELLO, n=3, logprobs=True, top_logprobs=2)
    assert len({choice.message.content for choice in several.choices}) == 3
    logprobs = several.choices[0].logprobs
    assert logprobs is not None
    assert "".join(entry.token for entry in logprobs.content or []) == several.choices[0].message.content


def test_usage_grows_with_the_input(chat: openai.OpenAI) -> None:
    def prompt_tokens(text: str) -> int:
        found = chat.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
        assert found.usage is not None
        assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
        return found.usage.prompt_tokens

    assert prompt_tokens("word") < prompt_tokens("word " * 20) < prompt_tokens("word " * 200)


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "unsupported_country_region_territory"),
        (404, openai.NotFoundError, "model_not_found"),
        (422, openai.UnprocessableEntityError, None),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, None),
    ],
)
def test_a_scripted_status_is_the_sdks_exception(
    chat: openai.OpenAI, session: Session, status: int, expected: type[openai.APIStatusError], code: str | None
) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": status}}})
    with pytest.raises(expected) as caught:
        chat.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.request_id


def test_the_client_retries_after_a_429_and_then_succeeds(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {"sequence": [{"fault": {"kind": "status", "status": 429, "retry_after_ms": 5}}, "made it"], "name": "limited"}
    )
    found = chat.with_options(max_retries=2).chat.completions.create(model="gpt-4o", messages=HELLO)
    assert found.choices[0].message.content == "made it"
    first, second = session.journal()
    assert (first["status"], first["fault"], second["status"]) == (429, "status", 200)
    assert second["headers"]["x-stainless-retry-count"] == "1"


def test_a_bad_request_is_refused_with_its_parameter(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="gpt-4o", messages=[])
    assert (caught.value.param, caught.value.code) == ("messages", "empty_array")


def test_a_hang_is_the_clients_timeout(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "hang"}}})
    with pytest.raises(openai.APITimeoutError):
        chat.with_options(timeout=0.2).chat.completions.create(model="gpt-4o", messages=HELLO)


def test_a_hang_that_ends_closes_the_connection(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "hang", "hang_s": 0.05}}})
    with pytest.raises(openai.APIConnectionError) as caught:
        chat.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert not isinstance(caught.value, openai.APITimeoutError)


@pytest.mark.parametrize("fault", [{"after_chunks": 3}, {"after_chunks": 3, "reset": True}, {"after_bytes": 300}])
def test_a_cut_stream_breaks_in_the_clients_hands(chat: openai.OpenAI, session: Session, fault: dict[str, Any]) -> None:
    import httpx2

    words = [f"w{n} " for n in range(50)]
    session.add({"reply": {"chunks": words, "chunk_delay_s": 0, "fault": {"kind": "cut", **fault}}})
    received: list[Any] = []
    with (
        pytest.raises((httpx2.TransportError, openai.APIConnectionError)),
        chat.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream,
    ):
        received.extend(stream)
    assert len(received) < 10
    assert session.journal()[0]["outcome"] == "cut"


def test_a_cut_body_is_a_connection_error(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "cut"}}})
    with pytest.raises(openai.APIConnectionError):
        chat.chat.completions.create(model="gpt-4o", messages=HELLO)


def test_an_error_inside_a_stream_is_raised_after_what_came_before(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {"reply": {"text": "one two", "fault": {"kind": "stream_error", "after_chunks": 2, "message": "too busy"}}}
    )
    received: list[Any] = []
    with pytest.raises(openai.APIError, match="too busy"):
        received.extend(chat.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))


@pytest.mark.parametrize("kind", ["malformed", "empty"])
def test_a_body_that_is_no_json_is_noticed(chat: openai.OpenAI, session: Session, kind: str) -> None:
    session.add({"reply": {"fault": {"kind": kind}}})
    with pytest.raises((openai.OpenAIError, json.JSONDecodeError)):
        chat.chat.completions.create(model="gpt-4o", messages=HELLO)


def test_models_are_listed_and_looked_up(chat: openai.OpenAI) -> None:
    assert "gpt-4o" in [model.id for model in chat.models.list()]
    assert chat.models.retrieve("gpt-4o").owned_by == "openai"
    with pytest.raises(openai.NotFoundError):
        chat.models.retrieve("claude-opus-5-5")


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_base_urls_of_all_shapes_work(session: Session, suffix: str) -> None:
    with openai.OpenAI(base_url=session.url + suffix, api_key=session.api_key, max_retries=0) as client:
        assert client.chat.completions.create(model="m", messages=HELLO).choices


def test_rate_limit_headers_are_there(chat: openai.OpenAI) -> None:
    raw = chat.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    assert {"openai-version", "openai-processing-ms", "x-ratelimit-remaining-tokens"} <= set(raw.headers)
    assert raw.headers["content-type"] == "application/json"
