"""Templates: what they know of a request, what they may not do, and that they can neither hang nor swell."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fake_llm.asked import NAMES, AnswerFault, Asked
from fake_llm.exchange import generate
from fake_llm.model import Message, Tool, ToolResult, Turn
from fake_llm.outcome import new_stamp
from fake_llm.scenario_file import load_text
from fake_llm.session import Session
from fake_llm.template_reply import filled
from fake_llm.templates import compiled
from fake_llm.written import ScenarioError

ASKED = Asked(
    Turn(
        "openai_chat",
        "gpt-5",
        (
            Message("system", "Be brief"),
            Message("user", "weather in Oslo"),
            Message("assistant", "let me see"),
            Message("tool", tool_results=(ToolResult("c1", "18 degrees"),)),
        ),
        tools=(Tool("get_weather"), Tool("look_up")),
        seed=7,
        raw={"metadata": {"tenant": "acme", "n": 3}, "tools": [{"authorization": "Bearer hidden"}]},
    ),
    {"x-tenant": "acme", "authorization": "Bearer hidden", "x-api-key": "hidden"},
    "t1",
    "start",
    2,
)


def text(source: str) -> str:
    return str(filled({"text": source}, ASKED)["text"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("You said {{ user }}.", "You said weather in Oslo."),
        ("{{ model }} {{ dialect }} {{ system }} {{ session }} {{ state }}", "gpt-5 openai_chat Be brief t1 start"),
        ("{{ turn }}/{{ call }}/{{ seed }}/{{ attachments }}/{{ stream }}", "2/2/7/0/false"),
        ("{{ tool_result }} {{ tool_results[0].call_id }} {{ tools | join }}", "18 degrees c1 get_weatherlook_up"),
        ("{{ metadata.tenant | upper }} {{ metadata['n'] + 1 }} {{ headers['x-tenant'] }}", "ACME 4 acme"),
        ("{% for m in messages if m.text %}{{ loop.index }}{{ m.role[0] }} {% endfor %}", "1s 2u 3a "),
        ("{% if 'Oslo' in user %}cold{% else %}warm{% endif %}", "cold"),
        ("{% set city = user.split()[-1] %}{{ city }}: {{ tool_result.split()[0] | int * 2 }}", "Oslo: 36"),
        ("{{ metadata.none | default('-') }} {{ tools }} {{ none }}", '- ["get_weather", "look_up"] null'),
        ("{% set n = namespace(s=0) %}{% for i in range(4) %}{% set n.s = n.s + i %}{% endfor %}{{ n.s }}", "6"),
        ("{ user } {% raw %}{{ user }}{% endraw %}\n", "{ user } {{ user }}\n"),
    ],
)  # fmt: skip
def test_a_template_is_filled_from_the_request(source: str, expected: str) -> None:
    assert text(source) == expected


def test_secrets_are_not_among_what_a_template_knows() -> None:
    assert all(json.dumps(value) for value in ASKED.values().values())
    assert "hidden" not in json.dumps(ASKED.values())
    assert set(ASKED.values()) == set(NAMES)


def test_an_expression_inside_json_keeps_its_kind_and_text_around_it_makes_it_text() -> None:
    words = {
        "json": {"n": "{{ metadata.n }}", "all": ["{{ tools }}", "n={{ metadata.n }}", 5], "plain": "{user"},
        "reasoning": "{{ metadata.n }}",
        "tool_calls": [
            {"name": "f", "arguments": {"n": "{{ metadata.n * 2 }}"}},
            {"name": "g", "arguments": '{"city": {{ user | tojson }}}'},
        ],
    }
    assert filled(words, ASKED) == {
        "json": {"n": 3, "all": [["get_weather", "look_up"], "n=3", 5], "plain": "{user"},
        "reasoning": "3",
        "tool_calls": [
            {"name": "f", "arguments": {"n": 6}},
            {"name": "g", "arguments": '{"city": "weather in Oslo"}'},
        ],
    }


DOUBLED = "{% set n = namespace(x=[1]) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}x{% endfor %}"
        "{% endfor %}{% endfor %}",
        "{% set r = range(9999) %}{% for i in r %}{% for j in r %}{% for k in r %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
        "{{ user | replace('', 'b' * 3000) | replace('b', 'c' * 3000) }}",
        "{{ (['a' * 9999] * 9999) | join }}",
        "{{ 'x'.join(['a' * 9999] * 9999) }}",
        "{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=9) %}{% for i in range(64) %}{% set n.x = n.x * n.x %}{% endfor %}",
        DOUBLED + "{{ n.x }}",
        DOUBLED + "{{ n.x == [n.x] }}",
        DOUBLED + "{{ n.x | tojson }}",
        DOUBLED.replace("[n.x, n.x]", "{1: n.x, 2: n.x}") + "{{ n.x | string }}",
        "{% set a = 'x' * 900000 %}{% set n = namespace(x=[]) %}"
        "{% for i in range(9999) %}{% set n.x = n.x + [a[1:]] %}{% endfor %}",
        "{% for i in range(9999) %}" + "x" * 9999 + "{% endfor %}",
    ],
)  # fmt: skip
def test_what_would_hang_or_swell_fails_soon(source: str) -> None:
    compiled(source)
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(AnswerFault, match=r"does too much|too large"):
            text(source)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ ''.__class__.__mro__ }}", "no attribute"),
        ("{{ ''['__class__'] }}", "no attribute"),
        ("{{ user.format(1) }}", "no attribute 'format'"),
        ("{{ '%9999999999d' % 1 }}", "% is for numbers"),
        ("{{ user() }}", "str cannot be called"),
        ("{{ range.__call__ }}", "no attribute"),
        ("{{ range }}", "is no text"),
        ("{{ namespace() }}", "is no text"),
        ("{{ messages.append(1) }}", "no attribute 'append'"),
        ("{{ metadata.tenant.x.y }}", "no attribute 'x'"),
        ("a\n{{ 1 / 0 }}", "line 2: division by zero"),
    ],
)
def test_what_reaches_outside_or_is_not_there_fails(source: str, why: str) -> None:
    with pytest.raises(AnswerFault, match=why):
        text(source)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{template: '{{ user '}", "reply: template of text: line 1: unexpected end of template"),
        ("{template: \"a\\n{% for x in tools %}\"}", "line 2: Unexpected end of template"),
        ("{template: '{% include \"/etc/passwd\" %}'}", "templates have no {% include %}"),
        ("{template: '{% import \"os\" as os %}'}", "templates have no {% import %}"),
        ("{template: '{% macro m() %}{{ m() }}{% endmacro %}'}", "templates have no {% macro %}"),
        ("{template: '{{ user | shell }}'}", "No filter named 'shell'"),
        ("{template: '{{ cycler }}'}", "there is no 'cycler'"),
        ("{template: '{{ modell }}'}", "there is no 'modell', did you mean 'model'?"),
        ("{template: 'Hello {user}'}", "{user} is plain text, write {{ user }}"),
        ("{template: true, json: {a: [1, '{{ usr }}']}}", "template of json.a[1]: there is no 'usr'"),
        ("{template: true, tool_calls: [{name: f, arguments: {c: '{{ usr }}'}}]}", "tool_calls[0].arguments.c"),
        ("{template: true, chunks: ['{{ user }}']}", "chunks are no templates"),
        ("{template: a, text: b}", "not text and template"),
        ("{template: '" + "{{ user }}" * 3000 + "'}", "too many expressions"),
        ("{template: '{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}'}", "nested too deeply"),
    ],
)  # fmt: skip
def test_a_wrong_template_is_refused_as_the_file_is_read(written: str, complaint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_text(f"- reply: {written}", "s.yaml")
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("s.yaml:1: ")


def test_a_text_that_is_no_template_keeps_its_braces() -> None:
    (scenario,) = load_text("- reply: 'Write {{ user }} or {% x %}'", "s.yaml")
    assert scenario.answers[0].reply.text == "Write {{ user }} or {% x %}"
    assert scenario.answers[0].fill is None


def test_a_server_without_templates_does_not_import_jinja2() -> None:
    code = (
        "import sys; from fake_llm.scenario_file import load_text; import fake_llm.app, fake_llm.control;"
        "load_text('- reply: a', 's'); sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PIECES = st.sampled_from(
    [
        "{{ ", " }}", "{% ", " %}", "{#", "#}", "user", "tools", "metadata", "x", "range(9999)", "for i in ", "endfor",
        "if ", "else", "endif", "set a = ", "|", "join", "upper", "replace('a', user)", "tojson", "(", ")", "[", "]",
        "{", "}", ":", ",", ".", "'a'", "9", " * ", " ** ", " + ", " ~ ", " == ", " in ", " is defined", "\n", "é",
        "{% for i in range(999) %}", "{% endfor %}", "{{ user }}", "__class__", "loop.index", "namespace(a=1)",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=20), st.booleans())
@example("{% for i in range(999) %}{% for i in range(999) %}{{ user }}{% endfor %}{% endfor %}", "", False)
def test_any_template_is_refused_as_it_is_read_or_answers_or_says_why_not(source: str, user: str, call: bool) -> None:
    reply: dict[str, Any] = {"template": source}
    if call:
        reply = {"template": True, "tool_calls": [{"name": "f", "arguments": {"a": source}}]}
    try:
        scenarios = load_text(json.dumps([{"name": "any", "reply": reply}]), "s.json")
    except ScenarioError as error:
        refused = error.problems[0]
    else:
        refused = ""
    if refused:
        assert refused.startswith("s.json:1: scenarios[0].reply: template of ")
        return
    session = Session("s")
    session.put_in_front(scenarios)
    body = {"model": "m", "messages": [{"role": "user", "content": user}]}
    began = time.thread_time()
    outcome = generate("openai_chat", session, {}, json.dumps(body).encode(), new_stamp())
    assert time.thread_time() - began < 5
    assert outcome.scenario == "any"
    if outcome.status != 200:
        refusal = json.loads(outcome.raw)["error"]
        assert (outcome.status, refusal["code"], outcome.fault) == (400, "scenario_failed", "scenario_failed")
        assert refusal["message"].startswith("The scenario 'any' failed: template of ")
