"""OpenAI embeddings: ``POST /v1/embeddings``."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fake_llm.dialects.openai.refusals import Range, check_number, invalid, wrong_type, wrong_value
from fake_llm.dialects.openai_inputs import as_message, inputs_of, model_of, not_valid
from fake_llm.dialects.wire import quoted, to_json
from fake_llm.embedding import MAX_DIMENSION, embed
from fake_llm.model import Input, Json, ProtocolError, Reply, Stamp, Turn, Usage
from fake_llm.tokens import count_one

PROVIDER = "openai"

MAX_TOKENS = 8_192
"""Of one input."""
MAX_TOKENS_PER_REQUEST = 300_000

ADA = "ada-002"
"""The model that has one dimension only; a deployment's name may have more around it."""
DIMENSIONS = {ADA: 1_536, "embedding-3-small": 1_536, "embedding-3-large": 3_072}
DEFAULT_DIMENSION = 1_536
"""Of a model that is not known, whose ``dimensions`` may be up to ``MAX_DIMENSION``."""

_FORMATS = ("float", "base64")
_NO_EMBEDDINGS = ("gpt-", "chatgpt-", "o1", "o3", "o4")


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for.

    :raises ProtocolError: OpenAI refuses the request.
    """
    model = model_of(body)
    if model.startswith(_NO_EMBEDDINGS):
        raise ProtocolError("You are not allowed to generate embeddings from this model", status=403)
    if body.get("input") is None:
        not_valid("input")
    inputs = inputs_of(body["input"], "input")
    encoding = body.get("encoding_format")
    if encoding is not None and encoding not in _FORMATS:
        wrong_value("encoding_format", encoding, _FORMATS)
    user = body.get("user")
    if user is not None and not isinstance(user, str):
        wrong_type("user", "string", user)
    _check_dimensions(body.get("dimensions"), model)
    _check_lengths(inputs)
    return Turn("openai_embeddings", model, (as_message(inputs),), inputs=inputs, computed=True, raw=body)


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The list of embeddings, in the inputs' order."""
    dimension = turn.raw.get("dimensions") or _dimensions(turn.model)[0]
    written = _as_base64 if turn.raw.get("encoding_format") == "base64" else _as_numbers
    found = [written(_packed(one, dimension)) for one in turn.inputs]
    items = [f'{{"object":"embedding","index":{place},"embedding":{one}}}' for place, one in enumerate(found)]
    tokens = (replies[0].usage or Usage()).input_tokens
    return (
        f'{{"object":"list","data":[{",".join(items)}],"model":{quoted(turn.model)},'
        f'"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}'
    ).encode("ascii")


def _check_dimensions(dimensions: Json, model: str) -> None:
    if dimensions is None:
        return
    largest = _dimensions(model)[1]
    if not largest:
        raise ProtocolError("This model does not support specifying dimensions.")
    check_number("dimensions", dimensions, Range("integer", 1))
    if dimensions > largest:
        invalid(
            f"Invalid value for 'dimensions' = {dimensions}. Must be less than or equal to {largest}.", "dimensions"
        )


def _check_lengths(inputs: tuple[Input, ...]) -> None:
    total = 0
    for place, one in enumerate(inputs):
        tokens = count_one(one)
        total += tokens
        if tokens > MAX_TOKENS:
            raise ProtocolError(
                f"This model's maximum context length is {MAX_TOKENS} tokens, however you requested {tokens} tokens "
                f"in input[{place}]. Please reduce your prompt."
            )
    if total > MAX_TOKENS_PER_REQUEST:
        raise ProtocolError(
            f"Requested {total} tokens, max {MAX_TOKENS_PER_REQUEST} tokens per request",
            type="max_tokens_per_request",
            code="max_tokens_per_request",
        )


def _dimensions(model: str) -> tuple[int, int]:
    """The dimension of the model's embeddings, and the largest that a request may choose; 0: it may not choose."""
    for name, dimension in DIMENSIONS.items():
        if name in model:
            return dimension, 0 if name == ADA else dimension
    return DEFAULT_DIMENSION, MAX_DIMENSION


@lru_cache(maxsize=512)
def _packed(content: Input, dimension: int) -> bytes:
    """The vector as little-endian float32; kept, as one test after the other embeds the same documents."""
    return struct.pack(f"<{dimension}f", *embed(content, dimension))


def _as_base64(packed: bytes) -> str:
    return f'"{b64encode(packed).decode("ascii")}"'


def _as_numbers(packed: bytes) -> str:
    return to_json([round(value, 9) for (value,) in struct.iter_unpack("<f", packed)])
