"""What Gemini's URLs say, its models, and its errors, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fake_llm.dialects import canonical_path, has_path, route
from fake_llm.dialects.models import listing, model
from fake_llm.envelopes import envelope, provider_of
from fake_llm.exchange import generate
from fake_llm.model import Fault, ProtocolError, Stamp
from fake_llm.outcome import new_stamp
from fake_llm.scenario_file import load_text
from fake_llm.session import Session, key_in_query

STAMP = Stamp("0123456789abcdef01234567", 1_700_000_000)
HELLO: Any = [{"role": "user", "parts": [{"text": "hello"}]}]


@pytest.mark.parametrize("version", ["/v1", "/v1beta", "/v1alpha", "", "/v1beta/v1", "/v1/v1beta", "//v1/"])
def test_a_path_names_the_model_and_whether_to_stream(version: str) -> None:
    for verb, stream in (("generateContent", False), ("streamGenerateContent", True)):
        found = route("POST", canonical_path(f"{version}/models/gemini-x:{verb}"))
        assert found is not None
        assert (found.operation, found.dialect) == ("generate", "gemini")
        assert found.bound == {"model": "gemini-x", "stream": stream}


def test_models_under_v1_are_those_of_the_client_that_asks() -> None:
    shared, own, one = (route("GET", path) for path in ("/v1/models", "/v1beta/models", "/v1/models/ft:gpt-4o:acme"))
    assert shared is not None
    assert own is not None
    assert one is not None
    assert (shared.dialect, own.dialect, one.bound) == ("", "gemini", {"model": "ft:gpt-4o:acme"})
    assert [provider_of({"x-goog-api-key": "k"}), provider_of({}, "a=b&key=k")] == ["gemini", "gemini"]
    assert [provider_of({}, "monkey=k"), provider_of({"anthropic-version": "x"}, "key=k")] == ["openai", "anthropic"]
    assert [key_in_query("alt=sse&key=a%2Fb"), key_in_query("alt=sse")] == ["a/b", None]


@pytest.mark.parametrize("path", ["/v1beta/models/m:noSuchMethod", "/v1/models/m:noSuchMethod", "/v1beta/nothing"])
def test_a_method_that_there_is_none_of_has_no_route(path: str) -> None:
    assert (route("POST", canonical_path(path)), has_path(path)) == (None, False)


def test_a_page_of_models_that_there_is_none_of_is_refused() -> None:
    names: list[str] = []
    token = "0"
    while token:
        page = listing("gemini", {"pageSize": "4", "pageToken": token})
        names += [one["baseModelId"] for one in page["models"]]
        token = page.get("nextPageToken", "")
    assert len(names) == len(set(names)) > 4
    assert model("gemini", names[0])["name"] == f"models/{names[0]}"
    with pytest.raises(ProtocolError, match="Page token"):
        listing("gemini", {"pageToken": "x"})


@pytest.mark.parametrize(("seconds", "written"), [(34, "34s"), (0.02, "0.02s"), (0, "0s"), (1.5, "1.5s")])
def test_a_quota_says_when_to_come_back(seconds: float, written: str) -> None:
    fault = Fault("status", 429, retry_after_s=seconds)
    found: Any = envelope("gemini").error_object(envelope("gemini").from_fault(fault, "m"), STAMP)
    assert found["error"]["details"][-1]["retryDelay"] == written
    assert found["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_a_fault_may_have_googles_own_words_and_reason() -> None:
    envelopes = envelope("gemini")
    fault = Fault("status", 400, code="API_KEY_INVALID", type="FAILED_PRECONDITION")
    found: Any = envelopes.error_object(envelopes.from_fault(fault, "m"), STAMP)["error"]
    assert (found["status"], found["details"][0]["reason"]) == ("FAILED_PRECONDITION", "API_KEY_INVALID")
    assert "API key not valid" in found["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"contents": NaN}', b"{}"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    outcome = generate("gemini", Session("t"), {}, body, new_stamp(), bound={"model": "m", "stream": False})
    assert (outcome.status, json.loads(outcome.raw)["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_what_the_url_says_stands_above_the_body() -> None:
    body = json.dumps({"contents": HELLO, "model": "other", "stream": True}).encode()
    outcome = generate("gemini", Session("t"), {}, body, new_stamp(), bound={"model": "m", "stream": False})
    assert outcome.turn is not None
    assert (outcome.turn.model, outcome.turn.stream, outcome.body["model"]) == ("m", False, "other")


def test_a_scenario_file_answers_by_the_dialect_and_by_what_the_url_says() -> None:
    session = Session("t")
    match = "{dialect: gemini, json: {model: m, 'contents[0].role': user}}"
    session.put_in_front(load_text(f"[{{match: {match}, sequence: [hi, {{fault: {{kind: status}}}}]}}]", "s.yaml"))
    body = json.dumps({"contents": HELLO}).encode()
    bound = {"model": "m", "stream": True, "alt": "sse"}
    said, failed = (generate("gemini", session, {}, body, new_stamp(), bound=bound) for _ in range(2))
    assert (said.scenario, b'"text":"hi"' in said.raw) == ("s-1", True)
    assert dict(said.headers)[b"content-type"].startswith(b"text/event-stream")
    assert (failed.status, json.loads(failed.raw)["error"]["status"]) == (500, "INTERNAL")
    other = generate("gemini", session, {}, body, new_stamp(), bound={**bound, "model": "other"})
    assert other.scenario is None
