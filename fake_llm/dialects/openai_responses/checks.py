"""What a Responses request's simple parameters may be, and what it may hold beside them."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.metadata import metadata_of
from fake_llm.dialects.openai.parameters import EFFORTS, TIERS, VERBOSITIES
from fake_llm.dialects.openai.parts import required_text
from fake_llm.dialects.openai.refusals import Range, Rules, invalid, wrong_type, wrong_value
from fake_llm.model import Json, ProtocolError

LOGPROBS = "message.output_text.logprobs"

_INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    LOGPROBS,
)
_SUMMARIES = ("auto", "concise", "detailed")

_RULES = Rules(
    numbers={
        "temperature": Range("decimal", 0, 2),
        "top_p": Range("decimal", 0, 1),
        "max_output_tokens": Range("integer", 16),
        "max_tool_calls": Range("integer", 1),
        "top_logprobs": Range("integer", 0, 20),
    },
    simple={
        "stream": "boolean",
        "background": "boolean",
        "store": "boolean",
        "parallel_tool_calls": "boolean",
        "instructions": "string",
        "previous_response_id": "string",
        "user": "string",
        "safety_identifier": "string",
        "prompt_cache_key": "string",
        "prompt_cache_retention": "string",
        "text": "object",
        "reasoning": "object",
        "prompt": "object",
        "metadata": "object",
        "stream_options": "object",
        "tools": "array",
        "include": "array",
    },
    enums={
        "truncation": ("auto", "disabled"),
        "service_tier": (*TIERS, "ultrafast"),
    },
)


def check_parameters(body: Mapping[str, Json]) -> None:
    """Refuse parameters of a wrong type, out of range, or of another API. Unknown ones and nulls are let through.

    :raises ProtocolError: in OpenAI's envelope, naming the parameter.
    """
    _RULES.check(body)
    if body.get("messages") is not None:
        raise ProtocolError(
            "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to 'input'.",
            code="unsupported_parameter",
        )
    for place, wanted in enumerate(body.get("include") or ()):
        if wanted not in _INCLUDABLE:
            wrong_value(f"include[{place}]", wanted, _INCLUDABLE)
    _check_word(body, "reasoning", "effort", EFFORTS)
    _check_word(body, "reasoning", "summary", _SUMMARIES)
    _check_word(body, "text", "verbosity", VERBOSITIES)
    if body.get("background") and body.get("store") is False:
        invalid("Background responses must be stored: 'store' may not be false.", "background", "unsupported_parameter")
    metadata_of(body.get("metadata"))
    if body.get("prompt") is not None:
        name = required_text(body["prompt"], "id", "prompt")
        raise ProtocolError(f"Prompt with id '{name}' not found.", status=404, param="prompt")
    _check_conversation(body)


def _check_conversation(body: Mapping[str, Json]) -> None:
    conversation = body.get("conversation")
    if conversation is None:
        return
    if isinstance(conversation, Mapping):
        required_text(conversation, "id", "conversation")
    elif not isinstance(conversation, str):
        wrong_type("conversation", "one of a string or object", conversation)
    if body.get("previous_response_id") is not None:
        raise ProtocolError(
            "Mutually exclusive parameters: 'previous_response_id', 'conversation'. Ensure you are only providing one "
            "of: 'previous_response_id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        )


def _check_word(body: Mapping[str, Json], parameter: str, name: str, words: tuple[str, ...]) -> None:
    word = (body.get(parameter) or {}).get(name)
    if word is not None and word not in words:
        wrong_value(f"{parameter}.{name}", word, words)
