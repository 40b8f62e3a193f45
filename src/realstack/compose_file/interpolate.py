"""Variables in compose files, by Compose's own rules (compose-spec, "Interpolation"; and ``.env`` files)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realstack.compose_file.document import Text
from realstack.errors import ComposeFileError

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_ENV_LINE = re.compile(
    r"""
    ^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*
    (?:[=:][ \t]*
        (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^\r\n]*?) )
    )?
    [ \t]*(?:(?<=\s)\#[^\r\n]*)?\r?$
    """,
    re.VERBOSE | re.MULTILINE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


class _InvalidError(Exception):
    """The text is no template; the message says why."""


class RequiredMissingError(Exception):
    """``${name:?message}`` with no value."""

    def __init__(self, name: str, message: str) -> None:
        self.name, self.message = name, message
        super().__init__(name)


def interpolated(value: Any, variables: Mapping[str, str], path: Path) -> Any:
    """``value`` with the variables of every string in it filled in; keys stay as they are.

    :raises ComposeFileError: a required variable is missing, or a ``$`` is none of Compose's forms.
    """
    if isinstance(value, dict):
        return {key: interpolated(item, variables, path) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, variables, path) for item in value]
    if not isinstance(value, Text) or "$" not in value:
        return value
    try:
        return Text.at(substitute(value, variables), value.line, plain=value.plain)
    except RequiredMissingError as missing:
        told = f": {missing.message}" if missing.message else ""
        raise ComposeFileError(
            f"{path}:{value.line}: the variable {missing.name} is required and not set{told}.",
            remedy=f"set {missing.name} in the environment, or in {path.with_name('.env')}.",
        ) from missing
    except _InvalidError as problem:
        raise ComposeFileError(
            f"{path}:{value.line}: {problem} in {str(value)!r}.",
            remedy="write $$ for a dollar sign that begins no variable.",
        ) from problem


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Fill in ``$NAME``, ``${NAME}``, ``${NAME:-default}`` (also ``-``, ``:?``, ``?``, ``:+``, ``+``) and ``$$``.

    :raises RequiredMissingError: a variable with ``?`` has no value.
    """
    pieces = []
    rest = 0
    while (at := text.find("$", rest)) >= 0:
        pieces.append(text[rest:at])
        piece, rest = _variable(text, at + 1, variables)
        pieces.append(piece)
    return "".join([*pieces, text[rest:]])


def _variable(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """The value of what follows the ``$`` before ``at``, and where the text goes on."""
    if text.startswith("$", at):
        return "$", at + 1
    if text.startswith("{", at):
        end = _closing_brace(text, at + 1)
        return _braced(text[at + 1 : end], variables), end + 1
    if name := _NAME.match(text, at):
        return variables.get(name[0], ""), name.end()
    raise _InvalidError("a $ that begins no variable")


def _closing_brace(text: str, at: int) -> int:
    depth = 1
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise _InvalidError("a ${ without its }")


def _braced(inside: str, variables: Mapping[str, str]) -> str:
    name = _NAME.match(inside)
    if name is None:
        raise _InvalidError("${ without a name")
    value, word = variables.get(name[0]), inside[name.end() :]
    operator = next((known for known in _OPERATORS if word.startswith(known)), "")
    if word and not operator:
        raise _InvalidError(f"${{{name[0]} followed by {word[0]!r}")
    argument = word[len(operator) :]
    is_set = bool(value) if operator.startswith(":") else value is not None
    match operator[-1:]:
        case "-":
            return value or "" if is_set else substitute(argument, variables)
        case "+":
            return substitute(argument, variables) if is_set else ""
        case "?" if not is_set:
            raise RequiredMissingError(name[0], substitute(argument, variables))
    return value or ""


def read_env_file(path: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a ``.env`` file; later lines, and ``variables``, fill in earlier ones.

    A name without ``=`` takes its value from ``variables``, if it has one there.

    :raises OSError: it cannot be read.
    """
    found: dict[str, str] = {}
    for line in _ENV_LINE.finditer(path.read_text(encoding="utf-8")):
        name = line["name"]
        if line["single"] is not None:
            found[name] = line["single"]
        elif line["double"] is not None:
            raw = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], "\\" + escape[1]), line["double"])
            found[name] = _filled(raw, {**found, **variables})
        elif line["bare"] is not None:
            found[name] = _filled(re.sub(r"(^|\s+)#.*$", "", line["bare"]), {**found, **variables})
        elif name in variables:
            found[name] = variables[name]
    return found


def _filled(raw: str, variables: Mapping[str, str]) -> str:
    try:
        return substitute(raw, variables)
    except _InvalidError:
        return raw  # an .env file is often written for other readers, too
