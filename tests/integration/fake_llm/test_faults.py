"""Every way to misbehave, over the dialects: seen by the unchanged SDKs, or byte by byte on a bare socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from .conftest import Session
from .raw import BODIES, Exchanged, exchange, headers_of, request_of

if TYPE_CHECKING:
    from google import genai

DIALECTS = sorted(BODIES)
WORDS = "one two three four five six"


def raw(session: Session, dialect: str, *, stream: bool, **more: Any) -> Exchanged:
    path, body = request_of(dialect, stream=stream)
    return exchange(session.url, path, body, session.api_key, **more)


def fail(session: Session, kind: str, text: str = WORDS, **fault: Any) -> None:
    session.add({"reply": {"text": text, "fault": {"kind": kind, **fault}}})


def ask(session: Session, fault: str | None = None, **more: Any) -> httpx.Response:
    path, body = BODIES["openai_chat"]
    headers = {"authorization": f"Bearer {session.api_key}"} | ({"x-fake-llm-fault": fault} if fault else {})
    return httpx.post(session.url + path, json={**body, **more}, headers=headers, trust_env=False)


def said(found: Exchanged) -> list[str]:
    """The words that the stream's events carried, of ``WORDS``."""
    return [word for word in WORDS.split() if word.encode() in found.all]


# --- who asks for a fault, and how often -------------------------------------------------------------------------


def test_a_clients_header_asks_for_a_fault_that_its_retry_does_not_get(session: Session) -> None:
    headers = {"x-fake-llm-fault": "id=a1;status=429;times=1;retry-after=0.01"}
    for client in (
        openai.OpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, default_headers=headers),
        openai.OpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, default_headers=headers),
    ):
        with client:
            assert client.responses.create(model="m", input="hello").output_text
    assert [entry["status"] for entry in session.journal()] == [429, 200, 200]
    assert [entry["scenario"] for entry in session.journal()] == ["fault header", None, None]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_header_is_counted_for_each_id_in_each_session(session: Session, dialect: str) -> None:
    path, body = BODIES[dialect]

    def status(fault: str, key: str) -> int:
        headers = headers_of(key, x_fake_llm_fault=fault)
        return httpx.post(session.url + path, json=body, headers=headers, trust_env=False, timeout=30).status_code

    own, other = session.api_key, session.api_key + "-b"
    assert [status("id=x;status=503;times=2", own) for _ in range(3)] == [503, 503, 200]
    assert status("id=x;status=503;times=2", other) == 503
    assert [status("id=y;status=503;times=1", own), status("id=x;status=503;times=2", own)] == [503, 200]


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("status=banana", "status"),
        ("kind=explode", "'explode'"),
        ("hung", "did you mean 'hang'?"),
        ("status=429;status=500", "'status' is given twice"),
        ("kind=cut;retry-after=1", "unknown key 'retry_after_s'"),
        ("id=a;times=0", "times"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_malformed_header_is_a_400_that_says_why(session: Session, dialect: str, header: str, complaint: str) -> None:
    found = raw(session, dialect, stream=False, headers={"x-fake-llm-fault": header})
    assert found.all.startswith(b"HTTP/1.1 400")
    message = json.loads(found.all.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert message.startswith("The header x-fake-llm-fault is malformed: ")
    assert complaint in message


def test_a_header_reaches_paths_that_no_model_answers(session: Session) -> None:
    def models(fault: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {session.api_key}", "x-fake-llm-fault": fault}
        return httpx.get(f"{session.url}/v1/models", headers=headers, trust_env=False, timeout=30)

    assert [models("id=m;status=429;times=1").status_code for _ in range(2)] == [429, 200]
    with pytest.raises(httpx.RemoteProtocolError):
        models("cut")
    with pytest.raises(json.JSONDecodeError):
        models("truncated").json()


def test_a_fault_with_a_rate_strikes_the_same_calls_in_every_session_of_a_seed(session: Session) -> None:
    def struck(seed: int) -> list[bool]:
        session.call("POST", "/reset")
        session.call("PATCH", json={"seed": seed})
        session.call("PUT", "/fault", json={"fault": {"kind": "status", "status": 503, "rate": 0.3}})
        return [ask(session).status_code == 503 for _ in range(60)]

    first, again, other = struck(7), struck(7), struck(8)
    assert first == again != other
    assert 8 <= sum(first) <= 28


def test_a_scenario_whose_fault_does_not_strike_says_its_words(session: Session) -> None:
    fail(session, "status", status=503, rate=0.5)
    found = [ask(session) for _ in range(20)]
    assert {answer.status_code for answer in found} == {200, 503}
    assert all(WORDS in answer.text for answer in found if answer.status_code == 200)
    assert {entry["fault"] for entry in session.journal()} == {"status", None}


def test_a_switched_fault_is_put_upon_the_words_that_a_scenario_has(session: Session) -> None:
    session.add({"name": "mine", "reply": WORDS})
    session.call("PUT", "/fault", json={"fault": {"kind": "truncated"}, "times": 1})
    assert b'"one two' in raw(session, "openai_chat", stream=False).all
    (entry,) = session.journal()
    assert (entry["scenario"], entry["fault"]) == ("mine", "truncated")


# --- the connection ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("reset", [True, False])
def test_a_disconnect_comes_before_any_byte(session: Session, dialect: str, reset: bool) -> None:
    fail(session, "disconnect", reset=reset)
    found = raw(session, dialect, stream=False)
    assert (found.all, found.reset) == (b"", reset)
    assert session.journal()[0]["outcome"] == "cut"


def test_a_disconnect_is_a_connection_error_that_the_sdk_retries(session: Session) -> None:
    session.add({"name": "once", "sequence": [{"fault": {"kind": "disconnect"}}, "made it"]})
    with openai.OpenAI(base_url=f"{session.url}/v1", api_key=session.api_key, max_retries=1) as client:
        assert client.responses.create(model="m", input="hello").output_text == "made it"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_headers_come_byte_by_byte_and_the_answer_after_them(session: Session, dialect: str, stream: bool) -> None:
    fail(session, "slow_headers", chunk_delay_s=0.001)
    found = raw(session, dialect, stream=stream)
    head, _, body = found.all.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(found.pieces) > 20
    assert found.pieces[-1][0] > len(head) * 0.001
    assert said(found) == WORDS.split()
    assert b"HTTP/1.1" not in body


def test_slow_headers_run_into_the_sdks_timeout(session: Session, chat: openai.OpenAI) -> None:
    fail(session, "slow_headers", chunk_delay_s=5)
    with pytest.raises(openai.APITimeoutError):
        chat.with_options(timeout=0.2).responses.create(model="m", input="hello")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stall_is_a_few_events_and_then_silence(session: Session, dialect: str) -> None:
    fail(session, "stall", after_tokens=2, hang_s=1)
    found = raw(session, dialect, stream=True)
    assert said(found) == ["one", "two"]
    assert found.pieces[-1][0] < 0.9
    assert session.journal()[0]["outcome"] == "hung"


def test_a_stalled_stream_runs_into_the_sdks_timeout(session: Session, claude: anthropic.Anthropic) -> None:
    fail(session, "stall", after_tokens=3)
    words: list[str] = []
    with (
        pytest.raises(httpx2.ReadTimeout),
        claude.with_options(timeout=0.3).messages.stream(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        words.extend(stream.text_stream)
    assert "".join(words) == "one two three"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_after_so_many_tokens(session: Session, dialect: str, reset: bool) -> None:
    fail(session, "cut", after_tokens=3, reset=reset)
    found = raw(session, dialect, stream=True)
    assert said(found) in (["one", "two", "three"], [] if reset else None)  # a reset may overtake what was sent
    assert found.reset == reset
    assert b"0\r\n\r\n" not in found.all[-5:]


def test_a_slow_reply_begins_late_and_goes_on_slowly(session: Session) -> None:
    fail(session, "slow", delay_s=0.2, chunk_delay_s=0.02)
    found = raw(session, "openai_chat", stream=True)
    assert found.pieces[0][0] >= 0.2
    times = [at for at, data in found.pieces if b'"content":"' in data or b"[DONE]" in data]
    assert times[-1] - times[0] >= 0.02 * 6
    assert said(found) == WORDS.split()


# --- the bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_truncated_body_is_whole_as_http_and_no_json(session: Session, dialect: str) -> None:
    fail(session, "truncated")
    path, body = BODIES[dialect]
    found = httpx.post(session.url + path, json=body, headers=headers_of(session.api_key), trust_env=False, timeout=30)
    assert int(found.headers["content-length"]) == len(found.content) > 20
    with pytest.raises(json.JSONDecodeError):
        found.json()


def test_a_truncated_stream_ends_without_a_word_of_it_in_the_sdks_hands(session: Session, chat: openai.OpenAI) -> None:
    fail(session, "truncated", after_tokens=2)
    chunks = list(chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"
    assert {chunk.choices[0].finish_reason for chunk in chunks} == {None}
    assert raw(session, "openai_chat", stream=True).all.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_bytes_that_are_no_utf8(session: Session, dialect: str, stream: bool) -> None:
    fail(session, "invalid_utf8", after_tokens=1) if stream else fail(session, "invalid_utf8")
    found = raw(session, dialect, stream=stream)
    assert found.all.startswith(b"HTTP/1.1 200")
    with pytest.raises(UnicodeDecodeError):
        found.all.decode("utf-8")
    assert len(said(found)) >= 5


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_proxys_page_comes_in_place_of_the_answer(session: Session, dialect: str) -> None:
    fail(session, "wrong_type", status=502)
    found = raw(session, dialect, stream=False).all
    assert found.startswith(b"HTTP/1.1 502")
    assert b"content-type: text/html; charset=utf-8" in found
    assert b"<h1>502 Bad Gateway</h1>" in found


def test_a_page_with_a_200_breaks_in_the_clients_hands(session: Session, chat: openai.OpenAI) -> None:
    fail(session, "wrong_type", message="Sign <in>")
    answer = chat.responses.with_raw_response.create(model="m", input="hello")
    assert "<h1>Sign &lt;in&gt;</h1>" in answer.text
    assert not hasattr(answer.parse(), "output")


def events(session: Session, dialect: str) -> list[str]:
    path, body = request_of(dialect, stream=True)
    headers = headers_of(session.api_key)
    with httpx.stream("POST", session.url + path, json=body, headers=headers, trust_env=False, timeout=30) as answer:
        text = answer.read().decode()
    return [event for event in text.replace("\r\n", "\n").split("\n\n") if event]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_events_come_twice_or_not_at_all(session: Session, dialect: str) -> None:
    session.add({"reply": WORDS})
    whole = events(session, dialect)
    fail(session, "missing_events", nth=2)
    assert len(events(session, dialect)) == len(whole) - 1
    fail(session, "duplicate_events", nth=3)
    twice = events(session, dialect)
    assert twice[2] == twice[3]
    assert len(twice) == len(whole) + 1
    fail(session, "duplicate_events")
    all_twice = events(session, dialect)
    assert all_twice[::2] == all_twice[1::2]
    assert len(all_twice) == 2 * len(whole)


def test_doubled_events_double_the_words_in_the_sdks_hands(session: Session, chat: openai.OpenAI) -> None:
    fail(session, "duplicate_events", text="ab")
    chunks = chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "abab"


# --- what the model says -----------------------------------------------------------------------------------------

WEATHER: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_arguments_that_are_no_json_reach_openais_client(session: Session, chat: openai.OpenAI) -> None:
    session.add({"reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}],
                           "fault": {"kind": "invalid_arguments"}}})  # fmt: skip
    found = chat.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "x"}],
        tools=[{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}],
    )
    (call,) = found.choices[0].message.tool_calls or []
    assert call.type == "function"
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.function.arguments)


def test_a_reply_without_calls_calls_the_tool_that_was_offered_with_bad_arguments(
    session: Session, claude: anthropic.Anthropic
) -> None:
    session.call("PUT", "/fault", json={"fault": {"kind": "invalid_arguments"}})
    untyped: Any = claude  # the types of events are many
    fragments = [
        event.delta.partial_json
        for event in untyped.messages.create(
            model="m",
            max_tokens=100,
            stream=True,
            messages=[{"role": "user", "content": "x"}],
            tools=[{"name": "weather", "input_schema": WEATHER}],
        )
        if event.type == "content_block_delta" and event.delta.type == "input_json_delta"
    ]
    assert "".join(fragments)
    with pytest.raises(json.JSONDecodeError):
        json.loads("".join(fragments))


def test_geminis_calls_with_bad_arguments_end_as_malformed(session: Session, gemini: genai.Client) -> None:
    from google.genai import types

    session.call("PUT", "/fault", json={"fault": {"kind": "invalid_arguments"}})
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=WEATHER)
    found = gemini.models.generate_content(
        model="gemini-2.5-flash",
        contents="x",
        config=types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])]),
    )
    assert found.candidates
    assert found.candidates[0].finish_reason == types.FinishReason.MALFORMED_FUNCTION_CALL


def test_a_prompt_that_is_too_long_is_each_providers_own_error(
    session: Session, chat: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    from google.genai import errors

    session.call("PUT", "/fault", json={"fault": {"kind": "context_overflow", "limit": 5}})
    with pytest.raises(openai.BadRequestError) as of_chat:
        chat.chat.completions.create(model="m", messages=[{"role": "user", "content": WORDS}])
    assert (of_chat.value.code, of_chat.value.param) == ("context_length_exceeded", "messages")
    assert "maximum context length is 5 tokens" in of_chat.value.message
    with pytest.raises(openai.BadRequestError) as of_responses:
        chat.responses.create(model="m", input=WORDS)
    assert (of_responses.value.code, of_responses.value.param) == ("context_length_exceeded", "input")
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 5 maximum") as of_claude:
        claude.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": WORDS}])
    assert of_claude.value.type == "invalid_request_error"
    with pytest.raises(errors.ClientError) as of_gemini:
        gemini.models.generate_content(model="gemini-2.5-flash", contents=WORDS)
    assert (of_gemini.value.code, of_gemini.value.status) == (400, "INVALID_ARGUMENT")
    assert "exceeds the maximum number of tokens allowed (5)" in str(of_gemini.value)


@pytest.mark.parametrize("stream", [False, True])
def test_a_filter_ends_a_reply_as_each_provider_ends_it(session: Session, stream: bool) -> None:
    fail(session, "content_filter", after_tokens=2)
    expected = {
        "openai_chat": '"finish_reason":"content_filter"',
        "openai_responses": '"reason":"content_filter"',
        "anthropic": '"stop_reason":"refusal"',
        "gemini": '"finishReason":"SAFETY"',
    }
    for dialect, ending in expected.items():
        found = raw(session, dialect, stream=stream)
        assert ending in found.all.decode().replace('": "', '":"'), dialect
        assert said(found) == ["one", "two"], dialect


def test_a_filter_refuses_a_prompt_as_each_provider_does(session: Session, chat: openai.OpenAI) -> None:
    session.call("PUT", "/fault", json={"fault": {"kind": "content_filter", "prompt": True}})
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "content_filter"
    assert b"Output blocked by content filtering policy" in raw(session, "anthropic", stream=False).all
    blocked = raw(session, "gemini", stream=False).all
    assert blocked.startswith(b"HTTP/1.1 200")
    assert b'"blockReason"' in blocked
    assert b"candidates" not in blocked


@pytest.mark.parametrize(
    ("kind", "more"),
    [("disconnect", {}), ("cut", {}), ("stall", {"hang_s": 0.01}), ("truncated", {}), ("empty", {}),
     ("slow_headers", {"chunk_delay_s": 0}), ("hang", {"hang_s": 0.01}), ("wrong_type", {})],
)  # fmt: skip
def test_nothing_of_a_fault_is_left_for_the_clients_next_request(
    session: Session, kind: str, more: dict[str, float]
) -> None:
    path, body = BODIES["openai_chat"]
    headers = {"authorization": f"Bearer {session.api_key}"}
    session.call("PUT", "/fault", json={"fault": {"kind": kind, **more}, "times": 1})
    with httpx.Client(base_url=session.url, headers=headers, trust_env=False, timeout=30) as client:
        try:
            client.post(path, json=body)
        except httpx.TransportError:
            assert kind in ("disconnect", "cut", "stall", "hang")
        assert client.post(path, json=body).json()["choices"][0]["message"]["content"] == "You said: hello"
