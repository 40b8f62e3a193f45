"""A legacy completion request as a neutral turn."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.parameters import SAMPLING
from fake_llm.dialects.openai.refusals import Range, Rules, includes_usage, stop_sequences
from fake_llm.dialects.openai_inputs import as_message, inputs_of, model_of
from fake_llm.model import Json, ProtocolError, Turn

DEFAULT_MAX_TOKENS = 16
DEFAULT_PROMPT = "<|endoftext|>"

_RULES = Rules(
    numbers={
        **SAMPLING,
        "best_of": Range("integer", 0, 20),
        "logprobs": Range("integer", 0, 5),
        "max_tokens": Range("integer", 0),
    },
    simple={
        "echo": "boolean",
        "stream": "boolean",
        "logit_bias": "object",
        "stream_options": "object",
        "suffix": "string",
        "user": "string",
    },
    enums={},
)
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
    _RULES.check(body)
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
        stop=stop_sequences(body.get("stop")),
        choices=each * len(prompts),
        seed=body.get("seed"),
        top_logprobs=body.get("logprobs"),
        include_usage=includes_usage(body.get("stream_options"), stream=stream),
        inputs=prompts,
        raw=body,
    )


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
