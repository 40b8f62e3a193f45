"""A chat completion request as a neutral turn."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.refusals import (
    NAME,
    includes_usage,
    invalid,
    missing,
    stop_sequences,
    wrong_type,
    wrong_value,
)
from fake_llm.dialects.openai.strict import problem
from fake_llm.dialects.openai_chat.checks import check_parameters
from fake_llm.dialects.openai_chat.compatible import guided_output
from fake_llm.dialects.openai_chat.contents import contents
from fake_llm.dialects.openai_chat.tools import tool_choice_of, tools_of
from fake_llm.dialects.openai_inputs import model_of
from fake_llm.model import (
    PLAIN_TEXT,
    Json,
    Message,
    OutputFormat,
    Role,
    ToolCall,
    ToolResult,
    Turn,
)

ROLES: dict[str, Role] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for.

    :raises ProtocolError: OpenAI refuses the request.
    """
    model = model_of(body)
    check_parameters(body)
    messages = _messages(body)
    tools = tools_of(body)
    stream = bool(body.get("stream"))
    return Turn(
        dialect="openai_chat",
        model=model,
        messages=messages,
        stream=stream,
        tools=tools,
        tool_choice=tool_choice_of(body, tools),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        output=_output(body),
        max_tokens=_max_tokens(body),
        stop=stop_sequences(body.get("stop")),
        choices=body.get("n") or 1,
        seed=body.get("seed"),
        top_logprobs=_top_logprobs(body),
        include_usage=includes_usage(body.get("stream_options"), stream=stream),
        raw=body,
    )


def _messages(body: Mapping[str, Json]) -> tuple[Message, ...]:
    written = body.get("messages")
    if written is None:
        missing("messages")
    if not isinstance(written, list):
        wrong_type("messages", "an array of objects", written)
    if not written:
        invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    messages = tuple([_message(message, f"messages[{place}]") for place, message in enumerate(written)])
    if any(message.tool_calls or message.tool_results for message in messages):
        _check_tool_results(messages)
    return messages


def _message(written: Json, param: str) -> Message:
    if not isinstance(written, dict):
        wrong_type(param, "object", written)
    role = written.get("role")
    if role is None:
        missing(f"{param}.role")
    if not isinstance(role, str) or role not in ROLES:
        wrong_value(f"{param}.role", role, ("system", "assistant", "user", "function", "tool", "developer"))
    calls = _calls(written, param) if role == "assistant" else ()
    content = written.get("content")
    if content is None and role != "assistant":
        invalid(f"Invalid value for 'content': expected a string, got null. ({param}.content)", f"{param}.content")
    text, attachments = ("", 0) if content is None else contents(content, param, role)
    if role in ("tool", "function"):
        call_id = written.get("tool_call_id" if role == "tool" else "name")
        if not isinstance(call_id, str):
            missing(f"{param}.{'tool_call_id' if role == 'tool' else 'name'}")
        return Message("tool", "", tool_results=(ToolResult(call_id, text),))
    return Message(ROLES[role], text, calls, attachments=attachments)


def _calls(written: Mapping[str, Json], param: str) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    listed = written.get("tool_calls")
    if listed is not None and not isinstance(listed, list):
        wrong_type(f"{param}.tool_calls", "array", listed)
    for place, call in enumerate(listed or ()):
        where = f"{param}.tool_calls[{place}]"
        if not isinstance(call, Mapping):
            wrong_type(where, "object", call)
        if not isinstance(call.get("id"), str):
            missing(f"{where}.id")
        custom = call.get("type") == "custom"
        below = call.get("custom" if custom else "function")
        if not isinstance(below, Mapping) or not isinstance(below.get("name"), str):
            missing(f"{where}.{'custom' if custom else 'function'}")
        arguments = below.get("input" if custom else "arguments")
        calls.append(ToolCall(below["name"], arguments if isinstance(arguments, str) else "", call["id"], custom))
    if isinstance(written.get("function_call"), Mapping):
        legacy = written["function_call"]
        name = str(legacy.get("name", ""))
        calls.append(ToolCall(name, str(legacy.get("arguments", "")), name))
    return tuple(calls)


def _check_tool_results(messages: tuple[Message, ...]) -> None:
    """Each tool message answers a call of the assistant message before it, and each call is answered."""
    open_calls: dict[str, str] = {}
    for place, message in enumerate(messages):
        for result in message.tool_results:
            if result.call_id not in open_calls and not _is_answered_already(messages, place, result):
                invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message "
                    "with 'tool_calls'.",
                    f"messages.[{place}].role",
                )
            open_calls.pop(result.call_id, None)
        if message.role == "tool":
            continue
        _refuse_unanswered(open_calls)
        open_calls = {call.id: f"messages.[{place}].role" for call in message.tool_calls}
    _refuse_unanswered({i: p for i, p in open_calls.items() if messages[-1].role != "assistant"})


def _is_answered_already(messages: tuple[Message, ...], place: int, result: ToolResult) -> bool:
    """Two results for one call: the live service takes them."""
    before = next((m for m in reversed(messages[:place]) if m.role != "tool"), None)
    return before is not None and any(call.id == result.call_id for call in before.tool_calls)


def _refuse_unanswered(open_calls: Mapping[str, str]) -> None:
    if open_calls:
        invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(open_calls),
            next(iter(open_calls.values())),
        )


def _output(body: Mapping[str, Json]) -> OutputFormat:
    written = body.get("response_format")
    if written is None:
        return guided_output(body)
    kind = written.get("type")
    if kind == "json_object":
        if "json" not in _all_text(body).lower():
            invalid(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
                "messages",
            )
        return OutputFormat("json_object")
    if kind == "json_schema":
        return OutputFormat("json_schema", _json_schema(written.get("json_schema")))
    if kind != "text":
        if kind is None:
            missing("response_format.type")
        wrong_value("response_format.type", kind, ("json_object", "json_schema", "text"))
    return PLAIN_TEXT


def _json_schema(written: Json) -> Json:
    if not isinstance(written, Mapping):
        missing("response_format.json_schema")
    name, schema = written.get("name"), written.get("schema")
    if not isinstance(name, str):
        missing("response_format.json_schema.name")
    if not NAME.fullmatch(name):
        invalid(
            "Invalid 'response_format.json_schema.name': string does not match pattern. Expected a string that "
            "matches the pattern '^[a-zA-Z0-9_-]+$'.",
            "response_format.json_schema.name",
            "invalid_value",
        )
    if schema is not None and not isinstance(schema, Mapping):
        wrong_type("response_format.json_schema.schema", "object", schema)
    if written.get("strict") and (why := problem(schema)):
        invalid(f"Invalid schema for response_format '{name}': {why}", "response_format")
    return schema or {}


def _all_text(body: Mapping[str, Json]) -> str:
    written = [(message.get("content"), message["role"]) for message in body["messages"]]
    return " ".join(contents(content, "messages", role)[0] for content, role in written if content is not None)


def _max_tokens(body: Mapping[str, Json]) -> int | None:
    old, new = body.get("max_tokens"), body.get("max_completion_tokens")
    if old is not None and new is not None:
        invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    return old if new is None else new


def _top_logprobs(body: Mapping[str, Json]) -> int | None:
    """How many alternatives to show beside each token's log probability; None: no log probabilities."""
    top = body.get("top_logprobs")
    if not body.get("logprobs"):
        if top is not None:
            invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
        return None
    return top or 0
