"""The ``google-genai`` SDK and plain HTTP against the running server: refusals, faults, the form on the wire."""

from __future__ import annotations

import json

import httpx
import httpx2
import pytest
from google import genai
from google.genai import errors, types

from .conftest import Session
from .gemini_calls import MODEL, ask, client_of, raw, reason, stream


def test_a_refusal_is_a_blocked_prompt(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"refusal": "I will not"}})
    for found in (ask(gemini), *stream(gemini)):
        assert (found.candidates, found.text) == (None, None)
        assert found.prompt_feedback is not None
        assert found.prompt_feedback.block_reason == types.BlockedReason.SAFETY
        assert found.usage_metadata is not None
        assert (found.usage_metadata.prompt_token_count or 0) > 0


def test_a_filtered_reply_ended_for_safety(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"text": "", "finish_reason": "content_filter"}})
    for found in (ask(gemini), *stream(gemini)):
        assert (reason(found), found.text) == ("SAFETY", None)
        assert found.candidates is not None
        assert [rating.blocked for rating in found.candidates[0].safety_ratings or ()].count(True) == 1


def test_arguments_that_are_no_json_end_the_reply_as_malformed(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"tool_calls": [{"name": "get_weather", "arguments": '{"city": '}]}})
    found = ask(gemini)
    assert (reason(found), found.function_calls) == ("MALFORMED_FUNCTION_CALL", None)


@pytest.mark.parametrize(
    ("status", "expected", "name"),
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (401, errors.ClientError, "UNAUTHENTICATED"),
        (403, errors.ClientError, "PERMISSION_DENIED"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "UNAVAILABLE"),
        (504, errors.ServerError, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_scripted_status_is_the_sdks_exception(
    gemini: genai.Client, session: Session, status: int, expected: type[errors.APIError], name: str
) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": status, "message": "as scripted"}}})
    for call in (ask, stream):
        with pytest.raises(expected) as caught:
            call(gemini)
        assert (caught.value.code, caught.value.status, caught.value.message) == (status, name, "as scripted")


def test_a_used_up_quota_says_when_to_come_back(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": 429, "retry_after_s": 34}}})
    with pytest.raises(errors.ClientError) as caught:
        ask(gemini)
    details = {one["@type"].rpartition(".")[2]: one for one in caught.value.details["error"]["details"]}
    assert details["RetryInfo"]["retryDelay"] == "34s"
    assert details["QuotaFailure"]["violations"][0]["quotaDimensions"]["model"] == MODEL


def test_an_overloaded_model_is_retried(session: Session) -> None:
    session.add({"sequence": [{"fault": {"kind": "status", "status": 503}}, "made it"]})
    retry = types.HttpRetryOptions(attempts=2, initial_delay=0.01, max_delay=0.02, jitter=0.01)
    with client_of(session, retry_options=retry) as client:
        assert ask(client).text == "made it"


def test_an_error_inside_a_stream_is_raised_after_what_came_before(gemini: genai.Client, session: Session) -> None:
    fault = {"kind": "stream_error", "status": 503, "after_chunks": 2, "message": "too busy"}
    session.add({"reply": {"chunks": ["one ", "two ", "three"], "chunk_delay_s": 0, "fault": fault}})
    words: list[str | None] = []
    with pytest.raises(errors.ServerError, match="too busy") as caught:
        words.extend(chunk.text for chunk in gemini.models.generate_content_stream(model=MODEL, contents="hello there"))
    assert words == ["one ", "two "]
    assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")


def test_a_cut_stream_breaks_in_the_clients_hands(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"text": "one two three", "fault": {"kind": "cut", "after_chunks": 1}}})
    with pytest.raises((httpx.TransportError, httpx2.TransportError)):
        stream(gemini)
    assert session.journal()[0]["outcome"] == "cut"


def test_a_body_that_is_no_json_is_noticed(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "malformed"}}})
    with pytest.raises(json.JSONDecodeError):
        ask(gemini)
    with pytest.raises(errors.UnknownApiResponseError):
        stream(gemini)


def test_an_empty_body_is_a_response_of_nothing_to_this_sdk(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "empty"}}})
    assert (ask(gemini).candidates, stream(gemini)) == (None, [])


def test_a_request_that_gemini_refuses_is_refused_in_its_words(gemini: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="temperature must be in the range") as caught:
        ask(gemini, temperature=3)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_models_are_geminis_page_by_page(gemini: genai.Client) -> None:
    names = [model.name for model in gemini.models.list(config={"page_size": 2})]
    assert len(names) == len(set(names)) > 2
    assert f"models/{MODEL}" in names
    found = gemini.models.get(model=MODEL)
    assert "generateContent" in (found.supported_actions or ())
    assert (found.input_token_limit or 0) > (found.output_token_limit or 0) > 0
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.get(model="gpt-4o")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize("version", ["/v1", "/v1beta", ""])
def test_the_key_may_be_in_the_url(session: Session, version: str) -> None:
    session.add({"reply": "mine"})
    found = raw(session, f"{version}/models/{MODEL}:generateContent?key={session.api_key}", headers={})
    assert found.json()["candidates"][0]["content"]["parts"] == [{"text": "mine"}]
    listed = httpx.get(f"{session.url}{version}/models?key={session.api_key}", trust_env=False, timeout=30).json()
    assert listed["models"][0]["name"].startswith("models/")
    assert session.api_key not in json.dumps(session.journal())


def test_a_request_without_a_key_is_refused_as_google_does(session: Session) -> None:
    found = raw(session, f"/v1/models/{MODEL}:generateContent", headers={})
    assert (found.status_code, found.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    other = httpx.post(f"{session.url}/v1/chat/completions?key=x", json={}, trust_env=False, timeout=30)
    assert other.status_code == 401


def test_events_are_bare_and_the_stream_has_no_end_mark(session: Session) -> None:
    found = raw(session, f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse")
    assert found.headers["content-type"].startswith("text/event-stream")
    blocks = found.text.split("\n\n")
    assert blocks.pop() == ""
    for block in blocks:
        assert block.startswith("data: {")
        types.GenerateContentResponse.model_validate_json(block.removeprefix("data: "))


def test_a_stream_that_is_not_asked_for_as_events_is_a_json_array(session: Session) -> None:
    session.add({"match": {"stream": True}, "reply": {"chunks": ["one ", "two"]}})
    found = raw(session, f"/v1beta/models/{MODEL}:streamGenerateContent")
    assert found.headers["content-type"] == "application/json"
    words = [one["candidates"][0]["content"]["parts"][0]["text"] for one in found.json()]
    assert words == ["one ", "two"]


@pytest.mark.parametrize(("after", "before"), [(0, 0), (1, 1), (None, 1)])
def test_an_error_in_a_json_array_is_its_last_element(session: Session, after: int | None, before: int) -> None:
    fault = {"kind": "stream_error", "status": 503, "after_chunks": after}
    session.add({"reply": {"chunks": ["one ", "two"], "fault": fault}})
    *chunks, last = raw(session, f"/v1beta/models/{MODEL}:streamGenerateContent").json()
    assert (len(chunks), last["error"]["status"]) == (before, "UNAVAILABLE")


@pytest.mark.parametrize("suffix", ["", "/", "/v1beta", "/s/{id}"])
def test_base_urls_of_all_shapes_work(session: Session, suffix: str) -> None:
    options = types.HttpOptions(base_url=session.url + suffix.format(id=session.id), timeout=20_000)
    session.add({"reply": "mine"})
    with genai.Client(api_key=session.api_key, vertexai=False, http_options=options) as client:
        assert ask(client).text == "mine"


def test_a_method_that_is_not_served_is_not_found(gemini: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        gemini.caches.get(name="cachedContents/abc")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
