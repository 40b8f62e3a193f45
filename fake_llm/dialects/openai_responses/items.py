"""The items of a Responses request: as messages of the neutral model, and as the API lists them later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fake_llm.dialects.openai.parts import (
    Reader,
    check_detail,
    check_file,
    check_image,
    read_content,
    read_sound,
    required_text,
    text_reader,
)
from fake_llm.dialects.openai.refusals import invalid, missing, wrong_type, wrong_value
from fake_llm.dialects.openai_responses.compaction import replaced_by
from fake_llm.dialects.openai_responses.sealed import opened
from fake_llm.model import Json, Message, ProtocolError, Role, ToolCall, ToolResult

ROLES: dict[str, Role] = {"assistant": "assistant", "system": "system", "developer": "system", "user": "user"}

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
OUTPUTS = ("function_call_output", "custom_tool_call_output")
HOSTED = (
    "additional_tools", "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction",
    "compaction_trigger", "computer_call", "computer_call_output", "configuration_update", "file_search_call",
    "image_generation_call", "local_shell_call", "local_shell_call_output", "mcp_approval_request",
    "mcp_approval_response", "mcp_call", "mcp_list_tools", "program", "program_output", "reasoning", "shell_call",
    "shell_call_output", "tool_search_call", "tool_search_output", "web_search_call",
)  # fmt: skip
"""Items that are taken and say nothing to the fake model."""
TYPES = tuple(sorted((*CALLS, *OUTPUTS, *HOSTED, "item_reference", "message")))

_SAID = ("output_text", "refusal")
_SENT = ("input_text", "input_image", "input_file", "input_audio")
_FILE_DETAILS = ("auto", "low", "high")
_WITH_STATUS = ("function_call", *OUTPUTS, "custom_tool_call")
_PREFIXES = {"message": "msg", "reasoning": "rs", "custom_tool_call": "ctc", "custom_tool_call_output": "ctco"}


def resolved(items: Sequence[Json], look_up: Callable[[str], Mapping[str, Json] | None]) -> list[Json]:
    """``items`` with the kept items in place of the references to them.

    :raises ProtocolError: there is no such item.
    """
    return [_referred(item, f"input[{place}]", look_up) if _is_reference(item) else item
            for place, item in enumerate(items)]  # fmt: skip


def messages_of(items: Sequence[Json], param: str = "input") -> list[Message]:
    """What ``items`` say. Neighbours that the model wrote in one go are one message, and so are their results.

    A compaction stands for what it replaced, and for the items before it.

    :raises ProtocolError: OpenAI refuses an item.
    """
    messages: list[Message] = []
    for place, written in enumerate(items):
        found = _message(written, f"{param}[{place}]")
        if found is None:
            if written["type"] == "compaction":
                messages = replaced_by(written, messages)
            continue
        last = messages[-1] if messages else None
        if last is not None and last.role == found.role and found.role in ("assistant", "tool"):
            messages[-1] = _joined(last, found)
        else:
            messages.append(found)
    return messages


def check_calls(messages: Sequence[Message]) -> None:
    """Refuse a result without its call, and a call without its result."""
    open_calls: dict[str, None] = {}
    answered: set[str] = set()
    for message in messages:
        for call in message.tool_calls:
            open_calls[call.id] = None
        for result in message.tool_results:
            if result.call_id not in open_calls and result.call_id not in answered:
                invalid(f"No tool call found for function call output with call_id {result.call_id}.", "input")
            open_calls.pop(result.call_id, None)
            answered.add(result.call_id)
    if open_calls:
        invalid(f"No tool output found for function call {next(iter(open_calls))}.", "input")


def listed(items: Sequence[Json], stamp_id: str) -> tuple[dict[str, Json], ...]:
    """``items``, which were found right, as the API lists them: each with its id, its status and whole content."""
    return tuple(_listed(item, f"{stamp_id}{place:04x}") for place, item in enumerate(items))


def _is_reference(item: Json) -> bool:
    if not isinstance(item, Mapping):
        return False
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "id" in item and not {"role", "content"} & item.keys())


def _referred(
    reference: Mapping[str, Json], param: str, look_up: Callable[[str], Mapping[str, Json] | None]
) -> Mapping[str, Json]:
    item_id = required_text(reference, "id", param)
    found = look_up(item_id)
    if found is None:
        raise ProtocolError(f"Item with id '{item_id}' not found.", status=404, param="input")
    return found


def _message(written: Json, param: str) -> Message | None:
    if not isinstance(written, Mapping):
        wrong_type(param, "an input item", written)
    kind = written.get("type")
    if kind is None or kind == "message":
        return _said(written, param)
    if not isinstance(kind, str):
        wrong_value(param, "", TYPES)
    if kind in CALLS:
        name, call_id = required_text(written, "name", param), required_text(written, "call_id", param)
        arguments = required_text(written, CALLS[kind], param)
        return Message("assistant", tool_calls=(ToolCall(name, arguments, call_id, kind == "custom_tool_call"),))
    if kind in OUTPUTS:
        call_id = required_text(written, "call_id", param)
        if written.get("output") is None:
            missing(f"{param}.output")
        text, attachments = read_content(written["output"], f"{param}.output", _READERS, _SENT)
        return Message("tool", tool_results=(ToolResult(call_id, text),), attachments=attachments)
    if kind not in HOSTED:
        wrong_value(param, kind, TYPES)
    return _hosted(kind, written, param)


def _hosted(kind: str, written: Mapping[str, Json], param: str) -> Message | None:
    """A question to the client ends a turn of the model; all else says nothing."""
    if kind == "reasoning" and written.get("encrypted_content") is not None:
        opened(written["encrypted_content"])
    elif kind == "compaction":
        required_text(written, "encrypted_content", param)
    elif kind == "mcp_approval_response":
        required_text(written, "approval_request_id", param)
        if not isinstance(written.get("approve"), bool):
            missing(f"{param}.approve")
    return Message("assistant") if kind == "mcp_approval_request" else None


def _said(written: Mapping[str, Json], param: str) -> Message:
    role = written.get("role")
    if not isinstance(role, str) or role not in ROLES:
        wrong_value(param, role if isinstance(role, str) else "", tuple(ROLES))
    if written.get("content") is None:
        missing(f"{param}.content")
    allowed = _SAID if role == "assistant" else _SENT
    text, attachments = read_content(written["content"], f"{param}.content", _READERS, allowed)
    return Message(ROLES[role], text, attachments=attachments)


def _image(part: Mapping[str, Json], param: str) -> None:
    check_detail(part.get("detail"), param)
    if part.get("image_url") is not None:
        check_image(required_text(part, "image_url", param), f"{param}.image_url")
    elif part.get("file_id") is None:
        missing(f"{param}.image_url")


def _file(part: Mapping[str, Json], param: str) -> None:
    check_detail(part.get("detail"), param, _FILE_DETAILS)
    if part.get("file_url") is None:
        check_file(part, param)


_READERS: dict[str, Reader] = {
    "input_text": text_reader("text"),
    "input_image": _image,
    "input_file": _file,
    "input_audio": read_sound,
    "output_text": text_reader("text"),
    "refusal": text_reader("refusal"),
}


def _joined(one: Message, other: Message) -> Message:
    return Message(
        one.role,
        "\n".join(text for text in (one.text, other.text) if text),
        one.tool_calls + other.tool_calls,
        one.tool_results + other.tool_results,
        one.attachments + other.attachments,
    )


def _listed(item: Mapping[str, Json], unique: str) -> dict[str, Json]:
    kind = item.get("type") or "message"
    item_id = item.get("id") or f"{_PREFIXES.get(kind, 'fc')}_{unique}"
    if kind != "message":
        given = {name: value for name, value in item.items() if value is not None}
        return {"id": item_id, **({"status": "completed"} if kind in _WITH_STATUS else {}), **given}
    role = item["role"]
    content = item["content"]
    if isinstance(content, str):
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": content}]
    return {
        "id": item_id,
        "type": "message",
        "status": item.get("status") or "completed",
        "role": role,
        "content": [_part(part) for part in content],
        **({"phase": item["phase"]} if item.get("phase") is not None else {}),
    }


def _part(part: Mapping[str, Json]) -> dict[str, Json]:
    defaults: dict[str, Json] = {"output_text": {"annotations": []}, "input_image": {"detail": "auto"}}
    given = {name: value for name, value in part.items() if value is not None}
    return {**defaults.get(given["type"], {}), **given}
