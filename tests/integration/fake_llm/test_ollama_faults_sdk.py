"""Ollama's refusals and the faults, as its unchanged client sees them; and how a session is named without a key."""

from __future__ import annotations

import json
from typing import Any

import httpx
import ollama
import pytest

from .conftest import Session
from .ollama_calls import HELLO, MODEL, joined, key_of

BREAKS_OFF = {"kind": "stream_error", "after_chunks": 2, "message": "x"}


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("chat", {}, 400, "model is required"),
        ("chat", {"model": "no blanks"}, 400, "model is required"),
        ("generate", {"prompt": "x"}, 404, "model '' not found"),
        (
            "chat",
            {"model": 5},
            400,
            "json: cannot unmarshal number into Go struct field ChatRequest.model of type string",
        ),
        ("chat", {"model": "m", "messages": "hi"}, 400, "string into Go struct field ChatRequest.messages of type []"),
        ("chat", {"model": "m", "messages": ["hi"]}, 400, "cannot unmarshal string"),
        ("chat", {"model": "m", "messages": [{"role": "user", "content": [{}]}]}, 400, "cannot unmarshal array"),
        ("chat", {"model": "m", "stream": "yes"}, 400, "ChatRequest.stream of type bool"),
        ("chat", {"model": "m", "tools": {}}, 400, "ChatRequest.tools of type []api.Tool"),
        ("chat", {"model": "m", "think": "deeply"}, 400, 'invalid think value: "deeply" (must be "high", '),
        ("chat", {"model": "m", "think": 5}, 400, "think must be a boolean or string"),
        ("chat", {"model": "m", "format": "xml"}, 500, 'expected "json" or a valid JSON Schema object'),
        ("chat", {"model": "m", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ("chat", {"model": "m", "keep_alive": "5x"}, 400, 'time: invalid duration "5x"'),
        ("chat", {"model": "m", "keep_alive": "5"}, 400, 'time: missing unit in duration "5"'),
        ("chat", {"model": "m", "options": {"num_predict": "9"}}, 500, 'option "num_predict" must be of type integer'),
        ("chat", {"model": "m", "options": {"temperature": True}}, 500, 'option "temperature" must be of type float32'),
        ("chat", {"model": "m", "options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
        ("chat", {"model": "m", "options": []}, 400, "ChatRequest.options of type map[string]interface {}"),
        ("generate", {"model": "m", "context": [1.5]}, 400, "GenerateRequest.context of type int"),
        ("generate", {"model": "m", "raw": 1}, 400, "GenerateRequest.raw of type bool"),
        (
            "chat",
            {
                "model": "m",
                "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
            },
            400,
            "cannot unmarshal string",
        ),
    ],
)
def test_what_the_server_refuses_is_refused_in_its_words(
    session: Session, path: str, body: dict[str, Any], status: int, error: str
) -> None:
    answer = session.control.post(f"/api/{path}", json=body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert error in answer.json()["error"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_a_400(session: Session, content: bytes) -> None:
    for path in ("chat", "generate", "embed", "show"):
        answer = session.control.post(f"/api/{path}", content=content)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_options_of_another_version_and_nulls_are_let_through(session: Session) -> None:
    asked = {"model": MODEL, "messages": HELLO, "stream": False, "options": {"mirostat_x": "?", "num_gpu": None},
             "tools": None, "format": None, "think": None, "keep_alive": None, "next_year": {}}  # fmt: skip
    assert session.control.post("/api/chat", json=asked).json()["message"]["content"] == "You said: hello"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "error"), [(404, "model 'llama3.2' not found"), (503, "server busy")])
def test_a_status_is_the_clients_response_error(
    llama: ollama.Client, session: Session, stream: bool, status: int, error: str
) -> None:
    session.add({"match": {"dialect": "ollama"}, "reply": {"fault": {"kind": "status", "status": status}}})
    with pytest.raises(ollama.ResponseError) as caught:
        list(llama.chat(MODEL, HELLO, stream=stream))  # type: ignore[call-overload]
    assert (caught.value.status_code, caught.value.error.startswith(error)) == (status, True)


def test_an_error_inside_a_stream_is_a_line_that_the_client_raises(llama: ollama.Client, session: Session) -> None:
    session.add({"reply": {"text": "one two three", "fault": BREAKS_OFF}})
    seen: list[ollama.ChatResponse] = []
    with pytest.raises(ollama.ResponseError, match="x") as caught:
        seen.extend(part for part in llama.chat(MODEL, HELLO, stream=True))
    assert caught.value.status_code == -1
    assert joined(seen) == "one two"
    lines = session.journal()[0]["reply_raw"].splitlines()
    assert json.loads(lines[0])["message"]["content"] == "one"
    with pytest.raises(ollama.ResponseError) as caught:
        llama.chat(MODEL, HELLO)
    assert caught.value.status_code == 500


@pytest.mark.parametrize("path", ["chat", "generate"])
def test_the_line_of_an_error_follows_the_words_and_ends_the_stream(session: Session, path: str) -> None:
    session.add({"reply": {"text": "one two three", "fault": BREAKS_OFF}})
    answer = session.control.post(
        f"/s/{session.id}/api/{path}", json={"model": MODEL, "messages": HELLO, "prompt": "hello"}
    )
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line.get("done") for line in lines] == [False, False, None]
    assert lines[-1] == {"error": "x"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "cut"}, httpx.RemoteProtocolError),
        ({"kind": "cut", "after_bytes": 10, "reset": True}, httpx.TransportError),
        ({"kind": "hang", "hang_s": 0.05}, httpx.RemoteProtocolError),
        ({"kind": "malformed"}, json.JSONDecodeError),
    ],
)
def test_a_fault_breaks_the_answer_and_the_next_one_is_whole(
    llama: ollama.Client, session: Session, stream: bool, fault: dict[str, Any], expected: type[Exception]
) -> None:
    session.call("PUT", "/fault", json={"fault": fault, "times": 1})
    with pytest.raises(expected):
        list(llama.chat(MODEL, HELLO, stream=stream))  # type: ignore[call-overload]
    assert llama.chat(MODEL, HELLO).message.content == "You said: hello"


def test_a_body_of_no_bytes_is_no_answer(llama: ollama.Client, session: Session) -> None:
    session.call("PUT", "/fault", json={"fault": {"kind": "empty"}, "times": 2})
    with pytest.raises(json.JSONDecodeError):
        llama.chat(MODEL, HELLO)
    assert list(llama.chat(MODEL, HELLO, stream=True)) == []


def test_a_strict_session_refuses_what_no_scenario_answers(llama: ollama.Client, session: Session) -> None:
    session.call("PATCH", json={"strict": True})
    with pytest.raises(ollama.ResponseError, match="No scenario of the strict session"):
        llama.chat(MODEL, HELLO)
    assert llama.chat(MODEL, []).done_reason == "load"


def test_pieces_may_come_apart_in_time(llama: ollama.Client, session: Session) -> None:
    session.add({"reply": {"chunks": ["a", "b", "c"], "chunk_delay_s": 0, "delay_s": 0.01}})
    *parts, last = llama.chat(MODEL, HELLO, stream=True)
    assert [part.message.content for part in parts] == ["a", "b", "c"]
    assert (last.load_duration or 0) > 10_000_000


def test_no_key_is_needed_and_the_path_prefix_names_the_session(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.add({"reply": "mine"})
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    with ollama.Client(host=session.url) as client:
        assert client.chat(MODEL, HELLO).message.content != "mine"
    monkeypatch.setenv("OLLAMA_HOST", f"{session.url}/s/{session.id}")
    with ollama.Client() as client:
        assert client.chat(MODEL, HELLO).message.content == "mine"
        assert joined(list(client.chat(MODEL, HELLO, stream=True))) == "mine"
        assert client.list().models
    assert [entry["path"] for entry in session.journal()] == [f"/s/{session.id}/api/chat"] * 2


def test_a_key_names_the_session(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.add({"reply": "mine"})
    monkeypatch.setenv("OLLAMA_API_KEY", session.api_key)
    with ollama.Client(host=session.url) as client:
        assert client.chat(MODEL, HELLO).message.content == "mine"
    assert session.journal()[0]["headers"]["authorization"].startswith("sha256:")


@pytest.mark.parametrize("suffix", ["", "/", "/s/{id}", "/s/{id}/"])
def test_hosts_with_and_without_a_slash_work(session: Session, suffix: str) -> None:
    host = session.url + suffix.replace("{id}", session.id)
    with ollama.Client(host=host, headers=key_of(session)) as client:
        assert client.chat(MODEL, HELLO).message.content == "You said: hello"
