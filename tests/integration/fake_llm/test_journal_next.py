"""What the journal tells of the client after the answer: read, gave up, retried; and what it must not tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from .conftest import FakeServer, Session
from .raw import BODIES, exchange, headers_of

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def until(found: Callable[[], Any], wanted: Any) -> None:
    """Wait until ``found()`` is ``wanted``."""
    deadline = time.monotonic() + 5
    while (seen := found()) != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == wanted


def test_an_answer_that_was_read_has_its_bytes_and_times(session: Session, chat: openai.OpenAI) -> None:
    session.add({"reply": {"chunks": ["one ", "two"], "delay_s": 0.05, "chunk_delay_s": 0.03}})
    list(chat.chat.completions.create(model="m", messages=HELLO, stream=True))
    until(lambda: session.journal()[0]["outcome"], "sent")
    (entry,) = session.journal()
    assert (entry["then"], entry["bytes_sent"]) == ("read", len(entry["reply_raw"]))
    assert 50 <= entry["first_byte_ms"] < entry["duration_ms"] - 60
    assert (entry["retry"], entry["retry_of"], entry["retried_after_ms"]) == (0, None, None)


def test_a_client_that_leaves_a_stream_gave_up_after_the_bytes_that_it_got(
    session: Session, chat: openai.OpenAI
) -> None:
    session.add({"reply": {"text": "one two three four five", "chunk_delay_s": 0.05}})
    with chat.chat.completions.create(model="m", messages=HELLO, stream=True) as stream:
        for _ in zip(stream, range(3), strict=False):
            pass
    until(lambda: session.journal()[0]["then"], "gave_up")
    (entry,) = session.journal()
    assert 0 < entry["bytes_sent"] < len(entry["reply_raw"]) - 100


def test_the_sdks_count_of_retries_tells_a_retry_and_how_long_it_waited(session: Session) -> None:
    session.add({"sequence": [{"fault": {"kind": "status", "status": 503, "retry_after_ms": 120}}, "made it"]})
    with openai.OpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, max_retries=1) as client:
        client.chat.completions.create(model="m", messages=HELLO)
        client.chat.completions.create(model="m", messages=HELLO)
    first, retry, anew = session.journal()
    assert (first["then"], retry["retry"], retry["retry_of"]) == ("retried", 1, first["seq"])
    assert 90 <= first["retried_after_ms"] < 1_000
    assert (anew["retry"], retry["then"]) == (0, "read")


def test_a_new_call_of_the_application_is_no_retry_though_the_one_before_failed(
    session: Session, chat: openai.OpenAI
) -> None:
    session.add({"sequence": [{"fault": {"kind": "status", "status": 503}}, "fine"]})
    with pytest.raises(openai.InternalServerError):
        chat.chat.completions.create(model="m", messages=HELLO)
    chat.chat.completions.create(model="m", messages=HELLO)
    assert [(entry["retry"], entry["then"]) for entry in session.journal()] == [(0, "read"), (0, "read")]


def test_without_the_sdks_count_the_same_request_after_a_failure_is_a_retry(session: Session) -> None:
    session.add({"sequence": [{"fault": {"kind": "status", "status": 500}}, {"fault": {"kind": "disconnect"}}, "fine"]})
    path, body = BODIES["gemini"]
    for sent in (body, body, body, {**body, "labels": {}}, body):
        exchange(session.url, path, sent, session.api_key)
    assert [entry["retry"] for entry in session.journal()] == [0, 1, 2, 0, 0]
    assert [entry["retry_of"] for entry in session.journal()] == [None, 1, 2, None, None]


def test_the_request_is_kept_as_it_was_sent_up_to_a_bound(session: Session) -> None:
    path, _ = BODIES["openai_chat"]
    exchange(session.url, path, b'{"model":  "m", "messages": [', session.api_key)
    long = {"model": "m", "messages": [{"role": "user", "content": "y" * 100_000}]}
    exchange(session.url, path, long, session.api_key)
    torn, bounded = session.journal()
    assert torn["request_raw"] == '{"model":  "m", "messages": ['
    assert bounded["request_bytes"] == len(json.dumps(long))
    assert len(bounded["request_raw"]) == 65_536


SECRETS = ["sk-secret-1", "s3cret-2", "tok/en-3", "c00kie-4"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", {"authorization": "Bearer sk-secret-1", "cookie": "session=c00kie-4"}),
        ("/v1/chat/completions", {"authorization": "Basic s3cret-2", "api-key": "sk-secret-1"}),
        (
            "/v1/chat/completions",
            {"x-api-key": "sk-secret-1", "x-auth-token": "s3cret-2"},
        ),
        ("/v1beta/models/m:generateContent?key=sk-secret-1&alt=json", {}),
        ("/v1beta/models/m:generateContent?key=sk-secret-1&alt=bogus", {}),
        ("/v1/nothing?key=sk-secret-1", {"x-goog-api-key": "s3cret-2"}),
    ],
)
def test_keys_are_neither_in_the_journal_nor_in_the_log(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    _, body = BODIES["gemini" if "models" in path else "openai_chat"]
    tool = {"type": "mcp", "authorization": "tok/en-3", "headers": {"Authorization": "tok/en-3"}}
    server = FakeServer(log=tmp_path / "log")
    try:
        named = {**headers, "x-fake-llm-session": "t", "content-type": "application/json"}
        httpx.post(
            server.url + path, headers=named, content=json.dumps({**body, "extra": [tool]}), trust_env=False, timeout=30
        )
        seen = httpx.get(f"{server.url}/_fake/sessions/t/journal", trust_env=False, timeout=30).text
        seen += httpx.get(f"{server.url}/_fake/sessions/default/journal", trust_env=False, timeout=30).text
        assert "nothing" in path or '"outcome":"sent"' in seen
    finally:
        server.stop()
    told = seen + server.log.read_text()
    assert path.partition("?")[0] in told
    assert [secret for secret in SECRETS if secret in told] == []


def test_an_idempotency_key_is_no_secret(session: Session) -> None:
    path, body = BODIES["openai_chat"]
    httpx.post(session.url + path, json=body, headers=headers_of(session.api_key, idempotency_key="i-1"), timeout=30)
    assert session.journal()[0]["headers"]["idempotency-key"] == "i-1"
