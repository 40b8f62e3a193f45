"""Gemini as pure functions: request to turn, reply to bytes, reply to chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_llm.automatic import automatic_reply
from fake_llm.dialects import counting_dialect, dialect
from fake_llm.dialects.gemini.schema import json_schema
from fake_llm.dialects.google.fields import camel, snake
from fake_llm.dialects.wire import json_array
from fake_llm.envelopes import envelope
from fake_llm.finish import finish
from fake_llm.model import ProtocolError, Reply, Stamp, ToolCall, Turn, Usage
from fake_llm.tokens import count_input

STAMP = Stamp("0123456789abcdef01234567", 1_700_000_000)
HELLO: Any = [{"role": "user", "parts": [{"text": "hello"}]}]
F: Any = {"functionDeclarations": [{"name": "f"}, {"name": "g", "parameters": {"type": "OBJECT"}}]}
CALL: Any = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]}


def turn(**more: Any) -> Turn:
    return dialect("gemini").parse({"model": "m", "contents": HELLO, **more}, {})


def answered(part: Any) -> list[Any]:
    return [*HELLO, CALL, {"role": "user", "parts": [{"functionResponse": part}]}]


def rendered(asked: Turn, *replies: Reply) -> Any:
    finished = [finish(reply, asked, count_input(asked)) for reply in replies]
    return json.loads(dialect("gemini").render(asked, finished, STAMP))


def chunks(asked: Turn, *replies: Reply) -> list[Any]:
    finished = [finish(reply, asked, count_input(asked)) for reply in replies]
    events = dialect("gemini").stream(asked, finished, STAMP)
    assert all(event.startswith(b"data: {") and event.endswith(b"\n\n") for event in events)
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


@pytest.mark.parametrize(("one", "other"), [("functionCallingConfig", "function_calling_config"), ("text", "text")])
def test_names_have_two_spellings(one: str, other: str) -> None:
    assert (snake(one), camel(other)) == (other, one)


@pytest.mark.parametrize("spell", [camel, snake])
def test_a_request_is_understood_in_either_spelling(spell: Any) -> None:
    asked = turn(
        **{
            spell("systemInstruction"): {"parts": [{"text": "be brief"}]},
            spell("generationConfig"): {
                spell("maxOutputTokens"): "9", spell("stopSequences"): ["END"], spell("candidateCount"): 2, "seed": 7,
                spell("responseMimeType"): "application/json", spell("responseJsonSchema"): {"type": "object"},
            },
            spell("toolConfig"): {
                spell("functionCallingConfig"): {"mode": "ANY", spell("allowedFunctionNames"): ["g"]}
            },
            "tools": [{spell("functionDeclarations"): [{"name": "f"}, {"name": "g"}]}, {spell("googleSearch"): {}}],
        }
    )  # fmt: skip
    assert (asked.system, asked.user, asked.max_tokens, asked.stop) == ("be brief", "hello", 9, ("END",))
    assert (asked.choices, asked.seed, asked.output.kind) == (2, 7, "json_schema")
    assert [tool.name for tool in asked.tools] == ["f", "g", "googleSearch"]
    assert (asked.tool_choice.mode, asked.tool_choice.names) == ("required", ("g",))


def test_single_values_stand_for_lists() -> None:
    asked = turn(contents={"parts": {"text": "hi"}}, system_instruction={"parts": {"text": "be brief"}})
    assert (asked.user, asked.system) == ("hi", "be brief")


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"result": "17 degrees"}, "17 degrees"),
        ({"output": {"c": 17}}, '{"c":17}'),
        ({"error": "no such city"}, '{"error":"no such city"}'),
        ({"result": 1, "unit": "C"}, '{"result":1,"unit":"C"}'),
        ({}, "{}"),
    ],
)
def test_what_a_function_said_is_text(response: Any, text: str) -> None:
    asked = turn(contents=answered({"name": "f", "response": response}))
    assert [(one.call_id, one.text) for one in asked.tool_results] == [("f", text)]
    assert (asked.number, asked.user, asked.messages[1].tool_calls[0].arguments) == (2, "hello", '{"a":1}')


def test_the_chunks_of_a_streamed_reply_are_one_message_and_thoughts_are_none_of_it() -> None:
    said: list[Any] = [
        {"role": "model", "parts": [{"text": "hmm", "thought": True}, {"text": "Let "}]},
        {"role": "model", "parts": [{"text": "me "}, {"text": "look"}]},
        CALL,
    ]
    parts = [
        {
            "functionResponse": {
                "name": "f",
                "response": {"output": "x"},
                "parts": [{"inlineData": {"mimeType": "image/png"}}],
            }
        }
    ]
    asked = turn(contents=[*HELLO, *said, {"role": "user", "parts": parts}])
    _, spoken, result = asked.messages
    assert (spoken.text, [call.name for call in spoken.tool_calls], asked.number) == ("Let me look", ["f"], 2)
    assert result.attachments == 1


def test_googles_form_of_a_schema_is_a_json_schema() -> None:
    written = {
        "type": "OBJECT",
        "properties": {
            "a": {"type": "STRING", "nullable": True, "minLength": "2"},
            "b": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": 1},
            "c": {"any_of": [{"type": "BOOLEAN"}, {"ref": "#/defs/D"}], "nullable": True},
        },
        "required": ["a"],
        "property_ordering": ["a", "b"],
        "defs": {"D": {"type": "STRING", "enum": ["x"]}},
    }
    assert json_schema(written, "s") == {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"], "minLength": 2},
            "b": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "c": {"anyOf": [{"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/D"}]}, {"type": "null"}]},
        },
        "required": ["a"],
        "$defs": {"D": {"type": "string", "enum": ["x"]}},
    }


def test_googles_own_tools_are_never_called_in_place_of_a_function() -> None:
    asked = turn(tools=[{"googleSearch": {}}, F], toolConfig={"functionCallingConfig": {"mode": "ANY"}})
    assert [call.name for call in automatic_reply(asked).tool_calls] == ["f"]
    assert [tool.name for tool in asked.callable_tools] == ["f", "g"]


def config(**values: Any) -> dict[str, Any]:
    return {"generationConfig": values}


def deep(levels: int) -> dict[str, Any]:
    return {"type": "OBJECT", "properties": {"a": deep(levels - 1)}} if levels else {"type": "STRING"}


def choice(**values: Any) -> dict[str, Any]:
    return {"toolConfig": {"functionCallingConfig": values}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contents": None}, "contents: contents is not specified"),
        ({"contents": "hi"}, "Invalid value at 'contents[0]'"),
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user", "parts": []}]}, "contents[0].parts: contents.parts must not be empty."),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0].data: required oneof field 'data'"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5"),
        ({"contents": [{"parts": [{"inlineData": {"data": "%"}}]}]}, "(TYPE_BYTES), Base64 decoding failed"),
        ({"contents": [*HELLO, CALL, *HELLO]}, "number of function response parts is equal to the number"),
        ({"contents": answered({"response": {}})}, "function_response.name: Name cannot be empty."),
        ({"contents": answered({"name": "f", "response": "x"})}, "(type.googleapis.com/google.protobuf.Struct)"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f"}}]}]}, "comes immediately after a function call"),
        ({"systemInstruction": "be brief"}, "Invalid value at 'system_instruction'"),
        (config(temperature="hot"), "Invalid value at 'generation_config.temperature' (TYPE_FLOAT)"),
        (config(topP=2), "generation_config.top_p: top_p must be in the range [0.0, 1.0]."),
        (config(maxOutputTokens=0), "max_output_tokens must be in the range"),
        (config(maxOutputTokens=1.5), "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), 1.5"),
        (config(candidateCount=9), "candidate_count must be in the range"),
        (config(stopSequences=list("abcdef")), "at most 5 stop sequences"),
        (config(stopSequences=[1]), "Invalid value at 'generation_config.stop_sequences[0]'"),
        (config(responseMimeType="image/png"), "response_mime_type: allowed mimetypes are"),
        (config(responseSchema={"type": "STRING"}), "response_mime_type: a response schema needs application/json"),
        (config(responseMimeType="application/json", responseSchema={"type": "ARRAY"}), "items: missing field."),
        (config(responseMimeType="application/json", responseSchema={"type": "TEXT"}), "v1beta.Type)"),
        (config(responseMimeType="application/json", responseSchema=deep(80)), "maximum allowed nesting depth"),
        (config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}), "only one of"),
        ({"tools": [{"functionDeclarations": [{"name": "no spaces"}]}]}, "Invalid function name."),
        ({"tools": [F, F]}, "Duplicate function declaration found: f"),
        (choice(mode="AUTO"), "Function calling config is set without function_declarations."),
        ({"tools": [F], **choice(mode="MUST")}, "function_calling_config.mode'"),
        ({"tools": [F], **choice(mode="ANY", allowedFunctionNames=["h"])}, "allowed_function_names[0]"),
    ],
)  # fmt: skip
def test_gemini_refuses_in_its_words(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        turn(**change)
    assert message in caught.value.message
    found: Any = envelope("gemini").error_object(caught.value, STAMP)["error"]
    assert (found["code"], found["status"]) == (400, "INVALID_ARGUMENT")
    if message.startswith("Invalid value"):
        violation = found["details"][0]["fieldViolations"][0]
        assert f"'{violation['field']}'" in violation["description"]


def test_the_words_of_a_stream_are_pieces_and_each_call_is_whole() -> None:
    calls = (ToolCall("f", '{"a": 1}'), ToolCall("g", "{}", id="own"))
    *words, first, last = chunks(turn(stream=True, tools=[F]), Reply("Let me look", calls))
    texts = [one["candidates"][0]["content"]["parts"][0]["text"] for one in words]
    assert (len(texts) > 1, "".join(texts)) == (True, "Let me look")
    shown = [one["candidates"][0]["content"]["parts"] for one in (first, last)]
    assert shown[0] == [{"functionCall": {"name": "f", "args": {"a": 1}}}]
    assert shown[1] == [{"functionCall": {"id": "own", "name": "g", "args": {}}}]
    ended = [one["candidates"][0].get("finishReason") for one in (*words, first, last)]
    assert (set(ended[:-1]), ended[-1]) == ({None}, "STOP")


def test_candidates_of_a_stream_interleave_and_share_one_count() -> None:
    asked = turn(stream=True, generationConfig={"candidateCount": 2})
    found = chunks(asked, Reply("a b c"), Reply("x"))
    assert [one["candidates"][0]["index"] for one in found] == [0, 1, 0, 0]
    counts = [one["usageMetadata"]["candidatesTokenCount"] for one in found]
    assert counts == sorted(counts)
    assert counts[-1] == rendered(asked, Reply("a b c"), Reply("x"))["usageMetadata"]["candidatesTokenCount"]


@pytest.mark.parametrize("reply", [Reply(), Reply(finish="content_filter"), Reply(tool_calls=(ToolCall("f", "["),))])
def test_a_reply_without_parts_is_one_chunk(reply: Reply) -> None:
    (chunk,) = chunks(turn(stream=True), reply)
    assert chunk["candidates"] == rendered(turn(), reply)["candidates"]
    assert not (chunk["candidates"][0].get("content") or {}).get("parts")


def test_thoughts_are_counted_beside_what_was_said() -> None:
    found = rendered(turn(), Reply("x", usage=Usage(10, 7, cached_tokens=4, reasoning_tokens=5)))["usageMetadata"]
    assert (found["promptTokenCount"], found["candidatesTokenCount"], found["thoughtsTokenCount"]) == (10, 2, 5)
    assert (found["cachedContentTokenCount"], found["totalTokenCount"]) == (4, 17)


def test_the_last_chunk_has_the_usage_that_was_scripted() -> None:
    found = chunks(turn(stream=True), Reply("a b", usage=Usage(10, 50)))
    assert [one["usageMetadata"]["candidatesTokenCount"] for one in found] == [1, 50]


def test_a_whole_request_may_be_counted() -> None:
    whole = {"contents": HELLO, "systemInstruction": {"parts": [{"text": "be brief"}]}, "tools": [F]}
    counting = counting_dialect("gemini")
    found = json.loads(counting.count_tokens({"generateContentRequest": whole}, {}))
    assert found["totalTokens"] == rendered(turn(**whole), Reply("x"))["usageMetadata"]["promptTokenCount"]
    assert found["totalTokens"] > json.loads(counting.count_tokens({"contents": HELLO}, {}))["totalTokens"]
    with pytest.raises(ProtocolError, match="Only one of"):
        counting.count_tokens({"generateContentRequest": whole, "contents": HELLO}, {})


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [("stop", "STOP"), ("length", "MAX_TOKENS"), ("content_filter", "SAFETY"), ("RECITATION", "RECITATION")],
)
def test_a_finish_is_said_in_geminis_word(finish_reason: str, expected: str) -> None:
    assert rendered(turn(), Reply("x", finish=finish_reason))["candidates"][0]["finishReason"] == expected


def test_a_refusal_may_name_the_reason_of_the_block() -> None:
    found = rendered(turn(), Reply(refusal="no", finish="PROHIBITED_CONTENT"))
    assert found["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert "candidates" not in found


def test_a_call_cut_by_the_limit_is_left_out() -> None:
    asked = turn(generationConfig={"maxOutputTokens": 8}, tools=[F])
    (candidate,) = rendered(asked, Reply(tool_calls=(ToolCall("f", '{"city": "Paris"}'),)))["candidates"]
    assert candidate == {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}


def test_pieces_of_a_json_array_joined_are_the_array() -> None:
    events = [b'data: {"a":1}\n\n', b'data: {"b":2}\n\n']
    assert json.loads(b"".join(json_array(events))) == [{"a": 1}, {"b": 2}]
    begun = json_array(events)[:1] + json_array([b'data: {"c":3}\n\n'], begun=True)
    assert json.loads(b"".join(begun)) == [{"a": 1}, {"c": 3}]


KEYS = st.sampled_from(
    ["role", "parts", "text", "functionCall", "function_response", "name", "args", "response", "id", "inlineData",
     "data", "mode", "allowedFunctionNames", "functionDeclarations", "parameters", "type", "properties", "items",
     "anyOf", "enum", "required", "nullable", "minItems", "responseSchema", "responseMimeType", "stopSequences",
     "maxOutputTokens", "candidateCount", "functionCallingConfig", "temperature", "additionalProperties", "thought",
     "thoughtSignature", "thinkingConfig", "includeThoughts", "thinkingBudget", "responseLogprobs", "logprobs",
     "responseModalities", "category", "threshold", "fileData", "fileUri", "mimeType", "propertyOrdering", "ref"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["user", "model", "f", "ANY", "NONE", "STRING", "OBJECT", "ARRAY", "application/json", "text/x.enum", "3", ""]
)
LIKELY = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-2, 9) | st.floats(allow_nan=False),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "contents",
        "system_instruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "model",
        "stream",
        "alt",
        "safetySettings",
        "cached_content",
    ]
)


@settings(max_examples=300, deadline=None)
@given(change=st.dictionaries(FIELDS, LIKELY, max_size=4))
def test_any_body_is_a_turn_or_a_refusal_and_never_another_exception(change: dict[str, Any]) -> None:
    try:
        asked = turn(**change)
    except ProtocolError:
        return
    assert rendered(asked, *[Reply("words")] * asked.choices)
    assert chunks(asked, *[Reply("words")] * asked.choices)
