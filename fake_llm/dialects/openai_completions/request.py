"""A legacy completion request as a neutral turn."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.refusals import Range, check_number, invalid, json_type, wrong_type
from fake_llm.dialects.openai_inputs import as_message, inputs_of, model_of
from fake_llm.model import Json, ProtocolError, Turn

DEFAULT_MAX_TOKENS = 16
DEFAULT_PROMPT = "<|endoftext|>"
MAX_STOPS = 4

_NUMBERS = {
    "temperature": Range("decimal", 0, 2),
    "top_p": Range("decimal", 0, 1),
    "frequency_penalty": Range("decimal", -2, 2),
    "presence_penalty": Range("decimal", -2, 2),
    "n": Range("integer", 1, 128),
    "best_of": Range("integer", 0, 20),
    "logprobs": Range("integer", 0, 5),
    "max_tokens": Range("integer", 0),
    "seed": Range("integer", -(2**63), 2**63),
}
_SIMPLE = {
    "echo": "boolean",
    "stream": "boolean",
    "logit_bias": "object",
    "stream_options": "object",
    "suffix": "string",
    "user": "string",
}
_CHAT_ONLY = ("gpt-4", "gpt-5", "gpt-6", "chatgpt-", "o1", "o3", "o4")


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for: its prompts as ``inputs``, and all choices of all prompts as ``choices``.

    :raises ProtocolError: OpenAI refuses the request.
    """
    model = model_of(body)
    if model.startswith(_CHAT_ONLY) or (model.startswith("gpt-3.5-turbo") and "instruct" not in model):
        raise ProtocolError(
            "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
            "v1/chat/completions?",
            status=404,
            param="model",
        )
    _check(body)
    prompt = body.get("prompt")
    prompts = inputs_of(DEFAULT_PROMPT if prompt is None else prompt, "prompt", empty=True)
    stream = bool(body.get("stream"))
    each = body.get("n") or 1
    _check_best_of(body.get("best_of"), each, stream=stream)
    limit = body.get("max_tokens")
    return Turn(
        dialect="openai_completions",
        model=model,
        messages=(as_message(prompts),),
        stream=stream,
        max_tokens=DEFAULT_MAX_TOKENS if limit is None else limit,
        stop=_stop(body.get("stop")),
        choices=each * len(prompts),
        seed=body.get("seed"),
        top_logprobs=body.get("logprobs"),
        include_usage=_include_usage(body.get("stream_options"), stream=stream),
        inputs=prompts,
        raw=body,
    )


def _check(body: Mapping[str, Json]) -> None:
    for name, bounds in _NUMBERS.items():
        if body.get(name) is not None:
            check_number(name, body[name], bounds)
    for name, kind in _SIMPLE.items():
        if body.get(name) is not None and json_type(body[name]) != kind:
            wrong_type(name, kind, body[name])


def _check_best_of(best_of: Json, each: int, *, stream: bool) -> None:
    if best_of is None:
        return
    if best_of < each:
        raise ProtocolError(
            "You requested that the server return more choices than it will generate (HINT: you must set 'n' "
            f"(currently {each}) to be at most 'best_of' (currently {best_of})).",
            param="best_of",
        )
    if stream and best_of > each:
        raise ProtocolError("Results of 'best_of' cannot be streamed.", param="best_of")


def _stop(stop: Json) -> tuple[str, ...]:
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    if not isinstance(stop, list) or not all(isinstance(one, str) for one in stop):
        wrong_type("stop", "one of a string or array of strings", stop)
    if len(stop) > MAX_STOPS:
        invalid(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, but got an array "
            f"with length {len(stop)} instead.",
            "stop",
            "array_above_max_length",
        )
    return tuple(stop)


def _include_usage(options: Json, *, stream: bool) -> bool:
    if options is None:
        return False
    if not stream:
        invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    included = options.get("include_usage")
    if included is not None and json_type(included) != "boolean":
        wrong_type("stream_options.include_usage", "boolean", included)
    return bool(included)
