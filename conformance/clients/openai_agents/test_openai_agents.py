"""The OpenAI Agents SDK, on Responses and on Chat Completions."""

from __future__ import annotations

import pytest
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from agents.models.interface import Model
from conformance_session import Session
from openai import AsyncOpenAI
from pydantic import BaseModel


class Verdict(BaseModel):
    """A typed answer."""

    severity: str
    certain: bool


@function_tool
def load(host: str) -> str:
    """The load of a host."""
    return f"{host}: 97 %"


@pytest.fixture(params=[OpenAIResponsesModel, OpenAIChatCompletionsModel], ids=["responses", "chat"])
def model(request: pytest.FixtureRequest, llm: Session) -> Model:
    made: Model = request.param("gpt-4.1", AsyncOpenAI(base_url=f"{llm.url}/v1", api_key=llm.key, max_retries=0))
    return made


async def test_a_tool_loop(llm: Session, model: Model) -> None:
    llm.script(
        {
            "match": {"tools": "load", "turn": 1},
            "reply": {"tool_calls": [{"name": "load", "arguments": {"host": "db1"}}]},
        },
        {"match": {"tool_result": "97 %"}, "reply": "db1 is busy."},
    )
    result = await Runner.run(Agent("ops", instructions="Look first.", tools=[load], model=model), "Which is busy?")
    assert result.final_output == "db1 is busy."
    assert result.context_wrapper.usage.requests == 2


async def test_a_typed_answer_needs_no_script(model: Model) -> None:
    result = await Runner.run(Agent("judge", output_type=Verdict, model=model), "How bad?")
    assert isinstance(result.final_output, Verdict)


async def test_a_stream_ends_with_the_whole(llm: Session, model: Model) -> None:
    llm.script({"reply": {"text": "One two three.", "chunk_size": 4}})
    result = Runner.run_streamed(Agent("speaker", model=model), "Speak")
    deltas = [
        event.data.delta async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]  # fmt: skip
    assert "".join(deltas) == result.final_output == "One two three."
    assert len(deltas) > 1


async def test_one_agent_hands_over_to_another(llm: Session, model: Model) -> None:
    llm.script(
        {"match": {"tools": "transfer_to_french"}, "reply": {"tool_calls": [{"name": "transfer_to_french"}]}},
        {"match": {"system": "French"}, "reply": "Bonjour."},
    )
    french = Agent("french", instructions="Speak French.", model=model)
    result = await Runner.run(Agent("desk", handoffs=[french], model=model), "Salut")
    assert (result.final_output, result.last_agent.name) == ("Bonjour.", "french")
