"""What the tests of the Anthropic dialect share: requests, and what must be true of everything that is answered."""

from __future__ import annotations

from typing import Any

import anthropic
from pydantic import BaseModel

MODEL = "claude-sonnet-5-5"
HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 4_000, "messages": HELLO}
LONG = "The quick brown fox jumps over the lazy dog. " * 150
"""About 1,500 tokens: more than the least that is cached."""


def asked(*content: Any, **more: Any) -> dict[str, Any]:
    """A request whose one user message has these blocks."""
    return {**ASK, "messages": [{"role": "user", "content": list(content)}], **more}


def fully_typed(found: BaseModel) -> bool:
    """Whether the SDK's types know every field, all the way down, and allow every value."""
    type(found).model_validate(found.to_dict())  # type: ignore[attr-defined]
    return _known(found)


def whole_and_streamed(client: anthropic.Anthropic, beta: bool = False, **request: Any) -> list[Any]:
    """The same request's answer twice: whole, and put together from a stream. Every event is looked at."""
    messages: Any = client.beta.messages if beta else client.messages
    whole = messages.create(**request)
    assert fully_typed(whole)
    with messages.create(**request, stream=True) as events:
        seen = list(events)
    assert all(fully_typed(event) for event in seen)
    check_order(seen)
    with messages.stream(**request) as stream:
        streamed = stream.get_final_message()
    return [whole, streamed]


def check_order(events: list[Any]) -> None:
    """Fail unless the events are in the protocol's order: block after block, each with deltas that it may have."""
    assert [events[0].type, *(event.type for event in events[-2:])] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert (events[0].message.content, events[0].message.stop_reason) == ([], None)
    index, kinds, block = -1, [""], ""
    for event in events[1:-2]:
        if event.type == "content_block_start":
            index, kinds, block = index + 1, [], event.content_block.type
        assert event.index == index
        if event.type == "content_block_delta":
            kinds.append(event.delta.type)
        if event.type == "content_block_stop":
            assert set(kinds) <= DELTAS.get(block, set()), (block, kinds)
            if block == "thinking":
                assert (kinds.count("signature_delta"), kinds[-1]) == (1, "signature_delta")


DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    **{kind: {"input_json_delta"} for kind in ("tool_use", "server_tool_use", "mcp_tool_use")},
}


def said(content: Any) -> list[dict[str, Any]]:
    """Blocks as plain objects, without the ids and what is not set, to be compared."""
    return [_plain(block.to_dict()) for block in content]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("id", "tool_use_id", "parsed_output", "retrieved_at")
        return {key: _plain(one) for key, one in value.items() if key not in left_out and one is not None}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _known(value: Any) -> bool:
    if isinstance(value, BaseModel):
        fields = [getattr(value, name) for name in type(value).model_fields]
        return not value.model_extra and all(map(_known, fields))
    if isinstance(value, list | dict):
        return all(map(_known, value.values() if isinstance(value, dict) else value))
    return True
