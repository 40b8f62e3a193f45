"""The unchanged ``openai`` SDK's Responses where something goes wrong: refusals, faults, other paths."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent

from .conftest import Session
from .responses_sdk import left_over


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_empty_request_is_refused_for_what_it_lacks(session: Session, body: bytes) -> None:
    headers = {"authorization": f"Bearer {session.api_key}"}
    found = httpx.post(f"{session.url}/v1/responses", content=body, headers=headers, timeout=30)
    assert (found.status_code, found.json()["error"]) == (
        400,
        {
            "message": "Missing required parameter: 'model'.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "missing_required_parameter",
        },
    )
    counted = httpx.post(f"{session.url}/v1/responses/input_tokens", content=body, headers=headers, timeout=30)
    assert (counted.status_code, counted.json()["error"]["code"]) == (400, "missing_required_parameter")
    cancelled = httpx.post(f"{session.url}/v1/responses/resp_x/cancel", content=body, headers=headers, timeout=30)
    assert (cancelled.status_code, cancelled.json()["error"]["param"]) == (404, None)


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (401, openai.AuthenticationError, "invalid_api_key"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_scripted_status_is_the_sdks_exception(
    chat: openai.OpenAI,
    session: Session,
    status: int,
    expected: type[openai.APIStatusError],
    code: str | None,
    stream: bool,
) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": status}}})
    with pytest.raises(expected) as caught:
        chat.responses.create(model="m", input="hello", stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.request_id


def test_an_error_inside_a_stream_is_raised_and_the_response_has_failed(chat: openai.OpenAI, session: Session) -> None:
    fault = {"kind": "stream_error", "after_chunks": 5, "message": "too busy", "status": 429}
    session.add({"reply": {"text": "one two", "fault": fault}})
    received: list[ResponseStreamEvent] = []
    with pytest.raises(openai.APIError, match="too busy") as caught:
        received.extend(chat.responses.create(model="m", input="hello", stream=True))
    assert caught.value.code == "rate_limit_exceeded"


def test_the_error_event_is_followed_by_the_failed_response(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "one two", "fault": {"kind": "stream_error", "after_chunks": 5, "message": "busy"}}})
    with chat.responses.with_streaming_response.create(model="m", input="hello", stream=True) as raw:
        blocks = raw.read().decode().strip().split("\n\n")
    events = [(block.split("\n")[0], json.loads(block.split("\n")[1].removeprefix("data: "))) for block in blocks]
    assert [data["sequence_number"] for _, data in events] == list(range(7))
    assert [name for name, _ in events[-2:]] == ["event: error", "event: response.failed"]
    error, failed = events[-2][1], events[-1][1]["response"]
    assert (error["type"], error["error"]["message"]) == ("error", "busy")
    assert failed["error"] == {"code": "server_error", "message": "busy"}
    kept = chat.responses.retrieve(failed["id"])
    assert kept.to_dict() == failed
    assert left_over(kept) == []


def test_the_client_retries_after_a_429_and_then_succeeds(chat: openai.OpenAI, session: Session) -> None:
    session.add({"sequence": [{"fault": {"kind": "status", "status": 429, "retry_after_ms": 5}}, "made it"]})
    assert chat.with_options(max_retries=2).responses.create(model="m", input="hello").output_text == "made it"
    assert [entry["dialect"] for entry in session.journal()] == ["openai_responses", "openai_responses"]


def test_a_hang_is_the_clients_timeout(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "hang"}}})
    with pytest.raises(openai.APITimeoutError):
        chat.with_options(timeout=0.2).responses.create(model="m", input="hello")


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_base_urls_of_all_shapes_lead_to_all_paths(session: Session, suffix: str) -> None:
    with openai.OpenAI(base_url=session.url + suffix, api_key=session.api_key, max_retries=0) as client:
        made = client.responses.create(model="m", input="hello")
        assert client.responses.retrieve(made.id).id == made.id
        assert client.responses.input_items.list(made.id).data
        assert client.responses.input_tokens.count(input="hello").input_tokens


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/responses/resp_x", 405),
        ("GET", "/v1/responses/resp_x/cancel", 405),
        ("GET", "/v1/responses/resp_x/nothing", 404),
        ("GET", "/v1/responses/x", 400),
    ],
)
def test_other_paths_and_methods_are_refused(session: Session, method: str, path: str, status: int) -> None:
    found = httpx.request(
        method, session.url + path, headers={"authorization": f"Bearer {session.api_key}"}, timeout=30
    )
    assert (found.status_code, found.json()["error"]["type"]) == (status, "invalid_request_error")


def test_a_scenario_serves_this_dialect_alone(session: Session, chat: openai.OpenAI) -> None:
    session.add({"match": {"dialect": "openai_responses", "json": {"input[0].role": "user"}}, "reply": "for responses"})
    found = chat.responses.create(model="m", input=[{"role": "user", "content": "x"}])
    assert found.output_text == "for responses"
    other = chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert other.choices[0].message.content == "You said: x"
