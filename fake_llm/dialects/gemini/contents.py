"""The contents of a request as neutral messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from fake_llm.dialects.gemini.media import attachments_of, check_media
from fake_llm.dialects.google.fields import STRUCT, as_message, get, invalid, message, repeated, snake, text
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, Message, ProtocolError, Role, ToolCall, ToolResult

_ROLES: dict[str, Role] = {"": "user", "user": "user", "function": "user", "model": "assistant"}
_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
"""The members of which a part has one."""


def system_of(body: Mapping[str, Json]) -> tuple[Message, ...]:
    """The system instruction, if it says anything.

    :raises ProtocolError: Gemini refuses it.
    """
    written = message(body, "systemInstruction", "system_instruction", "Content")
    said = _parts("system", written, "system_instruction")
    return (said,) if said.text else ()


def contents_of(body: Mapping[str, Json]) -> tuple[Message, ...]:
    """The conversation; what a model said in several contents one after the other is one message.

    :raises ProtocolError: Gemini refuses it.
    """
    written = repeated(body, "contents")
    if not written:
        invalid("contents", "contents is not specified")
    said = [_content(content, f"contents[{place}]") for place, content in enumerate(written)]
    _check_function_responses(said)
    return tuple(_joined(said))


def _content(written: Json, at: str) -> Message:
    content = as_message(written, at, "Content")
    role = text(content, "role", at) or ""
    if role not in _ROLES:
        raise ProtocolError("Please use a valid role: user, model.")
    if not repeated(content, "parts"):
        invalid(f"{at}.parts", "contents.parts must not be empty.")
    return _parts(_ROLES[role], content, at)


def _parts(role: Role, content: Mapping[str, Json], at: str) -> Message:
    texts: list[str] = []
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    attachments = 0
    for place, written in enumerate(repeated(content, "parts")):
        where = f"{at}.parts[{place}]"
        part = as_message(written, where, "Part")
        if not any(value is not None for value in part.values()):
            invalid(f"{where}.data", "required oneof field 'data' must have one initialized field")
        _check_one_kind(part, where)
        said = text(part, "text", where)
        if said is not None:
            if part.get("thought") is not True:
                texts.append(said)
        elif get(part, "functionCall") is not None:
            calls.append(_call(message(part, "functionCall", f"{where}.function_call", "FunctionCall"), where))
        elif get(part, "functionResponse") is not None:
            response = message(part, "functionResponse", f"{where}.function_response", "FunctionResponse")
            results.append(_result(response, where))
            attachments += attachments_of(response, f"{where}.function_response")
        elif get(part, "inlineData") is not None or get(part, "fileData") is not None:
            check_media(part, where)
            attachments += 1
    separator = "" if role == "assistant" else "\n"  # a model's words lie in pieces where they came as a stream
    return Message(role, separator.join(texts), tuple(calls), tuple(results), attachments)


def _check_one_kind(part: Mapping[str, Json], at: str) -> None:
    kinds = [kind for kind in _DATA if get(part, kind) is not None]
    if len(kinds) > 1:
        raise ProtocolError(
            f"Invalid value at '{at}' (oneof), oneof field 'data' is already set. Cannot set '{snake(kinds[1])}'",
            param=at,
        )


def _call(call: Mapping[str, Json], at: str) -> ToolCall:
    arguments = message(call, "args", f"{at}.function_call.args", STRUCT)
    return ToolCall(_name(call, f"{at}.function_call"), to_json(dict(arguments)), _id(call, at))


def _result(response: Mapping[str, Json], at: str) -> ToolResult:
    """What a function answered; the text alone where the answer is only an ``output`` or a ``result``."""
    at = f"{at}.function_response"
    name = _name(response, at)
    answer = dict(message(response, "response", f"{at}.response", STRUCT))
    value: Json = next(iter(answer.values())) if answer.keys() in ({"output"}, {"result"}) else answer
    return ToolResult(_id(response, at) or name, value if isinstance(value, str) else to_json(value))


def _name(written: Mapping[str, Json], at: str) -> str:
    name = text(written, "name", at)
    if not name:
        invalid(f"{at}.name", "Name cannot be empty.")
    return name


def _id(written: Mapping[str, Json], at: str) -> str:
    return text(written, "id", at) or ""


def _check_function_responses(said: list[Message]) -> None:
    """What follows a model's calls answers each of them; calls at the end are not answered yet."""
    turns = _by_speaker(said)
    calls = 0
    for spoken in turns:
        results = sum(len(one.tool_results) for one in spoken)
        if results and not calls:
            raise ProtocolError(
                "Please ensure that function response turn comes immediately after a function call turn."
            )
        if results != calls:
            raise ProtocolError(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = sum(len(one.tool_calls) for one in spoken)


def _joined(said: list[Message]) -> Iterator[Message]:
    """The messages; those that a model said one after the other, being chunks of a stream, as one."""
    for spoken in _by_speaker(said):
        first, *more = spoken
        if first.role != "assistant":
            yield from spoken
            continue
        yield replace(
            first,
            text="".join(one.text for one in spoken),
            tool_calls=tuple(call for one in spoken for call in one.tool_calls),
            attachments=first.attachments + sum(one.attachments for one in more),
        )


def _by_speaker(said: Iterable[Message]) -> Iterator[list[Message]]:
    for _, spoken in groupby(said, lambda one: one.role):
        yield list(spoken)
