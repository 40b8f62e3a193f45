"""The unchanged ``google-genai`` SDK against the running server: what it gets where nothing goes wrong."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

from .conftest import Session
from .gemini_calls import MODEL, ask, client_of, raw, reason, stream, tokens

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "OBJECT",
        "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER", "minimum": 3}},
        "required": ["city", "days"],
    },
}
TIME: dict[str, Any] = {
    "name": "get_time",
    "parameters_json_schema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}
TOOLS: list[Any] = [{"function_declarations": [WEATHER, TIME]}]


def test_an_unscripted_call_is_answered(gemini: genai.Client) -> None:
    found = ask(gemini)
    assert (found.text, reason(found)) == ("You said: hello there", "STOP")
    assert (found.model_version, bool(found.response_id)) == (MODEL, True)
    assert found.candidates is not None
    assert found.candidates[0].content is not None
    assert found.candidates[0].content.role == "model"


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_every_version_of_the_api_is_served(session: Session, version: str) -> None:
    with client_of(session, api_version=version) as client:
        assert ask(client).text == "You said: hello there"
        assert client.models.get(model=MODEL).name == f"models/{MODEL}"
    assert session.journal()[0]["path"] == f"/{version}/models/{MODEL}:generateContent"


def test_the_sdks_types_know_every_field(session: Session) -> None:
    scripts: list[dict[str, Any]] = [
        {"text": "x", "tool_calls": [{"name": "f", "arguments": {"a": 1}, "id": "c1"}],
         "usage": {"input_tokens": 9, "output_tokens": 9, "cached_tokens": 3, "reasoning_tokens": 2}},
        {"finish_reason": "content_filter"},
        {"refusal": "no"},
        {"tool_calls": [{"name": "f", "arguments": "not json"}]},
    ]  # fmt: skip
    session.add({"sequence": scripts})
    for _ in scripts:
        found = raw(session, f"/v1beta/models/{MODEL}:generateContent").json()
        known = types.GenerateContentResponse.model_validate(found)
        assert known.model_dump(mode="json", by_alias=True, exclude_none=True) == found


def test_a_system_instruction_is_seen_by_scenarios(gemini: genai.Client, session: Session) -> None:
    match = {"system": "pirate", "user": "hello", "dialect": "gemini", "model": "gemini-*", "turn": 1, "stream": False}
    session.add({"name": "ahoy", "match": match, "reply": {"template": "Ahoy, {{ user }}"}})
    assert ask(gemini, system_instruction="Talk like a pirate").text == "Ahoy, hello there"
    assert ask(gemini).text == "You said: hello there"
    entry, _ = session.journal()
    assert (entry["dialect"], entry["model"], entry["scenario"]) == ("gemini", MODEL, "ahoy")
    assert session.api_key not in json.dumps(entry)


async def test_the_async_client_is_answered_and_streams(session: Session) -> None:
    session.add({"match": {"stream": True}, "reply": {"chunks": ["Hel", "lo there"], "chunk_delay_s": 0.01}})
    client = client_of(session)
    async with client.aio as asynchronous:
        found = await asynchronous.models.generate_content(model=MODEL, contents="hello")
        assert found.text == "You said: hello"
        words = [
            chunk.text
            async for chunk in await asynchronous.models.generate_content_stream(model=MODEL, contents="hello")
        ]
    assert words == ["Hel", "lo there"]
    client.close()


def test_a_stream_counts_as_it_goes_and_ends_once(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"chunks": ["one", " two", " three"]}})
    chunks = stream(gemini)
    assert [chunk.text for chunk in chunks] == ["one", " two", " three"]
    assert [reason(chunk) for chunk in chunks] == [None, None, "STOP"]
    assert [tokens(chunk)[1] for chunk in chunks] == [1, 2, 3]
    assert tokens(chunks[-1]) == tokens(ask(gemini))
    assert len({chunk.response_id for chunk in chunks}) == 1


def test_parallel_calls_come_back_whole_and_as_a_stream(gemini: genai.Client, session: Session) -> None:
    calls = [{"name": "get_weather", "arguments": {"city": city, "days": 3}} for city in ("Paris", "Rome")]
    session.add({"reply": {"text": "Let me look.", "tool_calls": calls}})
    whole = ask(gemini, tools=TOOLS)
    assert reason(whole) == "STOP"
    assert [call.args for call in whole.function_calls or ()] == [call["arguments"] for call in calls]
    chunks = stream(gemini, tools=TOOLS)
    streamed = [call for chunk in chunks for call in chunk.function_calls or ()]
    assert [(call.name, call.args) for call in streamed] == [("get_weather", c["arguments"]) for c in calls]
    assert [reason(chunk) for chunk in chunks][-2:] == [None, "STOP"]


def choice(mode: str, *names: str) -> dict[str, Any]:
    return {"function_calling_config": {"mode": mode, "allowed_function_names": list(names) or None}}


@pytest.mark.parametrize(
    ("names", "name", "arguments"),
    [((), "get_weather", {"city": "city", "days": 3}), (("get_time",), "get_time", {"zone": "zone"})],
)
def test_a_function_that_must_be_called_is_called_with_arguments_that_fit(
    gemini: genai.Client, names: tuple[str, ...], name: str, arguments: Any
) -> None:
    (call,) = ask(gemini, tools=TOOLS, tool_config=choice("ANY", *names)).function_calls or []
    assert (call.name, call.args) == (name, arguments)


@pytest.mark.parametrize("mode", ["NONE", "AUTO"])
def test_a_function_that_need_not_be_called_is_not(gemini: genai.Client, mode: str) -> None:
    found = ask(gemini, tools=TOOLS, tool_config=choice(mode))
    assert (found.function_calls, found.text) == (None, "You said: hello there")


def test_the_sdks_own_loop_calls_the_function_and_ends_with_what_it_said(
    gemini: genai.Client, session: Session
) -> None:
    asked: list[str] = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "17 degrees"

    call = {"name": "get_weather", "arguments": {"city": "Rome"}}
    session.add({"match": {"turn": 1}, "reply": {"tool_calls": [call]}})
    found = gemini.models.generate_content(
        model=MODEL, contents="weather?", config=types.GenerateContentConfig(tools=[get_weather])
    )
    assert (found.text, asked) == ("The tool answered: 17 degrees", ["Rome"])
    _, last = session.journal()
    assert last["turn"]["tool_results"] == [{"call_id": "get_weather", "text": "17 degrees"}]


def test_a_streamed_chat_is_one_turn_each_time(gemini: genai.Client, session: Session) -> None:
    chat = gemini.chats.create(model=MODEL)
    for text in ("one two three", "four five six"):
        assert "".join(chunk.text or "" for chunk in chat.send_message_stream(text)) == f"You said: {text}"
    assert chat.send_message("last").text == "You said: last"
    first, second, third = session.journal()
    assert [entry["turn"]["number"] for entry in (first, second, third)] == [1, 2, 3]
    assert [m["text"] for m in third["turn"]["messages"]][1] == "You said: one two three"


class Weather(BaseModel):
    city: str
    days: int
    note: str | None = None


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@pytest.mark.parametrize(
    "schema",
    [
        {"response_schema": Weather},
        {"response_schema": list[Weather]},
        {"response_schema": WEATHER["parameters"]},
        {"response_json_schema": Weather.model_json_schema()},
    ],
)
def test_structured_output_fits_its_schema(gemini: genai.Client, schema: dict[str, Any]) -> None:
    found = ask(gemini, response_mime_type="application/json", **schema)
    value = json.loads(found.text or "")
    one = value[0] if isinstance(value, list) else value
    assert Weather.model_validate(one).city == "city"
    if "response_schema" in schema:
        assert found.parsed is not None


def test_a_word_of_a_list_comes_without_quotes(gemini: genai.Client) -> None:
    found = ask(gemini, response_mime_type="text/x.enum", response_schema=Mood)
    assert (found.text, found.parsed) == ("good", Mood.GOOD)


def test_json_without_a_schema_is_an_object(gemini: genai.Client) -> None:
    assert isinstance(json.loads(ask(gemini, response_mime_type="application/json").text or ""), dict)


def test_stop_sequences_and_limits_end_the_text(gemini: genai.Client) -> None:
    stopped = ask(gemini, stop_sequences=[" there"])
    assert (stopped.text, reason(stopped)) == ("You said: hello", "STOP")
    limited = ask(gemini, max_output_tokens=2)
    assert (reason(limited), tokens(limited)[1]) == ("MAX_TOKENS", 2)
    assert (limited.text or "") in "You said: hello"
    assert [reason(chunk) for chunk in stream(gemini, max_output_tokens=2)] == [None, "MAX_TOKENS"]


def test_as_many_candidates_come_as_were_asked_for(gemini: genai.Client) -> None:
    found = ask(gemini, candidate_count=3)
    assert [candidate.index for candidate in found.candidates or ()] == [0, 1, 2]
    assert tokens(found)[1] > tokens(ask(gemini))[1]
    indexes = [c.index for chunk in stream(gemini, candidate_count=2) for c in chunk.candidates or ()]
    assert indexes[:4] == [0, 1, 0, 1]


def test_counting_agrees_with_usage_and_grows_with_the_input(gemini: genai.Client) -> None:
    counts = []
    for times in (1, 20, 200):
        contents = "The quick brown fox. " * times
        counted = gemini.models.count_tokens(model=MODEL, contents=contents).total_tokens
        assert counted == tokens(ask(gemini, contents))[0]
        counts.append(counted)
    assert counts == sorted(set(counts))
    assert tokens(ask(gemini, tools=TOOLS))[0] > tokens(ask(gemini))[0]


def test_what_is_attached_is_counted(gemini: genai.Client, session: Session) -> None:
    image = types.Part.from_bytes(data=b"\x89PNG\xff\xfe", mime_type="image/png")
    file = types.Part.from_uri(file_uri="https://example.com/a.pdf", mime_type="application/pdf")
    assert tokens(ask(gemini, [image, file, "look"]))[0] > tokens(ask(gemini, "look"))[0] + 100
    message = session.journal()[0]["turn"]["messages"][-1]
    assert (message["text"], message["attachments"]) == ("look", 2)
