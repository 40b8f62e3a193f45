"""Token counts without a vocabulary: an approximation of byte-pair tokenizers that needs no download.

Text is cut the way those tokenizers cut it before merging (words with their leading blank, numbers by three
digits, runs of punctuation and of white space), then words longer than a usual merge are cut again. The pieces
joined are the text, so the same pieces serve as stream chunks, for ``max_tokens`` and for log probabilities.
How near it comes to a real vocabulary is measured in ``docs/fake_llm.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

from fake_llm.model import Input, Message, Tool, Turn

WORD_PIECE = 7
"""Letters of an alphabet that one token holds, where the word is too long to be a token itself."""
WIDE_PIECE = 5
"""The same for alphabets beyond the Latin one."""
WHOLE_WORD = 9
"""Words up to this long are counted as one token."""

TOKENS_PER_MESSAGE = 4
TOKENS_PER_ATTACHMENT = 85
TOKENS_PER_REPLY = 3
TOKENS_PER_TOOL = 6

_PIECE = re.compile(
    r"[^\S\r\n]?[^\W\d_]+"  # a word with the blank before it
    r"|\d{1,3}"
    r"| ?(?:[^\w\s]|_)+[\r\n]*"  # punctuation, with the line ends that follow it
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s"
)
_WIDE = re.compile(r"[^\x00-\u024f]")
_DENSE = re.compile(r"[\u2e80-\ud7ff\uf900-\ufaff\U0001f000-\U0003ffff]")
"""Writing of which a character is about a token: Chinese, Japanese, Korean, emoji."""


REMEMBERED = 4_096
"""Longer texts are cut anew each time, so that what is remembered stays small."""
MAX_WORDS = 16_384
"""Words whose tokens are remembered; at one more all are forgotten."""
MAX_WORD = 40
"""Characters of the longest of them."""

_WORDS_SPACE = re.compile(r" (?=\S)")
"""No token reaches over such a space from its left, and none that begins at it depends on what is there."""


def pieces(text: str) -> Sequence[str]:
    """Cut ``text`` into tokens; joined they are ``text``."""
    return _remembered(text) if len(text) <= REMEMBERED else _pieces(text)


def count(text: str) -> int:
    """How many tokens ``text`` is: as many as its :func:`pieces`."""
    return _remembered_count(text) if len(text) <= REMEMBERED else _count(text)


class _Words(dict[str, int]):
    """The tokens of words together with the space before each. A word has no blank at its begin."""

    def __missing__(self, word: str) -> int:
        if not word or word[0].isspace():
            raise KeyError(word)
        found = len(_pieces(" " + word))
        if len(word) <= MAX_WORD:
            if len(self) >= MAX_WORDS:
                self.clear()
            self[word] = found
        return found


def count_one(content: Input) -> int:
    """How many tokens an input is, which may be given as tokens."""
    return count(content) if isinstance(content, str) else len(content)


def count_input(turn: Turn) -> int:
    """Tokens of the whole request: messages, tools and the schema asked for; or its inputs and nothing beside."""
    if turn.input_tokens is not None:
        return turn.input_tokens
    if turn.inputs:
        return sum(count_one(one) for one in turn.inputs)
    total = TOKENS_PER_REPLY + count_messages(turn.messages)
    total += sum(count_tool(tool) for tool in turn.tools)
    if turn.output.kind == "json_schema":
        total += count_json(turn.output.schema)
    return total


def count_messages(messages: Sequence[Message]) -> int:
    """Tokens of the messages."""
    return sum(_message(message) for message in messages)


@lru_cache(maxsize=512)
def _remembered(text: str) -> tuple[str, ...]:
    return tuple(_pieces(text))


def _count(text: str) -> int:
    """Word by word, as most words come again in the next text."""
    first, *words = text.split(" ")
    try:
        return sum(map(_of_word, words), len(_pieces(first)))
    except KeyError:
        first, *words = _WORDS_SPACE.split(text)  # four times as dear
        return sum(map(_of_word, words), len(_pieces(first)))


_remembered_count = lru_cache(maxsize=512)(_count)


def _pieces(text: str) -> list[str]:
    found: list[str] = []
    is_latin = _WIDE.search(text) is None
    for piece in _PIECE.findall(text):
        if not is_latin and _DENSE.search(piece):
            found.extend(piece)
        elif not is_latin and _WIDE.search(piece):
            found.extend(_by(piece, WIDE_PIECE))
        elif len(piece) > WHOLE_WORD + piece[0].isspace() and piece[-1].isalpha():
            found.extend(_by(piece, WORD_PIECE))
        elif not piece[-1].isalnum() and not piece.isspace():
            found.extend(_by(piece, 3))
        else:
            found.append(piece)
    return found


def _by(piece: str, size: int) -> list[str]:
    return [piece[start : start + size] for start in range(0, len(piece), size)]


_of_word = _Words().__getitem__


def _message(message: Message) -> int:
    total = TOKENS_PER_MESSAGE + count(message.text) + TOKENS_PER_ATTACHMENT * message.attachments
    for call in message.tool_calls:
        total += TOKENS_PER_MESSAGE + count(call.name) + count(call.arguments)
    for result in message.tool_results:
        total += count(result.text)
    return total


def count_tool(tool: Tool) -> int:
    """How many tokens the definition of a tool is."""
    return TOKENS_PER_TOOL + count(tool.name) + count(tool.description) + count_json(tool.schema)


def count_json(schema: object) -> int:
    """How many tokens a JSON value is; none for nothing."""
    return count(json.dumps(schema, separators=(",", ":"), sort_keys=True, default=str)) if schema else 0
