"""Core paths against OpenAI's public specification: no answer that is not as it says, and never a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conformance_session import Session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .specification import problems

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}
FLAT_TOOL = {"type": "function", "strict": False, **TOOL["function"]}  # type: ignore[dict-item]
FORM = {"name": "it", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}

CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "several": {"n": 3, "stop": ["o"], "max_completion_tokens": 3},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "tool": {"tools": [TOOL], "tool_choice": "required"},
    "schema": {"response_format": {"type": "json_schema", "json_schema": FORM}},
    "stored": {"store": True, "metadata": {"a": "b"}},
}
RESPONSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "items": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]},
    "tool": {"tools": [FLAT_TOOL], "tool_choice": "required"},
    "schema": {"text": {"format": {"type": "json_schema", **FORM}}},
    "reasoning": {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    "background": {"background": True},
    "cut": {"max_output_tokens": 16, "input": "word " * 60},
    "logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
}
SCRIPTS: dict[str, dict[str, Any]] = {
    "refusal": {"refusal": "I will not."},
    "searched": {
        "server_tools": [{"name": "web_search", "input": {"query": "x"}, "output": [{"url": "https://a.example"}]}],
        "text": "It is so.",
        "citations": [{"words": "so", "url": "https://a.example", "title": "A"}],
    },
    "code": {"server_tools": [{"name": "code_execution", "input": {"code": "1 + 1"}, "output": "2"}], "text": "2"},
}


@pytest.fixture
def client(llm: Session) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=llm.openai, headers={"authorization": f"Bearer {llm.key}"}, timeout=20) as made:
        yield made


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events' data, without the end mark."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("case", CHATS)
def test_chats(client: httpx.Client, case: str) -> None:
    body = {"model": "gpt-4.1", "messages": HELLO, **CHATS[case]}
    whole = client.post("/chat/completions", json=body)
    assert (whole.status_code, problems("CreateChatCompletionResponse", whole.json())) == (200, [])
    streamed = client.post(
        "/chat/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}}
    )
    for event in events(streamed):
        assert problems("CreateChatCompletionStreamResponse", event) == []


@pytest.mark.parametrize("case", RESPONSES)
def test_responses(client: httpx.Client, case: str) -> None:
    body = {"model": "gpt-4.1", "input": "Hello", **RESPONSES[case]}
    whole = client.post("/responses", json=body)
    assert (whole.status_code, problems("Response", whole.json())) == (200, [])
    for event in events(client.post("/responses", json={**body, "stream": True})):
        assert problems("ResponseStreamEvent", event) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripted_responses(client: httpx.Client, llm: Session, script: str) -> None:
    llm.script({"reply": SCRIPTS[script]})
    body = {"model": "gpt-4.1", "input": "Hello"}
    whole = client.post("/responses", json=body)
    assert (whole.status_code, problems("Response", whole.json())) == (200, [])
    for event in events(client.post("/responses", json={**body, "stream": True})):
        assert problems("ResponseStreamEvent", event) == []


@pytest.mark.parametrize(
    ("path", "schema", "body"),
    [
        ("/embeddings", "CreateEmbeddingResponse", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
        ("/moderations", "CreateModerationResponse", {"input": "I want to kill them"}),
        ("/completions", "CreateCompletionResponse", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"}),
        ("/conversations", "ConversationResource", {"metadata": {"a": "b"}}),
        ("/models", "ListModelsResponse", None),
    ],
)
def test_other_paths(client: httpx.Client, path: str, schema: str, body: object) -> None:
    answer = client.get(path) if body is None else client.post(path, json=body)
    assert (answer.status_code, problems(schema, answer.json())) == (200, [])


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/embeddings"])
def test_errors(client: httpx.Client, llm: Session, path: str, status: int) -> None:
    dialect = {"/chat/completions": "openai_chat", "/responses": "openai_responses", "/embeddings": "openai_embeddings"}
    llm.script({"match": {"dialect": dialect[path]}, "reply": {"fault": {"kind": "status", "status": status}}})
    said = {"messages": HELLO} if path == "/chat/completions" else {"input": "x"}
    answer = client.post(path, json={"model": "m", **said})
    assert (answer.status_code, problems("ErrorResponse", answer.json())) == (status, [])


FIELDS = st.sampled_from([
    "model", "messages", "input", "tools", "tool_choice", "stream", "n", "stop", "response_format", "text", "reasoning",
    "include", "metadata", "store", "temperature", "top_p", "max_tokens", "max_output_tokens", "logprobs", "seed",
    "top_logprobs", "previous_response_id", "conversation", "prompt", "truncation", "user", "dimensions",
    "encoding_format", "background", "modalities", "prediction", "instructions", "parallel_tool_calls",
])  # fmt: skip
KEYS = st.sampled_from(
    ["type", "role", "content", "text", "name", "function", "id", "schema", "call_id", "output", "url"]
)
WORDS = st.sampled_from(
    ["user", "assistant", "tool", "function", "input_text", "json_schema", "auto", "message", "x", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
SCHEMAS = {
    "/chat/completions": ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"),
    "/responses": ("Response", "ResponseStreamEvent"),
    "/embeddings": ("CreateEmbeddingResponse", ""),
    "/moderations": ("CreateModerationResponse", ""),
    "/completions": ("CreateCompletionResponse", "CreateCompletionResponse"),
}
BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": HELLO},
    "/responses": {"input": "Hello"},
    "/embeddings": {"input": "Hello"},
    "/moderations": {"input": "Hello"},
    "/completions": {"prompt": "Once"},
}


@pytest.mark.parametrize("path", SCHEMAS)
def test_any_body_is_answered_as_the_specification_says(client: httpx.Client, path: str) -> None:
    whole, streamed = SCHEMAS[path]

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(change=st.dictionaries(FIELDS, VALUES, max_size=4))
    def ask(change: dict[str, Any]) -> None:
        body = {"model": "gpt-4.1", **BODIES[path], **change}
        answer = client.post(path, json=body)
        assert answer.status_code < 500, (body, answer.text)
        if answer.status_code != 200:
            assert problems("ErrorResponse", answer.json()) == [], body
        elif answer.headers["content-type"].startswith("text/event-stream"):
            for event in events(answer):
                assert problems(streamed, event) == [], body
        else:
            assert problems(whole, answer.json()) == [], body

    ask()
