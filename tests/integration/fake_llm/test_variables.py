"""Every official SDK finds its session by the variables that realstack hands to an application, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from realstack.model import Endpoint
from realstack.services.fake_llm import FakeLLM

from .conftest import Session


def by_openai() -> str | None:
    import openai

    with openai.OpenAI() as client:
        return client.responses.create(model="m", input="Who?").output_text


def by_anthropic() -> str | None:
    import anthropic

    with anthropic.Anthropic() as client:
        message = client.messages.create(model="m", max_tokens=50, messages=[{"role": "user", "content": "Who?"}])
    said: Any = message.content[0]
    return str(said.text)


def by_gemini() -> str | None:
    from google import genai

    with genai.Client() as client:
        return client.models.generate_content(model="gemini-2.5-flash", contents="Who?").text


def by_ollama() -> str | None:
    import ollama

    with ollama.Client() as client:
        said: str | None = client.chat(model="m", messages=[{"role": "user", "content": "Who?"}]).message.content
    return said


@pytest.mark.parametrize("ask", [by_openai, by_anthropic, by_gemini, by_ollama])
def test_an_sdk_needs_the_variables_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], str | None]
) -> None:
    at = urlsplit(session.url)
    endpoint = Endpoint("fake_llm", "fake_llm", str(at.hostname), at.port or 0, "http")
    for name, value in FakeLLM().environment(replace(endpoint, options={"session": session.id})).items():
        monkeypatch.setenv(name, value)
    session.add({"match": {"user": "Who?"}, "reply": "You alone."})
    assert ask() == "You alone."
    assert len(session.journal()) == 1
