"""What Prometheus would scrape, and the page of the control API."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fake_llm.metrics import MAX_MODELS

from .conftest import FakeServer
from .raw import BODIES, exchange

LINE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Samples = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[FakeServer]:
    running = FakeServer(log=tmp_path / "log")
    yield running
    running.stop()


def scraped(server: FakeServer) -> Samples:
    answer = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=30)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: Samples = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            hit = LINE.fullmatch(line)
            assert hit, line
            found.setdefault(hit[1], []).append((dict(LABEL.findall(hit[2])), float(hit[3])))
    return found


def until_counted(server: FakeServer, calls: int) -> Samples:
    """The samples once so many calls are over: an answer is read before its call has been counted."""
    deadline = time.monotonic() + 5
    while True:
        found = scraped(server)
        counted = sum(value for _, value in found.get("gen_ai_server_request_duration_seconds_count", []))
        if counted >= calls or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


def ask(server: FakeServer, dialect: str, model: str = "m", session: str = "s") -> None:
    path, body = BODIES[dialect]
    exchange(server.url, path, {**body, "model": model} if dialect != "gemini" else body, f"sk-realstack-{session}")


def test_calls_are_counted_by_operation_provider_model_and_error(own: FakeServer) -> None:
    for dialect in ("openai_chat", "anthropic", "gemini"):
        ask(own, dialect)
    fault = {"fault": {"kind": "status", "status": 429}}
    httpx.put(f"{own.url}/_fake/sessions/s/fault", json=fault, trust_env=False, timeout=30)
    ask(own, "openai_chat", 'say "m\\1"')
    found = until_counted(own, 4)
    keys = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")
    counted = found["gen_ai_server_request_duration_seconds_count"]
    assert [tuple(labels.get(key) for key in keys) for labels, _ in counted] == [
        ("chat", "openai", "m", None),
        ("chat", "anthropic", "m", None),
        ("generate_content", "gcp.gemini", "m", None),
        ("chat", "openai", 'say \\"m\\\\1\\"', "429"),
    ]
    (used,) = httpx.get(f"{own.url}/_fake/sessions/s/journal", trust_env=False, timeout=30).json()["entries"][:1]
    tokens = {
        labels["gen_ai_token_type"]: value
        for labels, value in found["gen_ai_client_token_usage_sum"]
        if labels["gen_ai_provider_name"] == "openai"
    }
    assert tokens == {"input": used["usage"]["input_tokens"], "output": used["usage"]["output_tokens"]}


def test_buckets_are_cumulative_and_times_are_those_of_the_answer(own: FakeServer) -> None:
    httpx.put(f"{own.url}/_fake/sessions/s/latency", json={"latency": {"ttft": 0.1}}, trust_env=False, timeout=30)
    for _ in range(3):
        ask(own, "openai_chat")
    found = until_counted(own, 3)
    buckets = found["gen_ai_server_time_to_first_token_seconds_bucket"]
    counts = [value for _, value in buckets]
    assert counts == sorted(counts)
    assert (buckets[-1][0]["le"], counts[-1]) == ("+Inf", 3)
    assert {labels["le"]: value for labels, value in buckets}["0.08"] == 0
    assert found["gen_ai_server_time_to_first_token_seconds_sum"][0][1] >= 0.3


def test_the_models_that_are_told_apart_are_bounded(own: FakeServer) -> None:
    for place in range(MAX_MODELS + 5):
        ask(own, "openai_chat", f"m{place}")
    found = until_counted(own, MAX_MODELS + 5)["gen_ai_server_request_duration_seconds_count"]
    by_model = {labels["gen_ai_request_model"]: value for labels, value in found}
    assert len(by_model) == MAX_MODELS + 1
    assert by_model["other"] == 5


def test_the_page_of_the_control_api_loads_nothing_from_elsewhere(own: FakeServer) -> None:
    page = httpx.get(f"{own.url}/_fake/docs", trust_env=False, timeout=30)
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert 'fetch("openapi.json")' in page.text
    paths = httpx.get(f"{own.url}/_fake/openapi.json", trust_env=False, timeout=30).json()["paths"]
    assert "/_fake/sessions/{session_id}/limits" in paths
