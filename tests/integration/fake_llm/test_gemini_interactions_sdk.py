"""Gemini's interactions, by the unchanged ``google-genai`` SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import types
from google.genai._interactions_errors import APIStatusError, BadRequestError, NotFoundError, RateLimitError

from .conftest import Session
from .gemini_known import walk

MODEL = "gemini-3-flash"
OLDER = "gemini-2.5-flash"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
    },
}
CALL: Any = {"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}}


@pytest.fixture
def client(session: Session) -> Iterator[genai.Client]:
    options = types.HttpOptions(
        base_url=session.url, timeout=20_000, retry_options=types.HttpRetryOptions(attempts=1)
    )  # fmt: skip
    with genai.Client(api_key=session.api_key, vertexai=False, http_options=options) as made:
        yield made


def create(client: genai.Client, input: Any = "hello", **more: Any) -> Any:  # noqa: A002 - the API's own word
    found = client.interactions.create(**{"model": MODEL, "input": input, **more})
    walk(found)
    return found


def stream(client: genai.Client, input: Any = "hello", **more: Any) -> list[Any]:  # noqa: A002
    with client.interactions.create(**{"model": MODEL, "input": input, "stream": True, **more}) as events:
        found = list(events)
    walk(found)
    return found


def kinds(steps: Any) -> list[str]:
    return [step.type for step in steps]


def raw(session: Session, body: Any, version: str = "v1beta") -> httpx.Response:
    url = f"{session.url}/{version}/interactions"
    return httpx.post(url, json=body, headers={"x-goog-api-key": session.api_key}, timeout=20, trust_env=False)


def test_an_unscripted_interaction_is_completed(client: genai.Client, session: Session) -> None:
    found = create(client, system_instruction="be brief")
    assert (found.status, found.output_text, found.model) == ("completed", "You said: hello", MODEL)
    assert kinds(found.steps) == ["thought", "model_output"]
    usage = found.usage
    assert usage.total_tokens == usage.total_input_tokens + usage.total_output_tokens > 0
    (entry,) = session.journal()
    assert (entry["dialect"], entry["path"]) == ("gemini_interactions", "/v1/interactions")
    assert (entry["turn"]["system"], entry["turn"]["user"]) == ("be brief", "hello")
    assert session.api_key not in json.dumps(entry)


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_every_version_is_served(session: Session, version: str) -> None:
    found = raw(session, {"model": MODEL, "input": "hello"}, version)
    assert (found.status_code, found.json()["status"]) == (200, "completed")


@pytest.mark.parametrize("method", ["interactions", "models/gemini-2.5-flash:generateContent"])
def test_the_key_may_be_in_a_header_in_the_url_or_a_bearer_token(session: Session, method: str) -> None:
    url = f"{session.url}/v1beta/{method}"
    body = {"model": MODEL, "input": "hello", "contents": {"parts": {"text": "hello"}}}
    with httpx.Client(timeout=20, trust_env=False) as plain:
        keyed = [
            plain.post(url, json=body, headers={"x-goog-api-key": session.api_key}),
            plain.post(url, json=body, params={"key": session.api_key}),
            plain.post(url, json=body, headers={"authorization": f"Bearer {session.api_key}"}),
        ]
        without = plain.post(url, json=body)
    assert [one.status_code for one in keyed] == [200] * 3
    assert len(session.journal()) == 3
    assert (without.status_code, without.json()["error"]["status"]) == (403, "PERMISSION_DENIED")


async def test_the_async_client_is_answered_and_streams(client: genai.Client) -> None:
    async with client.aio as asynchronous:
        found: Any = await asynchronous.interactions.create(model=MODEL, input="hello")
        assert found.output_text == "You said: hello"
        events: Any = await asynchronous.interactions.create(model=MODEL, input="hello", stream=True)
        said = [event async for event in events]
    walk(said)
    assert said[-1].event_type == "interaction.completed"


def test_a_stream_has_its_events_in_order_and_says_the_same(client: genai.Client, session: Session) -> None:
    source = {"words": "Cold.", "url": "https://example.org/", "title": "Weather"}
    reply = {"text": "Cold. Very.", "reasoning": "It is winter.", "tool_calls": [CALL], "citations": [source]}
    session.add({"reply": reply})
    config: Any = {"thinking_summaries": "auto"}
    whole = create(client, generation_config=config)
    events = stream(client, generation_config=config)
    names = [event.event_type for event in events]
    assert names[:3] == ["interaction.created", "interaction.status_update", "step.start"]
    assert names[-2:] == ["step.stop", "interaction.completed"]
    assert len({event.event_id for event in events}) == len(events)
    steps = [event.step for event in events if event.event_type == "step.start"]
    assert kinds(steps) == kinds(whole.steps) == ["thought", "model_output", "function_call"]
    assert steps[2].arguments == {}
    deltas: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    at = -1
    for event in events[2:-1]:
        if event.event_type == "step.start":
            at += 1
        assert event.index == at
        if event.event_type == "step.delta":
            deltas[at].append(event.delta)
    *thoughts, signature = deltas[0]
    assert "".join(one.content.text for one in thoughts) == "It is winter." == whole.steps[0].summary[0].text
    assert (signature.type, signature.signature) == ("thought_signature", whole.steps[0].signature)
    *words, notes = deltas[1]
    assert "".join(one.text for one in words) == "Cold. Very." == whole.steps[1].content[0].text
    assert notes.annotations == whole.steps[1].content[0].annotations
    assert [(one.url, one.start_index, one.end_index) for one in notes.annotations] == [(source["url"], 0, 5)]
    assert json.loads("".join(one.arguments for one in deltas[2])) == CALL["arguments"] == whole.steps[2].arguments
    ended = events[-1].interaction
    assert (ended.status, ended.usage.total_tokens) == ("requires_action", whole.usage.total_tokens)
    assert ended.usage.total_thought_tokens > 0


def test_thoughts_are_summed_up_only_where_asked_for(client: genai.Client, session: Session) -> None:
    assert kinds(create(client, model=OLDER).steps) == ["model_output"]
    asked = create(client, model=OLDER, generation_config={"thinking_summaries": "auto", "thinking_level": "low"})
    assert asked.steps[0].summary[0].text
    session.add({"reply": {"text": "x", "reasoning": "It is winter."}})
    hidden = create(client, model=OLDER)
    assert (hidden.steps[0].summary, bool(hidden.steps[0].signature)) == (None, True)
    assert hidden.usage.total_thought_tokens > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_a_function_is_called_and_its_result_goes_on_from_it(
    client: genai.Client, session: Session, streamed: bool
) -> None:
    session.add({"match": {"turn": 1}, "reply": {"tool_calls": [CALL]}})
    if streamed:
        events = stream(client, "weather?", tools=[WEATHER])
        first, started = events[0].interaction, [e.step for e in events if e.event_type == "step.start"]
        call = started[-1]
    else:
        first = create(client, "weather?", tools=[WEATHER])
        assert first.status == "requires_action"
        call = first.steps[-1]
        assert (call.name, call.arguments) == ("get_weather", CALL["arguments"])
    result: Any = {"type": "function_result", "call_id": call.id, "name": "get_weather", "result": "17 degrees"}
    second = create(client, [result], tools=[WEATHER], previous_interaction_id=first.id)
    assert (second.status, second.output_text) == ("completed", "The tool answered: 17 degrees")
    assert second.previous_interaction_id == first.id
    third = create(client, "thanks", tools=[WEATHER], previous_interaction_id=second.id)
    assert third.output_text == "You said: thanks"
    last = session.journal()[-1]["turn"]
    assert (last["number"], [one["role"] for one in last["messages"]]) == (
        3, ["user", "assistant", "user", "assistant", "user"]
    )  # fmt: skip
    assert third.usage.total_input_tokens > second.usage.total_input_tokens > 0


def test_a_conversation_may_be_sent_as_steps_and_without_being_kept(client: genai.Client, session: Session) -> None:
    first = create(client, "weather?", tools=[WEATHER], store=False,
                   generation_config={"tool_choice": "any"})  # fmt: skip
    call = first.steps[-1]
    assert call.arguments == {"city": "city", "days": 3}
    with pytest.raises(NotFoundError):
        client.interactions.get(id=first.id)
    steps: Any = [
        {"type": "user_input", "content": [{"type": "text", "text": "weather?"}]},
        *(step.model_dump(exclude_none=True) for step in first.steps),
        {"type": "function_result", "call_id": call.id, "result": [{"type": "text", "text": "17 degrees"}]},
    ]
    assert create(client, steps, tools=[WEATHER]).output_text == "The tool answered: 17 degrees"
    content: Any = [
        {"type": "text", "text": "what is this?"},
        {"type": "image", "data": "AAAA", "mime_type": "image/png"},
    ]
    assert create(client, content).output_text == "You said: what is this?"
    assert session.journal()[-1]["turn"]["messages"][-1]["attachments"] == 1


@pytest.mark.parametrize("schema", [{}, {"schema": WEATHER["parameters"]}])
def test_structured_output_fits_its_schema(client: genai.Client, schema: Any) -> None:
    found = json.loads(
        create(client, response_format={"type": "text", "mime_type": "application/json", **schema}).output_text
    )
    assert found == ({"city": "city", "days": 3} if schema else {"answer": "You said: hello"})


def test_tools_of_googles_servers_are_steps(client: genai.Client, session: Session) -> None:
    tools = [
        {"name": "code_execution", "input": {"code": "print(2)"}, "output": "2"},
        {"name": "web_search", "input": {"query": "two"}, "output": "2"},
        {"name": "url_context", "input": {"url": "https://example.org/"}, "error": "paywall"},
        {"name": "file_search", "input": {"query": "two"}},
        {"name": "mcp", "input": {"server_label": "s", "name": "add", "arguments": {"a": 1}}, "output": {"sum": 2}},
    ]
    session.add({"reply": {"text": "Two.", "server_tools": tools}})
    offered: Any = [{"type": "code_execution"}, {"type": "google_search"}, {"type": "url_context"}]
    whole = create(client, model=OLDER, tools=offered)
    names = ["code_execution", "google_search", "url_context", "file_search", "mcp_server_tool"]
    assert kinds(whole.steps) == [f"{name}_{end}" for name in names for end in ("call", "result")] + ["model_output"]
    code, printed, search, _, _, read = whole.steps[:6]
    assert (code.arguments.code, printed.result, printed.call_id) == ("print(2)", "2", code.id)
    assert (search.arguments.queries, read.result[0].status, read.is_error) == (["two"], "paywall", True)
    assert (whole.steps[8].name, whole.steps[8].server_name, whole.steps[8].arguments) == ("add", "s", {"a": 1})
    assert whole.usage.total_tool_use_tokens > 0
    events = stream(client, model=OLDER, tools=offered)
    assert kinds(event.step for event in events if event.event_type == "step.start") == kinds(whole.steps)
    deltas = [event.delta for event in events if event.event_type == "step.delta"]
    assert [one.arguments.code for one in deltas if one.type == "code_execution_call"] == ["print(2)"]


def test_an_interaction_is_looked_up_streamed_again_and_deleted(client: genai.Client) -> None:
    made = stream(client, "one two")
    own_id = made[0].interaction.id
    found: Any = client.interactions.get(id=own_id)
    walk(found)
    assert (found.output_text, found.input) == ("You said: one two", None)
    given: Any = client.interactions.get(id=own_id, include_input=True)
    walk(given)
    assert given.input[0].content[0].text == "one two"
    again: Any = list(client.interactions.get(id=own_id, stream=True))
    assert again == made
    rest: Any = list(client.interactions.get(id=own_id, stream=True, last_event_id=made[3].event_id))
    assert rest == made[4:]
    client.interactions.delete(id=own_id)
    with pytest.raises(NotFoundError):
        client.interactions.get(id=own_id)
    with pytest.raises(NotFoundError):
        create(client, previous_interaction_id=own_id)


def test_work_in_the_background_is_done_after_its_delay_or_cancelled(client: genai.Client, session: Session) -> None:
    slow = {"text": "done", "delay_s": 60}
    session.add({"match": {"user": "slow"}, "reply": slow}, {"reply": {"text": "done", "delay_s": 0.3}})
    made = create(client, "quick", background=True)
    assert (made.status, made.steps) == ("in_progress", None)
    events: Any = list(client.interactions.get(id=made.id, stream=True))
    assert events[-1].interaction.status == "completed"
    done: Any = client.interactions.get(id=made.id)
    assert (done.status, done.output_text) == ("completed", "done")
    with pytest.raises(BadRequestError):
        client.interactions.cancel(id=made.id)
    stuck = create(client, "slow", background=True)
    with pytest.raises(BadRequestError):
        create(client, previous_interaction_id=stuck.id)
    for _ in range(2):
        cancelled: Any = client.interactions.cancel(id=stuck.id)
        walk(cancelled)
        assert cancelled.status == "cancelled"
    assert client.interactions.get(id=stuck.id).status == "cancelled"
    last: Any = list(client.interactions.get(id=stuck.id, stream=True))[-1]
    assert last.interaction.status == "cancelled"


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        ({"text": "one two three", "finish_reason": "length"}, "incomplete", None),
        ({"refusal": "no"}, "failed", "content_blocked"),
        ({"text": "x", "finish_reason": "content_filter"}, "failed", "content_blocked"),
        ({"text": "x", "finish_reason": "budget_exceeded"}, "budget_exceeded", None),
        ({"tool_calls": [{"name": "f", "arguments": "{"}]}, "failed", "malformed_function_call"),
    ],
)
def test_an_interaction_that_ends_otherwise_says_so(
    client: genai.Client, session: Session, reply: Any, status: str, code: Any
) -> None:
    session.add({"reply": reply})
    found = create(client)
    assert (found.status, [one.code for one in found.errors or ()]) == (status, [code] if code else [])
    events = stream(client)
    assert (events[-1].event_type, events[-1].interaction.status) == ("interaction.completed", status)
    assert [event.error.code for event in events if event.event_type == "error"] == ([code] if code else [])


def test_a_limit_of_tokens_cuts_it(client: genai.Client) -> None:
    found = create(client, "one two three four", model=OLDER, generation_config={"max_output_tokens": 3})
    assert (found.status, found.usage.total_output_tokens) == ("incomplete", 3)


def test_a_fault_is_the_sdks_exception_or_the_streams_error(client: genai.Client, session: Session) -> None:
    match = {"dialect": "gemini_interactions", "stream": False}
    broken = {"kind": "stream_error", "status": 503, "after_chunks": 4}
    session.add(
        {"match": match, "reply": {"fault": {"kind": "status", "status": 429}}},
        {"reply": {"text": "a b c", "fault": broken}},
    )
    with pytest.raises(RateLimitError) as caught:
        create(client)
    body: Any = caught.value.body
    assert body["error"]["status"] == "RESOURCE_EXHAUSTED"
    events = stream(client)
    assert [event.event_type for event in events[-2:]] == ["step.delta", "error"]
    assert events[-1].error.code == "unavailable"
    kept: Any = client.interactions.get(id=events[0].interaction.id)
    assert (kept.status, kept.errors[0].code) == ("failed", "unavailable")


FUNCTION: Any = {"type": "function", "name": "f"}


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"input": None}, 400, "input is required"),
        ({"input": []}, 400, "input is required"),
        ({"input": [{"type": "smell"}]}, 400, "Unknown type 'smell' of input[0]"),
        ({"input": [{"type": "image"}]}, 400, "input[0].content[0].data"),
        ({"input": [{"type": "function_result", "call_id": "c", "result": "x"}]}, 400, "No function_call step has"),
        ({"input": [{"type": "function_call", "id": "c", "name": "f", "arguments": {}}, {"type": "text", "text": "x"}]},
         400, "has no function_result"),
        ({"model": None}, 400, "One of model and agent"),
        ({"agent": "deep-research", "model": None}, 404, "Agent 'deep-research'"),
        ({"stream": "yes"}, 400, "TYPE_BOOL"),
        ({"background": True, "store": False}, 400, "background requires store"),
        ({"previous_interaction_id": "v1_none"}, 404, "was not found"),
        ({"tools": [{"type": "hammer"}]}, 400, "Unknown type 'hammer' of tools[0]"),
        ({"tools": [FUNCTION, FUNCTION]}, 400, "Duplicate function declaration"),
        ({"generation_config": {"tool_choice": "any"}}, 400, "needs functions"),
        ({"tools": [FUNCTION], "generation_config": {"tool_choice": {"allowed_tools": {"tools": ["g"]}}}}, 400, "'g'"),
        ({"generation_config": {"thinking_level": "deep"}}, 400, "thinking_level"),
        ({"generation_config": {"top_p": 2}}, 400, "top_p must be in the range"),
        ({"response_modalities": ["image"]}, 400, "response modalities (IMAGE) is not supported"),
        ({"response_format": {"type": "audio"}}, 400, "response modalities (AUDIO) is not supported"),
        ({"safety_settings": [{"type": "rude", "threshold": "off"}]}, 400, "safety_settings[0].type"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(session: Session, change: Any, status: int, message: str) -> None:
    found = raw(session, {"model": MODEL, "input": "hello", **change})
    assert (found.status_code, found.json()["error"]["code"]) == (status, status)
    assert message in found.json()["error"]["message"]


def test_one_session_sees_no_interaction_of_another(client: genai.Client, session: Session) -> None:
    own = create(client)
    other = Session(session.url, f"{session.id}-other", session.control)
    url = f"{session.url}/v1/interactions/{own.id}"
    found = httpx.get(url, headers={"x-goog-api-key": other.api_key}, timeout=20, trust_env=False)
    assert found.status_code == 404
    session.call("POST", "/reset")
    with pytest.raises(APIStatusError):
        client.interactions.get(id=own.id)
    assert httpx.get(url.rpartition("/")[0], timeout=20, trust_env=False).status_code == 405
