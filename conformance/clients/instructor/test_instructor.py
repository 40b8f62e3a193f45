"""instructor: typed answers by forced tools and by JSON, with its own retries; SDKs of an older make."""

from __future__ import annotations

import anthropic
import instructor
import openai
import pytest
from conformance_session import Session
from google import genai
from pydantic import BaseModel, Field, field_validator


class Person(BaseModel):
    """Who."""

    name: str
    age: int = Field(ge=0, le=150)


class Adult(Person):
    """A rule that no schema says."""

    @field_validator("name")
    @classmethod
    def _is_ada(cls, name: str) -> str:
        if name != "Ada":
            raise ValueError("it is Ada")
        return name


def ask(client: instructor.Instructor, kind: type[BaseModel], **more: object) -> BaseModel:
    messages = [{"role": "user", "content": "Who is it?"}]
    return client.chat.completions.create(messages=messages, response_model=kind, **more)


def of_openai(llm: Session, mode: instructor.Mode) -> instructor.Instructor:
    return instructor.from_openai(openai.OpenAI(base_url=f"{llm.url}/v1", api_key=llm.key, max_retries=0), mode=mode)


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS_STRICT])
def test_openai_needs_no_script(llm: Session, mode: instructor.Mode) -> None:
    assert isinstance(ask(of_openai(llm, mode), Person, model="gpt-4.1"), Person)


def test_anthropic_needs_no_script(llm: Session) -> None:
    client = instructor.from_anthropic(anthropic.Anthropic(base_url=llm.url, api_key=llm.key))
    assert isinstance(ask(client, Person, model="claude-sonnet-4-5", max_tokens=500), Person)


def test_gemini_needs_no_script(llm: Session) -> None:
    client = instructor.from_genai(
        genai.Client(api_key=llm.key, vertexai=False, http_options={"base_url": llm.url}),
        mode=instructor.Mode.GENAI_TOOLS,
    )
    assert isinstance(ask(client, Person, model="gemini-2.5-flash"), Person)


def test_an_answer_that_breaks_a_rule_is_asked_for_again(llm: Session) -> None:
    wrong, right = (
        {"tool_calls": [{"name": "Adult", "arguments": {"name": name, "age": 36}}]} for name in ("Eve", "Ada")
    )
    llm.script({"sequence": [wrong, right]})
    found = ask(of_openai(llm, instructor.Mode.TOOLS), Adult, model="gpt-4.1", max_retries=2)
    assert isinstance(found, Adult)
    assert (found.name, len(llm.calls())) == ("Ada", 2)


def test_a_partial_answer_is_streamed(llm: Session) -> None:
    llm.script(
        {
            "reply": {
                "tool_calls": [{"name": "PartialPerson", "arguments": {"name": "Ada Lovelace", "age": 36}}],
                "chunk_size": 5,
            }
        }
    )
    client = of_openai(llm, instructor.Mode.TOOLS)
    seen = list(client.chat.completions.create_partial(
        model="gpt-4.1", messages=[{"role": "user", "content": "Who?"}], response_model=Person,
    ))  # fmt: skip
    assert (seen[-1].name, seen[-1].age) == ("Ada Lovelace", 36)
    assert len(seen) > 1
