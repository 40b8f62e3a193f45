"""YAML with line numbers: files as node trees, and their values as plain Python."""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from realstack.errors import RealstackError
from realstack.state.seed_times import NOW, NotATimeError, instant, time_from

_MERGE = "tag:yaml.org,2002:merge"
_MAP = "tag:yaml.org,2002:map"
_BINARY = "tag:yaml.org,2002:binary"
_NULL = "tag:yaml.org,2002:null"
_STRING, _INTEGER = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"
_TIME, _EPOCH = "!time", "!epoch"

# libyaml's is ten times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class At:
    """A place in a YAML file, and the class of error that is raised for it."""

    def __init__(self, shown: str, error: type[RealstackError], *, now: str = "") -> None:
        self.shown = shown
        self.error = error
        self.now = now  # where the file has no $now of its own

    def where(self, node: yaml.Node) -> str:
        """``seed.yaml:12``."""
        return f"{self.shown}:{node.start_mark.line + 1}"

    def failed(self, node: yaml.Node, problem: str, remedy: str) -> RealstackError:
        """The error for ``node``."""
        return self.error(f"{self.where(node)}: {problem}", remedy=remedy)

    def root(self, path: Path) -> yaml.MappingNode | None:
        """The file's outermost mapping, with its relative times made plain; None for an empty file.

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
        self._freeze_times(node)
        return node

    def _freeze_times(self, root: yaml.MappingNode) -> None:
        """Take ``$now`` out of the file, and turn every ``!time`` and ``!epoch`` into what it stands for."""
        base: datetime | None = instant(self.now) if self.now else None
        for key, value in root.value:
            if isinstance(key, yaml.ScalarNode) and key.value == NOW:
                try:
                    base = instant(str(value.value))
                except NotATimeError as problem:
                    raise self.failed(value, f"{problem}.", "`$now` is what `!time` counts from.") from problem
                root.value.remove((key, value))
                break
        pending, seen = [root], set()
        while pending:
            node: Any = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.ScalarNode):
                if node.tag in (_TIME, _EPOCH):
                    self._freeze(node, base)
            elif isinstance(node, yaml.MappingNode):
                pending.extend(part for pair in node.value for part in pair)
            else:
                pending.extend(node.value)

    def _freeze(self, node: yaml.ScalarNode, base: datetime | None) -> None:
        if base is None:
            raise self.failed(
                node,
                f"`{node.tag} {node.value}` counts from an instant that this file does not name.",
                "write it at the top, such as `$now: 2025-01-01T12:00:00Z`.",
            )
        try:
            moment = time_from(base, node.value)
        except NotATimeError as problem:
            raise self.failed(node, f"{problem}.", "months and years have no fixed length.") from problem
        if node.tag == _EPOCH:
            node.tag, node.value = _INTEGER, str(int(moment.timestamp()))
        else:
            node.tag, node.value = _STRING, moment.isoformat()

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

    def plain(
        self,
        node: yaml.Node,
        inside: tuple[yaml.Node, ...] = (),
        *,
        special: Callable[[yaml.Node], Any] = lambda node: None,
    ) -> Any:
        """The node's value as plain Python, as YAML's own types have it; keys are the words that stand there.

        A node for which ``special`` has a value is that.

        :raises RealstackError: a node holds itself, or its tag is not known.
        """
        if (found := special(node)) is not None:
            return found
        if any(node is outer for outer in inside):
            raise self.failed(node, "this holds itself.", "take the circle out.")
        inside = (*inside, node)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return {key.value: self.plain(value, inside, special=special) for key, value in self.pairs(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, inside, special=special) for item in node.value]
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
