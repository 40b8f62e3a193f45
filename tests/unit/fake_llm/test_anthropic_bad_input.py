"""Whatever stands in a Messages request, it is read or refused."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fake_llm.dialects.anthropic import parse, render, stream
from fake_llm.finish import finish
from fake_llm.model import Citation, ProtocolError, Reply, ServerTool, ToolCall, Turn
from fake_llm.outcome import new_stamp

VERSION = {"anthropic-version": "2026-10-21"}
MARK = {"type": "ephemeral", "ttl": "1h"}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"}
CITED = {**DOCUMENT, "citations": {"enabled": True}, "cache_control": MARK}
BLOCKS = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
SEARCH = {"type": "search_result", "source": "u", "title": "t", "content": [{"type": "text", "text": "x"}]}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "x"}, IMAGE, SEARCH]}
RAN = [
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
]
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}
REQUEST: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 3_000,
    "system": [{"type": "text", "text": "x", "cache_control": MARK}],
    "thinking": {"type": "adaptive", "display": "summarized"},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["x"],
    "output_config": {"effort": "low"},
    "tool_choice": {"type": "auto"},
    "container": {"id": "c"},
    "tools": [
        {"name": "f", "input_schema": SCHEMA, "strict": True},
        {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": False}}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "mcp_toolset", "mcp_server_name": "m"},
    ],
    "messages": [
        {"role": "user", "content": [CITED, BLOCKS, IMAGE, SEARCH, {"type": "text", "text": "x"}]},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, *RAN, USE]},
        {"role": "user", "content": [RESULT]},
        {"role": "system", "content": "x"},
    ],
}
REPLY = Reply(
    "one two",
    (ToolCall("f"), ToolCall("screenshot")),
    reasoning="y",
    server_tools=(ServerTool("web_search"), ServerTool("tool_search"), ServerTool("code_execution")),
    citations=(Citation("one", document=0), Citation("two", document=1), Citation("two", url="u")),
)
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", " ", "x", [], [1], ["x"], [None], {}, {"type": "x"}, {"x": []}]
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside of ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ((*at, key), *places(inner, (*at, key)))]


def read_or_refusal(asked: dict[str, Any]) -> Turn | ProtocolError:
    """What the dialect makes of a request."""
    try:
        return parse(asked, VERSION)
    except ProtocolError as error:
        return error


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(places(REQUEST)), JUNK), max_size=2))
def test_whatever_stands_in_it_is_read_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    asked = copy.deepcopy(REQUEST)
    for path, junk in changes:
        holder = asked
        try:
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = copy.deepcopy(junk)
        except (KeyError, IndexError, TypeError):
            continue
    turn = read_or_refusal(asked)
    if isinstance(turn, ProtocolError):
        assert (turn.status, turn.type) == (400, "invalid_request_error")
        return
    reply = finish(REPLY, turn, turn.input_tokens or 0)
    whole = json.loads(render(turn, [reply], new_stamp()))
    assert whole["usage"]["input_tokens"] > 0
    assert stream(turn, [reply], new_stamp())[-1].startswith(b"event: message_stop")


def test_the_request_before_any_change_is_read() -> None:
    turn = parse(REQUEST, VERSION)
    assert (turn.thinking, turn.number, len(turn.tools)) == ("always", 2, 18)
