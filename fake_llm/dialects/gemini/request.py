"""A generateContent request as a neutral turn."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fake_llm.dialects.gemini import likelihood
from fake_llm.dialects.gemini.contents import contents_of, system_of
from fake_llm.dialects.gemini.safety import check_safety_settings
from fake_llm.dialects.gemini.schema import json_schema
from fake_llm.dialects.gemini.thinking import check_signatures, thinking_of
from fake_llm.dialects.gemini.tools import tool_choice_of, tools_of
from fake_llm.dialects.google.fields import (
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
from fake_llm.model import Json, OutputFormat, ProtocolError, Turn

CONFIG = "generation_config"
ENUM_TYPE = "text/x.enum"
"""The media type of an answer that is one of a schema's words, without quotes."""

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
_CACHE = re.compile(r"cachedContents/[A-Za-z0-9_-]+")
_MODALITIES = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body``, with the URL's ``model``, ``stream`` and ``alt`` in it, asks for.

    :raises ProtocolError: Gemini refuses the request.
    """
    config = message(body, "generationConfig", CONFIG, "GenerationConfig")
    for name, (low, high) in _NUMBERS.items():
        check_number(config, name, CONFIG, low, high)
    tools, functions = tools_of(body)
    model = str(body.get("model") or "").removeprefix("models/")
    messages = (*system_of(body), *contents_of(body))
    _check_cache(body)
    _check_modalities(config, model)
    check_safety_settings(body)
    check_signatures(body, model)
    return Turn(
        dialect="gemini",
        model=model,
        messages=messages,
        stream=bool(body.get("stream")),
        sse=body.get("alt") == "sse",
        tools=tools,
        tool_choice=tool_choice_of(body, functions),
        output=_output(config),
        max_tokens=whole(config, "maxOutputTokens", CONFIG, 1, _INT32),
        stop=_stops(config),
        choices=whole(config, "candidateCount", CONFIG, 1, _MOST_CANDIDATES) or 1,
        seed=whole(config, "seed", CONFIG, -_INT32 - 1, _INT32),
        top_logprobs=_logprobs(config),
        include_usage=True,
        thinking=thinking_of(config, model),
        raw=body,
    )


def media_type(body: Mapping[str, Json]) -> str:
    """The media type that a checked request asks for, or ""."""
    return str(get(get(body, "generationConfig") or {}, "responseMimeType") or "")


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


def _logprobs(config: Mapping[str, Json]) -> int | None:
    wanted = get(config, "responseLogprobs")
    if wanted is not None and not isinstance(wanted, bool):
        wrong(f"{CONFIG}.response_logprobs", "TYPE_BOOL", wanted)
    top = whole(config, "logprobs", CONFIG, 0, likelihood.MOST)
    if top and not wanted:
        invalid(f"{CONFIG}.logprobs", "logprobs is only allowed where response_logprobs is true.")
    return (top or 0) if wanted else None


def _check_modalities(config: Mapping[str, Json], model: str) -> None:
    asked = repeated(config, "responseModalities")
    for place, one in enumerate(asked):
        if not isinstance(one, str) or one.upper() not in _MODALITIES:
            wrong(f"{CONFIG}.response_modalities[{place}]", "GenerationConfig.Modality", one)
    others = sorted({one.upper() for one in asked} - {"TEXT", _MODALITIES[0]})
    if others:
        shown = ", ".join(dict.fromkeys(one.upper() for one in asked))
        raise ProtocolError(
            f"The requested combination of response modalities ({shown}) is not supported by the model. "
            f"models/{model} accepts the following combination of response modalities:\n* TEXT\n"
        )


def _check_cache(body: Mapping[str, Json]) -> None:
    """There is no cached content here, so that none is found."""
    name = get(body, "cachedContent")
    if not name:
        return
    if not isinstance(name, str):
        wrong("cached_content", "TYPE_STRING", name)
    if not _CACHE.fullmatch(name):
        invalid("cached_content", f"Invalid CachedContent name: {name}")
    raise ProtocolError("CachedContent not found (or permission denied)", status=403)


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
