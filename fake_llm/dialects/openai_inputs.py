"""Texts and tokens as OpenAI's endpoints without messages take them, and the refusals that these share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from fake_llm.dialects.openai.refusals import invalid, wrong_type
from fake_llm.model import Input, Json, Message, ProtocolError

MAX_INPUTS = 2_048


def model_of(body: Mapping[str, Json]) -> str:
    """The model that the request names.

    :raises ProtocolError: it names none.
    """
    model = body.get("model")
    if model is None or model == "":
        raise ProtocolError("you must provide a model parameter")
    if not isinstance(model, str):
        wrong_type("model", "string", model)
    return model


def inputs_of(written: Json, param: str, *, empty: bool = False) -> tuple[Input, ...]:
    """A text, several, the tokens of one, or the tokens of several; ``empty``: a text may be "".

    :raises ProtocolError: it is none of these, or there are too many.
    """
    if isinstance(written, str):
        written = [written]
    if not isinstance(written, list) or not written:
        not_valid(param)
    if len(written) > MAX_INPUTS:
        invalid(
            f"Invalid '{param}': array too long. Expected an array with maximum length {MAX_INPUTS}, but got an array "
            f"with length {len(written)} instead.",
            param,
            "array_above_max_length",
        )
    if _are_tokens(written):
        return (tuple(written),)
    if all(isinstance(one, str) and (one or empty) for one in written):
        return tuple(written)
    if all(isinstance(one, list) and one and _are_tokens(one) for one in written):
        return tuple([tuple(one) for one in written])
    return not_valid(param)


def as_message(inputs: tuple[Input, ...]) -> Message:
    """All inputs as one user message, a line each, which is what a scenario's ``user`` test looks at."""
    texts = [one if isinstance(one, str) else " ".join(map(str, one)) for one in inputs]
    return Message("user", "\n".join(texts))


def not_valid(param: str) -> NoReturn:
    """Refuse as the service does whatever is no input; it names no parameter and no code."""
    raise ProtocolError(
        f"'$.{param}' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
    )


def _are_tokens(written: list[Json]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in written)
