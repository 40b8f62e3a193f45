"""What a chat completion's parameters may be that are neither messages nor tools."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.metadata import metadata_of
from fake_llm.dialects.openai.parameters import EFFORTS, SAMPLING, TIERS, VERBOSITIES
from fake_llm.dialects.openai.parts import read_content, required_text, text_reader
from fake_llm.dialects.openai.refusals import Range, Rules, missing, wrong_type, wrong_value
from fake_llm.model import Json, ProtocolError

_RULES = Rules(
    numbers={
        **SAMPLING,
        "max_tokens": Range("integer", 1),
        "max_completion_tokens": Range("integer", 1),
        "top_logprobs": Range("integer", 0, 20),
    },
    simple={
        "stream": "boolean",
        "logprobs": "boolean",
        "parallel_tool_calls": "boolean",
        "store": "boolean",
        "user": "string",
        "safety_identifier": "string",
        "prompt_cache_key": "string",
        "metadata": "object",
        "logit_bias": "object",
        "stream_options": "object",
        "response_format": "object",
        "prediction": "object",
        "web_search_options": "object",
        "audio": "object",
        "modalities": "array",
        "tools": "array",
        "functions": "array",
    },
    enums={"reasoning_effort": EFFORTS, "service_tier": TIERS, "verbosity": VERBOSITIES},
)
_MODALITIES = ("text", "audio")
_SOUNDS = ("wav", "aac", "mp3", "flac", "opus", "pcm16")
_SIZES = ("low", "medium", "high")


def check_parameters(body: Mapping[str, Json]) -> None:
    """Refuse parameters of a wrong type, out of range or of wrong parts. Unknown ones and nulls are let through.

    :raises ProtocolError: in OpenAI's envelope, naming the parameter.
    """
    _RULES.check(body)
    if body.get("metadata") is not None:
        metadata_of(body["metadata"])
    if body.get("prediction") is not None:
        predicted(body)
    if body.get("web_search_options") is not None:
        _check_search(body["web_search_options"])
    if body.get("modalities") is not None:
        _check_modalities(body)


def predicted(body: Mapping[str, Json]) -> str:
    """The text that the client expects the answer to be, or "".

    :raises ProtocolError: the prediction is none.
    """
    prediction = body.get("prediction")
    if prediction is None:
        return ""
    if prediction.get("type") != "content":
        if prediction.get("type") is None:
            missing("prediction.type")
        wrong_value("prediction.type", prediction["type"], ("content",))
    if prediction.get("content") is None:
        missing("prediction.content")
    return read_content(prediction["content"], "prediction.content", {"text": text_reader("text")})[0]


def _check_search(options: Mapping[str, Json]) -> None:
    size = options.get("search_context_size")
    if size is not None and size not in _SIZES:
        wrong_value("web_search_options.search_context_size", size, _SIZES)
    location = options.get("user_location")
    if location is None:
        return
    if not isinstance(location, Mapping):
        wrong_type("web_search_options.user_location", "object", location)
    if required_text(location, "type", "web_search_options.user_location") != "approximate":
        wrong_value("web_search_options.user_location.type", location["type"], ("approximate",))
    if not isinstance(location.get("approximate"), Mapping):
        missing("web_search_options.user_location.approximate")


def _check_modalities(body: Mapping[str, Json]) -> None:
    """Sound is understood as a wish and refused, as by a model that cannot speak."""
    for place, one in enumerate(body["modalities"]):
        if one not in _MODALITIES:
            wrong_value(f"modalities[{place}]", one, _MODALITIES)
    if "audio" not in body["modalities"]:
        return
    audio = body.get("audio")
    if audio is None:
        missing("audio")
    if required_text(audio, "format", "audio") not in _SOUNDS:
        wrong_value("audio.format", audio["format"], _SOUNDS)
    if audio.get("voice") is None:
        missing("audio.voice")
    raise ProtocolError(
        "This model does not support the modalities you provided: 'audio' is no output of it.",
        param="modalities",
        code="unsupported_value",
    )
