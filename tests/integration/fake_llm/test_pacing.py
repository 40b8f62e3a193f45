"""Latency and rate limits on the wire: when tokens come, what a 429 says, and whether its headers are true."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest

from .conftest import Session
from .raw import BODIES, Exchanged, exchange, headers_of, request_of

if TYPE_CHECKING:
    from google import genai

DIALECTS = sorted(BODIES)
WORDS = [f"w{place}" for place in range(40)]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def raw(session: Session, dialect: str, *, stream: bool) -> Exchanged:
    path, body = request_of(dialect, stream=stream)
    return exchange(session.url, path, body, session.api_key)


def arrivals(found: Exchanged) -> list[float]:
    """When each of ``WORDS`` came first, in the deltas."""
    seen: dict[str, float] = {}
    for at, data in found.pieces:
        for word in WORDS:
            if f'"{word} "'.encode() in data:
                seen.setdefault(word, at)
    return [seen[word] for word in WORDS]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tokens_come_when_they_are_due_and_do_not_drift(session: Session, dialect: str) -> None:
    session.add({"reply": {"chunks": [f"{word} " for word in WORDS]}})
    session.call("PUT", "/latency", json={"latency": {"ttft": 0.15, "inter_token": 0.02}})
    for _ in range(5):  # a busy moment of the machine spoils one of them, a fault of the server all
        times = arrivals(raw(session, dialect, stream=True))
        late = [at - (0.15 + 0.02 * place) for place, at in enumerate(times)]
        assert min(late) > -0.005
        # Sleeps that add up their delays would be at 0.02 and more each.
        if sorted(late)[len(late) // 2] < 0.05 and late[-1] - late[0] < 0.1:
            break
    else:
        pytest.fail(f"late by {late}")


def test_a_body_comes_when_its_last_token_would_have(session: Session) -> None:
    session.add({"reply": {"text": "one two three four five", "latency": {"ttft": 0.1, "inter_token": 0.05}}})
    began = time.perf_counter()
    assert b"five" in raw(session, "anthropic", stream=False).all
    assert 0.3 <= time.perf_counter() - began < 5


def test_a_scenarios_latency_stands_above_the_sessions(session: Session) -> None:
    session.call("PUT", "/latency", json={"latency": {"ttft": 0.01}})
    session.add({"match": {"user": "hello"}, "reply": {"text": "x", "latency": {"ttft": 0.3}}})
    assert raw(session, "openai_chat", stream=True).pieces[0][0] >= 0.3
    found = session.call("PUT", "/latency", json={"latency": "typical"})
    assert found["latency"]["ttft"] == {"median_s": 0.5, "p95_s": 1.2}
    assert session.call("PUT", "/latency", json={"latency": None})["latency"] is None


@pytest.mark.parametrize("latency", ["fastest", {"ttft": {"median_s": 2, "p95_s": 1}}, {"tft": 1}])
def test_a_wrong_latency_is_refused(session: Session, latency: Any) -> None:
    session.call("PUT", "/latency", expect=422, json={"latency": latency})


# --- rate limits -------------------------------------------------------------------------------------------------


def ask(session: Session, dialect: str) -> httpx.Response:
    path, body = BODIES[dialect]
    return httpx.post(session.url + path, json=body, headers=headers_of(session.api_key), trust_env=False, timeout=30)


def test_openais_headers_are_true_before_and_at_the_limit(session: Session, chat: openai.OpenAI) -> None:
    session.call("PUT", "/limits", json={"requests_per_minute": 3, "tokens_per_minute": 1_000})
    found = [chat.chat.completions.with_raw_response.create(model="m", messages=HELLO) for _ in range(3)]
    assert [one.headers["x-ratelimit-remaining-requests"] for one in found] == ["2", "1", "0"]
    assert {one.headers["x-ratelimit-limit-requests"] for one in found} == {"3"}
    spent = [one.parse().usage for one in found]
    total = sum(usage.total_tokens for usage in spent if usage)
    left = int(found[-1].headers["x-ratelimit-remaining-tokens"])
    assert 1_000 - total <= left <= 1_000 - total + 40
    with pytest.raises(openai.RateLimitError) as caught:
        chat.chat.completions.create(model="m", messages=HELLO)
    headers = caught.value.response.headers
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert "Limit 3, Used 3, Requested 1. Please try again in " in caught.value.message
    assert 19 <= int(headers["retry-after"]) <= 20
    assert 18_000 < int(headers["retry-after-ms"]) <= 20_000
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].startswith(("59.", "58.", "1m0s"))


def test_anthropics_headers_are_true_and_their_resets_instants(session: Session, claude: anthropic.Anthropic) -> None:
    session.call("PUT", "/limits", json={"requests_per_minute": 2})
    for left in (1, 0):
        found = claude.messages.with_raw_response.create(model="m", max_tokens=9, messages=HELLO)
        assert found.headers["anthropic-ratelimit-requests-remaining"] == str(left)
    with pytest.raises(anthropic.RateLimitError, match="rate limit of 2 requests per minute") as caught:
        claude.messages.create(model="m", max_tokens=9, messages=HELLO)
    headers = caught.value.response.headers
    assert 29 <= int(headers["retry-after"]) <= 30
    reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
    assert 55 <= (reset - datetime.now(UTC)).total_seconds() <= 61
    assert claude.messages.count_tokens(model="m", messages=HELLO).input_tokens > 0


def test_geminis_refusal_has_the_quota_and_the_delay_in_its_body(session: Session, gemini: genai.Client) -> None:
    from google.genai import errors

    session.call("PUT", "/limits", json={"requests_per_minute": 1})
    gemini.models.generate_content(model="gemini-2.5-flash", contents="x")
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.generate_content(model="gemini-2.5-flash", contents="x")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    details: Any = caught.value.details
    quota, _, retry = details["error"]["details"]
    assert quota["violations"][0]["quotaValue"] == "1"
    assert 58 <= float(retry["retryDelay"].rstrip("s")) <= 60
    assert "retry-after" not in ask(session, "gemini").headers


def test_an_application_that_waits_as_told_gets_through(session: Session) -> None:
    session.call("PUT", "/limits", json={"requests_per_minute": 120})
    for _ in range(120):
        assert ask(session, "openai_chat").status_code == 200
        if session.journal()[-1]["fault"]:
            break
    with openai.OpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, max_retries=3) as client:
        for _ in range(3):
            client.chat.completions.create(model="m", messages=HELLO)


def test_tokens_are_limited_and_a_prompt_beyond_the_minute_never_fits(session: Session, chat: openai.OpenAI) -> None:
    session.call("PUT", "/limits", json={"tokens_per_minute": 50})
    with pytest.raises(
        openai.RateLimitError, match=r"Request too large for m .*\(TPM\): Limit 50, Requested"
    ) as caught:
        chat.responses.create(model="m", input="word " * 100)
    assert "retry-after" not in caught.value.response.headers
    statuses = [ask(session, "openai_chat").status_code for _ in range(10)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_a_files_limits_hold_for_what_they_match_and_others_answer(session: Session) -> None:
    session.add(
        {"name": "limit", "match": {"dialect": "openai_chat"}, "limits": {"requests_per_minute": 2}},
        {"name": "words", "reply": "fine"},
    )
    assert [ask(session, "openai_chat").status_code for _ in range(3)] == [200, 200, 429]
    assert [ask(session, "openai_responses").status_code for _ in range(3)] == [200, 200, 200]
    assert {entry["scenario"] for entry in session.journal() if entry["status"] == 200} == {"words"}
    assert [entry["fault"] for entry in session.journal() if entry["status"] == 429] == ["rate_limit"]
    session.call("DELETE", "/scenarios", expect=204)
    assert ask(session, "openai_chat").status_code == 200


def test_limits_are_cleared_and_shown(session: Session) -> None:
    found = session.call("PUT", "/limits", json={"requests_per_minute": 1})
    assert found["limits"] == {"requests": 1, "tokens": None}
    assert [ask(session, "openai_chat").status_code for _ in range(2)] == [200, 429]
    session.call("DELETE", "/limits", expect=204)
    assert ask(session, "openai_chat").headers["x-ratelimit-limit-requests"] == "10000"
    session.call("PUT", "/limits", expect=422, json={"requests_per_minute": 0})


def test_counting_tokens_has_a_limit_of_its_own(session: Session, claude: anthropic.Anthropic) -> None:
    session.call("PUT", "/limits", json={"requests_per_minute": 2, "tokens_per_minute": 1_000})

    def count() -> Any:
        asked = claude.messages.with_raw_response.count_tokens(model="m", messages=[{"role": "user", "content": "hi"}])
        return asked.headers["anthropic-ratelimit-requests-remaining"], asked.parse().input_tokens > 0

    def speak() -> None:
        claude.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}])

    assert [count(), count()] == [("1", True), ("0", True)]
    with pytest.raises(anthropic.RateLimitError, match="2 requests per minute") as refused:
        count()
    assert int(refused.value.response.headers["retry-after"]) > 1
    speak()
    speak()
    with pytest.raises(anthropic.RateLimitError):
        speak()
