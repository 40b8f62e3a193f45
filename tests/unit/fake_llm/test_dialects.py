"""The dialects as pure functions: request to turn, reply to bytes, reply to events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_llm.dialects import COMPUTED, DIALECTS, canonical_path, dialect, route
from fake_llm.dialects.wire import arguments_of
from fake_llm.finish import finish
from fake_llm.model import Citation, ProtocolError, Reply, ServerTool, Stamp, ToolCall, Turn
from fake_llm.tokens import count_input

STAMP = Stamp("0123456789abcdef01234567", 1_700_000_000)
VERSION = {"anthropic-version": "2023-06-01"}


def tool(dialect_name: str, name: str = "f") -> dict[str, Any]:
    """A tool without arguments, as the dialect writes it."""
    if dialect_name == "anthropic":
        return {"name": name, "input_schema": {"type": "object"}}
    if dialect_name == "gemini":
        return {"functionDeclarations": [{"name": name}]}
    if dialect_name in ("openai_responses", "gemini_interactions"):
        return {"type": "function", "name": name, "parameters": {"type": "object"}}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def body(name: str = "openai_chat", /, **more: Any) -> dict[str, Any]:
    """A request that the dialect takes; all but one let through what only the others know."""
    if name == "openai_responses":
        return {"model": "m", "max_output_tokens": 1000, "input": "hello", **more}
    said = {"parts": [{"text": "hello"}]}
    gemini = {"contents": [said], "content": said, "generationConfig": {"maxOutputTokens": 1000}}
    asked = {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "hello"}]}
    return {**asked, "prompt": "hello", "input": "hello", **gemini, "options": {"num_predict": 1000}, **more}


def turn(name: str, **more: Any) -> Turn:
    return dialect(name).parse(body(name, **more), VERSION)


def chat_events(asked: Turn, *replies: Reply) -> list[Any]:
    """The decoded chunks of a chat stream, its framing checked on the way."""
    finished = [finish(reply, asked, count_input(asked)) for reply in replies]
    lines = b"".join(dialect("openai_chat").stream(asked, finished, STAMP)).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: ") for line in lines[:-1])
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def message_events(asked: Turn, reply: Reply) -> list[tuple[str, Any]]:
    """The named events of a message stream."""
    raw = b"".join(dialect("anthropic").stream(asked, [finish(reply, asked, count_input(asked))], STAMP)).decode()
    events = []
    for block in raw.split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(name == data["type"] for name, data in events)
    return events


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"openai_completions", "ollama_generate"}))
def test_the_same_conversation_is_the_same_turn_in_every_dialect(name: str) -> None:
    asked = turn(name, stream=True, tools=[tool(name, "look_up")])
    assert (asked.model, asked.user, asked.stream, asked.number) == ("m", "hello", True, 1)
    assert [tool.name for tool in asked.tools] == ["look_up"]
    assert asked.max_tokens == 1000


def test_a_chat_conversation_with_tools_is_understood() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    asked = turn(
        "openai_chat",
        messages=[
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "http://x"}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
    )
    assert (asked.system, asked.user, asked.number) == ("be brief", "look", 2)
    assert asked.messages[1].attachments == 1
    assert [(result.call_id, result.text) for result in asked.tool_results] == [("c1", "42")]


def test_an_anthropic_conversation_with_tools_is_understood() -> None:
    asked = turn(
        "anthropic",
        system=[{"type": "text", "text": "be brief"}],
        messages=[
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]},
        ],
    )
    assert (asked.system, asked.user, asked.number) == ("be brief", "look", 2)
    assert [result.text for result in asked.tool_results] == ["42"]


def test_a_chat_stream_has_role_then_words_then_finish_and_no_usage_unasked() -> None:
    chunks = chat_events(turn("openai_chat", stream=True), Reply("Hello there"))
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert deltas[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(d["delta"]["content"] for d in deltas[1:-1]) == "Hello there"
    assert (deltas[-1]["delta"], deltas[-1]["finish_reason"]) == ({}, "stop")
    assert all(d["finish_reason"] is None for d in deltas[:-1])
    assert not any("usage" in chunk for chunk in chunks)
    assert len({(chunk["id"], chunk["created"], chunk["object"]) for chunk in chunks}) == 1


def test_a_chat_stream_with_usage_has_null_usage_until_a_last_chunk_without_choices() -> None:
    asked = turn("openai_chat", stream=True, stream_options={"include_usage": True})
    *chunks, last = chat_events(asked, Reply("Hello"))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]


def test_streamed_chat_tool_calls_name_themselves_once_and_come_one_after_the_other() -> None:
    asked = turn("openai_chat", stream=True, tools=[tool("openai_chat")])
    reply = Reply(tool_calls=(ToolCall("f", '{"city": "Paris"}'), ToolCall("f", '{"city": "Rome"}')), chunk_size=4)
    chunks = chat_events(asked, reply)
    fragments = [c for chunk in chunks for c in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [f["index"] for f in fragments] == sorted(f["index"] for f in fragments)
    for index, expected in enumerate(['{"city": "Paris"}', '{"city": "Rome"}']):
        first, *rest = [f for f in fragments if f["index"] == index]
        assert (first["type"], first["function"]) == ("function", {"name": "f", "arguments": ""})
        assert all(f.keys() == {"index", "function"} and f["function"].keys() == {"arguments"} for f in rest)
        assert "".join(f["function"]["arguments"] for f in rest) == expected
    assert len({f["id"] for f in fragments if "id" in f}) == 2
    assert chunks[0]["choices"][0]["delta"]["content"] is None
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_streamed_choices_interleave() -> None:
    indexes = [
        c["choices"][0]["index"] for c in chat_events(turn("openai_chat", stream=True, n=2), Reply("a"), Reply("b"))
    ]
    assert indexes == [0, 1, 0, 1, 0, 1]


def test_a_refusal_is_streamed_as_refusal() -> None:
    chunks = chat_events(turn("openai_chat", stream=True), Reply(refusal="I will not"))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("refusal") or "" for delta in deltas) == "I will not"
    assert not any(delta.get("content") for delta in deltas)


def test_a_named_tool_choice_finishes_with_stop_as_the_live_service_does() -> None:
    tools = [tool("openai_chat")]
    for choice, expected in (({"type": "function", "function": {"name": "f"}}, "stop"), ("required", "tool_calls")):
        asked = turn("openai_chat", tools=tools, tool_choice=choice)
        reply = finish(Reply(tool_calls=(ToolCall("f"),)), asked, 1)
        found = json.loads(dialect("openai_chat").render(asked, [reply], STAMP))
        assert found["choices"][0]["finish_reason"] == expected


def test_log_probabilities_belong_to_the_tokens_of_the_text() -> None:
    asked = turn("openai_chat", logprobs=True, top_logprobs=3)
    found = json.loads(dialect("openai_chat").render(asked, [finish(Reply("Hello there"), asked, 1)], STAMP))
    entries = found["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == "Hello there"
    for entry in entries:
        alternatives = entry["top_logprobs"]
        assert len(alternatives) == 3
        assert alternatives[0]["token"] == entry["token"]
        assert [a["logprob"] for a in alternatives] == sorted((a["logprob"] for a in alternatives), reverse=True)
        assert entry["logprob"] < 0


def test_a_message_stream_has_its_events_in_order() -> None:
    asked = turn("anthropic", stream=True, tools=[tool("anthropic")])
    events = message_events(asked, Reply("Hi", (ToolCall("f", '{"a": 1}'), ToolCall("f", "{}"))))
    names = [name for name, _ in events if name != "content_block_delta"]
    block = ["content_block_start", "content_block_stop"]
    assert names == ["message_start", block[0], "ping", block[1], *block, *block, "message_delta", "message_stop"]
    start, end = events[0][1]["message"], events[-2][1]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert end["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert end["usage"]["output_tokens"] > 1
    assert [data["delta"]["partial_json"] for _, data in events if data.get("index") == 2 and "delta" in data] == [""]
    parts = {1: "", 2: ""}
    for name, data in events:
        if name == "content_block_delta" and data["delta"]["type"] == "input_json_delta":
            parts[data["index"]] += data["delta"]["partial_json"]
    assert parts == {1: '{"a": 1}', 2: ""}


@pytest.mark.parametrize(
    ("finish_reason", "chat", "anthropic"),
    [("stop", "stop", "end_turn"), ("length", "length", "max_tokens"), ("content_filter", "content_filter", "refusal")],
)
def test_a_neutral_finish_is_said_in_each_dialects_word(finish_reason: str, chat: str, anthropic: str) -> None:
    for name, expected in (("openai_chat", chat), ("anthropic", anthropic)):
        asked = turn(name)
        found = json.loads(dialect(name).render(asked, [finish(Reply("x", finish=finish_reason), asked, 1)], STAMP))
        assert expected == (found["choices"][0]["finish_reason"] if name == "openai_chat" else found["stop_reason"])


LAX = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": ""}]}, "messages[0].role", "missing_required_parameter"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": 5}, "max_tokens", "invalid_parameter_combination"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tools": [tool("openai_chat", "no spaces")]}, "tools[0].function.name", "invalid_value"),
        (
            {"tools": [tool("openai_chat")], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            None,
        ),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": LAX}}},
            "response_format",
            None,
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, "messages.[0].role", None),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL]}, {"role": "user", "content": "x"}]},
            "messages.[0].role",
            None,
        ),
    ],
)  # fmt: skip
def test_openai_refuses_with_the_parameter_and_a_code(change: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        turn("openai_chat", **change)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages.0.role: Input should be"),
        ({"model": None}, "model: Field required"),
        ({"temperature": 2}, "temperature: range: 0..1"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
            "unexpected `tool_use_id`",
        ),
        (
            {"messages": [{"role": "assistant", "content": [TOOL_USE]}, {"role": "user", "content": "x"}]},
            "without `tool_result` blocks immediately after: t",
        ),
    ],
)  # fmt: skip
def test_anthropic_refuses_in_its_words(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message.replace(".", r"\.")) as caught:
        turn("anthropic", **change)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_anthropic_takes_sampling_parameters_only_under_the_old_version(name: str) -> None:
    module = dialect("anthropic")
    module.parse(body(**{name: 1}), {"anthropic-version": "2023-06-01"})
    with pytest.raises(ProtocolError, match=name):
        module.parse(body(**{name: 1}), {"anthropic-version": "2026-10-21"})


def test_anthropic_demands_its_version_header() -> None:
    with pytest.raises(ProtocolError, match="anthropic-version: header is required"):
        dialect("anthropic").parse(body(), {})


@pytest.mark.parametrize("name", [*DIALECTS, *COMPUTED])
def test_unknown_fields_and_nulls_are_let_through(name: str) -> None:
    optional = ("stop", "temperature", "tools", "tool_choice", "stream", "n", "seed", "response_format", "metadata")
    asked = turn(name, a_field_of_next_year={"x": 1}, **dict.fromkeys(optional))
    assert asked.user == "hello"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "model", "messages", "tools", "tool_choice", "stream", "stream_options", "stop", "n", "response_format",
    "functions", "prompt", "input", "dimensions", "encoding_format", "echo", "best_of", "suffix",
    "function_call", "max_tokens", "logprobs", "system", "stop_sequences", "output_config", "output_format", "thinking",
    "input", "instructions", "text", "reasoning", "include", "previous_response_id", "conversation", "prompt", "store",
    "background", "top_logprobs", "truncation", "max_output_tokens", "options", "format", "think", "keep_alive", "raw",
    "context", "images", "template", "endpoint", "truncate", "structured_outputs", "guided_json",
    "metadata", "prediction", "web_search_options",
    "modalities", "audio", "max_tool_calls", "service_tier",
]  # fmt: skip
KEYS = st.sampled_from(
    ["type", "role", "content", "text", "name", "function", "parameters", "tool_calls", "id", "json_schema", "schema",
     "strict", "format", "allowed_tools", "tools", "mode", "input_schema", "tool_use_id", "input", "custom", "refusal",
     "call_id", "arguments", "output", "effort", "verbosity"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["function", "custom", "text", "user", "assistant", "tool", "tool_use", "tool_result", "json_schema",
     "allowed_tools",
     "image_url", "auto", "any", "required", "document", "object", "function_call", "function_call_output",
     "item_reference", "message", "input_text", "output_text", "input_image", "reasoning", "json_object"]
)  # fmt: skip
LIKELY = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(0, 2),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=10,
)


RICH = Reply(
    "words",
    reasoning="thought",
    server_tools=tuple(
        ServerTool(name, {"query": "q", "code": "1", "server": "s", "tool": "t"}, output)
        for name in ("web_search", "file_search", "code_execution", "mcp", "image_generation", "unheard_of")
        for output in (None, "x", ["x", {"url": "u"}], {"stdout": "1"})
    ),
    citations=(Citation("words", url="u"), Citation(document=0)),
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), JSON | LIKELY, max_size=4)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted({*DIALECTS, *COMPUTED})), change=CHANGES)
def test_any_body_is_a_turn_or_a_refusal_and_never_another_exception(name: str, change: dict[str, Any]) -> None:
    try:
        asked = dialect(name).parse({**body(name), **change}, VERSION)
    except ProtocolError:
        return
    reply = finish(RICH, asked, count_input(asked))
    replies = [reply] * min(asked.choices, 3)
    assert json.loads(dialect(name).render(asked, replies, STAMP))
    assert asked.computed or dialect(name).stream(asked, replies, STAMP)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "//v1//chat/completions",
        "/v1/v1/chat/completions",
        "/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/chat/completions",
        "/openai/deployments/d/chat/completions/",
    ],
)
def test_base_urls_with_and_without_version_and_slash_lead_to_one_path(path: str) -> None:
    assert route("POST", canonical_path(path)) == route("POST", "/v1/chat/completions")


def test_a_path_of_no_provider_has_no_route() -> None:
    assert route("POST", canonical_path("/v1/nothing")) is None
    assert route("GET", canonical_path("/v1/embeddings")) is None


@pytest.mark.parametrize("name", ["openai_chat", "openai_completions"])
@pytest.mark.parametrize("options", [{}, {"include_usage": False}, None])
def test_usage_is_in_a_stream_only_where_it_is_asked_for(name: str, options: Any) -> None:
    assert not turn(name, stream=True, stream_options=options).include_usage
    assert turn(name, stream=True, stream_options={"include_usage": True}).include_usage
    with pytest.raises(ProtocolError, match="only allowed when 'stream'"):
        turn(name, stream_options={"include_usage": True})


@pytest.mark.parametrize(
    ("written", "found"), [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", None), ("{", None), ('{"a": NaN}', None)]
)
def test_arguments_are_an_object_of_json_or_none(written: str, found: dict[str, int] | None) -> None:
    assert arguments_of(ToolCall("f", written)) == found
