"""Log probabilities that look right: made of the token and the seed, the likeliest token first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from zlib import crc32

from fake_llm.model import Json

_OTHERS = (" the", " a", " and", ".", ",", " to", " of", " in", " is", " that", " it", " for", " on", " as", " with",
           " was", " at", " by", " an", " be", " this")  # fmt: skip


def token_logprobs(pieces: Sequence[str], top: int, seed: int) -> list[dict[str, Json]]:
    """An entry for each piece, with ``top`` alternatives, of which the piece itself is the first."""
    return [_entry(piece, top, seed) for piece in pieces]


def _entry(piece: str, top: int, seed: int) -> dict[str, Json]:
    likelihood = 0.6 + 0.39 * (crc32(piece.encode("utf-8", "surrogatepass"), seed & 0xFFFFFFFF) % 1000) / 1000
    chosen = _token(piece, likelihood)
    alternatives = [chosen] if top else []
    left = 1 - likelihood
    for other in (word for word in _OTHERS if word != piece):
        if len(alternatives) >= top:
            break
        left /= 2
        alternatives.append(_token(other, left))
    return {**chosen, "top_logprobs": alternatives}


def _token(piece: str, likelihood: float) -> dict[str, Json]:
    return {
        "token": piece,
        "logprob": round(math.log(likelihood), 6),
        "bytes": list(piece.encode("utf-8", "replace")),
    }
