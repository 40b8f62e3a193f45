"""Chat and generate by the unchanged ``ollama`` client against the running server."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import ollama
import pytest

from fake_llm import tokens

from .conftest import Session
from .ollama_calls import HELLO, MODEL, WEATHER, joined

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 3}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def test_a_chat_is_answered_whole_with_counts_and_durations(llama: ollama.Client, session: Session) -> None:
    session.add({"match": {"dialect": "ollama", "user": "hello"}, "reply": "Hello from here"})
    found = llama.chat(MODEL, HELLO)
    assert (found.model, found.done, found.done_reason) == (MODEL, True, "stop")
    assert (found.message.role, found.message.content) == ("assistant", "Hello from here")
    assert found.message.thinking is None
    assert found.message.tool_calls is None
    (entry,) = session.journal()
    assert (entry["dialect"], entry["scenario"], entry["stream"]) == ("ollama", "scenario-1", False)
    assert (found.prompt_eval_count, found.eval_count) == (
        entry["usage"]["input_tokens"],
        entry["usage"]["output_tokens"],
    )
    durations = (found.load_duration, found.prompt_eval_duration, found.eval_duration)
    assert all(durations)
    assert found.total_duration == sum(one or 0 for one in durations)


def test_a_stream_is_the_same_words_in_pieces_and_a_last_line_with_the_counts(llama: ollama.Client) -> None:
    whole = llama.chat(MODEL, HELLO)
    *parts, last = llama.chat(MODEL, HELLO, stream=True)
    assert len(parts) > 1
    assert joined(parts) == whole.message.content
    assert not any(part.done or part.eval_count or part.done_reason for part in parts)
    assert (last.done, last.done_reason, last.message.content) == (True, "stop", "")
    assert (last.prompt_eval_count, last.eval_count) == (whole.prompt_eval_count, whole.eval_count)


async def test_the_async_client_chats_streams_generates_and_embeds(async_llama: ollama.AsyncClient) -> None:
    whole = await async_llama.chat(MODEL, HELLO)
    parts = [part async for part in await async_llama.chat(MODEL, HELLO, stream=True)]
    assert joined(parts) == whole.message.content == "You said: hello"
    assert (await async_llama.generate(MODEL, "hello")).response == "You said: hello"
    said = [part.response async for part in await async_llama.generate(MODEL, "hello", stream=True)]
    assert "".join(one or "" for one in said) == "You said: hello"
    assert len((await async_llama.embed("nomic-embed-text", ["a", "b"])).embeddings) == 2


def test_a_body_that_does_not_say_so_is_streamed_as_lines_of_json(session: Session) -> None:
    for path, asked in (("/api/chat", {"messages": HELLO}), ("/api/generate", {"prompt": "hello"})):
        for stream in ({}, {"stream": None}, {"stream": True}):
            answer = session.control.post(path, json={"model": MODEL, **asked, **stream})
            assert answer.headers["content-type"] == "application/x-ndjson"
            lines = [json.loads(line) for line in answer.text.removesuffix("\n").split("\n")]
            assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
            assert len({line["model"] for line in lines}) == 1
        answer = session.control.post(path, json={"model": MODEL, **asked, "stream": False})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["done"] is True


@pytest.mark.parametrize(
    ("think", "shown"), [(True, True), ("low", True), ("high", True), (False, False), (None, False)]
)
def test_thoughts_are_shown_to_who_asks_for_them(
    llama: ollama.Client, session: Session, think: Any, shown: bool
) -> None:
    session.add({"reply": {"text": "42", "reasoning": "Six times seven it is."}})
    expected = "Six times seven it is." if shown else None
    found = llama.chat(MODEL, HELLO, think=think)
    assert (found.message.content, found.message.thinking) == ("42", expected)
    assert found.eval_count == tokens.count("42") + tokens.count("Six times seven it is.")
    parts = list(llama.chat(MODEL, HELLO, think=think, stream=True))
    assert joined(parts) == "42"
    thoughts = [part.message.thinking for part in parts]
    assert ("".join(one or "" for one in thoughts) or None) == expected
    assert not shown or thoughts.index(None) == len([one for one in thoughts if one])
    generated = llama.generate(MODEL, "hello", think=think)
    assert (generated.response, generated.thinking) == ("42", expected)
    streamed = list(llama.generate(MODEL, "hello", think=think, stream=True))
    assert ("".join(part.thinking or "" for part in streamed) or None) == expected


def test_tool_calls_have_objects_as_arguments_and_results_come_back_by_name(
    llama: ollama.Client, session: Session
) -> None:
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Paris", "Rome")]
    session.add(
        {"match": {"tools": "get_weather", "turn": 1}, "reply": {"text": "Let me see.", "tool_calls": calls}},
        {"match": {"tool_result": "18 degrees"}, "reply": {"template": "It is {{ tool_result }}."}},
    )
    found = llama.chat(MODEL, HELLO, tools=[WEATHER])
    asked = [(call.function.name, dict(call.function.arguments)) for call in found.message.tool_calls or ()]
    assert asked == [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})]
    assert (found.message.content, found.done_reason) == ("Let me see.", "stop")
    parts = list(llama.chat(MODEL, HELLO, tools=[WEATHER], stream=True))
    streamed = [call for part in parts for call in part.message.tool_calls or ()]
    assert [dict(call.function.arguments) for call in streamed] == [{"city": "Paris"}, {"city": "Rome"}]
    result = {"role": "tool", "tool_name": "get_weather", "content": "18 degrees"}
    answer = llama.chat(MODEL, [*HELLO, found.message, result], tools=[WEATHER])
    assert answer.message.content == "It is 18 degrees."
    turn = session.journal()[-1]["turn"]
    assert turn["tool_results"] == [{"call_id": "get_weather", "text": "18 degrees"}]
    assert [call["name"] for call in turn["messages"][1]["tool_calls"]] == ["get_weather"] * 2


def test_a_python_function_is_offered_as_a_tool(llama: ollama.Client, session: Session) -> None:
    def get_weather(city: str) -> str:
        """The weather.

        Args:
            city: Which city
        """
        return city

    llama.chat(MODEL, HELLO, tools=[get_weather])
    assert session.journal()[-1]["turn"]["tools"] == ["get_weather"]


def test_arguments_that_are_no_object_stay_in_the_text(llama: ollama.Client, session: Session) -> None:
    session.add({"reply": {"tool_calls": [{"name": "f", "arguments": '{"city": "Par'}]}})
    found = llama.chat(MODEL, HELLO, tools=[WEATHER])
    assert found.message.tool_calls is None
    assert found.message.content == '{"name": "f", "arguments": {"city": "Par}'


@pytest.mark.parametrize("limit", [6, 8, 13])
def test_a_call_that_the_token_limit_cuts_is_not_shown(llama: ollama.Client, session: Session, limit: int) -> None:
    whole, cut = {"name": "f", "arguments": {}}, {"name": "f", "arguments": {"city": "Paris"}}
    session.add({"reply": {"tool_calls": [whole, cut]}})
    found = llama.chat(MODEL, HELLO, tools=[WEATHER], options={"num_predict": limit})
    assert found.done_reason == "length"
    assert found.message.content == ""
    assert [dict(call.function.arguments) for call in found.message.tool_calls or ()] == ([{}] if limit > 6 else [])


@pytest.mark.parametrize("stream", [False, True])
def test_an_automatic_reply_fits_the_schema_or_is_json(llama: ollama.Client, stream: bool) -> None:
    def said(form: Any) -> str:
        if stream:
            return joined(list(llama.chat(MODEL, HELLO, format=form, stream=True)))
        return llama.chat(MODEL, HELLO, format=form).message.content or ""

    jsonschema.validate(json.loads(said(SCHEMA)), SCHEMA)
    assert isinstance(json.loads(said("json")), dict)
    assert said("") == "You said: hello"
    generated = llama.generate(MODEL, "hello", format=SCHEMA)
    jsonschema.validate(json.loads(generated.response or ""), SCHEMA)


def test_options_limit_stop_and_seed(llama: ollama.Client, session: Session) -> None:
    session.add({"match": {"user": "count"}, "reply": "one two three four STOP five"})
    count = [{"role": "user", "content": "count"}]
    cut = llama.chat(MODEL, count, options={"num_predict": 2, "temperature": 0.5})
    assert (cut.message.content, cut.done_reason, cut.eval_count) == ("one two", "length", 2)
    endless = llama.chat(MODEL, count, options=ollama.Options(num_predict=-1, stop=["STOP"], top_k=5))
    assert (endless.message.content, endless.done_reason) == ("one two three four ", "stop")
    form = {"type": "string", "enum": ["red", "green", "blue"]}
    seeded = [llama.chat(MODEL, HELLO, format=form, options={"seed": n}).message.content for n in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]


def test_images_are_counted_and_must_be_base64(llama: ollama.Client, session: Session) -> None:
    plain = llama.chat(MODEL, HELLO)
    seen = llama.chat(MODEL, [{**HELLO[0], "images": [PIXEL, b"raw bytes"]}])
    assert (seen.prompt_eval_count or 0) - (plain.prompt_eval_count or 0) == 2 * tokens.TOKENS_PER_ATTACHMENT
    assert session.journal()[-1]["turn"]["messages"][0]["attachments"] == 2
    llama.generate(MODEL, "look", images=[b"raw bytes"])
    assert session.journal()[-1]["turn"]["messages"][0]["attachments"] == 1
    for encoded, at in (("abc*efgh", 3), ("abcde", 5)):
        answer = session.control.post(
            "/api/chat", json={"model": MODEL, "messages": [{"role": "user", "content": "x", "images": [encoded]}]}
        )
        assert (answer.status_code, answer.json()) == (400, {"error": f"illegal base64 data at input byte {at}"})


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_belong_to_the_tokens(llama: ollama.Client, stream: bool) -> None:
    found = llama.chat(MODEL, HELLO, logprobs=True, top_logprobs=2, stream=stream)  # type: ignore[call-overload]
    entries = [entry for part in (found if stream else [found]) for entry in part.logprobs or ()]
    assert "".join(entry.token for entry in entries) == "You said: hello"
    assert all(entry.logprob < 0 and len(entry.top_logprobs) == 2 for entry in entries)


def test_a_request_with_nothing_to_answer_loads_and_unloads_the_model(llama: ollama.Client, session: Session) -> None:
    session.add({"match": {"dialect": ["ollama", "ollama_generate"]}, "sequence": ["first", "second"]})
    loaded = llama.chat(MODEL, [])
    assert (loaded.done_reason, loaded.message.content, loaded.done) == ("load", "", True)
    assert llama.generate(MODEL).done_reason == "load"
    assert [part.done_reason for part in llama.generate(MODEL, stream=True)] == ["load"]
    assert [model.model for model in llama.ps().models] == ["llama3.2:latest"]
    assert llama.chat(MODEL, [], keep_alive=0).done_reason == "unload"
    assert llama.ps().models == []
    assert llama.generate(MODEL, "", keep_alive="0s").done_reason == "unload"
    assert llama.chat(MODEL, HELLO).message.content == "first", "a rule for words is not used up by loading"


def test_a_scenario_may_slow_or_fail_the_loading_itself(llama: ollama.Client, session: Session) -> None:
    session.add({"match": {"dialect": "ollama_load"}, "reply": {"fault": {"kind": "status", "status": 500}}})
    with pytest.raises(ollama.ResponseError, match="model runner has unexpectedly stopped"):
        llama.chat(MODEL, [])
    assert llama.chat(MODEL, HELLO).message.content == "You said: hello"


def test_generate_has_system_and_suffix_and_remembers_by_its_context(llama: ollama.Client, session: Session) -> None:
    session.add(
        {"match": {"dialect": "ollama_generate", "turn": 1, "system": "brief"}, "reply": "Nice to meet you, Ada."},
        {"match": {"dialect": "ollama_generate", "turn": 2, "system": "brief"}, "reply": "You are Ada."},
        {"match": {"json": {"suffix": "return x"}}, "reply": "    x = 1\n"},
    )
    first = llama.generate(MODEL, "I am Ada", system="be brief", template="{{ .Prompt }}")
    assert first.response == "Nice to meet you, Ada."
    assert first.context
    second = list(llama.generate(MODEL, "who am I?", context=first.context, stream=True))
    assert "".join(part.response or "" for part in second) == "You are Ada."
    messages = [(one["role"], one["text"]) for one in session.journal()[-1]["turn"]["messages"]]
    assert messages == [
        ("system", "be brief"),
        ("user", "I am Ada"),
        ("assistant", "Nice to meet you, Ada."),
        ("user", "who am I?"),
    ]
    assert len(second[-1].context or ()) > len(first.context)
    assert not any(part.context for part in second[:-1])
    assert llama.generate(MODEL, "def f():", suffix="return x").response == "    x = 1\n"


def test_a_context_of_another_server_is_no_conversation_and_raw_takes_none(llama: ollama.Client) -> None:
    found = llama.generate(MODEL, "hello", context=[1, 2, 3])
    assert found.response == "You said: hello"
    assert llama.generate(MODEL, "hello", raw=True).context is None
    for more in ({"system": "s"}, {"template": "t"}, {"context": [1]}):
        with pytest.raises(ollama.ResponseError, match="raw mode does not support template, system, or context"):
            llama.generate(MODEL, "hello", raw=True, **more)


def test_a_call_in_a_completion_is_in_its_last_line(session: Session) -> None:
    session.add({"reply": {"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}})
    asked = {"model": MODEL, "prompt": "hello"}
    answer = session.control.post(f"/s/{session.id}/api/generate", json=asked)
    last = json.loads(answer.text.splitlines()[-1])
    assert last["tool_calls"][0]["function"] == {"index": 0, "name": "f", "arguments": {"a": 1}}
