"""What OpenAI-compatible servers add: probes, tokens, body fields and usage; by raw requests and the ``openai`` SDK."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema
import openai
import pytest

from .conftest import Session

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["small", "large"]}},
    "required": ["size"],
    "additionalProperties": False,
}


def post(session: Session, path: str, body: Any) -> httpx.Response:
    return session.control.post(path, json=body)


@pytest.mark.parametrize("prefix", ["", "/s/mine"])
def test_probes_are_answered_without_a_key(session: Session, prefix: str) -> None:
    root = session.control.get(f"{prefix}/")
    assert (root.text, root.headers["content-type"]) == ("Ollama is running", "text/plain; charset=utf-8")
    assert session.control.get(f"{prefix}/version").json().keys() == {"version"}
    for path in ("/", "/health", "/ping", "/version"):
        assert session.control.head(prefix + path).status_code == 200
        assert session.control.get(prefix + path).status_code == 200
    assert session.control.post(f"{prefix}/ping").status_code == 200
    assert session.control.post(f"{prefix}/health").status_code == 404


@pytest.mark.parametrize("text", ["Hello there, you!", "", "Grüße 你好 🎉\n\n  indented\tx", "12345 antidisestablish"])
def test_tokens_of_a_text_can_be_turned_into_it_again(session: Session, text: str) -> None:
    found = post(session, "/tokenize", {"model": "m", "prompt": text, "return_token_strs": True}).json()
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert "".join(found["token_strs"]) == text
    assert all(0 <= number < 2**31 for number in found["tokens"])
    assert found["max_model_len"] > found["count"]
    assert post(session, "/detokenize", {"model": "m", "tokens": found["tokens"]}).json() == {"prompt": text}
    assert post(session, "/tokenize", {"prompt": text}).json() == {**found, "token_strs": None}


def test_a_conversation_has_as_many_tokens_as_its_usage_says(session: Session, chat: openai.OpenAI) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "x"}'}}
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": "https://x.test/y.png"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "42 things"},
    ]
    tool: Any = {"type": "function", "function": {"name": "look_up", "description": "A word", "parameters": SCHEMA}}
    usage = chat.chat.completions.create(model="m", messages=messages, tools=[tool]).usage
    found = post(session, "/tokenize", {"messages": messages, "tools": [tool]}).json()
    assert usage is not None
    assert found["count"] == len(found["tokens"]) == usage.prompt_tokens
    bare = post(session, "/tokenize", {"messages": messages, "tools": [tool], "add_generation_prompt": False}).json()
    assert bare["tokens"] == found["tokens"][:-3]
    text = post(session, "/detokenize", {"tokens": found["tokens"]}).json()["prompt"]
    assert "<|im_start|>system\nBe brief.<|im_end|>\n" in text
    assert text.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {}),
        ("/tokenize", {"prompt": 5}),
        ("/tokenize", {"messages": []}),
        ("/detokenize", {}),
        ("/detokenize", {"tokens": "1"}),
        ("/detokenize", {"tokens": [True]}),
        ("/detokenize", {"tokens": [-1]}),
    ],
)
def test_what_is_no_text_and_no_token_of_ours_is_refused(session: Session, path: str, body: Any) -> None:
    answer = post(session, path, body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_sampling_parameters_of_other_servers_are_let_through(chat: openai.OpenAI, session: Session) -> None:
    extra = {
        "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 1, "ignore_eos": False,
        "stop_token_ids": [1], "chat_template_kwargs": {"enable_thinking": False}, "priority": 1, "guided_regex": "x+",
        "guided_choice": ["a"], "structured_outputs": {"regex": "x+"}, "guided_json": None,
    }  # fmt: skip
    found = chat.chat.completions.create(model="m", messages=HELLO, extra_body=extra)
    assert found.choices[0].message.content == "You said: hello"
    assert session.journal()[-1]["request"]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    "extra",
    [
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    ],
)
def test_an_automatic_reply_keeps_to_a_guided_schema(chat: openai.OpenAI, extra: dict[str, Any]) -> None:
    found = chat.chat.completions.create(model="m", messages=HELLO, extra_body=extra)
    jsonschema.validate(json.loads(found.choices[0].message.content or ""), SCHEMA)


def test_a_guided_object_is_json(chat: openai.OpenAI) -> None:
    extra = {"structured_outputs": {"json_object": True}}
    found = chat.chat.completions.create(model="m", messages=HELLO, extra_body=extra)
    assert isinstance(json.loads(found.choices[0].message.content or ""), dict)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": 5}, "guided_json"),
        ({"structured_outputs": []}, "structured_outputs"),
        ({"structured_outputs": {"json": "[]"}}, "structured_outputs.json"),
    ],
)
def test_a_guide_that_is_no_schema_is_refused(chat: openai.OpenAI, extra: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="m", messages=HELLO, extra_body=extra)
    assert caught.value.param == param


def test_usage_grows_from_chunk_to_chunk_where_that_is_asked_for(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": "one two three four five"})
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, last = chat.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options=options)
    said = [chunk.usage.completion_tokens for chunk in chunks if chunk.usage]
    assert len(said) == len(chunks)
    assert said[0] == 0
    assert said == sorted(said)
    assert last.choices == []
    assert last.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == last.usage.total_tokens
    del options["continuous_usage_stats"]
    *chunks, last = chat.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options=options)
    assert not any(chunk.usage for chunk in chunks)


def test_the_list_of_models_stays_openais(chat: openai.OpenAI) -> None:
    assert "gpt-4o" in [model.id for model in chat.models.list()]
