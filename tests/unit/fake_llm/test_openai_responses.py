"""OpenAI Responses as pure functions: request to turn, reply to events, what is kept of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_llm.dialects import canonical_path, dialect, keeping, route
from fake_llm.finish import finish
from fake_llm.kept import MAX_CONVERSATION, Kept
from fake_llm.model import Citation, ProtocolError, Reply, ServerTool, Stamp, ToolCall, Turn
from fake_llm.tokens import count_input

STAMP = Stamp("0123456789abcdef01234567", 1_700_000_000)
RESPONSES = keeping("openai_responses")
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
LAX = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "42"}


def turn(kept: Kept | None = None, /, **more: Any) -> Turn:
    return RESPONSES.resume({"model": "m", "input": "hello", **more}, {}, kept or Kept())


def events(asked: Turn, reply: Reply) -> list[dict[str, Any]]:
    """The decoded events, their framing and their numbers checked on the way."""
    raw = b"".join(RESPONSES.stream(asked, [finish(reply, asked, count_input(asked))], STAMP)).decode()
    found = []
    assert raw.endswith("\n\n")
    for block in raw.split("\n\n")[:-1]:
        name, data = block.split("\n")
        decoded = json.loads(data.removeprefix("data: "))
        assert name == f"event: {decoded['type']}"
        found.append(decoded)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def rendered(asked: Turn, reply: Reply) -> Any:
    return json.loads(RESPONSES.render(asked, [finish(reply, asked, count_input(asked))], STAMP))


SERVER_TOOLS = st.builds(
    ServerTool,
    st.sampled_from(["web_search", "file_search", "code_execution", "mcp", "image_generation", "unheard_of"]),
    st.dictionaries(
        st.sampled_from(["query", "url", "pattern", "code", "server", "tool", "arguments"]), st.text(max_size=9)
    ),
    st.none() | st.text(max_size=9),
    st.sampled_from(["", "down"]),
)
REPLIES = st.builds(
    Reply,
    text=st.text(max_size=40),
    tool_calls=st.lists(
        st.builds(ToolCall, st.sampled_from(["f", "g"]), st.text(max_size=30), custom=st.booleans()), max_size=3
    ).map(tuple),
    refusal=st.none() | st.text(max_size=20),
    finish=st.sampled_from(["stop", "length", "content_filter", "failed", "tool_calls"]),
    chunk_size=st.none() | st.integers(1, 9),
    reasoning=st.text(max_size=20),
    server_tools=st.lists(SERVER_TOOLS, max_size=3).map(tuple),
    citations=st.lists(st.builds(Citation, st.text(max_size=2), url=st.sampled_from(["", "u"])), max_size=2).map(tuple),
)


@given(REPLIES, st.booleans(), st.booleans(), st.booleans())
def test_a_stream_adds_up_to_the_whole_response(reply: Reply, logprobs: bool, limited: bool, thinks: bool) -> None:
    """Every item is added, filled and done in its turn, and what the events say is what the response says."""
    more: dict[str, Any] = {"include": ["message.output_text.logprobs"]} if logprobs else {}
    if thinks:
        more["reasoning"] = {"summary": "auto"}
    more["tools"] = [FUNCTION, {"type": "mcp", "server_label": "s"}]
    asked = turn(stream=True, **more, **({"max_output_tokens": 16} if limited else {}))
    found = events(asked, reply)
    assert found[-1]["response"] == rendered(asked, reply)
    assert found[-1]["type"] == f"response.{found[-1]['response']['status']}"
    output = found[-1]["response"]["output"]
    done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    added = [event["item"]["id"] for event in found if event["type"] == "response.output_item.added"]
    assert done == output
    assert added == [item["id"] for item in output]
    for place, item in enumerate(output):
        deltas = [event["delta"] for event in found if "delta" in event and event["output_index"] == place]
        if item["type"] == "reasoning":
            assert "".join(deltas) == "".join(part["text"] for part in item["summary"])
        elif item["type"] == "message":
            part = item["content"][0]
            assert "".join(deltas) == part.get("text", part.get("refusal"))
            noted = [event["annotation"] for event in found if event["type"].endswith("annotation.added")]
            assert noted == part.get("annotations", [])
        elif item["type"] in ("function_call", "custom_tool_call", "mcp_call", "code_interpreter_call"):
            assert "".join(deltas) == item.get("arguments", item.get("input", item.get("code")))


def test_only_the_last_item_of_an_incomplete_response_is_incomplete() -> None:
    calls = (ToolCall("f", '{"a": 1}'), ToolCall("f", '{"b": ' + "1, " * 50 + "}"))
    output = rendered(turn(max_output_tokens=30), Reply(text="so", tool_calls=calls))["output"]
    assert [item["status"] for item in output] == ["completed", "completed", "incomplete"]


def test_a_conversation_with_tools_is_understood() -> None:
    asked = turn(
        instructions="be brief",
        input=[
            {"role": "developer", "content": "and kind"},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": "https://x.test/y.png"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "let me see"}]},
            CALL,
            {**CALL, "call_id": "d"},
            RESULT,
            {**RESULT, "call_id": "d", "output": [{"type": "input_text", "text": "43"}]},
        ],
    )
    assert (asked.system, asked.user, asked.number) == ("be brief\nand kind", "look", 2)
    assert asked.messages[2].attachments == 1
    assert [call.id for call in asked.messages[3].tool_calls] == ["c", "d"]
    assert [(result.call_id, result.text) for result in asked.tool_results] == [("c", "42"), ("d", "43")]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": 7}, "model", "invalid_type"),
        ({"model": ""}, "model", "model_not_found"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": ""}, None, "missing_required_parameter"),
        ({"input": []}, None, "missing_required_parameter"),
        ({"input": [7]}, "input[0]", "invalid_type"),
        ({"input": [{}]}, "input[0]", "invalid_value"),
        ({"input": [{"type": "chat"}]}, "input[0]", "invalid_value"),
        ({"input": [{"role": "tool", "content": ""}]}, "input[0]", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
         "input[0].content[0].type", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]},
         "input[0].content[0]", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
         "input[0].content[0].text", "missing_required_parameter"),
        ({"input": [{**CALL, "name": None}, RESULT]}, "input[0].name", "missing_required_parameter"),
        ({"input": [RESULT]}, "input", None),
        ({"input": [CALL]}, "input", None),
        ({"messages": [{"role": "user", "content": "x"}]}, None, "unsupported_parameter"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value"),
        ({"store": "yes"}, "store", "invalid_type"),
        ({"background": True, "store": False}, "background", "unsupported_parameter"),
        ({"truncation": "some"}, "truncation", "invalid_value"),
        ({"include": ["all"]}, "include[0]", "invalid_value"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
        ({"text": {"verbosity": "x"}}, "text.verbosity", "invalid_value"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema",
         "missing_required_parameter"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": LAX}}},
         "text.format.schema", "invalid_json_schema"),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [{**FUNCTION, "strict": True, "parameters": LAX}]}, "tools[0].parameters",
         "invalid_function_parameters"),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function"}}, "tool_choice.name", "missing_required_parameter"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice", None),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice", None),
        ({"previous_response_id": "x"}, "previous_response_id", "invalid_value"),
        ({"previous_response_id": "resp_x"}, "previous_response_id", "previous_response_not_found"),
    ],
)  # fmt: skip
def test_openai_refuses_with_the_parameter_and_a_code(
    change: dict[str, Any], param: str | None, code: str | None
) -> None:
    with pytest.raises(ProtocolError) as caught:
        turn(**change)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(("lacking", "param"), [("model", "model"), ("input", "input")])
def test_what_is_required_is_missed(lacking: str, param: str) -> None:
    body = {"model": "m", "input": "hello"}
    del body[lacking]
    with pytest.raises(ProtocolError) as caught:
        dialect("openai_responses").parse(body, {})
    assert (caught.value.param, caught.value.code) == (param, "missing_required_parameter")


@pytest.mark.parametrize("item", [{"type": "compaction"}, {"type": "mcp_approval_response", "approve": True}])
def test_a_hosted_item_needs_its_members(item: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        turn(input=[item])
    assert caught.value.code == "missing_required_parameter"


def test_the_end_of_a_conversation_that_is_too_long_is_left_where_truncation_is_wanted() -> None:
    kept = Kept()
    first = RESPONSES.kept_turn(turn(), Reply("hi"), STAMP, kept, MAX_CONVERSATION + 1)
    assert first is not None
    kept.add(first)
    asked = turn(kept, previous_response_id=first.id, truncation="auto", input="more")
    assert [message.text for message in asked.messages] == ["hello", "hi", "more"]
    second = RESPONSES.kept_turn(asked, Reply("ho"), Stamp("f" * 24, 1), kept, 10)
    assert second is not None
    assert (second.earlier, second.size) == (None, 10)


def test_no_conversation_is_known() -> None:
    with pytest.raises(ProtocolError, match="Conversation with id 'conv_1' not found") as caught:
        turn(conversation={"id": "conv_1"})
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/responses", "generate"),
        ("POST", "/v1/v1/responses/", "generate"),
        ("POST", "/responses/input_tokens", "kept"),
        ("GET", "/responses/resp_1", "kept"),
        ("DELETE", "/v1/responses/resp_1", "kept"),
        ("POST", "/responses/resp_1/cancel", "kept"),
        ("GET", "/v1/responses/resp_1/input_items", "kept"),
        ("POST", "/v1/responses/resp_1", None),
        ("GET", "/v1/responses/resp_1/cancel", None),
        ("GET", "/v1/responses", None),
        ("POST", "/v1/responses/compact", "kept"),
        ("POST", "/conversations", "kept"),
        ("GET", "/conversations", None),
        ("DELETE", "/openai/conversations/conv_1/", "kept"),
        ("POST", "/v1/conversations/conv_1/items", "kept"),
        ("GET", "/v1/conversations/conv_1/items/msg_1", "kept"),
        ("POST", "/v1/conversations/conv_1/items/msg_1", None),
        ("GET", "/v1/conversations/conv_1/messages", None),
        ("GET", "/chat/completions/chatcmpl-1", "kept"),
        ("GET", "/v1/chat/completions/chatcmpl-1/messages", "kept"),
        ("GET", "/v1/chat/completions/chatcmpl-1/items", None),
    ],
)
def test_paths_lead_to_what_serves_them(method: str, path: str, operation: str | None) -> None:
    found = route(method, canonical_path(path))
    assert (found.operation if found else None) == operation
