"""Reads ``COPY table (columns) FROM STDIN …`` as pg_dump and people write it. Pure text work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | (?P<quoted>"(?:[^"]++|"")*+") | (?P<string>[eE]?'(?:[^'\\]++|''|\\.)*+')
      | (?P<word>[^\x00-@\[-\^`{-\x7f][\w$]*) | (?P<sign>[().,;*])""",
    re.VERBOSE,
)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_TAKES_VALUE = {"format", "delimiter", "null", "quote", "escape", "encoding"}
_FLAGS = {"header", "freeze"}
_COLUMN_LISTS = {"force_not_null", "force_null"}


class NotReadableError(ValueError):
    """The statement has a form that is not supported; its text says which part."""


@dataclass(frozen=True)
class CopyTarget:
    """Where a COPY's data go. ``options`` are keyword arguments of asyncpg's ``copy_to_table``."""

    table: str
    schema: str | None = None
    columns: list[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else ""


def parse_copy(statement: str) -> CopyTarget:
    """What a ``COPY … FROM STDIN`` says.

    :raises NotReadableError: a part of it is not supported.
    """
    return _Parser(_tokens(statement)).copy()


def _tokens(statement: str) -> list[_Token]:
    tokens = []
    at = 0
    while at < len(statement):
        match = _TOKEN.match(statement, at)
        if match is None:
            raise NotReadableError(f"at {statement[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup:
            tokens.append(_Token(match.lastgroup, match.group()))
    return [token for token in tokens if token.text != ";"]


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def copy(self) -> CopyTarget:
        self._expect("copy")
        names = [self._name()]
        while self._accept("."):
            names.append(self._name())
        if len(names) > 2:
            raise NotReadableError("a name of more than two parts")
        columns = self._columns() if self._accept("(") else None
        self._expect("from")
        self._expect("stdin")
        self._accept("with")
        options = self._listed() if self._accept("(") else self._old_style()
        if self.at < len(self.tokens):
            raise NotReadableError(f"at {self.tokens[self.at].text!r}")
        options.pop("encoding", None)  # the script was read as UTF-8 as a whole, and goes out as that
        return CopyTarget(names[-1], names[0] if len(names) == 2 else None, columns, options)

    def _columns(self) -> list[str]:
        columns = [self._name()]
        while self._accept(","):
            columns.append(self._name())
        self._expect(")")
        return columns

    def _listed(self) -> dict[str, Any]:
        """``(FORMAT csv, HEADER true)``."""
        options: dict[str, Any] = {}
        while True:
            name = self._next().word
            if name in _TAKES_VALUE:
                options[name] = self._value()
            elif name in _FLAGS:
                plain = self._peek() not in (",", ")")
                options[name] = self._value().lower() in ("true", "on", "1") if plain else True
            elif name in _COLUMN_LISTS:
                self._expect("(")
                options[name] = self._columns()
            else:
                raise NotReadableError(f"the option {name!r}")
            if self._accept(")"):
                return options
            self._expect(",")

    def _old_style(self) -> dict[str, Any]:
        """``CSV HEADER DELIMITER AS ';'``."""
        options: dict[str, Any] = {}
        while self.at < len(self.tokens):
            name = self._next().word
            if name in ("csv", "binary"):
                options["format"] = name
            elif name in _FLAGS:
                options[name] = True
            elif name in _TAKES_VALUE:
                self._accept("as")
                options[name] = self._value()
            else:
                raise NotReadableError(f"the option {name!r}")
        return options

    def _peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def _next(self) -> _Token:
        if self.at == len(self.tokens):
            raise NotReadableError("it ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def _accept(self, text: str) -> bool:
        if self._peek().lower() == text:
            self.at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise NotReadableError(f"at {self._peek()!r}, where {text.upper()!r} was expected")

    def _name(self) -> str:
        token = self._next()
        if token.kind == "quoted":
            return token.text[1:-1].replace('""', '"')
        if token.kind != "word":
            raise NotReadableError(f"at {token.text!r}, where a name was expected")
        return token.text.lower()

    def _value(self) -> str:
        token = self._next()
        if token.kind != "string":
            return token.text
        if token.text[0] in "eE":
            inner = token.text[2:-1].replace("''", "'")
            return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), inner)
        return token.text[1:-1].replace("''", "'")
