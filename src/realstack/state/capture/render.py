"""Rows as a YAML seed that loads to the same rows: plain words where YAML reads them as they are, else in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from realstack.state.capture.tables import INTEGERS, CapturedTable, Column

_WORDS = re.compile(r"[A-Za-z_](?:[\w .@/+-]*[\w@/+-])?", re.ASCII)
_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_RESOLVER: Any = yaml.resolver.Resolver()
_STRING = "tag:yaml.org,2002:str"


def rendered(table: CapturedTable, rows: Sequence[Sequence[str | None]]) -> str:
    """The table and its rows, a line each. Values are the server's own texts, or None for NULL."""
    lines = [f"{word(table.shown)}:"]
    for row in rows:
        pairs = (f"{word(column.name)}: {value(column, text)}" for column, text in zip(table.columns, row, strict=True))
        lines.append(f"  - {{{', '.join(pairs)}}}")
    return "\n".join(lines) + "\n"


def value(column: Column, text: str | None) -> str:
    """One value as YAML. The server reads its own texts back by the column's type, JSON aside."""
    if text is None:
        return "null"
    if column.base == "bool" or column.base in INTEGERS:
        return text
    if column.base == "jsonb" and text != "null" and text == json.dumps(json.loads(text), ensure_ascii=False):
        return _shown(text)  # JSON is YAML, where its numbers lose nothing on their way through Python
    if column.base in ("json", "jsonb"):
        return f"!json {quoted(text)}"
    return word(text)


def word(text: str) -> str:
    """A text as YAML."""
    if len(text) <= 80 and _WORDS.fullmatch(text) and _tag(text) == _STRING:
        return text
    return quoted(text)


def _tag(text: str) -> Any:
    """What YAML takes a plain scalar for: ``no`` is a truth value there."""
    return _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))


def quoted(text: str) -> str:
    """A text in double quotes."""
    return _shown(json.dumps(text, ensure_ascii=False))


def _shown(text: str) -> str:
    """What YAML takes for no character or for a line's end, as escapes; it stands in double quotes only."""
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
