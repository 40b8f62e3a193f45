"""Ollama's chat: ``POST /api/chat``. A request that does not say whether to stream is streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.ollama.fields import (
    Options,
    check_keep_alive,
    images_of,
    items,
    members,
    model_of,
    output_of,
    text,
    thinks,
    top_logprobs_of,
    truth,
    wrong,
)
from fake_llm.dialects.ollama.lines import (
    LINES,
    LOADING,
    head,
    line,
    load_reason,
    logprobs,
    said,
    stream_error,
    tail,
)
from fake_llm.dialects.wire import quoted, to_json
from fake_llm.finish import cut_text
from fake_llm.model import Json, Message, Reply, Role, Stamp, Tool, ToolCall, ToolResult, Turn

PROVIDER = "ollama"
STREAM_TYPE = LINES

__all__ = ["PROVIDER", "STREAM_TYPE", "parse", "render", "stream", "stream_error"]

_STRUCT = "ChatRequest"
_MESSAGE = "ChatRequest.messages"
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "assistant": "assistant", "tool": "tool"}


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for; one without messages only loads the model.

    :raises ProtocolError: Ollama refuses the request.
    """
    model = model_of(body, _STRUCT, required=True)
    check_keep_alive(body)
    messages = tuple([_message(one) for one in items(body, "messages", _STRUCT, "api.Message")])
    tools = tuple([_tool(one) for one in items(body, "tools", _STRUCT, "api.Tool")])
    stream = truth(body, "stream", _STRUCT, default=True)
    top_logprobs = top_logprobs_of(body, _STRUCT)
    options = Options(body, _STRUCT)
    thinks(body)
    output = output_of(body)
    if not messages:
        return Turn(LOADING, model, (), computed=True, raw=body)
    return Turn(
        "ollama",
        model,
        messages,
        stream=stream,
        tools=tools,
        output=output,
        max_tokens=options.max_tokens,
        stop=options.stop,
        seed=options.seed,
        top_logprobs=top_logprobs,
        raw=body,
    )


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The one object of a request that does not stream."""
    begin, (reply, *_) = head(turn, stamp), replies
    if turn.computed:
        ending = f'"message":{{"role":"assistant","content":""}},"done":true,"done_reason":"{load_reason(turn)}"'
        return f"{begin},{ending}}}".encode("ascii")
    shown = said(turn, reply, stamp)
    thinking = f',"thinking":{quoted("".join(shown.thoughts))}' if shown.thoughts else ""
    calls = f',"tool_calls":{to_json(shown.calls)}' if shown.calls else ""
    return (
        f'{begin},"message":{{"role":"assistant","content":{quoted(shown.text)}{thinking}{calls}}},{tail(reply)}'
        f"{logprobs(turn, cut_text(shown.text, None))}}}"
    ).encode("ascii")


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The lines: thoughts, words, each call whole, and the end."""
    begin, (reply, *_) = f'{head(turn, stamp)},"message":{{"role":"assistant","content":', replies
    shown = said(turn, reply, stamp)
    events = [line(f'{begin}"","thinking":{quoted(piece)}}},"done":false}}') for piece in shown.thoughts]
    events += [line(f'{begin}{quoted(piece)}}},"done":false{logprobs(turn, [piece])}}}') for piece in shown.words]
    events += [line(f'{begin}"","tool_calls":[{to_json(call)}]}},"done":false}}') for call in shown.calls]
    events.append(line(f'{begin}""}},{tail(reply)}}}'))
    return events


def _message(written: Json) -> Message:
    if not isinstance(written, Mapping):
        wrong(_MESSAGE, written, "api.Message")
    role = text(written, "role", _MESSAGE).lower()
    content = text(written, "content", _MESSAGE)
    attachments = images_of(written, _MESSAGE)
    calls = tuple([_call(one) for one in items(written, "tool_calls", _MESSAGE, "api.ToolCall")])
    tool_name, call_id = text(written, "tool_name", _MESSAGE), text(written, "tool_call_id", _MESSAGE)
    text(written, "thinking", _MESSAGE)
    if role == "tool":
        return Message("tool", "", tool_results=(ToolResult(call_id or tool_name, content),), attachments=attachments)
    return Message(_ROLES.get(role, "user"), content, calls if role == "assistant" else (), attachments=attachments)


def _call(written: Json) -> ToolCall:
    where = f"{_MESSAGE}.tool_calls"
    if not isinstance(written, Mapping):
        wrong(where, written, "api.ToolCall")
    function = members(written.get("function"), f"{where}.function", "api.ToolCallFunction")
    arguments = members(function.get("arguments"), f"{where}.function.arguments", "map[string]interface {}")
    return ToolCall(text(function, "name", f"{where}.function"), to_json(arguments), text(written, "id", where))


def _tool(written: Json) -> Tool:
    where = f"{_STRUCT}.tools"
    if not isinstance(written, Mapping):
        wrong(where, written, "api.Tool")
    text(written, "type", where)
    where = f"{where}.function"
    function = members(written.get("function"), where, "api.ToolFunction")
    schema = members(function.get("parameters"), f"{where}.parameters", "api.ToolFunctionParameters")
    name, description = text(function, "name", where), text(function, "description", where)
    return Tool(name, description, schema or {"type": "object", "properties": {}})
