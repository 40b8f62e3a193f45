"""What a request says about thoughts, and the signatures that it sends back with function calls."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.google.fields import STRUCT, get, message, repeated, text, whole, wrong
from fake_llm.dialects.google.signatures import fits_call, needs_signatures
from fake_llm.model import Json, ProtocolError, Thinking

LEVELS = ("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")

_AT = "generation_config.thinking_config"
_MOST = 32_768
_ALWAYS_THINKS = "gemini-2.5-pro"


def thinking_of(config: Mapping[str, Json], model: str) -> Thinking:
    """Whether the model thinks, and whether its thoughts are shown; ``config`` is the generation config.

    :raises ProtocolError: Gemini refuses it.
    """
    written = message(config, "thinkingConfig", _AT, "ThinkingConfig")
    shown = get(written, "includeThoughts")
    if shown is not None and not isinstance(shown, bool):
        wrong(f"{_AT}.include_thoughts", "TYPE_BOOL", shown)
    budget = whole(written, "thinkingBudget", _AT, -1, _MOST)
    level = text(written, "thinkingLevel", _AT)
    if level is not None and level.upper() not in LEVELS:
        wrong(f"{_AT}.thinking_level", "ThinkingConfig.ThinkingLevel", level)
    if budget is not None and level is not None:
        raise ProtocolError("You can only set only one of thinking budget and thinking level.")
    if budget == 0:
        if model.startswith(_ALWAYS_THINKS):
            raise ProtocolError("Budget 0 is invalid. This model only works in thinking mode.")
        return "off"
    return "shown" if shown else "hidden"


def check_signatures(body: Mapping[str, Json], model: str) -> None:
    """Refuse a call of the current turn that came back without its signature, where the model needs it.

    The current turn begins at the last content in which the user said something. Of a step, which is all that the
    model said in one go, only the first call has a signature.

    :raises ProtocolError: a signature is missing, or is not that of its call.
    """
    if not needs_signatures(model):
        return
    contents = repeated(body, "contents")
    begin = max((place for place, one in enumerate(contents) if _is_said_by_user(one)), default=-1)
    in_step = False
    for place, content in enumerate(contents[begin + 1 :], begin + 2):
        if content.get("role") != "model":
            in_step = False
            continue
        for part in repeated(content, "parts"):
            call = get(part, "functionCall")
            if call is None:
                continue
            _check_call(call, get(part, "thoughtSignature"), place, required=not in_step)
            in_step = True


def _check_call(call: Mapping[str, Json], signature: Json, place: int, *, required: bool) -> None:
    """``place`` counts the contents from 1."""
    name = str(call.get("name"))
    if not signature:
        if required:
            raise ProtocolError(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{name}` , position {place}. Please refer to "
                "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )
        return
    arguments = message(call, "args", "function_call.args", STRUCT)
    if not isinstance(signature, str) or not fits_call(signature, name, arguments):
        raise ProtocolError("Corrupted thought signature.")


def _is_said_by_user(content: Mapping[str, Json]) -> bool:
    if content.get("role") == "model":
        return False
    return any(get(part, "functionResponse") is None for part in repeated(content, "parts"))
