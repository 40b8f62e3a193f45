"""What the tests of the SDK's Responses have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import openai
from openai.types.responses import FunctionToolParam, ResponseStreamEvent
from pydantic import BaseModel

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "strict": True,
}
CLOCK: FunctionToolParam = {"type": "function", "name": "get_time", "parameters": None, "strict": None}
PARIS_AND_ROME = {
    "reply": {
        "tool_calls": [
            {"name": "get_weather", "arguments": {"city": "Paris", "unit": "c"}},
            {"name": "get_weather", "arguments": {"city": "Rome", "unit": "f"}},
        ]
    }
}


UNTYPED = {"ResponseFunctionCallArgumentsDoneEvent.name"}
"""What OpenAI's specification demands and the SDK's types lack."""


def left_over(found: Any) -> list[str]:
    """What the SDK's types do not know, or know otherwise, all the way down."""
    if isinstance(found, list):
        return [one for item in found for one in left_over(item)]
    if not isinstance(found, BaseModel):
        return []
    extra = [f"{type(found).__name__}.{name}" for name in found.model_extra or {}]
    extra = [name for name in extra if name not in UNTYPED]
    lacking = [
        f"{type(found).__name__} lacks {name}"
        for name, field in type(found).model_fields.items()
        if field.is_required() and name not in found.model_fields_set
    ]
    below = [one for name in type(found).model_fields for one in left_over(getattr(found, name, None))]
    return [*extra, *lacking, *below]


def kinds(events: Iterable[Any]) -> list[str]:
    """The events' types, neighbours of one type once."""
    found: list[str] = []
    for event in events:
        if not found or found[-1] != event.type:
            found.append(event.type)
    return found


def streamed(client: openai.OpenAI, **more: Any) -> list[ResponseStreamEvent]:
    """All events of a stream, which the SDK's types know and whose numbers have no gap."""
    events = list(client.responses.create(model="gpt-5.5", **{"input": "hello there", **more}, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert left_over(events) == []
    return events


def calls(response: Any) -> list[dict[str, Any]]:
    """The arguments of the calls in the output."""
    return [json.loads(item.arguments) for item in response.output if item.type == "function_call"]
