"""litellm: one interface to every provider, with its own reading of each wire format."""

from __future__ import annotations

import json
from typing import Any

import litellm
import pytest
from conformance_session import Session
from pydantic import BaseModel

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        },
    },
}  # fmt: skip
ROUTES = ["openai", "anthropic", "gemini", "ollama_chat"]


class Severity(BaseModel):
    """A structured answer."""

    severity: str
    score: int


def route(name: str, llm: Session) -> dict[str, Any]:
    """litellm's arguments for that provider."""
    models = {
        "openai": "openai/gpt-4.1", "anthropic": "anthropic/claude-sonnet-4-5",
        "gemini": "gemini/gemini-2.5-flash", "ollama_chat": "ollama_chat/llama3.1",
    }  # fmt: skip
    bases = {"openai": "/v1", "gemini": "/v1beta"}
    return {"model": models[name], "api_base": llm.prefixed + bases.get(name, ""), "api_key": llm.key, "num_retries": 0}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("provider", ROUTES)
def test_text_and_its_tokens(llm: Session, provider: str) -> None:
    llm.script({"match": {"user": "slow"}, "reply": "Restart it."})
    answer = litellm.completion(messages=user("The system is slow"), **route(provider, llm))
    assert answer.choices[0].message.content == "Restart it."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("provider", ROUTES)
async def test_a_stream_is_the_same_text(llm: Session, provider: str) -> None:
    llm.script({"reply": {"text": "One two three four.", "chunk_size": 4}})
    chunks = await litellm.acompletion(messages=user("count"), stream=True, **route(provider, llm))
    pieces = [chunk.choices[0].delta.content or "" async for chunk in chunks]
    assert "".join(pieces) == "One two three four."
    assert len([piece for piece in pieces if piece]) > 1


@pytest.mark.parametrize("provider", ROUTES)
def test_a_tool_loop(llm: Session, provider: str) -> None:
    llm.script(
        {
            "match": {"tools": "get_weather", "turn": 1},
            "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]},
        },
        {"match": {"tool_result": "sunny"}, "reply": "It is sunny in Paris."},
    )
    messages: list[Any] = user("Weather in Paris?")
    asked = litellm.completion(messages=messages, tools=[WEATHER], **route(provider, llm)).choices[0].message
    (call,) = asked.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    messages += [asked, {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": "sunny"}]
    told = litellm.completion(messages=messages, tools=[WEATHER], **route(provider, llm))
    assert told.choices[0].message.content == "It is sunny in Paris."


@pytest.mark.parametrize("provider", ROUTES)
def test_structured_output_needs_no_script(llm: Session, provider: str) -> None:
    answer = litellm.completion(messages=user("How bad?"), response_format=Severity, **route(provider, llm))
    Severity.model_validate_json(answer.choices[0].message.content)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, litellm.RateLimitError), (401, litellm.AuthenticationError), (404, litellm.NotFoundError),
        (500, litellm.InternalServerError),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)),
)  # fmt: skip
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_errors_are_told_apart(llm: Session, provider: str, status: int, error: type[Exception]) -> None:
    llm.script({"reply": {"fault": {"kind": "status", "status": status}}})
    with pytest.raises(error):
        litellm.completion(messages=user("x"), **route(provider, llm))


def test_embeddings(llm: Session) -> None:
    arguments = {**route("openai", llm), "model": "openai/text-embedding-3-small"}
    found = litellm.embedding(input=["a cat", "a dog"], dimensions=64, **arguments)
    assert [len(each["embedding"]) for each in found.data] == [64, 64]


def test_responses(llm: Session) -> None:
    llm.script({"reply": "Here."})
    answer = litellm.responses(input="Where?", **route("openai", llm))
    assert answer.output[-1].content[0].text == "Here."
