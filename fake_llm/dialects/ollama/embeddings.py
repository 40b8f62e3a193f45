"""Ollama's embeddings: ``POST /api/embed`` and, with one ``prompt``, the older ``POST /api/embeddings``.

``parse`` takes the body together with ``endpoint``, by which the path says which of the two is meant.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fake_llm.dialects.ollama.catalogue import kind_of
from fake_llm.dialects.ollama.fields import Options, check_keep_alive, model_of, text, truth, wrong
from fake_llm.dialects.ollama.lines import LOAD_NS, PROMPT_TOKEN_NS
from fake_llm.dialects.wire import quoted, to_json
from fake_llm.embedding import embed
from fake_llm.model import Json, Message, ProtocolError, Reply, Stamp, Turn, Usage
from fake_llm.tokens import pieces

PROVIDER = "ollama"
OLD = "embeddings"

_STRUCT = "EmbedRequest"
_OLD_STRUCT = "EmbeddingRequest"


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for; one without a text only loads the model.

    :raises ProtocolError: Ollama refuses the request.
    """
    old = body.get("endpoint") == OLD
    struct_name = _OLD_STRUCT if old else _STRUCT
    model = model_of(body, struct_name, required=old)
    check_keep_alive(body)
    options = Options(body, struct_name)
    if old:
        prompt = text(body, "prompt", struct_name)
        inputs: tuple[str, ...] = (prompt,) if prompt else ()
    else:
        inputs = _inputs(body.get("input"))
        _dimensions(body)
    longest = kind_of(model).context
    if (asked := options.integer("num_ctx")) is not None and asked > 0:
        longest = min(longest, asked)
    cuts = truth(body, "truncate", struct_name, default=True) and not old
    inputs = tuple([_fitting(one, longest, cuts=cuts, status=500 if old else 400) for one in inputs])
    said = (Message("user", "\n".join(inputs)),) if inputs else ()
    return Turn("ollama_embeddings", model, said, inputs=inputs, computed=True, raw=body)


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The vectors, in the inputs' order; of the older endpoint the one vector."""
    width = kind_of(turn.model).width
    if turn.raw.get("endpoint") == OLD:
        found = [_numbers(str(one), width) for one in turn.inputs]
        return f'{{"embedding":{found[0] if found else "[]"}}}'.encode("ascii")
    if not turn.inputs:
        return f'{{"model":{quoted(turn.model)},"embeddings":[]}}'.encode("ascii")
    asked = _dimensions(turn.raw)
    vectors = ",".join([_numbers(str(one), asked if 0 < asked < width else width) for one in turn.inputs])
    tokens = (replies[0].usage or Usage()).input_tokens
    return (
        f'{{"model":{quoted(turn.model)},"embeddings":[{vectors}],'
        f'"total_duration":{LOAD_NS + tokens * PROMPT_TOKEN_NS},"load_duration":{LOAD_NS},'
        f'"prompt_eval_count":{tokens}}}'
    ).encode("ascii")


def _inputs(written: Json) -> tuple[str, ...]:
    if isinstance(written, str):
        return (written,) if written else ()
    if written is None:
        return ()
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        raise ProtocolError("invalid input type")
    return tuple(written)


def _dimensions(body: Mapping[str, Json]) -> int:
    """How many numbers a vector is to have; 0 or more than the model has: as many as the model has."""
    dimensions = body.get("dimensions")
    if dimensions is None:
        return 0
    if not isinstance(dimensions, int) or isinstance(dimensions, bool):
        wrong(f"{_STRUCT}.dimensions", dimensions, "int")
    return dimensions


def _fitting(content: str, longest: int, *, cuts: bool, status: int) -> str:
    if len(content) <= longest:
        return content
    found = pieces(content)
    if len(found) <= longest:
        return content
    if not cuts:
        raise ProtocolError("the input length exceeds the context length", status=status)
    return "".join(found[:longest])


@lru_cache(maxsize=512)
def _packed(content: str, dimension: int) -> bytes:
    """The vector as float32; kept, as one test after the other embeds the same documents."""
    return struct.pack(f"<{dimension}f", *embed(content, dimension))


def _numbers(content: str, dimension: int) -> str:
    return to_json([round(value, 9) for (value,) in struct.iter_unpack("<f", _packed(content, dimension))])
