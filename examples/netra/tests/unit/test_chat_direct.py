"""The border to the model: what the SDK reports, in the application's own errors."""

from __future__ import annotations

import httpx2
import pytest
from openai.types.shared_params import ResponseFormatJSONSchema

from netra_backend.app.errors import (
    LLMInterrupted,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
)
from netra_backend.app.llm.chat import ChatModel, Reply, ToolRequest, open_client
from netra_backend.app.llm.config import LLMConfig
from netra_testing.border import CONFIG, Answer, answers, asks_tool, closed_port, model_server, raises, says, streams

FORMAT: ResponseFormatJSONSchema = {"type": "json_schema", "json_schema": {"name": "anything"}}


async def complete(*script: Answer) -> tuple[Reply, int]:
    async with model_server(*script) as server:
        model = ChatModel(CONFIG, client=server.client)
        reply = await model.complete([{"role": "user", "content": "hello"}], response_format=FORMAT)
    return reply, len(server.requests)


async def stream(*script: Answer) -> list[str | Reply]:
    async with model_server(*script) as server:
        model = ChatModel(CONFIG, client=server.client)
        return [piece async for piece in model.stream([{"role": "user", "content": "hello"}], tools=[])]


async def test_a_completion_is_its_text() -> None:
    assert await complete(says("hi")) == (Reply(text="hi"), 1)


async def test_a_rate_limit_is_waited_out() -> None:
    assert await complete(answers(429, retry_after="0.001"), says("hi")) == (Reply(text="hi"), 2)


async def test_a_lasting_rate_limit_says_how_long_to_stay_away() -> None:
    with pytest.raises(LLMRateLimited) as caught:
        await complete(answers(429, retry_after="600"))
    assert caught.value.retry_after_s == 600


@pytest.mark.parametrize("header", [{}, {"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}])
async def test_a_rate_limit_without_seconds_names_none(header: dict[str, str]) -> None:
    with pytest.raises(LLMRateLimited) as caught:
        await complete(answers(429, x_should_retry="false", **header))
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (answers(500, x_should_retry="false"), LLMUnavailable),
        (answers(401), LLMRejected),
        (answers(400), LLMRejected),
        (answers(200, body={"id": "x", "object": "chat.completion", "choices": []}), LLMInterrupted),
        (raises(httpx2.ReadTimeout("slow")), LLMTimeout),
        (raises(httpx2.ConnectError("refused")), LLMUnavailable),
        (raises(httpx2.RemoteProtocolError("cut")), LLMUnavailable),
    ],
)
async def test_a_failing_completion_is_an_error_of_ours(answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        await complete(answer)
    assert type(caught.value) is error
    assert "sk-planted" not in str(caught.value)


async def test_a_stream_ends_with_the_whole_reply() -> None:
    assert await stream(streams({"content": "Hel"}, {"content": "lo"})) == ["Hel", "lo", Reply(text="Hello")]


async def test_a_streamed_tool_request_is_put_together() -> None:
    assert await stream(asks_tool("look", '{"a": 1}')) == [
        Reply(tool_requests=(ToolRequest("call_1", "look", '{"a": 1}'),))
    ]


async def test_a_streamed_refusal_is_kept() -> None:
    assert await stream(streams({"refusal": "No, "}, {"refusal": "thanks."})) == [Reply(refusal="No, thanks.")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (streams({"content": "Hal"}, finish=None, tail=""), LLMInterrupted),
        (streams({"content": "Hal"}, finish=None, tail='data: {"error": {"message": "x"}}\n\n'), LLMInterrupted),
        (streams({"content": "Hal"}, finish=None, tail='data: {"id": \n\n'), LLMInterrupted),
        (answers(503, x_should_retry="false"), LLMUnavailable),
    ],
)
async def test_a_failing_stream_is_an_error_of_ours(answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error):
        await stream(answer)


async def test_a_client_of_its_own_is_opened_with_the_configured_patience() -> None:
    async with open_client(CONFIG) as client:
        assert (client.timeout, client.max_retries) == (30.0, 2)
        assert str(client.base_url) == "http://llm.invalid/v1/"
    assert client.is_closed()


async def test_a_model_without_a_shared_client_opens_one_and_leaves_nothing_open() -> None:
    nowhere = LLMConfig("openai", "m", f"http://127.0.0.1:{closed_port()}/v1", "sk-planted", max_retries=0)
    with pytest.raises(LLMUnavailable):
        await ChatModel(nowhere).complete([{"role": "user", "content": "hello"}], response_format=FORMAT)
