"""Texts that match a regular expression, shortest first. Look-around and back-references are left to luck."""

from __future__ import annotations

import re
from re import _constants as op  # type: ignore[attr-defined]  # the parser that re itself uses
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PREFERRED = LETTERS + LETTERS.upper() + "0123456789 -_.:/@" + "".join(map(chr, range(33, 127)))
CATEGORIES = {
    op.CATEGORY_DIGIT: "1234567890",
    op.CATEGORY_SPACE: " \t\n",
    op.CATEGORY_WORD: LETTERS + "0123456789_",
    op.CATEGORY_NOT_DIGIT: LETTERS,
    op.CATEGORY_NOT_SPACE: LETTERS,
    op.CATEGORY_NOT_WORD: " -.",
}


def text_for(pattern: str, *, seed: int = 0, least: int = 0) -> str:
    """A text in which ``pattern`` is found, at least ``least`` long where its repetitions allow that.

    An unreadable pattern gives ``"text"``: a fake that answers is more use than one that fails.
    """
    try:
        tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return "text"
    for extra in (0, 1, *range(2, least + 1)):
        text = _text(tree, seed, extra)
        if len(text) >= least and re.search(pattern, text):
            return text
    return _text(tree, seed, 0)


def _text(tree: Any, seed: int, extra: int) -> str:
    return "".join(_piece(kind, argument, seed, extra) for kind, argument in tree)


def _piece(kind: Any, argument: Any, seed: int, extra: int) -> str:  # noqa: PLR0911
    if kind is op.LITERAL:
        return chr(argument)
    if kind is op.NOT_LITERAL:
        return next(char for char in PREFERRED if ord(char) != argument)
    if kind is op.ANY:
        return LETTERS[seed % 26]
    if kind is op.IN:
        return _one_of(argument, seed)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        least, most, below = argument
        return "".join(_text(below, seed + turn, extra) for turn in range(int(min(most, least + extra))))
    if kind is op.SUBPATTERN:
        return _text(argument[-1], seed, extra)
    if kind is op.ATOMIC_GROUP:
        return _text(argument, seed, extra)
    if kind is op.BRANCH:
        branches = argument[1]
        return _text(branches[seed % len(branches)], seed, extra)
    return ""


def _one_of(members: Any, seed: int) -> str:
    negated = bool(members) and members[0][0] is op.NEGATE
    allowed: list[str] = []
    for kind, argument in members:
        if kind is op.LITERAL:
            allowed.append(chr(argument))
        elif kind is op.RANGE:
            allowed.extend(map(chr, range(argument[0], min(argument[1], argument[0] + 200) + 1)))
        elif kind is op.CATEGORY:
            allowed.extend(CATEGORIES.get(argument, LETTERS))
    if negated:
        forbidden = set(allowed)
        allowed = [char for char in PREFERRED if char not in forbidden] or ["\u00e9"]
    return allowed[seed % len(allowed)]
