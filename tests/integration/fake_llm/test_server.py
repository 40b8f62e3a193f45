"""The server as a process, its control API, its sessions and its journal."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from .conftest import ROOT, FakeServer, Session

HELLO: dict[str, Any] = {"model": "gpt-x", "messages": [{"role": "user", "content": "hello there"}]}


def ask(url: str, key: str | None = "sk-any", *, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(url + path, json={**HELLO, **more}, headers=headers, timeout=20, trust_env=False)


def words(answer: httpx.Response) -> str:
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[FakeServer]:
    """A server that the test may stop."""
    running = FakeServer(log=tmp_path / "log")
    yield running
    running.stop()


def test_it_says_where_it_is_and_that_it_is_well(server: FakeServer) -> None:
    assert server.ready["event"] == "ready"
    assert server.url == f"http://127.0.0.1:{server.ready['port']}"
    found = httpx.get(server.url + "/_fake/health", timeout=30).json()
    assert found["status"] == "ok"
    assert {"openai_chat", "anthropic"} <= set(found["dialects"])


@pytest.mark.parametrize("path", ["/", "/health"])
def test_probes_of_other_servers_are_answered(server: FakeServer, path: str) -> None:
    assert httpx.get(server.url + path, timeout=30).status_code == 200
    assert httpx.head(server.url + path).status_code == 200


def test_sessions_do_not_see_each_other(server: FakeServer, control: httpx.Client) -> None:
    one, other = Session(server.url, "isolated-1", control), Session(server.url, "isolated-2", control)
    one.add({"reply": "for one"})
    other.add({"reply": "for the other"})
    assert words(ask(server.url, one.api_key)) == "for one"
    assert words(ask(server.url, other.api_key)) == "for the other"
    assert [entry["reply"]["text"] for entry in one.journal()] == ["for one"]
    assert [entry["reply"]["text"] for entry in other.journal()] == ["for the other"]


def test_a_session_is_named_by_path_by_header_or_by_key(session: Session) -> None:
    session.add({"reply": "mine"})
    assert words(ask(session.url, session.api_key)) == "mine"
    assert words(ask(f"{session.url}/s/{session.id}", "sk-any")) == "mine"
    by_header = {"authorization": "Bearer sk-any", "x-fake-llm-session": session.id}
    assert words(httpx.post(f"{session.url}/v1/chat/completions", json=HELLO, headers=by_header, timeout=30)) == "mine"
    assert words(ask(session.url, "sk-any")) != "mine"


def test_the_journal_tells_what_was_asked_and_answered(session: Session) -> None:
    session.add({"name": "greeting", "match": {"user": "hello"}, "reply": "hi"})
    ask(session.url, session.api_key, metadata={"user": "u1"})
    (entry,) = session.journal()
    assert (entry["seq"], entry["dialect"], entry["path"]) == (1, "openai_chat", "/v1/chat/completions")
    assert (entry["model"], entry["stream"], entry["status"]) == ("gpt-x", False, 200)
    assert (entry["scenario"], entry["matched"], entry["outcome"]) == ("greeting", True, "sent")
    assert entry["turn"]["user"] == "hello there"
    assert entry["request"]["metadata"] == {"user": "u1"}
    assert entry["reply"]["text"] == "hi"
    assert json.loads(entry["reply_raw"])["choices"][0]["message"]["content"] == "hi"
    assert entry["usage"]["input_tokens"] > entry["usage"]["output_tokens"] > 0
    assert entry["duration_ms"] > 0
    assert session.api_key not in json.dumps(entry)


def test_the_journal_is_read_from_where_the_reader_stopped(session: Session) -> None:
    for number in range(3):
        ask(session.url, session.api_key, model=f"m{number}")
    page = session.call("GET", "/journal?since=1")
    assert [entry["model"] for entry in page["entries"]] == ["m1", "m2"]
    assert (page["next"], page["total"], page["unmatched"], page["dropped"]) == (3, 3, 3, 0)
    session.call("DELETE", "/journal", expect=204)
    assert session.call("GET", f"/journal?since={page['next']}")["entries"] == []


def test_a_refused_request_is_in_the_journal_too(session: Session) -> None:
    assert ask(session.url, session.api_key, messages=[]).status_code == 400
    (entry,) = session.journal()
    assert (entry["status"], entry["turn"], entry["reply"]) == (400, None, None)
    assert "empty array" in entry["error"]


def test_a_client_that_gave_up_is_noted(session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "hang"}}})
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{session.url}/v1/chat/completions",
            json=HELLO,
            headers={"authorization": f"Bearer {session.api_key}"},
            timeout=0.2,
        )
    deadline = time.monotonic() + 5
    while (outcome := session.journal()[0]["outcome"]) == "pending" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert outcome == "client_left"


def test_a_session_shows_how_often_each_scenario_was_used(session: Session) -> None:
    session.add({"name": "a", "match": {"user": "hello"}, "reply": "x", "times": 1}, {"name": "b", "reply": "y"})
    ask(session.url, session.api_key)
    found = session.call("GET")
    assert [(s["name"], s["used"], s["exhausted"]) for s in found["scenarios"]] == [("a", 1, True), ("b", 0, False)]
    assert found["scenarios"][0]["scenario"]["match"] == {"user": "hello"}
    assert (found["calls"], found["unmatched"], found["api_key"]) == (1, 0, session.api_key)


def test_scenarios_are_added_replaced_and_cleared(session: Session) -> None:
    session.add({"name": "old", "reply": "old"})
    session.call("PUT", "/scenarios", json={"scenarios": [{"name": "new", "reply": "new"}]})
    assert words(ask(session.url, session.api_key)) == "new"
    session.call("DELETE", "/scenarios", expect=204)
    assert words(ask(session.url, session.api_key)).startswith("You said")


def test_a_reset_leaves_nothing(session: Session) -> None:
    session.add({"reply": "x"})
    session.call("PUT", "/fault", json={"fault": {"kind": "status", "status": 500}})
    ask(session.url, session.api_key)
    found = session.call("POST", "/reset")
    assert (found["scenarios"], found["fault"], found["unmatched"]) == ([], None, 0)
    assert session.journal() == []
    assert words(ask(session.url, session.api_key)).startswith("You said")


def test_a_created_session_is_new_and_a_deleted_one_is_gone(server: FakeServer, control: httpx.Client) -> None:
    body = {"id": "made", "scenarios": [{"reply": "made"}], "strict": True}
    created = control.post("/_fake/sessions", json=body)
    assert (created.status_code, created.json()["id"], created.json()["strict"]) == (201, "made", True)
    assert words(ask(server.url, created.json()["api_key"])) == "made"
    assert "made" in [one["id"] for one in control.get("/_fake/sessions").json()["sessions"]]
    assert control.delete("/_fake/sessions/made").status_code == 204
    assert control.get("/_fake/sessions/made").status_code == 404
    assert len(control.post("/_fake/sessions").json()["id"]) == 16


def test_files_are_handed_to_all_later_sessions_or_to_one(own_server: FakeServer) -> None:
    def file(words: str) -> dict[str, str]:
        return {"name": "flows/hello.yaml", "text": f"scenarios:\n  - match: {{user: hello}}\n    reply: {words}\n"}

    with httpx.Client(base_url=own_server.url, timeout=30, trust_env=False) as control:
        assert words(ask(own_server.url, "sk-realstack-early")) != "all"
        handed = control.put("/_fake/files", json={"files": [file("all")]})
        assert (handed.status_code, handed.json()) == (200, {"scenarios": ["hello-1"]})
        control.post("/_fake/sessions", json={"id": "one", "files": [file("one")]})
        control.post("/_fake/sessions", json={"id": "bare", "files": []})
        said = {name: words(ask(own_server.url, f"sk-realstack-{name}")) for name in ("early", "late", "one", "bare")}
        assert (said["late"], said["one"]) == ("all", "one")
        assert not {said["early"], said["bare"]} & {"all", "one"}

        control.post("/_fake/sessions/one/reset")
        assert words(ask(own_server.url, "sk-realstack-one")) == "one"


@pytest.mark.parametrize(("method", "path"), [("PUT", "/_fake/files"), ("POST", "/_fake/sessions")])
def test_a_wrong_file_is_refused_with_name_and_line_and_changes_nothing(
    control: httpx.Client, method: str, path: str
) -> None:
    files = [{"name": "a.yaml", "text": "- reply: [\n"}, {"name": "b.yaml", "text": "\n- match: {usr: x}\n  reply: a"}]
    refused = control.request(method, path, json={"files": files})
    assert refused.status_code == 422
    problems = refused.json()["error"]["problems"]
    assert problems[0].startswith("a.yaml:2: not YAML")
    assert problems[1] == "b.yaml:2: scenarios[0].match.usr: unknown key 'usr', did you mean 'user'?"


def test_a_fault_switch_comes_before_scenarios_and_can_be_switched_off(session: Session) -> None:
    session.add({"reply": "fine"})
    session.call("PUT", "/fault", json={"fault": {"kind": "status", "status": 503}})
    assert [ask(session.url, session.api_key).status_code for _ in range(2)] == [503, 503]
    session.call("DELETE", "/fault", expect=204)
    assert words(ask(session.url, session.api_key)) == "fine"


def test_a_strict_session_says_why_nothing_matched(session: Session) -> None:
    session.call("PATCH", json={"strict": True})
    session.add({"name": "bye", "match": {"user": "bye"}, "reply": "x"})
    refused = ask(session.url, session.api_key)
    assert refused.status_code == 400
    assert "(1) bye: user should contain 'bye' and is 'hello there'." in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("POST", "/scenarios", {"scenarios": [{"mach": {}, "reply": "x"}]},
         "scenarios[0].mach: unknown key 'mach', did you mean 'match'?"),
        ("POST", "/scenarios", {"scenario": []}, "did you mean 'scenarios'?"),
        ("PUT", "/scenarios", {"scenarios": [{"reply": {"fault": {"kind": "status", "retry_after": 1}}}]},
         "did you mean 'retry_after_s'?"),
        ("PUT", "/fault", {"fault": {"kind": "status", "stats": 500}},
         "fault.stats: unknown key 'stats', did you mean 'status'?"),
        ("PATCH", "", {"strct": True}, "did you mean 'strict'?"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_refused_with_the_nearest(
    session: Session, method: str, path: str, body: Any, complaint: str
) -> None:
    found = session.call(method, path, expect=422, json=body)["error"]
    assert any(complaint in problem for problem in found["problems"])
    assert found["message"] == "; ".join(found["problems"])


def test_the_control_api_describes_itself(control: httpx.Client) -> None:
    found = control.get("/_fake/openapi.json").json()
    assert "/_fake/sessions/{session_id}/journal" in found["paths"]
    assert "ScenarioForm" in found["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1/embeddings", 405),
        ("POST", "/", 404),
        ("DELETE", "/v1/models", 405),
    ],
)
def test_an_unknown_path_is_refused_in_the_providers_envelope(
    server: FakeServer, method: str, path: str, status: int
) -> None:
    found = httpx.request(method, server.url + path, headers={"authorization": "Bearer x"}, timeout=30)
    assert found.status_code == status
    assert found.json()["error"]["type"] == "invalid_request_error"
    assert found.headers["x-request-id"]


def test_an_unknown_path_is_refused_in_anthropics_envelope_if_its_header_is_there(server: FakeServer) -> None:
    found = httpx.post(f"{server.url}/v1/nothing", headers={"anthropic-version": "2023-06-01"}, timeout=30)
    assert (found.status_code, found.json()["type"], found.json()["error"]["type"]) == (404, "error", "not_found_error")
    assert found.headers["request-id"] == found.json()["request_id"]


def test_a_request_without_a_key_is_refused(server: FakeServer) -> None:
    found = ask(server.url, None)
    assert (found.status_code, found.json()["error"]["code"]) == (401, None)
    assert "API key" in found.json()["error"]["message"]


def test_a_body_that_is_no_json_is_refused(server: FakeServer) -> None:
    url, headers = f"{server.url}/v1/chat/completions", {"authorization": "Bearer x"}
    for body in (b"", b"{", b"[1]", b"\xff\xfe"):
        found = httpx.post(url, content=body, headers=headers, timeout=30)
        assert (found.status_code, found.json()["error"]["type"]) == (400, "invalid_request_error")


def test_strings_that_utf8_cannot_carry_do_no_harm(session: Session) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "a \\ud800 b \\u2028"}]}'
    headers = {"authorization": f"Bearer {session.api_key}"}
    for stream in (b"false", b"true"):
        asked = body[:-1] + b', "logprobs": true, "stream": ' + stream + b"}"
        assert (
            httpx.post(f"{session.url}/v1/chat/completions", content=asked, headers=headers, timeout=30).status_code
            == 200
        )
    assert len(session.journal()) == 2


def _end_of_cut(session: Session, *, reset: bool) -> bytes:
    """Read a cut stream on a bare socket to its end, and return what came; a reset raises."""
    session.add({"reply": {"text": "one two three", "fault": {"kind": "cut", "after_chunks": 2, "reset": reset}}})
    body = json.dumps({**HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", int(session.url.rpartition(":")[2])), timeout=10) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {session.api_key}\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def test_a_cut_is_an_orderly_close_of_an_unfinished_body(session: Session) -> None:
    received = _end_of_cut(session, reset=False)
    assert received.count(b"data: ") == 2
    assert not received.endswith(b"0\r\n\r\n")


def test_a_cut_by_reset_is_a_reset(session: Session) -> None:
    with pytest.raises(ConnectionResetError):
        _end_of_cut(session, reset=True)


async def test_many_streams_at_once_lose_nothing(session: Session) -> None:
    expected = [f"word{n} " for n in range(20)]
    session.add({"reply": {"chunks": expected, "chunk_delay_s": 0.002}})

    async with openai.AsyncOpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, max_retries=0) as client:

        async def one() -> list[str]:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], stream=True
            )
            return [c.choices[0].delta.content async for c in stream if c.choices[0].delta.content]

        assert await asyncio.gather(*(one() for _ in range(60))) == [expected] * 60


def test_it_stops_at_once_while_connections_hang(own_server: FakeServer) -> None:
    httpx.put(f"{own_server.url}/_fake/sessions/default/fault", json={"fault": {"kind": "hang"}}, timeout=20)
    with (
        socket.create_connection(("127.0.0.1", own_server.ready["port"])) as hanging,
        socket.create_connection(("127.0.0.1", own_server.ready["port"])),
    ):
        body = json.dumps(HELLO).encode()
        hanging.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        journal = f"{own_server.url}/_fake/sessions/default/journal"
        deadline = time.monotonic() + 10
        while not httpx.get(journal, timeout=30).json()["entries"] and time.monotonic() < deadline:
            time.sleep(0.01)
        own_server.process.send_signal(signal.SIGTERM)
        assert own_server.process.wait(timeout=3) == 0
    assert "Traceback" not in own_server.log.read_text()


def test_it_stops_while_the_control_api_is_still_being_imported(own_server: FakeServer) -> None:
    assert own_server.stop() == 0
    assert "Traceback" not in own_server.log.read_text()


def test_one_line_is_logged_for_each_call_and_no_key_is(own_server: FakeServer) -> None:
    ask(own_server.url, "sk-realstack-t1")
    ask(own_server.url, "sk-realstack-t1", messages=[])
    deadline = time.monotonic() + 10
    while len(lines := own_server.log.read_text().splitlines()) < 2:  # a line follows the end of its answer
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first, second = lines
    assert re.fullmatch(r"POST /v1/chat/completions gpt-x session=t1 200 \d+ ms", first)
    assert second.startswith("POST /v1/chat/completions session=t1 400")
    assert "sk-realstack" not in first + second


def test_it_serves_an_inherited_socket_with_the_scenarios_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("scenarios:\n  - match: {user: hello}\n    reply: from the file\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "fake_llm", "--fd", str(listener.fileno()), "--scenarios", str(tmp_path)],
            pass_fds=[listener.fileno()],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert words(ask(url)) == "from the file"
            shown = httpx.get(f"{url}/_fake/sessions/default", timeout=20).json()["scenarios"]
            assert [(one["name"], one["base"], one["used"]) for one in shown] == [("flow-1", True, 1)]
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- match: {usr: x}\n  reply: a",
         "flow.yaml:1: scenarios[0].match.usr: unknown key 'usr', did you mean 'user'?"),
        ("- reply: [", "flow.yaml:1: not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_scenario_file_is_refused_at_the_start(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "flow.yaml").write_text(text)
    found = _run("--port", "0", "--scenarios", str(tmp_path / "flow.yaml"))
    assert found.returncode == 2
    assert complaint in found.stderr


def test_a_port_that_is_taken_is_an_error(server: FakeServer) -> None:
    found = _run("--port", str(server.ready["port"]))
    assert found.returncode == 2
    assert f"cannot listen at 127.0.0.1:{server.ready['port']}" in found.stderr


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fake_llm", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_an_edited_file_answers_without_a_restart(tmp_path: Path) -> None:
    scenarios = tmp_path / "s.yaml"
    scenarios.write_text("- reply: before")
    running = FakeServer("--scenarios", str(scenarios), log=tmp_path / "log")
    try:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="x") as client:

            def said() -> str | None:
                answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
                return answer.choices[0].message.content

            assert said() == "before"
            scenarios.write_text("- reply: and after")
            deadline = time.monotonic() + 10
            while said() == "before" and time.monotonic() < deadline:
                time.sleep(0.05)
            assert said() == "and after"
    finally:
        running.stop()
