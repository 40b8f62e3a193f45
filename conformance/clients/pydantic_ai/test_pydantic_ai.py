"""pydantic-ai agents on every provider: text, typed answers, tools, streams, errors."""

from __future__ import annotations

from typing import Any

import pytest
from conformance_session import Session
from google.genai import Client
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

MODELS = ["openai_chat", "openai_responses", "anthropic", "gemini"]


class Triage(BaseModel):
    """A typed answer."""

    severity: str
    score: int = Field(ge=1, le=5)
    tags: list[str]


def model_of(name: str, llm: Session) -> Any:
    if name == "openai_chat":
        return OpenAIChatModel("gpt-4.1", provider=OpenAIProvider(base_url=f"{llm.url}/v1", api_key=llm.key))
    if name == "openai_responses":
        return OpenAIResponsesModel("gpt-4.1", provider=OpenAIProvider(base_url=f"{llm.url}/v1", api_key=llm.key))
    if name == "anthropic":
        return AnthropicModel("claude-sonnet-4-5", provider=AnthropicProvider(base_url=llm.url, api_key=llm.key))
    client = Client(api_key=llm.key, vertexai=False, http_options={"base_url": llm.url})
    return GoogleModel("gemini-2.5-flash", provider=GoogleProvider(client=client))


@pytest.mark.parametrize("name", MODELS)
async def test_text(llm: Session, name: str) -> None:
    llm.script({"match": {"user": "slow", "system": "Be brief"}, "reply": "Restart it."})
    agent = Agent(model_of(name, llm), instructions="Be brief")
    result = await agent.run("The system is slow")
    assert result.output == "Restart it."
    assert result.usage.input_tokens > 0


@pytest.mark.parametrize("name", MODELS)
async def test_a_typed_answer_needs_no_script(llm: Session, name: str) -> None:
    result = await Agent(model_of(name, llm), output_type=Triage).run("The system is slow")
    assert isinstance(result.output, Triage)


@pytest.mark.parametrize("name", MODELS)
async def test_a_tool_is_called_and_its_result_is_used(llm: Session, name: str) -> None:
    both = [{"name": "load", "arguments": {"host": host}} for host in ("db1", "db2")]
    llm.script(
        {"match": {"tools": "load", "turn": 1}, "reply": {"tool_calls": both}},
        {"match": {"tool_result": "97"}, "reply": "db2 is busy."},
    )  # fmt: skip
    agent = Agent(model_of(name, llm))
    asked = []

    @agent.tool_plain
    def load(host: str) -> int:
        """The load of a host."""
        asked.append(host)
        return 97 if host == "db2" else 3

    result = await agent.run("Which host is busy?")
    assert (result.output, sorted(asked)) == ("db2 is busy.", ["db1", "db2"])


@pytest.mark.parametrize("name", MODELS)
async def test_a_stream(llm: Session, name: str) -> None:
    llm.script({"reply": {"text": "One two three.", "chunk_size": 3}})
    async with Agent(model_of(name, llm)).run_stream("count") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == "One two three."
    assert len(pieces) > 1


@pytest.mark.parametrize("name", [name for name in MODELS if name != "openai_chat"])  # which shows no reasoning
async def test_thinking_is_shown(llm: Session, name: str) -> None:
    settings: dict[str, Any] = {
        "openai_responses": {"openai_reasoning_effort": "low", "openai_reasoning_summary": "auto"},
        "anthropic": {"anthropic_thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048},
        "gemini": {"google_thinking_config": {"include_thoughts": True}},
    }[name]
    llm.script({"reply": {"reasoning": "It may be the disk.", "text": "Look at the disk."}})
    result = await Agent(model_of(name, llm), model_settings=settings).run("The system is slow")
    parts = [part for message in result.all_messages() for part in message.parts]
    assert [part.content for part in parts if part.part_kind == "thinking"] == ["It may be the disk."]
    assert result.output == "Look at the disk."
    again = await Agent(model_of(name, llm), model_settings=settings).run(
        "And now?", message_history=result.all_messages()
    )
    assert again.output


@pytest.mark.parametrize("name", MODELS)
async def test_an_error_has_its_status(llm: Session, name: str) -> None:
    llm.script({"reply": {"fault": {"kind": "status", "status": 400, "message": "no such thing"}}})
    with pytest.raises(ModelHTTPError) as caught:
        await Agent(model_of(name, llm)).run("x")
    assert caught.value.status_code == 400
    assert "no such thing" in str(caught.value)
