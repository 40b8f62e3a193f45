"""Which files of a build context go to the builder, by the rules of a ``.dockerignore`` file.

The rules are those of docs.docker.com/build/concepts/context ("Syntax"): Go's ``filepath.Match`` for each part of a
path, ``**`` for any number of folders, ``!`` for exceptions, and the last pattern that matches decides. The SDK has
them too; this spares its import, on every start of a service that is built.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TOKEN = re.compile(r"\*\*/?|\*|\?|\[\^?[^\]]+\]|\\?.", re.DOTALL)
_MAGIC = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: which paths it matches, and whether it takes them in again. ``start`` is its text up to a wildcard."""

    matches: re.Pattern[str]
    takes_in: bool
    start: str
    is_plain: bool

    def may_match_below(self, folder: str) -> bool:
        """Whether it might match something in that folder."""
        inside = f"{folder}/"
        return self.start.startswith(inside) or (not self.is_plain and inside.startswith(self.start))


def read_rules(text: str) -> list[Rule]:
    """The rules of a file's text."""
    lines = (line.strip() for line in text.splitlines())
    return [_rule(line) for line in lines if line and not line.startswith("#")]


def files_of(context: Path, rules: Sequence[Rule]) -> Iterator[str]:
    """The files that are not ignored, as paths below ``context`` with slashes; links are not followed."""
    yield from _below(os.fspath(context), "", rules)


def is_ignored(path: str, rules: Sequence[Rule]) -> bool:
    """Whether the path (with slashes, below the context) is left out."""
    decisive = next((rule for rule in reversed(rules) if rule.matches.fullmatch(path)), None)
    return decisive is not None and not decisive.takes_in


def _below(root: str, folder: str, rules: Sequence[Rule]) -> Iterator[str]:
    with os.scandir(f"{root}/{folder}") as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not is_ignored(path, rules) or any(rule.takes_in and rule.may_match_below(path) for rule in rules):
                    yield from _below(root, path, rules)
            elif not is_ignored(path, rules):
                yield path


def _rule(line: str) -> Rule:
    takes_in = line.startswith("!")
    text = os.path.normpath(line.removeprefix("!").strip()).strip("/")
    magic = _MAGIC.search(text)
    expression = "".join(_translated(token) for token in _TOKEN.findall(text))
    matches = re.compile(f"{expression}(?:/.*)?", re.DOTALL)  # what matches a folder matches all that is in it
    return Rule(matches, takes_in, text[: magic.start()] if magic else text, not magic)


def _translated(token: str) -> str:
    match token:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    if token.startswith("[") and len(token) > 1:
        return token
    return re.escape(token.removeprefix("\\") or token)
