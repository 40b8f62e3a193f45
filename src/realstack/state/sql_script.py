"""Splits an SQL script into its statements as psql would, and knows the line of every character in it.

Pure text work: nothing here talks to a server.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

_SPACE = re.compile(r"\s+")
# PostgreSQL takes every character above ASCII for a letter. Written as "not the other ones of ASCII": a range up to
# the last code point takes re 10 ms to compile.
_LETTER = r"[^\x00-@\[-\^`{-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-\^`{-\x7f]"
_WORD = re.compile(_LETTER + r"[^\x00-#%-/:-@\[-\^`{-\x7f]*")
_NUMBER = re.compile(r"[0-9][0-9A-Za-z_.]*")
_DOLLAR_TAG = re.compile(rf"\$(?:{_LETTER}{_LETTER_OR_DIGIT}*)?\$")
# Possessive: an unclosed string must not be saved by reading a doubled quote as its end.
_PLAIN_STRING = re.compile(r"'(?:[^']++|'')*+'")
_ESCAPE_STRING = re.compile(r"'(?:[^'\\]++|''|\\.)*+'", re.DOTALL)
_QUOTED_NAME = re.compile(r'"(?:[^"]++|"")*+"')
_LINE_COMMENT = re.compile(r"--[^\n]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_STRING_GOES_ON = re.compile(r"\s*\n\s*(?=')")
_COPY_DATA_END = re.compile(r"^\\\.[ \t]*\r?$", re.MULTILINE)


MOST_WORDS = 12


class Kind(Enum):
    """What a piece of a script is."""

    SQL = "sql"
    COPY = "copy"
    """A ``COPY … FROM STDIN`` whose data follow in the script."""
    META = "meta"
    r"""A psql command such as ``\connect``."""
    REST = "rest"
    """White space and comments after the last statement."""


class UnfinishedError(ValueError):
    """A quote, comment or data block has no end. ``offset`` is where it began."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} has no end")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Piece:
    """One statement with the white space and comments before it. The pieces of a script join to the script.

    ``start`` is the offset of ``text`` in the script, ``body`` that of its first word. ``words`` are its
    first bare words in upper case (quoted names, strings and what stands in parentheses are left out).
    ``data_start`` is the offset of a COPY's first data line in the script.
    """

    kind: Kind
    text: str
    start: int
    body: int
    words: tuple[str, ...] = ()
    data_start: int | None = None

    @property
    def sql(self) -> str:
        """The statement as it is sent, without a COPY's data."""
        end = len(self.text) if self.data_start is None else self.data_start - self.start
        return self.text[:end]

    @property
    def data(self) -> str:
        """A COPY's data lines, without their end mark."""
        if self.data_start is None:
            return ""
        block = self.text[self.data_start - self.start :]
        end = _COPY_DATA_END.search(block)
        return block[: end.start()] if end else block


@dataclass(frozen=True)
class Script:
    """An SQL script; ``pieces`` are found at the first ask."""

    text: str
    name: str = field(default="<script>")

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces in order.

        :raises UnfinishedError: a quote, comment or data block has no end.
        """
        return tuple(_split(self.text))

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def line_of(self, offset: int) -> int:
        """The number of the line, from 1, that holds the character at ``offset``."""
        return bisect.bisect_right(self._line_starts, offset)

    def start_of(self, number: int) -> int:
        """The offset of the first character of that line; of the last line, if there are fewer."""
        return self._line_starts[min(number, len(self._line_starts)) - 1]

    def line(self, number: int) -> str:
        """The text of that line, without its end."""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end].rstrip("\r")

    def shown(self, offset: int) -> tuple[str, str]:
        """The line at ``offset`` with its number, and below it a caret under that character."""
        number = self.line_of(offset)
        line = self.line(number)
        column = offset - self._line_starts[number - 1]
        margin = f"{number} | "
        indent = "".join("\t" if char == "\t" else " " for char in line[:column])
        return margin + line, " " * (len(margin) - 2) + "| " + indent + "^"


def _split(text: str) -> Iterator[Piece]:
    reader = _Reader(text)
    while reader.at < len(text):
        yield reader.piece()


class _Reader:
    """Walks through a script; ``at`` is the next character to look at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def piece(self) -> Piece:
        start = self.at
        self._skip_blank()
        body = self.at
        if body == len(self.text):
            return Piece(Kind.REST, self.text[start:], start, body)
        if self.text[body] == "\\":
            self._to_line_end()
            return Piece(Kind.META, self.text[start : self.at], start, body)
        words = self._statement()
        if _reads_stdin(words):
            data_start = self._copy_data(body)
            return Piece(Kind.COPY, self.text[start : self.at], start, body, words[:MOST_WORDS], data_start)
        return Piece(Kind.SQL, self.text[start : self.at], start, body, words[:MOST_WORDS])

    def _statement(self) -> tuple[str, ...]:
        """Move behind the semicolon that ends the statement; its bare words at the outermost level."""
        words: list[str] = []
        parens = atomic = 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == ";" and parens == 0 and atomic == 0:
                self.at += 1
                break
            if char == "\\":
                break  # a psql command in the middle of a line ends what stands before it
            if (word := self._word()) is not None:
                if _is_routine(words):
                    atomic = _atomic_depth(word, atomic, words)
                if parens == 0:
                    words.append(word)
            elif not self._quoted_or_blank():
                parens = max(0, parens + (char == "(") - (char == ")"))
                self.at += 1
        return tuple(words)

    def _word(self) -> str | None:
        match = _WORD.match(self.text, self.at)
        if match is None:
            return None
        word = match.group().upper()
        self.at = match.end()
        if word == "E" and self.text.startswith("'", self.at):
            self._escape_string()
        return word

    def _quoted_or_blank(self) -> bool:
        """Move behind a quoted thing, a number, a comment or white space, if one begins here."""
        char = self.text[self.at]
        if char.isspace() or self.text.startswith(("--", "/*"), self.at):
            self._skip_blank()
        elif char == "'":
            self.at = self._match(_PLAIN_STRING, "a string").end()
        elif char == '"':
            self.at = self._match(_QUOTED_NAME, "a quoted name").end()
        elif char == "$" and (tag := _DOLLAR_TAG.match(self.text, self.at)):
            self._dollar_string(tag.group())
        elif number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
        else:
            return False
        return True

    def _skip_blank(self) -> None:
        while self.at < len(self.text):
            if match := _SPACE.match(self.text, self.at) or _LINE_COMMENT.match(self.text, self.at):
                self.at = match.end()
            elif self.text.startswith("/*", self.at):
                self._block_comment()
            else:
                return

    def _block_comment(self) -> None:
        """SQL's block comments nest."""
        began, depth = self.at, 0
        for edge in _COMMENT_EDGE.finditer(self.text, began):
            depth += 1 if edge.group() == "/*" else -1
            if depth == 0:
                self.at = edge.end()
                return
        raise UnfinishedError("a comment", began)

    def _escape_string(self) -> None:
        self.at = self._match(_ESCAPE_STRING, "a string").end()
        while goes_on := _STRING_GOES_ON.match(self.text, self.at):
            self.at = goes_on.end()
            self.at = self._match(_ESCAPE_STRING, "a string").end()

    def _dollar_string(self, tag: str) -> None:
        end = self.text.find(tag, self.at + len(tag))
        if end < 0:
            raise UnfinishedError(f"a string quoted by {tag}", self.at)
        self.at = end + len(tag)

    def _copy_data(self, began: int) -> int:
        """Move behind the end mark of a COPY's data; where they start."""
        self._to_line_end()
        data_start = self.at
        end = _COPY_DATA_END.search(self.text, data_start)
        if end is None:
            raise UnfinishedError(r"the data of a COPY FROM STDIN (a line \.)", began)
        self.at = end.end()
        self._to_line_end()
        return data_start

    def _to_line_end(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end + 1

    def _match(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise UnfinishedError(what, self.at)
        return match


def _is_routine(words: list[str]) -> bool:
    """Whether a statement with these first words may have an SQL body (BEGIN ATOMIC … END)."""
    if not words or words[0] != "CREATE":
        return False
    rest = words[3:] if words[1:3] == ["OR", "REPLACE"] else words[1:]
    return bool(rest) and rest[0] in ("FUNCTION", "PROCEDURE")


def _atomic_depth(word: str, depth: int, words: list[str]) -> int:
    """How deep in BEGIN ATOMIC … END and CASE … END we are after ``word``."""
    if depth == 0:
        return 1 if word == "ATOMIC" and words[-1:] == ["BEGIN"] else 0
    if word == "CASE":
        return depth + 1
    return depth - 1 if word == "END" else depth


def _reads_stdin(words: tuple[str, ...]) -> bool:
    if not words or words[0] != "COPY":
        return False
    return any(pair == ("FROM", "STDIN") for pair in itertools.pairwise(words))
