"""A request for an interaction as a neutral turn, going on from a kept one where the client says so."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from fake_llm.dialects.gemini_interactions.inputs import check_calls, messages_of, steps_of
from fake_llm.dialects.gemini_interactions.interaction import answered
from fake_llm.dialects.gemini_interactions.tools import tool_choice_of, tools_of
from fake_llm.dialects.google.fields import as_message, check_number, get, message, repeated, text, whole, wrong
from fake_llm.kept import MAX_CONVERSATION, Kept, KeptTurn
from fake_llm.model import Json, Message, OutputFormat, ProtocolError, Thinking, Turn

DIALECT = "gemini_interactions"
LEVELS = ("minimal", "low", "medium", "high", "xhigh")

_CONFIG = "generation_config"
_INT32 = 2**31 - 1
_JSON_TYPE = "application/json"
_FORMATS = ("text", "image", "audio", "video", "document")
_HARMS = frozenset({"hate_speech", "dangerous_content", "harassment", "sexually_explicit", "civic_integrity",
                    "image_hate", "image_dangerous_content", "image_harassment", "image_sexually_explicit",
                    "jailbreak"})  # fmt: skip
_THRESHOLDS = frozenset({"block_low_and_above", "block_medium_and_above", "block_only_high", "block_none", "off"})
_NOTHING_KEPT = Kept()


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for, where nothing is kept.

    :raises ProtocolError: Gemini refuses the request.
    """
    return resume(body, headers, _NOTHING_KEPT)


def resume(body: Mapping[str, Json], headers: Mapping[str, str], kept: Kept) -> Turn:
    """The turn that ``body`` asks for; its messages are those of the previous interaction, its reply, and its own.

    Instructions, tools and settings are not carried over.

    :raises ProtocolError: Gemini refuses the request.
    """
    model = _model(body)
    _check_flags(body)
    own = messages_of(steps_of(body))
    earlier = earlier_of(body, kept)
    conversation = [*(conversation_with(earlier) if earlier else ()), *own]
    check_calls(conversation)
    config = message(body, "generationConfig", _CONFIG, "GenerationConfig")
    check_number(config, "temperature", _CONFIG, 0.0, 2.0)
    check_number(config, "topP", _CONFIG, 0.0, 1.0)
    _check_safety(body)
    tools = tools_of(body)
    system = text(body, "systemInstruction", "interaction")
    return Turn(
        dialect=DIALECT,
        model=model,
        messages=(*([Message("system", system)] if system else ()), *conversation),
        stream=body.get("stream") is True,
        tools=tools,
        tool_choice=tool_choice_of(config, tools),
        output=_output(body, model),
        max_tokens=whole(config, "maxOutputTokens", _CONFIG, 1, _INT32),
        stop=_stops(config),
        seed=whole(config, "seed", _CONFIG, -_INT32 - 1, _INT32),
        include_usage=True,
        thinking=_thinking(config),
        raw=body,
    )


def earlier_of(body: Mapping[str, Json], kept: Kept) -> KeptTurn | None:
    """The kept turn from which the request goes on.

    :raises ProtocolError: it is not kept, is not done, or has become too long.
    """
    previous = text(body, "previousInteractionId", "interaction")
    if not previous:
        return None
    found = find(kept, previous)
    if found.ready_at > time.time() and not found.cancelled:
        raise ProtocolError(f"Interaction '{previous}' is still in progress.", type="FAILED_PRECONDITION")
    if found.size > MAX_CONVERSATION:
        raise ProtocolError("The input token count exceeds the maximum number of tokens allowed (1048576).")
    return found


def find(kept: Kept, interaction_id: str) -> KeptTurn:
    """The interaction of that id.

    :raises ProtocolError: there is none.
    """
    found = kept.find(interaction_id)
    if found is None or found.turn.dialect != DIALECT:
        raise ProtocolError(f"Interaction '{interaction_id}' was not found.", status=404)
    return found


def conversation_with(kept: KeptTurn) -> Sequence[Message]:
    """What was said up to and with the reply of a kept turn, without its instructions."""
    said = tuple(one for one in kept.turn.messages if one.role != "system")
    return (*said, answered(kept.reply, kept.stamp))


def _model(body: Mapping[str, Json]) -> str:
    model, agent = text(body, "model", "interaction"), text(body, "agent", "interaction")
    if model and agent:
        raise ProtocolError("Only one of model and agent may be set.")
    if agent:
        raise ProtocolError(f"Agent '{agent}' is not found.", status=404)
    if not model:
        raise ProtocolError("One of model and agent is required.", param="model")
    return model.removeprefix("models/")


def _check_flags(body: Mapping[str, Json]) -> None:
    for name in ("stream", "store", "background"):
        value = body.get(name)
        if value is not None and not isinstance(value, bool):
            wrong(name, "TYPE_BOOL", value)
    if body.get("background") and body.get("store") is False:
        raise ProtocolError("background requires store to be true.", param="background")


def _thinking(config: Mapping[str, Json]) -> Thinking:
    level, summaries = (get(config, name) for name in ("thinkingLevel", "thinkingSummaries"))
    if level is not None and level not in LEVELS:
        wrong(f"{_CONFIG}.thinking_level", "ThinkingLevel", level)
    if summaries is not None and summaries not in ("auto", "none"):
        wrong(f"{_CONFIG}.thinking_summaries", "ThinkingSummaries", summaries)
    return "shown" if summaries == "auto" else "hidden"


def _stops(config: Mapping[str, Json]) -> tuple[str, ...]:
    stops = repeated(config, "stopSequences")
    for place, stop in enumerate(stops):
        if not isinstance(stop, str) or not stop:
            wrong(f"{_CONFIG}.stop_sequences[{place}]", "TYPE_STRING", stop)
    return tuple(stops)


def _check_safety(body: Mapping[str, Json]) -> None:
    for place, written in enumerate(repeated(body, "safetySettings")):
        at = f"safety_settings[{place}]"
        setting = as_message(written, at, "SafetySetting")
        harm, threshold = text(setting, "type", at), text(setting, "threshold", at)
        if harm not in _HARMS:
            wrong(f"{at}.type", "HarmCategory", harm)
        if threshold not in _THRESHOLDS:
            wrong(f"{at}.threshold", "SafetySetting.HarmBlockThreshold", threshold)


def _output(body: Mapping[str, Json], model: str) -> OutputFormat:
    """The form of the text: by a format, one of a list of them, or the older bare schema with a media type."""
    asked = [str(one).lower() for one in repeated(body, "responseModalities")]
    found = OutputFormat()
    for place, written in enumerate(repeated(body, "responseFormat")):
        form = as_message(written, f"response_format[{place}]", "ResponseFormat")
        kind = form.get("type")
        if kind not in _FORMATS:
            found = OutputFormat("json_schema", form)
            continue
        asked.append(str(kind))
        schema = form.get("schema")
        if schema is not None:
            found = OutputFormat("json_schema", as_message(schema, f"response_format[{place}].schema", "Schema"))
        elif get(form, "mimeType") == _JSON_TYPE:
            found = OutputFormat("json_object")
    if others := sorted(set(asked) - {"text"}):
        raise ProtocolError(
            f"The requested combination of response modalities ({', '.join(others).upper()}) is not supported by the "
            f"model. models/{model} accepts the following combination of response modalities:\n* TEXT\n"
        )
    if found.kind == "text" and get(body, "responseMimeType") == _JSON_TYPE:
        return OutputFormat("json_object")
    return found
