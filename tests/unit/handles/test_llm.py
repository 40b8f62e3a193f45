"""The handle's own part: what it writes for the fake, and how it shows itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from realstack.errors import FakeLLMError
from realstack.handles.llm import FakeLLM, LLMConfig
from realstack.model import Endpoint, Secret


class Control:
    """A stand-in for the fake's control API: keeps what it was told, and answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answer: tuple[int, Any] = (200, {})
        self.drop_next = False


@pytest.fixture
def control() -> Iterator[tuple[Control, FakeLLM]]:
    seen = Control()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if seen.drop_next:
                seen.drop_next = False
                self.close_connection = True
                return
            seen.asked.append((self.command, self.path, json.loads(body) if body else None))
            status, value = seen.answer
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815 - the base class's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = Endpoint("fake_llm", "fake_llm", "127.0.0.1", server.server_address[1], "http")
    llm = FakeLLM(endpoint, "t1")
    seen.asked.clear()
    try:
        yield seen, llm
    finally:
        llm.close()
        server.shutdown()
        server.server_close()
        thread.join()


def test_several_answers_on_one_rule_are_one_sequence(control: tuple[Control, FakeLLM]) -> None:
    seen, llm = control
    llm.on(user="slow", times=3).fail(429, retry_after=0.5).then.reply_json({"a": 1}).then.reply_tool("look", {"id": 7})
    assert [(method, path) for method, path, _ in seen.asked] == [("PUT", "/_fake/sessions/t1/scenarios/rule-1")] * 3
    rule = seen.asked[-1][2]
    assert rule["match"] == {"user": "slow"}
    assert rule["times"] == 3
    assert rule["sequence"] == [
        {
            "fault": {
                "kind": "status",
                "status": 429,
                "message": "",
                "code": None,
                "retry_after_s": 0.5,
                "retry_after_ms": 500.0,
            }
        },
        {"json": {"a": 1}},
        {"tool_calls": [{"name": "look", "arguments": {"id": 7}}]},
    ]


def test_two_rules_have_names_of_their_own(control: tuple[Control, FakeLLM]) -> None:
    seen, llm = control
    llm.on(user="a").reply("x")
    llm.on(user="b").reply("y")
    assert [path.rpartition("/")[2] for _, path, _ in seen.asked] == ["rule-1", "rule-2"]


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda rule: rule.hang(2), {"fault": {"kind": "hang", "hang_s": 2}}),
        (
            lambda rule: rule.cut("half of it", after=2),
            {"text": "half of it", "fault": {"kind": "cut", "after_chunks": 2, "reset": False}},
        ),
        (lambda rule: rule.cut(), {"fault": {"kind": "cut", "after_chunks": None, "reset": False}}),
        (lambda rule: rule.malformed(), {"fault": {"kind": "malformed"}}),
        (lambda rule: rule.empty(), {"fault": {"kind": "empty"}}),
        (lambda rule: rule.refuse("no"), {"refusal": "no"}),
        (lambda rule: rule.reply(chunks=["a", "b"]), {"chunks": ["a", "b"]}),
        (lambda rule: rule.reply("x", delay_s=1), {"text": "x", "delay_s": 1}),
    ],
)
def test_each_answer_is_written_in_the_scenario_form(
    control: tuple[Control, FakeLLM], call: Any, written: dict[str, Any]
) -> None:
    seen, llm = control
    call(llm.on())
    assert seen.asked[-1][2]["sequence"] == [written]


def test_a_refusal_of_the_fake_is_raised_in_its_own_words(control: tuple[Control, FakeLLM]) -> None:
    seen, llm = control
    seen.answer = (422, {"error": {"problems": ["match.usr: unknown key 'usr', did you mean 'user'?"]}})
    with pytest.raises(FakeLLMError, match="did you mean 'user'"):
        llm.on(usr="x").reply("y")
    seen.answer = (200, {})


def test_a_kept_connection_that_died_is_replaced_once(control: tuple[Control, FakeLLM]) -> None:
    seen, llm = control
    llm.on().reply("first")
    seen.drop_next = True
    llm.on().reply("second")
    assert [body["sequence"] for _, _, body in seen.asked] == [[{"text": "first"}], [{"text": "second"}]]


def test_a_fake_that_is_gone_is_told_with_its_address() -> None:
    with pytest.raises(FakeLLMError, match=r"http://127\.0\.0\.1:1 does not answer"):
        FakeLLM(Endpoint("fake_llm", "fake_llm", "127.0.0.1", 1, "http"), "t1")


def test_a_config_names_the_session_in_its_key_and_never_shows_the_key(control: tuple[Control, FakeLLM]) -> None:
    _, llm = control
    config = llm.config("openai", model="gpt-x")
    assert (config.api_key, config.model) == ("sk-realstack-t1", "gpt-x")
    assert config.base_url.endswith("/v1")
    assert not llm.config("anthropic").base_url.endswith("/v1")
    assert llm.config("gemini").base_url == llm.config("anthropic").base_url
    assert "sk-realstack" not in repr(config)
    with pytest.raises(FakeLLMError, match="anthropic, gemini, ollama, openai"):
        llm.config("cohere")


def test_a_config_is_a_mapping_of_its_fields() -> None:
    config = LLMConfig("openai", "http://x/v1", Secret("k"), "m")
    assert dict(config) == {"provider": "openai", "base_url": "http://x/v1", "api_key": "k", "model": "m"}
    assert {**config}["model"] == "m"
    with pytest.raises(KeyError):
        config["modell"]
