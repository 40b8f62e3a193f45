"""The input of an interaction, a text, contents or steps, as neutral messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from fake_llm.dialects.google.fields import STRUCT, as_message, get, message, repeated, snake, text, wrong
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, Message, ProtocolError, ToolCall, ToolResult

MEDIA = frozenset({"image", "audio", "video", "document"})
CONTENT = MEDIA | {"text"}

_HOSTED = frozenset({
    "code_execution", "file_search", "google_maps", "google_search", "mcp_server_tool", "processing", "retrieval",
    "tool_search", "url_context",
})  # fmt: skip
_SILENT = frozenset({"thought"} | {f"{name}_{end}" for name in _HOSTED for end in ("call", "result")})
"""Steps of the model that say nothing to a scenario."""


def steps_of(body: Mapping[str, Json]) -> list[dict[str, Json]]:
    """The input as steps: a text is one of the user, and so are contents that follow each other.

    :raises ProtocolError: there is none, or it is something else.
    """
    written = body.get("input")
    if written is None or written in ("", []):
        raise ProtocolError("input is required.", param="input")
    if isinstance(written, str):
        written = [{"type": "text", "text": written}]
    if not isinstance(written, list):
        written = [written]
    items = [dict(as_message(item, f"input[{place}]", "Step")) for place, item in enumerate(written)]
    kinds = [_kind(item, f"input[{place}]") for place, item in enumerate(items)]
    steps: list[dict[str, Json]] = []
    pairs = zip(kinds, items, strict=True)
    for loose, group in groupby(pairs, lambda pair: pair[0] in CONTENT):
        found = [item for _, item in group]
        steps.extend([{"type": "user_input", "content": found}] if loose else found)
    return steps


def messages_of(steps: Sequence[Mapping[str, Json]]) -> list[Message]:
    """The messages that the steps are; what the model said in several of them is one.

    :raises ProtocolError: a step is not as it must be.
    """
    said = [one for place, step in enumerate(steps) for one in _message(step, f"input[{place}]")]
    found: list[Message] = []
    for one in said:
        last = found[-1] if found else None
        if last is not None and last.role == one.role and (one.role == "assistant" or one.tool_results):
            found[-1] = _joined(last, one)
        else:
            found.append(one)
    return found


def check_calls(conversation: Sequence[Message]) -> None:
    """Refuse a result of a call that there was none of, and a call that was passed over.

    :raises ProtocolError: there is one.
    """
    waiting: list[str] = []
    for one in conversation:
        for result in one.tool_results:
            if result.call_id not in waiting:
                raise ProtocolError(f"No function_call step has the id '{result.call_id}'.", param="input")
            waiting.remove(result.call_id)
        if waiting:
            raise ProtocolError(f"The function_call with the id '{waiting[0]}' has no function_result.", param="input")
        waiting = [call.id for call in one.tool_calls]


def _kind(item: Mapping[str, Json], at: str) -> str:
    kind = text(item, "type", at)
    if kind is None:
        if item.get("role") is not None:
            return "turn"
        raise ProtocolError(f"{at}.type is required.", param=f"{at}.type")
    if kind not in CONTENT | _SILENT | {"user_input", "model_output", "function_call", "function_result"}:
        raise ProtocolError(f"Unknown type '{kind}' of {at}.", param=f"{at}.type")
    return kind


def _message(step: Mapping[str, Json], at: str) -> Iterator[Message]:
    kind = _kind(step, at)
    if kind == "turn":
        kind = "model_output" if step.get("role") == "model" else "user_input"
    if kind == "user_input":
        words, attached = _content(step.get("content"), f"{at}.content")
        yield Message("user", "\n".join(words), attachments=attached)
    elif kind == "model_output":
        words, attached = _content(step.get("content"), f"{at}.content")
        yield Message("assistant", "".join(words), attachments=attached)
    elif kind == "function_call":
        arguments = message(step, "arguments", f"{at}.arguments", STRUCT)
        call = ToolCall(_required(step, "name", at), to_json(dict(arguments)), _required(step, "id", at))
        yield Message("assistant", tool_calls=(call,))
    elif kind == "function_result":
        said, attached = _result(step, at)
        yield Message("user", tool_results=(ToolResult(_required(step, "callId", at), said),), attachments=attached)
    else:
        yield Message("assistant")


def _result(step: Mapping[str, Json], at: str) -> tuple[str, int]:
    """The text of a function's result, and how much is attached to it."""
    result = step.get("result")
    if result is None:
        raise ProtocolError(f"{at}.result is required.", param=f"{at}.result")
    if isinstance(result, list):
        words, attached = _content(result, f"{at}.result")
        return "\n".join(words), attached
    if isinstance(result, Mapping) and result.keys() in ({"output"}, {"result"}):
        result = next(iter(result.values()))
    return (result if isinstance(result, str) else to_json(result)), 0


def _content(written: Json, at: str) -> tuple[list[str], int]:
    if isinstance(written, str):
        return [written], 0
    words: list[str] = []
    attached = 0
    for place, item in enumerate(repeated({"content": written}, "content")):
        where = f"{at}[{place}]"
        content = as_message(item, where, "Content")
        kind = text(content, "type", where)
        if kind not in CONTENT:
            raise ProtocolError(f"Unknown type '{kind}' of {where}.", param=f"{where}.type")
        if kind == "text":
            words.append(_required(content, "text", where, empty=True))
            continue
        if text(content, "data", where) is None and text(content, "uri", where) is None:
            raise ProtocolError(f"One of {where}.data and {where}.uri must be set.", param=where)
        attached += 1
    return words, attached


def _required(step: Mapping[str, Json], name: str, at: str, *, empty: bool = False) -> str:
    value, where = get(step, name), f"{at}.{snake(name)}"
    if value is None or (value == "" and not empty):
        raise ProtocolError(f"{where} is required.", param=where)
    if not isinstance(value, str):
        wrong(where, "TYPE_STRING", value)
    return value


def _joined(one: Message, other: Message) -> Message:
    return replace(
        one,
        text=one.text + other.text,
        tool_calls=one.tool_calls + other.tool_calls,
        tool_results=one.tool_results + other.tool_results,
        attachments=one.attachments + other.attachments,
    )
