"""Gemini's embeddings: ``models/{model}:embedContent`` and ``:batchEmbedContents``.

``parse`` takes the body together with what the URL says: ``model``, and whether it is a ``batch``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NoReturn

from fake_llm.dialects.google.fields import as_message, message, repeated, text, whole, wrong
from fake_llm.dialects.wire import to_json
from fake_llm.embedding import embed
from fake_llm.model import Json, Message, ProtocolError, Reply, Stamp, Turn, Usage

PROVIDER = "gemini"

MOST_REQUESTS = 100
DIMENSIONS = {"gemini-embedding": 3_072, "text-embedding": 768, "embedding": 768}
"""The largest dimension by how the model's name begins; it is also the one that is given unasked."""
LARGEST = 3_072

_TASKS = frozenset({
    "TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION",
    "CLUSTERING", "QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
})  # fmt: skip
_DOCUMENT = "RETRIEVAL_DOCUMENT"
_GENERATES = ("gemini-", "gemma-")


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for: its inputs are the contents' texts, a title before its document.

    :raises ProtocolError: Gemini refuses the request.
    """
    model = str(body.get("model") or "").removeprefix("models/")
    if model.startswith(_GENERATES) and "embedding" not in model:
        raise ProtocolError(
            f"models/{model} is not found for API version v1beta, or is not supported for embedContent. Call "
            "ListModels to see the list of available models and their supported methods.",
            status=404,
        )
    inputs = tuple(_input(one, where, model) for one, where in _requests(body, model))
    return Turn(
        "gemini_embeddings", model, (Message("user", "\n".join(inputs)),), inputs=inputs, computed=True, raw=body
    )


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The embeddings in the requests' order, or the one."""
    sizes = [_size(one, turn.model) for one, _ in _requests(turn.raw, turn.model)]
    pairs = zip(turn.inputs, sizes, strict=True)
    found = [f'{{"values":{_numbers(str(content), size)}}}' for content, size in pairs]
    tokens = (replies[0].usage or Usage()).input_tokens
    counted = {"promptTokenCount": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}
    shown = f'"embeddings":[{",".join(found)}]' if turn.raw.get("batch") else f'"embedding":{found[0]}'
    return f'{{{shown},"usageMetadata":{to_json(counted)}}}'.encode("ascii")


def _requests(body: Mapping[str, Json], model: str) -> list[tuple[Mapping[str, Json], str]]:
    """Each request for an embedding with its place, "" where it is the body itself."""
    if not body.get("batch"):
        return [(body, "")]
    written = repeated(body, "requests")
    if not written:
        raise ProtocolError("* BatchEmbedContentsRequest.requests: requests is not specified\n")
    if len(written) > MOST_REQUESTS:
        raise ProtocolError(
            f"* BatchEmbedContentsRequest.requests: at most {MOST_REQUESTS} requests can be in one batch\n"
        )
    found: list[tuple[Mapping[str, Json], str]] = []
    for place, one in enumerate(written):
        request = as_message(one, f"requests[{place}]", "EmbedContentRequest")
        named = text(request, "model", f"requests[{place}]") or ""
        if named.removeprefix("models/") != model:
            raise ProtocolError(
                f"* BatchEmbedContentsRequest.requests[{place}].model: the model must be 'models/{model}', as in the "
                "batch's own path\n"
            )
        found.append((request, f"requests[{place}]"))
    return found


def _input(request: Mapping[str, Json], at: str, model: str) -> str:
    dot = f"{at}." if at else ""
    _size(request, model)
    task = (text(request, "taskType", at or "embed_content_request") or "").upper()
    if task and task not in _TASKS:
        wrong(f"{dot}task_type", "TaskType", task)
    title = text(request, "title", at or "embed_content_request")
    if title and task != _DOCUMENT:
        _refuse("title", f"a title is only allowed where task_type is {_DOCUMENT}")
    content = message(request, "content", f"{dot}content", "Content")
    said: list[str] = []
    for place, written in enumerate(repeated(content, "parts")):
        where = f"{dot}content.parts[{place}]"
        part = as_message(written, where, "Part")
        words = text(part, "text", where)
        if words is None and any(value is not None for value in part.values()):
            raise ProtocolError(f"The model models/{model} only supports text.")
        said.append(words or "")
    if not any(said):
        _refuse("content", "content is empty" if content else "content is not specified")
    return "\n".join([title, *said] if title else said)


def _size(request: Mapping[str, Json], model: str) -> int:
    """The dimension of the answer, in range."""
    largest = next((size for name, size in DIMENSIONS.items() if model.startswith(name)), LARGEST)
    asked = whole(request, "outputDimensionality", "embed_content_request", -(2**31), 2**31 - 1)
    if asked is not None and not 1 <= asked <= largest:
        _refuse("output_dimensionality", f"output_dimensionality must be in the range [1, {largest}].")
    return largest if asked is None else asked


def _refuse(field: str, why: str) -> NoReturn:
    raise ProtocolError(f"* EmbedContentRequest.{field}: {why}\n")


@lru_cache(maxsize=512)
def _numbers(content: str, dimension: int) -> str:
    """The vector as JSON; kept, as one test after the other embeds the same documents."""
    return to_json([round(value, 9) for value in embed(content, dimension)])
