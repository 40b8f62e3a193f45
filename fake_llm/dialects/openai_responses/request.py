"""A Responses request as a neutral turn, going on from a kept one where the client says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from fake_llm.dialects.openai.refusals import NAME, invalid, missing, wrong_type, wrong_value
from fake_llm.dialects.openai.strict import problem
from fake_llm.dialects.openai_responses.checks import LOGPROBS, check_parameters
from fake_llm.dialects.openai_responses.items import check_calls, messages_of, resolved
from fake_llm.dialects.openai_responses.output import answered, find_item
from fake_llm.dialects.openai_responses.response import conversation_id
from fake_llm.dialects.openai_responses.tools import tool_choice_of, tools_of
from fake_llm.kept import MAX_CONVERSATION, Kept, KeptConversation, KeptTurn
from fake_llm.model import Json, Message, OutputFormat, ProtocolError, Turn

NEWEST = 20
"""How many messages truncation leaves of a conversation that has become too long."""

_NOTHING_KEPT = Kept()


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for, where nothing is kept.

    :raises ProtocolError: OpenAI refuses the request.
    """
    return resume(body, headers, _NOTHING_KEPT)


def resume(body: Mapping[str, Json], headers: Mapping[str, str], kept: Kept) -> Turn:
    """The turn that ``body`` asks for; its messages are those of the previous response, the reply to them, its own.

    Instructions are not carried over from the previous response.

    :raises ProtocolError: OpenAI refuses the request.
    """
    check_model(body)
    return turn_of(body, kept)


def turn_of(body: Mapping[str, Json], kept: Kept) -> Turn:
    """As :func:`resume`, for an endpoint that needs no model.

    :raises ProtocolError: OpenAI refuses the request.
    """
    items = items_of(body, may_lack_input=body.get("conversation") is not None)
    check_parameters(body)
    own = messages_of(resolved(items, lambda item_id: find_item(kept, item_id)))
    before = _before(body, kept)
    if not items and before is None:
        raise ProtocolError(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided.",
            code="missing_required_parameter",
        )
    conversation = [*(before or ()), *own]
    check_calls(conversation)
    instructions = body.get("instructions")
    tools = tools_of(body)
    return Turn(
        dialect="openai_responses",
        model=body.get("model") or "",
        messages=(*([Message("system", instructions)] if instructions else ()), *conversation),
        stream=bool(body.get("stream")),
        tools=tools,
        tool_choice=tool_choice_of(body, tools),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        output=_output(body, conversation),
        max_tokens=body.get("max_output_tokens"),
        top_logprobs=(body.get("top_logprobs") or 0) if LOGPROBS in (body.get("include") or ()) else None,
        raw=body,
    )


def items_of(body: Mapping[str, Json], *, may_lack_input: bool = False) -> list[Json]:
    """The input's items; a string is one message of the user, and an empty one none.

    :raises ProtocolError: it is neither a string nor an array.
    """
    if "input" not in body:
        if may_lack_input:
            return []
        missing("input")
    written = body["input"]
    if isinstance(written, str):
        return [{"role": "user", "content": written}] if written else []
    if not isinstance(written, list):
        wrong_type("input", "one of a string or array of input items", written)
    return written


def earlier_of(body: Mapping[str, Json], kept: Kept) -> KeptTurn | None:
    """The kept turn from which the request goes on.

    :raises ProtocolError: it is not kept, or has become too long.
    """
    previous = body.get("previous_response_id")
    if previous is None:
        return None
    if not previous.startswith("resp"):
        invalid(
            f"Invalid 'previous_response_id': '{previous}'. Expected an ID that begins with 'resp'.",
            "previous_response_id",
            "invalid_value",
        )
    found = kept.find(previous)
    if found is None:
        invalid(
            f"Previous response with id '{previous}' not found.", "previous_response_id", "previous_response_not_found"
        )
    if found.size > MAX_CONVERSATION and body.get("truncation") != "auto":
        too_long()
    return found


def conversation_of(body: Mapping[str, Json], kept: Kept) -> KeptConversation | None:
    """The kept conversation that the request belongs to.

    :raises ProtocolError: there is none of that id, or it has become too long.
    """
    name = conversation_id(body)
    if name is None:
        return None
    found = kept.conversations.find(name)
    if found is None:
        raise ProtocolError(f"Conversation with id '{name}' not found.", status=404)
    if found.size > MAX_CONVERSATION:
        too_long()
    return found


def too_long() -> NoReturn:
    """Refuse to go on from what is longer than any context window."""
    invalid(
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "input",
        "context_length_exceeded",
    )


def _before(body: Mapping[str, Json], kept: Kept) -> Sequence[Message] | None:
    """What was said before the request's own input, None where it goes on from nothing."""
    conversation = conversation_of(body, kept)
    if conversation is not None:
        return messages_of(conversation.items)
    earlier = earlier_of(body, kept)
    if earlier is None:
        return None
    said = conversation_with(earlier)
    return said if earlier.size <= MAX_CONVERSATION else _newest(said)


def _newest(said: Sequence[Message]) -> Sequence[Message]:
    """The end of what was said, from a message of the user on: what truncation leaves."""
    end = said[-NEWEST:]
    first = next((place for place, message in enumerate(end) if message.role == "user"), len(end))
    return end[first:]


def conversation_with(kept: KeptTurn) -> Sequence[Message]:
    """What was said up to and with the reply of a kept turn, without its instructions."""
    said = kept.turn.messages[1:] if kept.turn.raw.get("instructions") else kept.turn.messages
    return (*said, answered(kept.turn, kept.reply, kept.stamp))


def check_model(body: Mapping[str, Json]) -> None:
    """Refuse a request that names no model.

    :raises ProtocolError: in OpenAI's envelope.
    """
    if "model" not in body:
        missing("model")
    model = body["model"]
    if not isinstance(model, str):
        wrong_type("model", "string", model)
    if not model:
        invalid("The requested model '' does not exist.", "model", "model_not_found")


def _output(body: Mapping[str, Json], conversation: Sequence[Message]) -> OutputFormat:
    written = (body.get("text") or {}).get("format")
    if written is None:
        return OutputFormat()
    if not isinstance(written, Mapping):
        wrong_type("text.format", "object", written)
    kind = written.get("type")
    if kind is None:
        missing("text.format.type")
    if kind == "json_object":
        said = (*(m.text for m in conversation), *(r.text for m in conversation for r in m.tool_results))
        if not any("json" in text.lower() for text in said):
            invalid(
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'.",
                "text.format",
            )
        return OutputFormat("json_object")
    if kind == "json_schema":
        return OutputFormat("json_schema", _json_schema(written))
    if kind != "text":
        wrong_value("text.format.type", kind, ("json_object", "text", "json_schema"))
    return OutputFormat()


def _json_schema(written: Mapping[str, Json]) -> Json:
    name, schema = written.get("name"), written.get("schema")
    if name is None:
        missing("text.format.name")
    if not isinstance(name, str):
        wrong_type("text.format.name", "string", name)
    if not NAME.fullmatch(name):
        invalid(
            "Invalid 'text.format.name': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            "text.format.name",
            "invalid_value",
        )
    if schema is None:
        missing("text.format.schema")
    if not isinstance(schema, Mapping):
        wrong_type("text.format.schema", "object", schema)
    if written.get("strict") and (why := problem(schema)):
        invalid(f"Invalid schema for response_format '{name}': {why}", "text.format.schema", "invalid_json_schema")
    return schema
