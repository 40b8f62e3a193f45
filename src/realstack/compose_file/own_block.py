"""The block ``x-realstack``: what realstack alone reads of the file, checked by name and by shape.

At the top level it says something about services by their names; in a service, about that one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from realstack.compose_file.document import first_line, natural, shown
from realstack.errors import ComposeFileError
from realstack.model import KINDS

BLOCK = "x-realstack"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def read_top_block(path: Path, value: Any) -> Mapping[Any, Any]:
    """What the top level's block says of each service, unread.

    :raises ComposeFileError: it is no mapping, or has something else than ``services``.
    """
    block = _mapping(path, value, BLOCK)
    _refuse_unknown(path, block, ("services",), BLOCK)
    return _mapping(path, block.get("services"), f"{BLOCK}.services")


def read_part(path: Path, value: Any, where: str) -> dict[str, Any]:
    """What is said about one service: ``kind``, ``port``, ``name``, ``bake``, ``bin`` and ``scenarios``.

    Keys that begin with ``x-`` are nobody's and stay.

    :raises ComposeFileError: an unknown key, or a value that is not what its key takes; the line and the key are named.
    """
    part = _mapping(path, value, where)
    _refuse_unknown(path, part, _FIELDS, where)
    found: dict[str, Any] = natural(part)
    for key, written in part.items():
        fits, wanted = _FIELDS.get(str(key), (lambda _: True, ""))
        if not fits(found[str(key)]):
            remedy = nearest(written, KINDS) if key == "kind" and isinstance(written, str) else ""
            raise _wrong(path, f"{where}.{key}", written, wanted, remedy)
    return found


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or nothing if no known word is near."""
    close = difflib.get_close_matches(word, [str(item) for item in known], n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are_paths(value: Any) -> bool:
    return all(map(_is_path, value)) if isinstance(value, list) else _is_path(value)


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "port": (_is_port, "a number from 1 to 65535"),
    "name": (_is_name, "a letter, then letters, digits, _ and -"),
    "bake": (lambda value: _is_path(value) and value.startswith("/"), "a folder inside the image, from / on"),
    "bin": (_is_path, "a folder"),
    "scenarios": (_are_paths, "a path or a list of paths"),
}


def _mapping(path: Path, value: Any, where: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, where, value, "a mapping")
    return value


def _refuse_unknown(path: Path, mapping: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in mapping:
        if key not in known and not str(key).startswith("x-"):
            raise ComposeFileError(
                f"{path}:{first_line(key) or 1}: {where} has the unknown key {str(key)!r}.",
                remedy=nearest(str(key), known) or f"known keys are {', '.join(known)}.",
            )


def _wrong(path: Path, where: str, value: Any, wanted: str, remedy: str = "") -> ComposeFileError:
    return ComposeFileError(
        f"{path}:{first_line(value) or 1}: {where} must be {wanted}, not {shown(value)}.",
        remedy=remedy or "correct it, or take it out.",
    )
