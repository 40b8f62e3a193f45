"""Embeddings without a model: texts that share words, or parts of words, point in similar directions.

A text is its words, the runs of letters inside them, and its pairs of neighbouring words. Each of these features is
hashed to places and signs, and the sum is brought to length 1, so that the cosine of two texts is about the share
of features that they have in common. Hashes are of the features' bytes: every process gives the same vector.
What it cannot do is in ``docs/fake_llm.md``.

A vector cut short and brought to length 1 again is the vector of the smaller dimension, as with the real models:
a feature has a place in the first 64 dimensions, one in the next 64, one in the 128 after these, and so on, each as
heavy as its share of the dimensions.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

MAX_DIMENSION = 4096

WORD_WEIGHT = 0.8
RUNS_WEIGHT = 1.0
"""Of all runs of letters in a word together: what makes ``refund`` and ``refunds`` similar."""
PAIR_WEIGHT = 0.4
RARE_LETTERS = 4
"""Shorter words say little, and count for less."""

_BLOCKS = ((0, 64), (64, 64), (128, 128), (256, 256), (512, 512), (1024, 1024), (2048, 2048))
"""Start and size of the parts of a vector; each size is a power of two."""
_WORD = re.compile(r"[^\W_]{1,64}")
_DENSE = re.compile(r"[\u0e00-\u0eff\u2e80-\ud7ff\uf900-\ufaff]")
"""Writing without blanks between words, or with a syllable or word in one character."""
_COMMON = frozenset([
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "before",
    "being", "but", "by", "can", "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her",
    "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "may", "me", "might", "more", "most", "my",
    "no", "nor", "not", "of", "on", "one", "or", "our", "out", "over", "own", "s", "same", "she", "should", "so",
    "some", "such", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "too", "under", "until", "up", "us", "very", "was", "we", "were", "what", "when", "where", "which",
    "while", "who", "whom", "why", "will", "with", "would", "you", "your",
])  # fmt: skip
_COMMON_WEIGHT = 0.15

Direction = Iterable[tuple[int, float]]
"""Places of a vector and what is added there."""


def embed(content: str | Sequence[int], dimension: int) -> tuple[float, ...]:
    """The vector of length 1 for a text, or for a text's tokens.

    Case, punctuation and white space make no difference. Tokens are features as they are, for there is no
    vocabulary to turn them into words: the tokens of a text are similar to other tokens, not to the text.

    :raises ValueError: ``dimension`` is not in 1 to ``MAX_DIMENSION``.
    """
    if not 1 <= dimension <= MAX_DIMENSION:
        raise ValueError(f"dimension {dimension} is not in 1 to {MAX_DIMENSION}")
    vector = [0.0] * MAX_DIMENSION
    parts = _words(content) if isinstance(content, str) else [f"#{token}" for token in content]
    for part, count in Counter(parts).items():
        direction = zip(*_of_word(part), strict=True) if isinstance(content, str) else _direction(part)
        _add(vector, direction, 1 + math.log(count))
    for (left, right), count in Counter(pairwise(parts)).items():
        weight = PAIR_WEIGHT * math.sqrt(_weight(left) * _weight(right))
        _add(vector, _direction(f"{left} {right}"), weight * (1 + math.log(count)))
    return _of_length_1(vector[:dimension], parts)


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(folded) or [char for char in folded if not char.isspace()]


def _weight(word: str) -> float:
    if word in _COMMON:
        return _COMMON_WEIGHT
    if word.isascii() and word.isalpha() and len(word) < RARE_LETTERS:
        return len(word) / RARE_LETTERS
    return 1.0


@lru_cache(maxsize=2_048)
def _of_word(word: str) -> tuple[array[int], array[float]]:
    """A word's own direction together with those of the runs of letters in it: places, and values."""
    weight = _weight(word)
    runs = _runs(word) if weight > _COMMON_WEIGHT else []
    sums = {place: WORD_WEIGHT * weight * value for place, value in _direction(word)}
    for run in runs:
        share = RUNS_WEIGHT * weight / math.sqrt(len(runs))
        for place, value in _direction(run):
            sums[place] = sums.get(place, 0.0) + share * value
    return array("H", sums.keys()), array("d", sums.values())


def _runs(word: str) -> list[str]:
    """Runs of 3 and 4 letters with the word's ends marked, or of 1 and 2 characters in dense writing."""
    if _DENSE.search(word):
        return [*word, *(word[at : at + 2] for at in range(len(word) - 1))]
    marked = f"<{word}>"
    return [marked[at : at + size] for size in (3, 4) for at in range(len(marked) - size + 1)]


def _direction(feature: str) -> list[tuple[int, float]]:
    """A place in each block, plus or minus the root of the block's share, so that it weighs as its size does."""
    digest = blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=2 * len(_BLOCKS)).digest()
    found: list[tuple[int, float]] = []
    for number, (start, size) in enumerate(_BLOCKS):
        drawn = int.from_bytes(digest[2 * number : 2 * number + 2], "little")
        value = math.sqrt(size / MAX_DIMENSION)
        found.append((start + drawn % size, value if drawn & 0x8000 else -value))
    return found


def _add(vector: list[float], direction: Direction, weight: float) -> None:
    for place, value in direction:
        vector[place] += weight * value


def _of_length_1(vector: list[float], parts: Sequence[str]) -> tuple[float, ...]:
    length = math.sqrt(sum(value * value for value in vector))
    if length:
        return tuple([value / length for value in vector])
    # no feature falls into these dimensions, or there is none: any direction will do, if it is always the same
    drawn = int.from_bytes(blake2b(" ".join(parts).encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little")
    vector[drawn % len(vector)] = 1.0
    return tuple(vector)
