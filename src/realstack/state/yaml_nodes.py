"""YAML with line numbers: files as node trees, and their values as plain Python."""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from realstack.errors import RealstackError

_MERGE = "tag:yaml.org,2002:merge"
_MAP = "tag:yaml.org,2002:map"
_BINARY = "tag:yaml.org,2002:binary"
_NULL = "tag:yaml.org,2002:null"

# libyaml's is ten times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class At:
    """A place in a YAML file, and the class of error that is raised for it."""

    def __init__(self, shown: str, error: type[RealstackError]) -> None:
        self.shown = shown
        self.error = error

    def where(self, node: yaml.Node) -> str:
        """``seed.yaml:12``."""
        return f"{self.shown}:{node.start_mark.line + 1}"

    def failed(self, node: yaml.Node, problem: str, remedy: str) -> RealstackError:
        """The error for ``node``."""
        return self.error(f"{self.where(node)}: {problem}", remedy=remedy)

    def root(self, path: Path) -> yaml.MappingNode | None:
        """The file's outermost mapping; None for an empty file.

        :raises RealstackError: it is not YAML, or something else than a mapping.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
            node = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            last = max(1, len(text.splitlines()))  # the mark of an early end lies behind it
            line = f":{min(mark.line + 1, last)}" if mark else ""
            raise self.error(
                f"{self.shown}{line}: this is not YAML: {problem.problem or problem.context}.",
                remedy="mend the YAML at that line.",
            ) from problem
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise self.error(
                f"{self.shown}: this is not YAML: {problem}", remedy="store it as UTF-8 YAML."
            ) from problem
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
            return None
        if not isinstance(node, yaml.MappingNode):
            raise self.failed(node, "the file must be a mapping of names.", "begin a line with `name:`.")
        return node

    def pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys and values of a mapping, what ``<<`` brings first; its own keys win. The node stays as it is.

        :raises RealstackError: a key is no plain word, or stands there twice.
        """
        merged: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        own: set[str] = set()
        for key, value in node.value:
            if key.tag == _MERGE:
                for each, brought in self._merged(value, node):
                    if each.value not in own:
                        merged[each.value] = (each, brought)
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise self.failed(key, "a name must be a plain word.", "write it as text.")
            if key.value in own:
                raise self.failed(key, f"{key.value!r} stands here twice.", "keep one of them.")
            own.add(key.value)
            merged[key.value] = (key, value)
        yield from merged.values()

    def _merged(self, value: yaml.Node, into: yaml.Node) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """What ``<<`` brings; of several maps the first one wins, so it comes last."""
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode) or source is into:
                raise self.failed(into, "`<<` takes another map, or a list of maps.", "write `<<: *name`.")
            yield from self.pairs(source)

    def plain(self, node: yaml.Node, inside: tuple[yaml.Node, ...] = ()) -> Any:
        """The node's value as plain Python, as YAML's own types have it; keys are the words that stand there.

        :raises RealstackError: a node holds itself, or its tag is not known.
        """
        if any(node is outer for outer in inside):
            raise self.failed(node, "this holds itself.", "take the circle out.")
        inside = (*inside, node)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return {key.value: self.plain(value, inside) for key, value in self.pairs(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, inside) for item in node.value]
        try:
            return yaml.SafeLoader("").construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as problem:
            reason = getattr(problem, "problem", None) or problem
            raise self.failed(node, f"this is no value: {reason}.", "quote it, if it is text.") from problem


def jsonable(value: Any) -> Any:
    """``value`` as JSON can hold it, in the form that PostgreSQL reads back into the column's type."""
    if isinstance(value, dict):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(each) for each in value]
    if isinstance(value, set):
        return [jsonable(each) for each in sorted(value, key=str)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("inf", "Infinity").replace("nan", "NaN")
    return value


def is_null(node: yaml.Node) -> bool:
    """Whether nothing stands there (``~``, ``null`` or an empty value)."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def literal(node: yaml.ScalarNode) -> bytes:
    """The scalar as it stands in the file: ``yes`` stays ``yes``. ``!!binary`` gives its bytes."""
    return b64decode(node.value) if node.tag == _BINARY else node.value.encode()
