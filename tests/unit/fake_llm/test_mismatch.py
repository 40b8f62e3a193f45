"""What a strict session says of the scenarios that did not match."""

from __future__ import annotations

from typing import Any

import pytest

from fake_llm.mismatch import SHOWN, failed_tests, nearest
from fake_llm.model import Message, Tool, ToolResult, Turn
from fake_llm.scenario import Scenario
from fake_llm.scenario_file import load_text

TURN = Turn(
    "openai_chat",
    "gpt-x",
    (
        Message("system", "Be brief."),
        Message("user", "What is the weather in Paris?"),
        Message("tool", tool_results=(ToolResult("call_1", "18 degrees"),)),
    ),
    tools=(Tool("look"),),
    raw={"metadata": {"user": "u1"}, "n": 1},
)
HEADERS = {"x-team": "blue", "authorization": "Bearer secret-key"}

CASES: list[tuple[str, str]] = [
    ("user: Rome", "user should contain 'Rome' and is 'What is the weather in Paris?'"),
    ("system: {equals: x}", "system should equal 'x' and is 'Be brief.'"),
    ("tool_result: {regex: snow}", "tool_result should match 'snow' and is '18 degrees'"),
    ("model: claude-*", "model should be like 'claude-*' and is 'gpt-x'"),
    ("dialect: [gemini, anthropic]", "dialect should be gemini or anthropic and is 'openai_chat'"),
    ("turn: 3", "turn should be 3 and is 1"),
    ("stream: true", "stream should be True and is False"),
    ("tools: [look, find]", "tools should have find and is ['look']"),
    ("header: {x-team: red}", "header x-team should contain 'red' and is 'blue'"),
    ("header: {x-none: red}", "header x-none should contain 'red' and is not there"),
    ("header: {authorization: other}", "header authorization should contain 'other' and is '(a secret)'"),
    ("conversation: {regex: 'brief.*snow'}", "conversation should match 'brief.*snow' and is "
     "'Be brief.\\nWhat is the weather in Paris?\\n18 degrees'"),
    ("attachments: true", "attachments should be True and is 0"),
    ("attachments: 2", "attachments should be 2 and is 0"),
    ("json: {metadata.user: u2}", "json metadata.user should be 'u2' and is 'u1'"),
    ("json: {metadata.team: {contains: a}}", "json metadata.team should contain 'a' and is not there"),
]  # fmt: skip


def written(match: str) -> Scenario:
    (scenario,) = load_text(f"[{{name: s, match: {{{match}}}, reply: x}}]", "s.yaml")
    return scenario


@pytest.mark.parametrize(("match", "said"), CASES)
def test_a_failed_test_says_what_it_expected_and_what_it_found(match: str, said: str) -> None:
    assert [str(failed) for failed in failed_tests(written(match).match, TURN, HEADERS)] == [said]
    assert written(match).match.mismatch(TURN, HEADERS) is not None


@pytest.mark.parametrize(
    "match",
    [
        "",
        "attachments: 0",
        "attachments: false",
        "conversation: 18 degrees",
        "user: Paris",
        "model: gpt-*",
        "header: {authorization: secret}",
        "json: {n: 1}",
        "tools: look",
        "turn: 1",
    ],
)
def test_no_test_fails_where_the_scenario_matches(match: str) -> None:
    scenario = written(match)
    assert scenario.match.mismatch(TURN, HEADERS) is None
    assert failed_tests(scenario.match, TURN, HEADERS) == []


def test_the_three_that_failed_the_fewest_tests_are_named_in_that_order() -> None:
    matches = ["user: J, turn: 9, stream: true", "user: K, turn: 9", "user: Q", "user: Z, model: x, turn: 9", "turn: 2"]
    forms = [f"{{name: s{place}, match: {{{match}}}, reply: x}}" for place, match in enumerate(matches)]
    scenarios = load_text(f"[{', '.join(forms)}]", "s.yaml")
    said = nearest([(scenario, 0) for scenario in scenarios], TURN, HEADERS)
    assert [sentence.partition(":")[0] for sentence in said] == ["s2", "s4", "s1"]


def test_one_that_would_match_has_answered_its_last() -> None:
    (scenario,) = load_text("[{name: once, reply: x, times: 1}]", "s.yaml")
    assert nearest([(scenario, 1)], TURN, HEADERS) == ["once: it has answered 1 time, and does so no more"]


@pytest.mark.parametrize("long", ["user", "match"])
def test_long_values_are_shortened(long: str) -> None:
    text = "y" * 5_000
    turn: Any = Turn("openai_chat", "m", (Message("user", text if long == "user" else "z"),))
    said = str(failed_tests(written(f"user: {'x' if long == 'user' else text}").match, turn, {})[0])
    assert len(said) < SHOWN + 100
    assert "(5002 characters)" in said
