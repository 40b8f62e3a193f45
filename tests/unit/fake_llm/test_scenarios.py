"""Scenarios: how they are written, what they match, in which order they answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fake_llm.model import Message, Tool, ToolResult, Turn
from fake_llm.scenario import MISSING, at_path
from fake_llm.scenario_file import load_files, load_text, schema
from fake_llm.session import Session, Sessions, api_key, session_of, split_path
from fake_llm.written import ScenarioError


def turn(user: str = "System is slow", **more: Any) -> Turn:
    messages = more.pop("messages", (Message("system", "You triage"), Message("user", user)))
    return Turn(
        dialect=more.pop("dialect", "openai_chat"), model=more.pop("model", "gpt-4o"), messages=messages, **more
    )


def session_with(text: str) -> Session:
    session = Session("t")
    session.put_in_front(load_text(text, "s.yaml"))
    return session


def answer(session: Session, asked: Turn | None = None, headers: dict[str, str] | None = None) -> str | None:
    """The text of the scenario that answers, None where none does."""
    selected = session.select(asked or turn(), headers or {})
    return selected.reply.text if selected.name is not None else None


@pytest.mark.parametrize(
    ("match", "asked", "matches"),
    [
        ("{user: slow}", turn(), True),
        ("{user: Slow}", turn(), False),
        ("{user: {regex: '(?i)SLOW$'}}", turn(), True),
        ("{user: {equals: slow}}", turn(), False),
        ("{user: {contains: is, regex: fast}}", turn(), False),
        ("{system: triage}", turn(), True),
        ("{system: triage}", turn(messages=(Message("user", "triage"),)), False),
        ("{model: gpt-*}", turn(), True),
        ("{model: gpt}", turn(), False),
        ("{dialect: [anthropic, gemini]}", turn(), False),
        ("{dialect: anthropic}", turn(dialect="anthropic"), True),
        ("{tools: f}", turn(tools=(Tool("f"), Tool("g"))), True),
        ("{tools: [f, h]}", turn(tools=(Tool("f"), Tool("g"))), False),
        ("{turn: 1}", turn(), True),
        ("{turn: 2}", turn(), False),
        ("{stream: false}", turn(), True),
        ("{stream: true}", turn(), False),
        ("{tool_result: '42'}", turn(messages=(Message("tool", tool_results=(ToolResult("c", "it is 42"),)),)), True),
        ("{tool_result: '42'}", turn(), False),
        ("{header: {X-Tenant: acme}}", turn(), True),
        ("{header: {x-tenant: other}}", turn(), False),
        ("{header: {x-none: ''}}", turn(), False),
        ("{json: {metadata.user: 7}}", turn(raw={"metadata": {"user": 7}}), True),
        ("{json: {metadata.user: '7'}}", turn(raw={"metadata": {"user": 7}}), False),
        ("{json: {'messages[-1].content': {regex: b$}}}", turn(raw={"messages": [{"content": "ab"}]}), True),
        ("{json: {missing: null}}", turn(raw={}), False),
        ("{user: slow, model: other}", turn(), False),
        ("{}", turn(), True),
    ],
)
def test_a_scenario_matches_when_every_test_in_it_passes(match: str, asked: Turn, matches: bool) -> None:
    session = session_with(f"[{{match: {match}, reply: yes it does}}]")
    assert answer(session, asked, {"x-tenant": "acme inc"}) == ("yes it does" if matches else None)


def test_the_first_that_matches_answers_and_later_added_ones_come_first() -> None:
    session = session_with("[{match: {user: slow}, reply: one}, {reply: two}]")
    assert answer(session) == "one"
    session.put_in_front(load_text("[{match: {user: System}, reply: newest}]", "s.yaml"))
    assert answer(session) == "newest"
    assert answer(session, turn("fast")) == "two"


def test_a_sequence_answers_in_order_and_repeats_its_last() -> None:
    session = session_with("[{sequence: [a, b]}]")
    assert [answer(session) for _ in range(4)] == ["a", "b", "b", "b"]


def test_a_sequence_can_fall_through_to_the_next_scenario() -> None:
    session = session_with("[{sequence: [a, b], after_last: fall_through}, {reply: next}]")
    assert [answer(session) for _ in range(4)] == ["a", "b", "next", "next"]


def test_times_bounds_how_often_a_scenario_answers() -> None:
    session = session_with("[{reply: once, times: 1}, {reply: then}]")
    assert [answer(session) for _ in range(3)] == ["once", "then", "then"]
    assert [state.used for state in session.scenarios] == [1, 2]


def test_a_template_is_filled_from_the_request() -> None:
    session = session_with('- reply: {template: "{{user}}/{{model}}/{{turn}}/{{session}}/{{system}} {x} {1:{2:3}}"}')
    assert answer(session) == "System is slow/gpt-4o/1/t/You triage {x} {1:{2:3}}"


def test_json_replies_are_json_text() -> None:
    assert answer(session_with("[{reply: {json: {a: [1, null, é]}}}]")) == '{"a": [1, null, "é"]}'


def test_names_are_made_unique() -> None:
    session = session_with("[{name: a, reply: x}]")
    assert session.put_in_front(load_text("[{name: a, reply: y}]", "s.yaml")) != ["a"]
    assert len({state.scenario.name for state in session.scenarios}) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scenarios:\n  - mach: {user: x}\n    reply: a",
         "s.yaml:2: scenarios[0].mach: unknown key 'mach', did you mean 'match'?"),
        ("- match:\n    usr: x\n  reply: a",
         "s.yaml:2: scenarios[0].match.usr: unknown key 'usr', did you mean 'user'?"),
        ("- reply: {txt: a}", "unknown key 'txt', did you mean 'text'?"),
        ("- reply: a\n- reply:\n    fault: {kind: status, retry_after: 1}",
         "s.yaml:3: scenarios[1].reply.fault.retry_after: unknown key 'retry_after', did you mean 'retry_after_s'?"),
        ("- reply: {fault: {kind: explode}}", "'explode'"),
        ("- reply: {tool_calls: [{nam: f}]}", "did you mean 'name'?"),
        ("- sequence: [a, {jsn: 1}]", "did you mean 'json'?"),
        ("- match: {user: {regex: '('}}\n  reply: a", "not a regular expression"),
        ("- match: {user: x}", "give either reply or sequence"),
        ("- {reply: a, sequence: [b]}", "give either reply or sequence"),
        ("- reply: {text: a, json: {}}", "give only one of text, json"),
        ("- reply: {template: 'hi {{ usr }}'}",
         "s.yaml:1: scenarios[0].reply: template of text: there is no 'usr', did you mean 'user'?"),
        ("- reply: a\n  reply: b", "s.yaml:2: key 'reply' is given twice"),
        ("- reply: [", "not YAML"),
        ("scenario: []", "unknown key 'scenario', did you mean 'scenarios'?"),
        ("just words", "s.yaml"),
        ("- reply: {chunks: [a, b], text: abc}", "chunks joined are not the text"),
        ("- reply: {text: abc, citations: [{words: d}]}", "citations[0].words are not in the text"),
        ("- {reply: a, times: 0}", "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_wrong_scenario_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "s.yaml")
    assert complaint in str(caught.value)
    assert all(problem.startswith("s.yaml") for problem in caught.value.problems)


def test_a_reply_may_reason_search_and_cite() -> None:
    (scenario,) = load_text(
        """
- reply:
    reasoning: Look it up.
    server_tools: [{name: web_search, input: {query: towers}, output: [{url: "https://a.example", title: A}]}]
    text: It is 330 m high.
    citations: [{words: 330 m, url: "https://a.example", quote: 330 metres}]
""",
        "s.yaml",
    )
    reply = scenario.answers[0].reply
    assert reply.reasoning == "Look it up."
    assert [(tool.name, tool.input, tool.output) for tool in reply.server_tools] == [
        ("web_search", {"query": "towers"}, [{"url": "https://a.example", "title": "A"}])
    ]
    assert [(each.words, each.quote, each.document) for each in reply.citations] == [("330 m", "330 metres", None)]


def test_the_schema_knows_what_the_files_may_say() -> None:
    valid = Draft202012Validator(json.loads(schema()))
    good = {"match": {"user": {"regex": "^a"}, "state": "asked"}, "sequence": ["a", {"json": {"b": 1}}], "then": "done"}
    assert valid.is_valid([good])
    assert valid.is_valid({"scenarios": [good]})
    assert not valid.is_valid([{**good, "thn": "done"}])
    assert not valid.is_valid([{"match": {"usr": "a"}, "reply": "b"}])
    assert load_text(json.dumps([good]), "s.json")[0].then == "done"


def test_an_unknown_key_is_one_complaint_not_one_for_every_alternative() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_text("- match: {user: {regexp: x}}\n  reply: {txt: a}", "s.yaml")
    assert len(caught.value.problems) == 2


def test_files_of_a_folder_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("- reply: b")
    (tmp_path / "a.json").write_text('{"scenarios": [{"reply": "a"}]}')
    (tmp_path / "empty.yml").write_text("")
    (tmp_path / "notes.txt").write_text("{")
    assert [s.name for s in load_files([tmp_path])] == ["a-1", "b-1"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gone\.yaml: cannot be read"):
        load_files([tmp_path / "gone.yaml"])


def test_a_path_finds_what_is_there_and_missing_is_not_null() -> None:
    document = {"a": [{"b": None}], "c.d": 1}
    assert at_path(document, "a[0].b") is None
    assert at_path(document, "a[1].b") is MISSING
    assert at_path(document, "a.x") is MISSING


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/x", {}, "default"),
        ("/v1/x", {"authorization": "Bearer sk-realstack-t1"}, "t1"),
        ("/v1/x", {"authorization": "bearer sk-realstack-t1"}, "t1"),
        ("/v1/x", {"x-api-key": "sk-realstack-t2"}, "t2"),
        ("/v1/x", {"api-key": "sk-realstack-t2"}, "t2"),
        ("/v1/x", {"x-goog-api-key": "sk-realstack-t2"}, "t2"),
        ("/v1/x", {"authorization": "Bearer sk-other"}, "default"),
        ("/s/t3/v1/x", {"authorization": "Bearer sk-realstack-t1"}, "t3"),
        ("/v1/x", {"authorization": "Bearer sk-realstack-t1", "x-fake-llm-session": "t4"}, "t4"),
        ("/v1/x", {"x-fake-llm-session": "no/such"}, "default"),
    ],
)
def test_a_request_belongs_to_the_session_that_it_names(path: str, headers: dict[str, str], expected: str) -> None:
    from_path, rest = split_path(path)
    assert rest == "/v1/x"
    assert session_of(headers, from_path, api_key(headers)) == expected


def test_sessions_count_their_use_of_the_base_scenarios_apart() -> None:
    sessions = Sessions(load_text("[{reply: once, times: 1}]", "base.yaml"))
    assert [answer(sessions.get("a")), answer(sessions.get("a")), answer(sessions.get("b"))] == ["once", None, "once"]
    sessions.get("a").reset()
    assert answer(sessions.get("a")) == "once"


def test_the_least_recently_used_session_is_dropped() -> None:
    sessions = Sessions(max_sessions=2)
    sessions.get("a")
    sessions.get("b")
    sessions.get("a")
    sessions.get("c")
    assert sessions.find("b") is None
    assert sessions.find("a") is not None
