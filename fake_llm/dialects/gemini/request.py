"""A generateContent request as a neutral turn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from fake_llm.dialects.gemini.fields import (
    STRUCT,
    as_message,
    check_number,
    get,
    invalid,
    message,
    repeated,
    text,
    whole,
    wrong,
)
from fake_llm.dialects.gemini.schema import json_schema
from fake_llm.dialects.gemini.tools import tool_choice_of, tools_of
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, Message, OutputFormat, ProtocolError, Role, ToolCall, ToolResult, Turn

CONFIG = "generation_config"
ENUM_TYPE = "text/x.enum"
"""The media type of an answer that is one of a schema's words, without quotes."""

_ROLES: dict[str, Role] = {"": "user", "user": "user", "function": "user", "model": "assistant"}
_NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "topP": (0.0, 1.0),
    "topK": (1, 2**31 - 1),
    "presencePenalty": (-2.0, 2.0),
    "frequencyPenalty": (-2.0, 2.0),
}
_JSON_TYPE = "application/json"
_MEDIA_TYPES = ("text/plain", _JSON_TYPE, "application/xml", "application/yaml", ENUM_TYPE)
_MOST_CANDIDATES = 8
_MOST_STOPS = 5
_INT32 = 2**31 - 1
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body``, with the URL's ``model``, ``stream`` and ``alt`` in it, asks for.

    :raises ProtocolError: Gemini refuses the request.
    """
    config = message(body, "generationConfig", CONFIG, "GenerationConfig")
    for name, (low, high) in _NUMBERS.items():
        check_number(config, name, CONFIG, low, high)
    tools, functions = tools_of(body)
    return Turn(
        dialect="gemini",
        model=str(body.get("model") or "").removeprefix("models/"),
        messages=(*_system(body), *_contents(body)),
        stream=bool(body.get("stream")),
        sse=body.get("alt") == "sse",
        tools=tools,
        tool_choice=tool_choice_of(body, functions),
        output=_output(config),
        max_tokens=whole(config, "maxOutputTokens", CONFIG, 1, _INT32),
        stop=_stops(config),
        choices=whole(config, "candidateCount", CONFIG, 1, _MOST_CANDIDATES) or 1,
        seed=whole(config, "seed", CONFIG, -_INT32 - 1, _INT32),
        include_usage=True,
        raw=body,
    )


def media_type(body: Mapping[str, Json]) -> str:
    """The media type that a checked request asks for, or ""."""
    return str(get(get(body, "generationConfig") or {}, "responseMimeType") or "")


def _system(body: Mapping[str, Json]) -> tuple[Message, ...]:
    written = message(body, "systemInstruction", "system_instruction", "Content")
    said = _parts("system", written, "system_instruction")
    return (said,) if said.text else ()


def _contents(body: Mapping[str, Json]) -> tuple[Message, ...]:
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
        said = text(part, "text", where)
        if said is not None:
            if part.get("thought") is not True:
                texts.append(said)
        elif get(part, "functionCall") is not None:
            calls.append(_call(message(part, "functionCall", f"{where}.function_call", "FunctionCall"), where))
        elif get(part, "functionResponse") is not None:
            response = message(part, "functionResponse", f"{where}.function_response", "FunctionResponse")
            results.append(_result(response, where))
            attachments += len(repeated(response, "parts"))
        elif get(part, "inlineData") is not None or get(part, "fileData") is not None:
            _check_blob(part, where)
            attachments += 1
    separator = "" if role == "assistant" else "\n"  # a model's words lie in pieces where they came as a stream
    return Message(role, separator.join(texts), tuple(calls), tuple(results), attachments)


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


def _check_blob(part: Mapping[str, Json], at: str) -> None:
    blob = message(part, "inlineData", f"{at}.inline_data", "Blob")
    encoded = text(blob, "data", f"{at}.inline_data")
    if encoded is not None and not _BASE64.fullmatch(encoded):
        raise ProtocolError(
            f"Invalid value at '{at}.inline_data.data' (TYPE_BYTES), Base64 decoding failed for "
            f"{to_json(encoded[:40])}",
            param=f"{at}.inline_data.data",
        )


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


def _stops(config: Mapping[str, Json]) -> tuple[str, ...]:
    stops = repeated(config, "stopSequences")
    at = f"{CONFIG}.stop_sequences"
    for place, stop in enumerate(stops):
        if not isinstance(stop, str):
            wrong(f"{at}[{place}]", "TYPE_STRING", stop)
        if not stop:
            invalid(f"{at}[{place}]", "a stop sequence must not be empty.")
    if len(stops) > _MOST_STOPS:
        invalid(at, f"at most {_MOST_STOPS} stop sequences are allowed.")
    return tuple(stops)


def _output(config: Mapping[str, Json]) -> OutputFormat:
    kind = text(config, "responseMimeType", CONFIG) or ""
    if kind and kind not in _MEDIA_TYPES:
        invalid(f"{CONFIG}.response_mime_type", f"allowed mimetypes are {', '.join(_MEDIA_TYPES)}.")
    own, plain = get(config, "responseSchema"), get(config, "responseJsonSchema")
    if own is None and plain is None:
        return OutputFormat("json_object") if kind == _JSON_TYPE else OutputFormat()
    if own is not None and plain is not None:
        invalid(CONFIG, "only one of response_schema and response_json_schema may be set.")
    if kind not in (_JSON_TYPE, ENUM_TYPE):
        invalid(f"{CONFIG}.response_mime_type", f"a response schema needs {_JSON_TYPE} or {ENUM_TYPE}.")
    if own is not None:
        return OutputFormat("json_schema", json_schema(own, f"{CONFIG}.response_schema"))
    return OutputFormat("json_schema", as_message(plain, f"{CONFIG}.response_json_schema", "Schema"))
