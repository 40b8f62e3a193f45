"""The unchanged ``openai`` SDK's Responses against the running server: tools, offered, chosen, called."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from .conftest import Session
from .responses_sdk import CLOCK, PARIS_AND_ROME, WEATHER, calls, kinds, left_over, streamed


def test_parallel_tool_calls_come_back_whole_and_as_a_stream(chat: openai.OpenAI, session: Session) -> None:
    session.add(PARIS_AND_ROME)
    whole = chat.responses.create(model="m", input="hello", tools=[WEATHER])
    with chat.responses.stream(model="m", input="hello", tools=[WEATHER]) as stream:
        helped = stream.get_final_response()
    for found in (whole, helped):
        assert [call["city"] for call in calls(found)] == ["Paris", "Rome"]
        assert len({item.call_id for item in found.output if item.type == "function_call"}) == 2
        assert (found.status, found.output_text) == ("completed", "")
    assert left_over(whole) == []


def test_each_streamed_call_is_whole_before_the_next_begins(chat: openai.OpenAI, session: Session) -> None:
    session.add(PARIS_AND_ROME)
    events = streamed(chat, tools=[WEATHER])
    one_call = [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert kinds(events) == ["response.created", "response.in_progress", *one_call, *one_call, "response.completed"]
    places = [event.output_index for event in events if hasattr(event, "output_index")]
    assert places == sorted(places)
    for place, city in enumerate(["Paris", "Rome"]):
        deltas = [
            event.delta
            for event in events
            if event.type == "response.function_call_arguments.delta" and event.output_index == place
        ]
        assert len(deltas) > 1
        assert json.loads("".join(deltas))["city"] == city


def test_words_and_a_call_in_one_reply_are_two_items(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "let me see", "tool_calls": [{"name": "get_weather", "arguments": {}}]}})
    found = chat.responses.create(model="m", input="hello", tools=[WEATHER])
    assert [item.type for item in found.output] == ["message", "function_call"]
    events = streamed(chat, tools=[WEATHER])
    added = [event for event in events if event.type == "response.output_item.added"]
    assert [(event.output_index, event.item.type) for event in added] == [(0, "message"), (1, "function_call")]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", []),
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "name": "get_time"}, ["get_time"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]},
            ["get_time"],
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}, []),
    ],
)
def test_a_tool_choice_is_kept(chat: openai.OpenAI, choice: Any, called: list[str]) -> None:
    found = chat.responses.create(model="m", input="hello", tools=[WEATHER, CLOCK], tool_choice=choice)
    assert [item.name for item in found.output if item.type == "function_call"] == called
    if called == ["get_weather"]:
        assert calls(found) == [{"city": "city", "unit": "c"}]


def test_a_custom_tool_gets_free_text(chat: openai.OpenAI) -> None:
    asked: Any = {"tools": [{"type": "custom", "name": "run"}], "tool_choice": {"type": "custom", "name": "run"}}
    (item,) = chat.responses.create(model="m", input="print it", **asked).output
    assert item.type == "custom_tool_call"
    assert (item.name, item.input) == ("run", "print it")
    names = kinds(streamed(chat, **asked))
    assert "response.custom_tool_call_input.delta" in names
    assert "response.custom_tool_call_input.done" in names


def test_a_tool_loop_with_items_ends_with_what_the_tool_said(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {"match": {"turn": 1}, "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]}},
        {"match": {"turn": 2, "tool_result": {"regex": r"\d+"}}, "reply": {"template": "It is {{ tool_result }}"}},
    )
    asked: list[Any] = [{"role": "user", "content": "weather?"}]
    first = chat.responses.create(model="m", input=asked, tools=[WEATHER])
    asked += [item.to_dict() for item in first.output]
    asked += [{"type": "function_call_output", "call_id": first.output[0].call_id, "output": "17 degrees"}]  # type: ignore[union-attr]
    assert chat.responses.create(model="m", input=asked, tools=[WEATHER]).output_text == "It is 17 degrees"
