"""Legacy completions by the unchanged ``openai`` SDK against the running server."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import Session
from .test_openai_sdk import nothing_left_over

MODEL = "gpt-3.5-turbo-instruct"


def test_an_unscripted_prompt_is_answered(chat: openai.OpenAI) -> None:
    found = chat.completions.create(model=MODEL, prompt="hello there")
    (choice,) = found.choices
    assert (choice.text, choice.finish_reason, choice.index) == ("You said: hello there", "stop", 0)
    assert (found.object, found.model, found.id.startswith("cmpl-")) == ("text_completion", MODEL, True)
    assert found.usage is not None
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert found.usage.prompt_tokens == 2
    assert nothing_left_over(found)


async def test_the_async_client_gets_a_scripted_text(async_chat: openai.AsyncOpenAI, session: Session) -> None:
    session.add({"match": {"dialect": "openai_completions", "user": "hello"}, "reply": "scripted"})
    found = await async_chat.completions.create(model=MODEL, prompt="hello")
    assert found.choices[0].text == "scripted"
    (entry,) = session.journal()
    assert (entry["dialect"], entry["matched"], entry["turn"]["user"]) == ("openai_completions", True, "hello")


def test_each_prompt_gets_its_own_choices_in_order(chat: openai.OpenAI) -> None:
    found = chat.completions.create(model=MODEL, prompt=["one", "two"], n=2)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in found.choices] == [
        "You said: one",
        "You said: one (2)",
        "You said: two",
        "You said: two (2)",
    ]


def test_tokens_are_counted_as_they_are(chat: openai.OpenAI) -> None:
    one = chat.completions.create(model=MODEL, prompt=[1, 2, 3])
    two = chat.completions.create(model=MODEL, prompt=[[1, 2, 3], [4, 5]])
    assert one.usage is not None
    assert two.usage is not None
    assert (one.usage.prompt_tokens, two.usage.prompt_tokens, len(two.choices)) == (3, 5, 2)


def test_without_a_limit_sixteen_tokens_are_written(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": "word " * 100})
    cut = chat.completions.create(model=MODEL, prompt="hello")
    assert cut.usage is not None
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 16)
    whole = chat.completions.create(model=MODEL, prompt="hello", max_tokens=500)
    assert (whole.choices[0].finish_reason, whole.choices[0].text) == ("stop", "word " * 100)


def test_stops_end_the_text_and_an_echo_comes_before_it(chat: openai.OpenAI) -> None:
    found = chat.completions.create(model=MODEL, prompt="one two three", stop=[" three"], echo=True)
    assert (found.choices[0].text, found.choices[0].finish_reason) == ("one two threeYou said: one two", "stop")


def test_an_echo_of_nothing_more_has_the_prompts_log_probabilities(chat: openai.OpenAI) -> None:
    found = chat.completions.create(model=MODEL, prompt="one two", echo=True, max_tokens=0, logprobs=2)
    (choice,) = found.choices
    assert choice.text == "one two"
    assert choice.logprobs is not None
    assert (choice.logprobs.tokens, choice.logprobs.text_offset) == (["one", " two"], [0, 3])
    first, second = choice.logprobs.token_logprobs or []
    assert first is None
    assert second < 0
    assert found.usage is not None
    assert found.usage.completion_tokens == 0


def test_log_probabilities_are_those_of_the_text(chat: openai.OpenAI) -> None:
    found = chat.completions.create(model=MODEL, prompt="hello", logprobs=3)
    (choice,) = found.choices
    logprobs = choice.logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == choice.text
    assert (logprobs.text_offset or [])[:2] == [5, 5 + len((logprobs.tokens or [])[0])]
    for token, chance, top in zip(
        logprobs.tokens or [], logprobs.token_logprobs or [], logprobs.top_logprobs or [], strict=True
    ):
        assert len(top) == 3
        assert top[token] == chance < 0
    assert nothing_left_over(found)


def test_a_stream_is_the_whole_text_in_pieces(chat: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": MODEL, "prompt": ["one", "two"], "echo": True, "logprobs": 1, "n": 2}
    whole = chat.completions.create(**asked)
    chunks = list(chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    *parts, last = chunks
    for choice in whole.choices:
        own = [part.choices[0] for part in parts if part.choices[0].index == choice.index]
        assert len(own) > 3
        assert "".join(part.text for part in own) == choice.text
        assert [part.finish_reason for part in own] == [None] * (len(own) - 1) + ["stop"]
        offsets = [at for part in own if part.logprobs for at in part.logprobs.text_offset or []]
        assert choice.logprobs is not None
        assert offsets == choice.logprobs.text_offset
    assert (last.choices, last.usage) == ([], whole.usage)
    assert all(part.usage is None for part in parts)
    assert all(nothing_left_over(chunk) for chunk in chunks)


async def test_a_stream_without_usage_has_no_usage_chunk(async_chat: openai.AsyncOpenAI, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo"], "chunk_delay_s": 0.01}})
    chunks = [chunk async for chunk in await async_chat.completions.create(model=MODEL, prompt="hello", stream=True)]
    assert [chunk.choices[0].text for chunk in chunks] == ["Hel", "lo", ""]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"prompt": []}, None, None),
        ({"prompt": [1, "a"]}, None, None),
        ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
        ({"logprobs": True}, "logprobs", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"echo": "yes"}, "echo", "invalid_type"),
        ({"n": 3, "best_of": 2}, "best_of", None),
        ({"best_of": 2, "stream": True}, "best_of", None),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ],
)
def test_what_the_service_refuses_is_refused(
    chat: openai.OpenAI, change: dict[str, Any], param: str | None, code: str | None
) -> None:
    asked: dict[str, Any] = {"model": MODEL, "prompt": "hello", **change}
    with pytest.raises(openai.BadRequestError) as caught:
        chat.completions.create(**asked)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_chat_model_is_sent_to_the_chat_endpoint(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="This is a chat model"):
        chat.completions.create(model="gpt-4o", prompt="hello")


def test_faults_reach_completions_too(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {
            "sequence": [
                {"fault": {"kind": "status", "status": 429}},
                {"text": "one two", "fault": {"kind": "stream_error", "message": "too busy"}},
            ]
        }
    )
    with pytest.raises(openai.RateLimitError):
        chat.completions.create(model=MODEL, prompt="hello")
    with pytest.raises(openai.APIError, match="too busy"):
        list(chat.completions.create(model=MODEL, prompt="hello", stream=True))
