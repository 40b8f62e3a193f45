"""Interactions and embeddings of Gemini as pure functions: any body is a turn, or refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fake_llm.dialects import dialect
from fake_llm.finish import finish
from fake_llm.model import Citation, ProtocolError, Reply, ServerTool, Stamp, ToolCall
from fake_llm.tokens import count_input

STAMP = Stamp("0123456789abcdef01234567", 1_700_000_000)
REPLY = Reply(
    "a word",
    (ToolCall("f", '{"a": 1}'),),
    reasoning="hm",
    citations=(Citation("word", url="https://example.org/"), Citation("other")),
    server_tools=(ServerTool("code_execution", {"code": 1}), ServerTool("web_search", {"query": None})),
)
KEYS = st.sampled_from(
    ["type", "role", "content", "text", "data", "uri", "id", "name", "arguments", "call_id", "callId", "result",
     "parameters", "mode", "tools", "allowed_tools", "tool_choice", "thinking_level", "thinking_summaries", "schema",
     "mime_type", "stop_sequences", "max_output_tokens", "threshold", "parts", "title", "taskType", "requests",
     "outputDimensionality", "model"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["text", "image", "user_input", "model_output", "function_call", "function_result", "thought", "user", "model",
     "function", "google_search", "any", "auto", "f", "c", "RETRIEVAL_DOCUMENT", "models/m", "m", ""]
)  # fmt: skip
LIKELY = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-2, 9) | st.floats(allow_nan=False),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["input", "tools", "generation_config", "response_format", "response_modalities", "safety_settings", "stream",
     "background", "store", "model", "system_instruction", "previous_interaction_id", "content", "title", "batch",
     "requests", "outputDimensionality", "taskType"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(["gemini_interactions", "gemini_embeddings"]),
    change=st.dictionaries(FIELDS, LIKELY, max_size=4),
)
@example("gemini_interactions", {"safety_settings": {"type": []}})
def test_any_body_is_a_turn_or_a_refusal_and_never_another_exception(name: str, change: dict[str, Any]) -> None:
    module = dialect(name)
    body = {"model": "m", "input": "hello", "content": {"parts": [{"text": "x"}]}, **change}
    try:
        asked = module.parse(body, {})
    except ProtocolError:
        return
    replies = [finish(REPLY, asked, count_input(asked))]
    json.loads(module.render(asked, replies, STAMP))
    if not asked.computed:
        events = b"".join(module.stream(asked, replies, STAMP)).decode().split("\n\n")
        assert events[-2:] == ["event: done\ndata: [DONE]", ""]


def test_events_are_named_as_they_say_and_numbered() -> None:
    module = dialect("gemini_interactions")
    asked = module.parse({"model": "m", "input": "hello"}, {})
    *events, _end, _ = b"".join(module.stream(asked, [finish(REPLY, asked, 1)], STAMP)).decode().split("\n\n")
    for number, block in enumerate(events):
        name, data = block.split("\n")
        said = json.loads(data.removeprefix("data: "))
        assert (name, said["event_id"]) == (f"event: {said['event_type']}", f"evt_{number}")
