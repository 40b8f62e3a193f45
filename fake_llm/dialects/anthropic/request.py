"""A Messages request as a neutral turn."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fake_llm.dialects.anthropic.checks import SAMPLING_REMOVED_IN, check_parameters, check_version, refuse
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, Message, OutputFormat, Tool, ToolCall, ToolChoice, ToolResult, Turn

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ATTACHMENTS = frozenset({"image", "document", "container_upload"})
_SEARCH_RESULT = "search_result"


def parse(body: Mapping[str, Json], headers: Mapping[str, str], *, counting: bool = False) -> Turn:
    """The turn that ``body`` asks for; ``counting``: only its tokens are asked for.

    :raises ProtocolError: Anthropic refuses the request.
    """
    version = check_version(headers)
    check_parameters(body, version, counting=counting)
    tools = _tools(body)
    return Turn(
        dialect="anthropic",
        model=body["model"],
        messages=(*_system(body), *_messages(body, version)),
        stream=bool(body.get("stream")),
        tools=tools,
        tool_choice=_tool_choice(body, tools),
        parallel_tool_calls=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        output=_output(body),
        max_tokens=body.get("max_tokens"),
        stop=tuple(body.get("stop_sequences") or ()),
        include_usage=True,
        raw=body,
    )


def _system(body: Mapping[str, Json]) -> tuple[Message, ...]:
    written = body.get("system")
    if written is None:
        return ()
    if isinstance(written, str):
        return (Message("system", written),) if written else ()
    if not isinstance(written, list):
        refuse("system: Input should be a valid string or list")
    texts: list[str] = []
    for place, block in enumerate(written):
        if not isinstance(block, Mapping) or block.get("type") != "text":
            refuse(f"system.{place}.type: Input should be 'text'")
        texts.append(_text(block, f"system.{place}"))
    return (Message("system", "\n".join(texts)),)


def _messages(body: Mapping[str, Json], version: str) -> tuple[Message, ...]:
    written = body.get("messages")
    if written is None:
        refuse("messages: Field required")
    if not isinstance(written, list):
        refuse("messages: Input should be a valid list")
    if not written:
        refuse("messages: at least one message is required")
    messages = tuple(_message(message, f"messages.{place}", version) for place, message in enumerate(written))
    _check_tool_results(messages)
    return messages


def _message(written: Json, where: str, version: str) -> Message:
    if not isinstance(written, Mapping):
        refuse(f"{where}: Input should be a valid dictionary")
    role = written.get("role")
    if role is None:
        refuse(f"{where}.role: Field required")
    if role not in ("user", "assistant", "system"):
        refuse(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    content = written.get("content")
    if content is None:
        refuse(f"{where}.content: Field required")
    if isinstance(content, str):
        return Message(role, content)
    if not isinstance(content, list):
        refuse(f"{where}.content: Input should be a valid string or list")
    if not content and role != "assistant":
        refuse(f"{where}: all messages must have non-empty content except for the optional final assistant message")
    return _blocks(role, content, where, version)


def _blocks(role: Json, content: list[Json], where: str, version: str) -> Message:
    texts: list[str] = []
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    attachments = 0
    for place, block in enumerate(content):
        at = f"{where}.content.{place}"
        if not isinstance(block, Mapping):
            refuse(f"{at}: Input should be a valid dictionary")
        kind = block.get("type")
        if kind is None:
            refuse(f"{at}.type: Field required")
        if kind == "text":
            texts.append(_text(block, at))
            if role == "user" and block.get("citations") and version >= SAMPLING_REMOVED_IN:
                refuse(f"{at}.citations: text blocks with citations are not supported in user messages")
        elif kind == "tool_use":
            calls.append(_tool_use(block, at))
        elif kind == "tool_result":
            results.append(_tool_result(block, at))
        elif kind == "document" and role == "assistant" and version >= SAMPLING_REMOVED_IN:
            refuse(f"{at}: document blocks are not supported in assistant messages")
        elif kind in _ATTACHMENTS:
            attachments += 1
        elif kind == _SEARCH_RESULT:
            texts.append(to_json(block.get("content")))
    return Message(role, "\n".join(texts), tuple(calls), tuple(results), attachments)


def _text(block: Mapping[str, Json], at: str) -> str:
    text = block.get("text")
    if text is None:
        refuse(f"{at}.text: Field required")
    if not isinstance(text, str):
        refuse(f"{at}.text: Input should be a valid string")
    if not text:
        refuse(f"{at.replace('.content.', '.content.')}: text content blocks must be non-empty")
    return text


def _tool_use(block: Mapping[str, Json], at: str) -> ToolCall:
    for name in ("id", "name"):
        if not isinstance(block.get(name), str):
            refuse(f"{at}.tool_use.{name}: Field required")
    if not isinstance(block.get("input"), Mapping):
        refuse(f"{at}.tool_use.input: Input should be a valid dictionary")
    return ToolCall(block["name"], to_json(block["input"]), block["id"])


def _tool_result(block: Mapping[str, Json], at: str) -> ToolResult:
    call_id = block.get("tool_use_id")
    if not isinstance(call_id, str):
        refuse(f"{at}.tool_result.tool_use_id: Field required")
    content = block.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        text = "\n".join(str(part["text"]) for part in parts if part.get("text"))
    elif content is None or isinstance(content, str):
        text = content or ""
    else:
        refuse(f"{at}.tool_result.content: Input should be a valid string or list")
    return ToolResult(call_id, text)


def _check_tool_results(messages: tuple[Message, ...]) -> None:
    """Results answer the calls of the message right before, all of them, in one message."""
    spoken = [(place, message) for place, message in enumerate(messages) if message.role != "system"]
    calls: dict[str, int] = {}
    for place, message in spoken:
        answered = {result.call_id for result in message.tool_results}
        for number, result in enumerate(message.tool_results):
            if result.call_id not in calls:
                refuse(
                    f"messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result.call_id}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message."
                )
        if unanswered := [call for call in calls if call not in answered]:
            refuse(
                f"messages.{calls[unanswered[0]]}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(unanswered)}. Each `tool_use` block must have a corresponding "
                "`tool_result` block in the next message."
            )
        calls = {call.id: place for call in message.tool_calls}


def _tools(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    return tuple(_tool(tool, f"tools.{place}") for place, tool in enumerate(body.get("tools") or ()))


def _tool(written: Json, at: str) -> Tool:
    if not isinstance(written, Mapping):
        refuse(f"{at}: Input should be a valid dictionary")
    name = written.get("name")
    kind = written.get("type")
    if kind not in (None, "custom"):  # a tool that Anthropic defines; its schema is theirs
        return Tool(str(name or kind), str(kind))
    if not isinstance(name, str):
        refuse(f"{at}.custom.name: Field required")
    if not _NAME.fullmatch(name):
        refuse(f"{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = written.get("input_schema")
    if not isinstance(schema, Mapping):
        refuse(f"{at}.custom.input_schema: Field required")
    if schema.get("type") is None:
        refuse(f"{at}.custom.input_schema.type: Field required")
    if schema["type"] != "object":
        refuse(f"{at}.custom.input_schema.type: Input should be 'object'")
    return Tool(name, str(written.get("description") or ""), schema)


def _tool_choice(body: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    choice = body.get("tool_choice")
    if choice is None:
        return ToolChoice()
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        refuse(
            "tool_choice: Input tag found using 'type' does not match any of the expected tags: "
            "'auto', 'any', 'tool', 'none'"
        )
    if kind in ("any", "tool") and not tools:
        refuse("tool_choice: tool_choice may only be specified while providing tools")
    if kind == "any":
        return ToolChoice("required")
    if kind != "tool":
        return ToolChoice("none" if kind == "none" else "auto")
    name = choice.get("name")
    if not isinstance(name, str):
        refuse("tool_choice.tool.name: Field required")
    if name not in {tool.name for tool in tools}:
        refuse(f"tool_choice.tool.name: Tool '{name}' not found in provided tools")
    return ToolChoice("required", (name,), named=True)


def _output(body: Mapping[str, Json]) -> OutputFormat:
    """The format of ``output_config``, or of the beta field that came before it."""
    written = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if not isinstance(written, Mapping):
        return OutputFormat()
    if written.get("type") != "json_schema":
        refuse("output_config.format.type: Input should be 'json_schema'")
    schema = written.get("schema")
    if not isinstance(schema, Mapping):
        refuse("output_config.format.schema: Field required")
    return OutputFormat("json_schema", schema)
