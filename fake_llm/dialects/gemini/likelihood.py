"""Log probabilities in Gemini's form."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from fake_llm import tokens
from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.model import Json, Turn

MOST = 20

_VOCABULARY = 256_000


def result(turn: Turn, pieces: Sequence[str]) -> dict[str, Json]:
    """The member ``logprobsResult`` for what the pieces say, or nothing where it was not asked for."""
    if turn.top_logprobs is None or not pieces:
        return {}
    entries = _entries(turn, pieces)
    chosen = [_shown(entry) for entry in entries]
    if not turn.top_logprobs:
        return {"logprobsResult": {"chosenCandidates": chosen}}
    top = [{"candidates": [_shown(one) for one in entry["top_logprobs"]]} for entry in entries]
    return {"logprobsResult": {"topCandidates": top, "chosenCandidates": chosen}}


def average(turn: Turn, text: str) -> dict[str, Json]:
    """The member ``avgLogprobs``, over all of the text."""
    if turn.top_logprobs is None or not text:
        return {}
    chosen = [entry["logprob"] for entry in _entries(turn, [text])]
    return {"avgLogprobs": round(sum(chosen) / len(chosen), 6)}


def _entries(turn: Turn, pieces: Sequence[str]) -> list[dict[str, Json]]:
    said = [token for piece in pieces for token in tokens.pieces(piece)]
    return token_logprobs(said, turn.top_logprobs or 0, turn.seed or 0)


def _shown(entry: dict[str, Json]) -> Json:
    token: str = entry["token"]
    number = crc32(token.encode("utf-8", "surrogatepass")) % _VOCABULARY
    return {"token": token, "tokenId": number, "logProbability": entry["logprob"]}
