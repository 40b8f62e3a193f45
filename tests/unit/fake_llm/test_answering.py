"""Finishing, counting, faults, the journal and the exchange as a whole, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_llm import tokens
from fake_llm.automatic import automatic_reply
from fake_llm.envelopes import envelope
from fake_llm.envelopes.openai import go_duration
from fake_llm.exchange import generate
from fake_llm.faults import Close, Pause, Write, plan_body, plan_stream
from fake_llm.finish import finish, stream_pieces
from fake_llm.journal import Entry, Journal
from fake_llm.model import Fault, Message, Reply, Stamp, ToolCall, Turn
from fake_llm.outcome import new_stamp
from fake_llm.redaction import redacted
from fake_llm.scenario_file import load_text
from fake_llm.session import Session

EVENTS = [b"one", b"two", b"three"]


def turn(**more: Any) -> Turn:
    return Turn("openai_chat", "m", (Message("user", "hello"),), **more)


@given(st.text())
def test_the_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens.pieces(text)) == text


def said(session: Session) -> tuple[int, str]:
    """Status and text of one more request."""
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
    answer = generate("openai_chat", session, {}, json.dumps(body).encode(), new_stamp())
    found = json.loads(answer.raw)
    return answer.status, found["choices"][0]["message"]["content"] if "choices" in found else found["error"]["message"]


def test_scenarios_take_a_session_from_state_to_state() -> None:
    rules = """
- {match: {state: start}, reply: "What is your name?", then: asked}
- {match: {state: asked}, reply: "And your age?", then: known}
- {match: {state: [known, old]}, times: 2, reply: Thank you.}
"""
    session = Session("s", load_text(rules, "s.yaml"))
    assert [said(session)[1] for _ in range(4)] == ["What is your name?", "And your age?", "Thank you.", "Thank you."]
    assert session.state == "known"
    session.strict = True
    status, refusal = said(session)
    assert (status, "s-1: state should be start and is 'known'" in refusal) == (400, True)
    session.reset()
    assert (session.state, said(session)[1]) == ("start", "What is your name?")


def test_counts_grow_with_the_input() -> None:
    counts = [tokens.count("The quick brown fox. " * n) for n in range(1, 50)]
    assert counts == sorted(set(counts))


@given(
    st.lists(
        st.sampled_from(
            [*" \n\t\r.,!_a1bZ9\u00e9\u4e16\U0001f600\x1c\x85\u00a0\u3000", "  ", "word", "lengthyword", "12345"]
        )
    )
)
def test_counting_word_by_word_finds_as_many_as_cutting(parts: list[str]) -> None:
    text = "".join(parts)
    assert tokens.count(text) == len(tokens.pieces(text))


@given(st.text(max_size=200), st.integers(1, 20))
def test_a_token_limit_cuts_at_that_many_tokens(text: str, limit: int) -> None:
    found = finish(Reply(text), turn(max_tokens=limit), 1)
    assert text.startswith(found.text)
    if len(tokens.pieces(text)) > limit:
        assert found.finish == "length"
        assert len(tokens.pieces(text)[:limit]) == limit
        assert found.text == "".join(tokens.pieces(text)[:limit])
    else:
        assert (found.text, found.finish) == (text, "stop")


def test_reasoning_counts_as_output_and_is_the_first_that_a_token_limit_cuts() -> None:
    thinking = Reply("Paris it is.", reasoning="The user asks for a city in France.")
    thought, said = tokens.count(thinking.reasoning), tokens.count(thinking.text)
    whole = finish(thinking, turn(), 7).usage
    assert whole is not None
    assert (whole.input_tokens, whole.output_tokens, whole.reasoning_tokens) == (7, thought + said, thought)
    late = finish(thinking, turn(max_tokens=thought + 1), 7)
    assert (late.reasoning, late.text, late.finish) == (thinking.reasoning, "Paris", "length")
    early = finish(thinking, turn(max_tokens=2), 7)
    assert (early.reasoning, early.text, early.finish) == ("The user", "", "length")


def test_a_token_limit_cuts_scripted_chunks_and_tool_arguments() -> None:
    cut = finish(Reply("one two three", chunks=("one tw", "o three")), turn(max_tokens=2), 1)
    assert list(stream_pieces(cut)) == ["one tw", "o"]
    call = ToolCall("f", '{"city": "Paris", "country": "France"}')
    cut = finish(Reply(tool_calls=(call,)), turn(max_tokens=9), 1)
    assert cut.finish == "length"
    assert call.arguments.startswith(cut.tool_calls[0].arguments)
    assert cut.tool_calls[0].arguments != call.arguments


def test_the_earliest_stop_sequence_ends_the_text() -> None:
    found = finish(Reply("a STOP b END c"), turn(stop=("END", "STOP")), 1)
    assert (found.text, found.finish, found.stop_sequence) == ("a ", "stop_sequence", "STOP")


def test_a_scripted_usage_and_finish_stand() -> None:
    from fake_llm.model import Usage

    found = finish(Reply("x", (ToolCall("f"),), finish="length", usage=Usage(7, 8)), turn(), 1)
    assert (found.finish, found.usage) == ("length", Usage(7, 8))


def test_the_automatic_reply_is_the_same_for_the_same_request() -> None:
    assert automatic_reply(turn()) == automatic_reply(turn()) == Reply("You said: hello")
    assert automatic_reply(turn(), 1) != automatic_reply(turn(), 0)


def test_without_delays_a_stream_is_one_write() -> None:
    assert plan_stream(Reply(), EVENTS, None) == [Write(b"onetwothree")]


def test_a_delay_of_nothing_is_still_a_write_for_each_event() -> None:
    assert plan_stream(Reply(chunk_delay_s=0), EVENTS, None) == [Write(b"one"), Write(b"two"), Write(b"three")]


def test_delays_are_pauses_between_events() -> None:
    reply = Reply(delay_s=1, chunk_delay_s=0.5)
    expected = [Pause(1), Write(b"one"), Pause(0.5), Write(b"two"), Pause(0.5), Write(b"three")]
    assert plan_stream(reply, EVENTS, None) == expected


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        (Fault("cut"), [Write(b"one"), Close()]),
        (Fault("cut", after_chunks=2, reset=True), [Write(b"onetwo"), Close(True)]),
        (Fault("cut", after_chunks=0), [Write(b""), Close()]),
        (Fault("cut", after_bytes=5), [Write(b"onetw"), Close()]),
        (Fault("hang", hang_s=3), [Pause(3), Close()]),
        (Fault("hang"), [Pause(None), Close()]),
        (Fault("stream_error", after_chunks=2), [Write(b"onetwoERROR")]),
        (Fault("empty"), [Write(b"")]),
    ],
)
def test_a_fault_in_a_stream_is_a_plan(fault: Fault, steps: list[Any]) -> None:
    assert plan_stream(Reply(fault=fault), EVENTS, b"ERROR") == steps


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        (Fault("cut"), [Write(b"body"), Close()]),
        (Fault("cut", after_bytes=99), [Write(b"body whol"), Close()]),
        (Fault("hang", hang_s=3), [Pause(3), Close()]),
        (Fault("empty"), [Write(b"")]),
    ],
)
def test_a_fault_in_a_body_is_a_plan(fault: Fault, steps: list[Any]) -> None:
    found = plan_body(Reply(fault=fault), b"body whole" if fault.after_bytes else b"bodybody")
    assert found == steps


def test_openais_429_has_its_envelope_and_its_headers() -> None:
    envelopes, fault = envelope("openai"), Fault("status", 429, retry_after_ms=1500)
    error = envelopes.from_fault(fault, "gpt-x")
    headers = dict(envelopes.error_headers(429, Stamp("0" * 24, 0), fault))
    assert (error.status, error.type, error.code) == (429, "requests", "rate_limit_exceeded")
    assert headers[b"retry-after-ms"] == b"1500"
    assert headers[b"retry-after"] == b"2"
    assert headers[b"x-ratelimit-remaining-requests"] == b"0"
    assert headers[b"x-ratelimit-reset-requests"] == b"1.5s"


def test_a_used_up_quota_tells_openais_clients_not_to_retry() -> None:
    fault = Fault("status", 429, code="insufficient_quota")
    assert envelope("openai").from_fault(fault, "m").type == "insufficient_quota"
    assert (b"x-should-retry", b"false") in envelope("openai").error_headers(429, Stamp("0" * 24, 0), fault)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (404, "not_found_error"),
     (413, "request_too_large"), (429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")],
)  # fmt: skip
def test_anthropics_errors_have_their_types(status: int, kind: str) -> None:
    envelopes, stamp = envelope("anthropic"), Stamp("0" * 24, 0)
    found = envelopes.error_object(envelopes.from_fault(Fault("status", status), "m"), stamp)
    assert found["type"] == "error"
    assert found["error"]["type"] == kind  # type: ignore[index]
    assert found["request_id"] == "req_" + "0" * 24


@pytest.mark.parametrize(("seconds", "written"), [(0, "0s"), (0.012, "12ms"), (1.5, "1.5s"), (360, "6m0s")])
def test_durations_are_written_as_go_does(seconds: float, written: str) -> None:
    assert go_duration(seconds) == written


def test_the_journal_drops_its_oldest_and_says_so() -> None:
    journal = Journal(max_entries=2)
    for _ in range(5):
        journal.add(Entry("POST", "/", 0.0))
    assert ([entry.seq for entry in journal.since(0)], journal.dropped, journal.total) == ([4, 5], 3, 5)
    assert [entry.seq for entry in journal.since(4)] == [5]


def test_the_journal_is_bounded_in_bytes_and_keeps_the_newest() -> None:
    journal = Journal(max_bytes=100)
    for _ in range(3):
        journal.add(Entry("POST", "/", 0.0, size=80))
    assert [entry.seq for entry in journal.since(0)] == [3]


def test_numbers_go_on_after_clearing() -> None:
    journal = Journal()
    journal.add(Entry("POST", "/", 0.0))
    journal.clear()
    journal.add(Entry("POST", "/", 0.0))
    assert [entry.seq for entry in journal.since(0)] == [2]


def test_keys_are_hashed_and_tell_apart() -> None:
    one, other = redacted({"authorization": "Bearer a"}), redacted({"authorization": "Bearer b"})
    assert "Bearer" not in str(one)
    assert one != other
    assert redacted({"accept": "x"}) == {"accept": "x"}


def _generate(session: Session, **change: Any) -> tuple[int, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **change}
    outcome = generate("openai_chat", session, {}, json.dumps(body).encode(), new_stamp())
    return outcome.status, json.loads(outcome.raw)


def test_a_switched_fault_comes_before_scenarios_and_is_counted_down() -> None:
    session = Session("t")
    session.put_in_front(load_text("[{reply: fine}]", "s.yaml"))
    session.switch_fault(Fault("status", 503), times=2)
    assert [_generate(session)[0] for _ in range(3)] == [503, 503, 200]


def test_a_strict_session_refuses_what_nothing_matches_and_says_why() -> None:
    session = Session("t")
    session.strict = True
    session.put_in_front(load_text("[{name: other, match: {user: bye}, reply: x}]", "s.yaml"))
    status, found = _generate(session)
    assert status == 400
    assert "(1) other: user should contain 'bye' and is 'hello'." in found["error"]["message"]
    assert session.journal.unmatched == 1


def test_a_scenario_without_words_delays_the_automatic_ones() -> None:
    session = Session("t")
    session.put_in_front(load_text("[{reply: {delay_s: 0.5, headers: {x-own: a}}}]", "s.yaml"))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
    outcome = generate("openai_chat", session, {}, body, new_stamp())
    assert outcome.steps[0] == Pause(0.5)
    assert b"You said: hello" in outcome.raw
    assert (b"x-own", b"a") in outcome.headers


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"model": NaN}', b"[" * 100_000])
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
def test_a_body_that_is_no_json_object_is_refused(dialect: str, body: bytes) -> None:
    outcome = generate(dialect, Session("t"), {"anthropic-version": "2023-06-01"}, body, new_stamp())
    assert outcome.status == 400
    assert "error" in json.loads(outcome.raw)
