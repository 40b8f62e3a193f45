"""Python functions that have the words: in the server's folder of handlers, and in the test's own process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from realstack.errors import FakeLLMError
from realstack.handles.llm import FakeLLM, LLMRequest

from .conftest import FakeServer, Session
from .raw import BODIES, exchange, headers_of

FLOWS = """
import asyncio, pathlib, threading, time
from pricing.list import price

def priced(request):
    assert request.headers.get("authorization") is None
    return f"{request.user} costs {price(request.user)}"

async def slowly(request):
    await asyncio.sleep(0.01)
    return {"tool_calls": [{"name": "look", "arguments": {"turn": request.turn}}]}

def broken(request):
    request.metadata["x"] = 1
    raise LookupError("no such user")

def blocks(request):
    threading.Event().wait()

async def holds_its_loop(request):
    here = pathlib.Path(__file__).parent
    (here / "begun").touch()
    while not (here / "may_end").exists():
        time.sleep(0.01)
    return "at last"

def strange(request):
    return {"txt": "a"} if request.user == "form" else 7 if request.user == "kind" else None

def limited(request):
    return {"fault": {"kind": "status", "status": 429, "retry_after_s": 3}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "handlers" / "pricing").mkdir(parents=True)
    (tmp_path / "handlers" / "flows.py").write_text(FLOWS)
    (tmp_path / "handlers" / "pricing" / "__init__.py").write_text("")
    (tmp_path / "handlers" / "pricing" / "list.py").write_text("def price(of): return len(of)\n")
    return tmp_path / "handlers"


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Iterator[Session]:
    """A session at a server that was given the folder."""
    running = FakeServer("--handlers", str(folder), log=tmp_path / "log")
    with httpx.Client(base_url=running.url, timeout=30, trust_env=False) as control:
        yield Session(running.url, "s", control)
    assert running.stop() == 0


def client(session: Session | FakeLLM, timeout: float = 20) -> openai.OpenAI:
    if isinstance(session, FakeLLM):
        base, key = session.config().base_url, str(session.config().api_key)
    else:
        base, key = f"{session.url}/v1", session.api_key
    return openai.OpenAI(base_url=base, api_key=key, max_retries=0, timeout=timeout)


def say(session: Session | FakeLLM, user: str = "hello", timeout: float = 20) -> Any:
    with client(session, timeout) as chat:
        return chat.chat.completions.create(model="m", messages=[{"role": "user", "content": user}])


def words(session: Session | FakeLLM, user: str = "hello") -> str | None:
    said: str | None = say(session, user).choices[0].message.content
    return said


def test_a_function_of_the_servers_folder_answers_and_what_it_imports_is_found(own: Session) -> None:
    own.add({"reply": {"handler": "flows:priced", "chunk_size": 3}})
    assert words(own, "a hat") == "a hat costs 5"
    with client(own) as chat:
        stream = chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "b"}], stream=True)
        said = [each.choices[0].delta.content or "" for each in stream if each.choices]
    assert "".join(said) == "b costs 1"
    assert len(said) > 3
    assert [(entry["scenario"], entry["reply"]["text"]) for entry in own.journal()] == [
        ("scenario-1", "a hat costs 5"),
        ("scenario-1", "b costs 1"),
    ]


def test_an_async_function_may_call_tools_and_one_may_give_a_fault_or_leave_the_words(own: Session) -> None:
    own.add(
        {"match": {"user": "tool"}, "reply": {"handler": "flows:slowly"}},
        {"match": {"user": "limit"}, "reply": {"handler": "flows:limited"}},
        {"reply": {"handler": "flows:strange"}},
    )
    (call,) = say(own, "tool").choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("look", '{"turn": 1}')
    with pytest.raises(openai.RateLimitError) as refused:
        say(own, "limit")
    assert refused.value.response.headers["retry-after"] == "3"
    assert "hello" in (words(own, "hello") or "")


@pytest.mark.parametrize(
    ("handler", "user", "why"),
    [
        ("broken", "x", r"its handler flows:broken raised LookupError: no such user \(flows.py:15\)"),
        ("strange", "kind", "it gave int and no text or reply"),
        ("strange", "form", "unknown key 'txt', did you mean 'text'"),
        ("blocks", "x", "its handler flows:blocks has not answered within 0.2 s"),
    ],
)
def test_a_function_that_fails_is_a_400_that_says_why(own: Session, handler: str, user: str, why: str) -> None:
    own.add({"name": "asked", "reply": {"handler": f"flows:{handler}", "answer_within_s": 0.2}})
    with pytest.raises(openai.BadRequestError, match=f"The scenario 'asked' failed: .*{why}"):
        say(own, user)
    (entry,) = own.journal()
    assert (entry["fault"], entry["scenario"]) == ("scenario_failed", "asked")


def test_a_function_that_blocks_keeps_no_other_request_waiting(own: Session, folder: Path) -> None:
    blocking = {"handler": "flows:holds_its_loop", "answer_within_s": 30}
    own.add({"match": {"user": "wait"}, "reply": blocking}, {"reply": "at once"})
    waiting = threading.Thread(target=say, args=(own, "wait"))
    waiting.start()
    try:
        ends = time.monotonic() + 20
        while not (folder / "begun").exists():
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert words(own) == "at once"
    finally:
        (folder / "may_end").touch()
        waiting.join()
    assert sorted(entry["reply"]["text"] for entry in own.journal()) == ["at last", "at once"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("os:system", "there is no module 'os'"),
        ("flows:price", "defines no function 'price'"),
        ("flows:asyncio", "defines no function 'asyncio'"),
        ("flows:none", "defines no function 'none'"),
        ("../flows:priced", "not of the form module:function"),
        ("flows", "not of the form module:function"),
    ],
)
def test_only_functions_of_the_folders_own_modules_can_be_named(own: Session, name: str, why: str) -> None:
    answer = own.call("POST", "/scenarios", expect=422, json={"scenarios": [{"reply": {"handler": name}}]})
    assert why in answer["error"]["message"]


def test_a_server_that_was_given_no_folder_refuses_handlers(session: Session) -> None:
    answer = session.call("POST", "/scenarios", expect=422, json={"scenarios": [{"reply": {"handler": "os:system"}}]})
    assert "started with --handlers DIR" in answer["error"]["message"]


def test_an_edited_module_counts_and_while_it_is_wrong_the_last_good_one_stays(own: Session, folder: Path) -> None:
    own.add({"reply": {"handler": "flows:priced"}})
    assert words(own, "ab") == "ab costs 2"
    (folder / "pricing" / "list.py").write_text("def price(of): return len(of) * 100\n")
    assert until(own, "ab costs 200")
    (folder / "flows.py").write_text("def priced(request:\n")
    (folder / "pricing" / "list.py").write_text("def price(of): return len(of) * 1000\n")
    ends = time.monotonic() + 1.2
    while time.monotonic() < ends:
        assert words(own, "ab") == "ab costs 200"
    (folder / "flows.py").write_text(FLOWS + "\n# mended\n")
    assert until(own, "ab costs 2000")


def until(session: Session, expected: str) -> bool:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        if words(session, "ab") == expected:
            return True
    return False


def test_a_function_of_the_test_answers(llm: FakeLLM) -> None:
    seen: list[LLMRequest] = []

    def answer(request: LLMRequest) -> Any:
        seen.append(request)
        return f"{request.call}: {request.user}" if request.call < 3 else {"json": {"done": True}}

    llm.on(user="count").handle(answer)
    assert [words(llm, "count on") for _ in range(3)] == ["1: count on", "2: count on", '{"done": true}']
    assert (seen[0].dialect, seen[0].tools, seen[0].request["model"]) == ("openai_chat", (), "m")
    assert llm.handler_errors == []
    config = llm.config("anthropic")
    with anthropic.Anthropic(base_url=config.base_url, api_key=str(config.api_key), max_retries=0) as claude:
        message = claude.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "count"}])
    assert isinstance(message.content[0], anthropic.types.TextBlock)
    assert message.content[0].text == '{"done": true}'


async def test_an_async_function_runs_in_the_tests_own_loop(llm: FakeLLM) -> None:
    here = asyncio.get_running_loop()
    asked = asyncio.Event()

    async def answer(request: LLMRequest) -> str:
        assert asyncio.get_running_loop() is here
        asked.set()
        await asyncio.sleep(0)
        return f"async {request.turn}"

    llm.on().handle(answer)
    config = llm.config()
    async with openai.AsyncOpenAI(base_url=config.base_url, api_key=str(config.api_key), max_retries=0) as chat:
        said = await chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert said.choices[0].message.content == "async 1"
    assert asked.is_set()


def test_functions_are_asked_at_the_same_time(llm: FakeLLM) -> None:
    both = threading.Barrier(2, timeout=10)

    def answer(request: LLMRequest) -> str:
        both.wait()
        return request.user

    llm.on().handle(answer)
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda name=name: found.append(words(llm, name))) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found)) == ["a", "b"]


def test_what_a_function_raises_reaches_the_application_and_the_test(llm: FakeLLM) -> None:
    def answer(request: LLMRequest) -> str:
        assert request.user == "other", "not what was agreed"
        return ""

    llm.on(name="agreed").handle(answer)
    why = r"The scenario 'agreed' failed: the test's function raised AssertionError: not what was agreed"
    with pytest.raises(openai.BadRequestError, match=why):
        say(llm)
    assert [type(error) for error in llm.handler_errors] == [AssertionError]
    assert "test_functions.py" in str(llm.calls[0])


@pytest.mark.parametrize(
    ("gives", "why"), [(object(), "gave no reply"), ({"txt": 1}, "unknown key"), ([], "gave list")]
)
def test_what_is_no_reply_is_told(llm: FakeLLM, gives: Any, why: str) -> None:
    llm.on().handle(lambda _: gives)
    with pytest.raises(openai.BadRequestError, match=why):
        say(llm)


def test_a_function_that_never_answers_is_waited_for_no_longer_than_was_said(llm: FakeLLM) -> None:
    never = threading.Event()
    llm.on().handle(lambda _: never.wait(20), within_s=0.2)
    with pytest.raises(openai.BadRequestError, match=r"has not answered within 0\.2 s"):
        say(llm)
    never.set()


def test_a_question_ends_with_its_session(session: Session) -> None:
    session.add({"reply": {"ask": "nobody"}})
    path, body = BODIES["openai_chat"]
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(
            httpx.post(session.url + path, json=body, headers=headers_of(session.api_key), trust_env=False, timeout=20)
        )
    )
    asking.start()
    asks = session.call("GET", "/asks?wait_s=10")["asks"]
    assert [(ask["function"], ask["request"]["user"]) for ask in asks] == [("nobody", "hello")]
    assert session.call("GET", f"/asks?after={asks[0]['id']}&wait_s=0")["asks"] == []
    session.call("DELETE", expect=204)
    asking.join(timeout=10)
    assert (answers[0].status_code, "its session ended" in answers[0].text) == (400, True)
    session.call("PUT", f"/asks/{asks[0]['id']}", expect=404, json={"reply": "late"})


def test_a_client_that_leaves_while_a_function_is_asked_is_in_the_journal(session: Session) -> None:
    session.add({"reply": {"ask": "nobody"}})
    path, body = BODIES["openai_chat"]
    with pytest.raises(TimeoutError):
        exchange(session.url, path, body, session.api_key, within_s=0.3)
    ends = time.monotonic() + 10
    while not session.journal() and time.monotonic() < ends:
        pass
    (entry,) = session.journal()
    assert (entry["outcome"], entry["then"], entry["status"]) == ("client_left", "gave_up", 499)
    assert session.call("GET", "/asks")["asks"] == []


def test_a_switched_fault_and_limits_hold_for_functions_too(llm: FakeLLM) -> None:
    calls: list[int] = []

    def answer(request: LLMRequest) -> str:
        calls.append(request.call)
        return "words"

    llm.on().handle(answer)
    llm.fault("status", times=1, status=503)
    with pytest.raises(openai.InternalServerError):
        say(llm)
    assert calls == []
    llm.fault("truncated", times=1)
    with pytest.raises((openai.APIError, ValueError)):
        say(llm)
    assert calls == [1]
    llm.limits(requests_per_minute=1)
    assert words(llm) == "words"
    with pytest.raises(openai.RateLimitError):
        say(llm)
    assert calls == [1, 2]


def test_a_rule_without_a_session_takes_no_function() -> None:
    from realstack.handles.llm_rule import Rule

    with pytest.raises(FakeLLMError, match="no session"):
        Rule(lambda _: None, "r", {}).handle(lambda _: "x")
