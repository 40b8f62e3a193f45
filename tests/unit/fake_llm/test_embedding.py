"""Embeddings as a pure function of the text."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_llm.embedding import MAX_DIMENSION, embed

ROOT = Path(__file__).parents[3]
DIMENSION = 1536

DOCUMENTS = {
    "refunds": "Customers may return goods within 30 days of delivery and get a full refund to their card.",
    "shipping": "Parcels leave the warehouse every morning; shipping abroad takes five to eight working days.",
    "passwords": "To reset a password, open the account settings and follow the link in the mail that we send.",
    "latency": "The database was slow because a missing index made each query scan the whole table.",
    "holidays": "The office is closed on public holidays, and support answers on the next working day.",
}
QUESTIONS = {
    "Can I get a refund if I return my goods?": "refunds",
    "how long does shipping a parcel abroad take": "shipping",
    "I forgot my password, how do I reset it?": "passwords",
    "why are database queries so slow": "latency",
    "Is support closed on a public holiday?": "holidays",
}


def cosine(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def alike(left: str, right: str, dimension: int = DIMENSION) -> float:
    return cosine(embed(left, dimension), embed(right, dimension))


@pytest.mark.parametrize("dimension", [256, 768, 1536, 3072])
@pytest.mark.parametrize(("question", "expected"), QUESTIONS.items())
def test_a_question_finds_the_document_that_speaks_of_it(question: str, expected: str, dimension: int) -> None:
    scores = {name: alike(question, text, dimension) for name, text in DOCUMENTS.items()}
    best, second = sorted(scores, key=lambda name: scores[name], reverse=True)[:2]
    assert best == expected
    assert scores[best] > scores[second] + 0.05, scores


def test_the_same_words_are_nearer_than_some_of_them_and_those_nearer_than_none() -> None:
    text = "The refund was sent to the customer's card yesterday."
    same = alike(text, "the refund was sent to the customer's card, yesterday")
    inflected = alike(text, "Refunds were sent to customers' cards yesterday.")
    some = alike(text, "The refund did not arrive.")
    none = alike(text, "Penguins sleep standing up.")
    assert same > 0.999
    assert 0.999 > inflected > 0.6 > some > 0.2 > none
    assert abs(none) < 0.12


def test_words_that_every_text_has_say_little() -> None:
    assert alike("where is the book that you were with", "what was it that they have for us") < 0.2


def test_the_order_of_words_makes_some_difference_and_not_much() -> None:
    assert 0.8 < alike("dog bites postman", "postman bites dog") < 0.999


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("Rechnungen werden monatlich verschickt", "Wann wird die Rechnung verschickt?", "Der Hund schläft im Garten"),
        ("возврат денег за товар", "как вернуть деньги: возврат", "завтра будет дождь"),
        ("数据库查询很慢", "数据库为什么慢", "今天天气很好"),
        ("注文のキャンセル方法", "注文をキャンセルしたい", "天気は晴れです"),
    ],
)
def test_other_languages_are_told_apart_as_well(text: str, near: str, far: str) -> None:
    assert alike(text, near) > 0.25
    assert alike(text, far) < 0.15


def test_tokens_are_similar_where_they_share_tokens() -> None:
    tokens = embed([1212, 318, 257, 1332, 13], DIMENSION)
    assert cosine(tokens, embed((1212, 318, 257, 1332, 13), DIMENSION)) == pytest.approx(1)
    assert cosine(tokens, embed([1212, 318, 257, 9], DIMENSION)) > 0.5
    assert abs(cosine(tokens, embed([7, 8, 9, 10], DIMENSION))) < 0.1


@pytest.mark.parametrize("shorter", [64, 256, 500, 1024])
def test_a_vector_cut_short_is_the_vector_of_the_smaller_dimension(shorter: int) -> None:
    cut = embed(DOCUMENTS["refunds"], DIMENSION)[:shorter]
    length = math.hypot(*cut)
    assert [value / length for value in cut] == pytest.approx(embed(DOCUMENTS["refunds"], shorter))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.lists(st.integers(0, 200_000), max_size=20), st.sampled_from([1, 2, 7, 64, 300, 1536]))
def test_every_vector_has_length_1_and_is_always_the_same(content: str | list[int], dimension: int) -> None:
    vector = embed(content, dimension)
    assert len(vector) == dimension
    assert math.hypot(*vector) == pytest.approx(1)
    assert vector == embed(content, dimension)


def test_every_process_gives_the_same_vector() -> None:
    program = f"from fake_llm.embedding import embed; print(embed({DOCUMENTS['latency']!r}, 8))"
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert printed == [str(embed(DOCUMENTS["latency"], 8))] * 2


@pytest.mark.parametrize("dimension", [0, -1, MAX_DIMENSION + 1])
def test_a_dimension_out_of_range_is_an_error(dimension: int) -> None:
    with pytest.raises(ValueError, match="dimension"):
        embed("x", dimension)
