"""The findings that a code base already had: they are let pass, and may only become fewer.

They are kept without lines, so that code that is moved within its file changes nothing.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from realstack.errors import BaselineUnusable
from realstack.gates.finding import Finding

FILE_NAME = ".realstack-baseline.json"
"""At the project's root, if no other is named."""
VERSION = 1
"""Of the file's format."""

_CONFLICT = re.compile(rb"^(?:<{7}|\|{7}|>{7}) |^={7}\r?$", re.MULTILINE)
_ANEW = "bring it back from version control, or remove it and write a new one."


class Key(NamedTuple):
    """What stays of a finding when its code is moved within its file."""

    gate: str
    rule: str
    path: str
    symbol: str

    @classmethod
    def of(cls, finding: Finding) -> Key:
        """The key that ``finding`` is kept by."""
        return cls(finding.gate, finding.rule, finding.path, finding.symbol)


@dataclass(frozen=True, slots=True)
class Stale:
    """An entry that allows for ``too_many`` findings more than there are."""

    key: Key
    too_many: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Findings against a baseline, all sorted: the ``new`` ones, the ``known`` ones, and the entries to be lowered."""

    new: tuple[Finding, ...]
    known: tuple[Finding, ...]
    stale: tuple[Stale, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """How many findings of each key there may be; counts are above 0."""

    counts: Mapping[Key, int] = field(default_factory=dict)

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Baseline:
        """The one that all of ``findings`` are known to."""
        return cls(dict(Counter(map(Key.of, findings))))

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """The one that :meth:`write` wrote.

        :raises BaselineUnusable: it is not there, or is no baseline of this format.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError as problem:
            raise BaselineUnusable(
                f"There is no baseline {path}.", remedy="write one, or name the file that is meant."
            ) from problem
        except OSError as problem:
            raise BaselineUnusable(
                f"The baseline {path} cannot be read: {problem.strerror or problem}.",
                remedy="give leave to read it, or name another file.",
            ) from problem
        return cls(_counts(path, _document(path, content)))

    def write(self, path: Path) -> None:
        """Write it whole, the same bytes for the same entries: a line for each, sorted, that is complete in itself.

        :raises BaselineUnusable: there is no leave or no room to write it.
        """
        # Every entry's line ends with a comma, as the format's version comes last: none changes when another one goes.
        lines = [json.dumps({**key._asdict(), "count": count}) + "," for key, count in sorted(self.counts.items())]
        content = "\n".join(["[", *lines, json.dumps({"version": VERSION}), "]", ""])
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            try:
                temporary.write_bytes(content.encode("ascii"))
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as problem:
            raise BaselineUnusable(
                f"The baseline {path} cannot be written: {problem.strerror or problem}.",
                remedy="name a file in a folder that can be written and has room.",
            ) from problem

    def compare(self, findings: Iterable[Finding], *, gates_run: Collection[str]) -> Compared:
        """Which of ``findings`` are new, and which entries stale; of gates that did not run, none is.

        Where there are more of a key than its count, the last of them by line are the new ones.
        """
        by_key: defaultdict[Key, list[Finding]] = defaultdict(list)
        for finding in sorted(findings):
            by_key[Key.of(finding)].append(finding)
        new, known = list[Finding](), list[Finding]()
        for key, found in by_key.items():
            count = self.counts.get(key, 0)
            known += found[:count]
            new += found[count:]
        stale = [
            Stale(key, count - len(by_key.get(key, ())))
            for key, count in sorted(self.counts.items())
            if key.gate in gates_run and count > len(by_key.get(key, ()))
        ]
        return Compared(tuple(sorted(new)), tuple(sorted(known)), tuple(stale))

    def shrunk(self, findings: Iterable[Finding], *, gates_run: Collection[str]) -> Baseline:
        """This one without what is no longer found. Nothing is added, and entries of gates that did not run stay."""
        found = Counter(map(Key.of, findings))
        lowered = {
            key: min(count, found[key]) if key.gate in gates_run else count for key, count in self.counts.items()
        }
        return Baseline({key: count for key, count in lowered.items() if count})


def _document(path: Path, content: bytes) -> Any:
    if conflict := _CONFLICT.search(content):
        line = content.count(b"\n", 0, conflict.start()) + 1
        raise BaselineUnusable(
            f"{path}:{line}: the baseline holds the mark of a merge conflict.",
            remedy="keep of both sides the entries that are still found, and remove the marks.",
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise BaselineUnusable(f"The baseline {path} is no JSON: {problem}.", remedy=_ANEW) from problem


def _counts(path: Path, document: Any) -> dict[Key, int]:
    version = document[-1].get("version") if _is_versioned(document) else None
    if version is None:
        raise BaselineUnusable(
            f"The baseline {path} is no list that ends with the version of its format.", remedy=_ANEW
        )
    if type(version) is not int or version != VERSION:
        raise BaselineUnusable(
            f"The baseline {path} has the format {json.dumps(version)}; this realstack reads {VERSION}.",
            remedy="use the realstack that wrote it, or remove it and write a new one.",
        )
    counts: dict[Key, int] = {}
    for number, entry in enumerate(document[:-1], start=1):
        if not _is_entry(entry):
            raise BaselineUnusable(
                f"Entry {number} of the baseline {path} is not made of {', '.join(Key._fields)} and a count above 0.",
                remedy=_ANEW,
            )
        key = Key(*(entry[name] for name in Key._fields))
        if key in counts:
            raise BaselineUnusable(
                f"The baseline {path} has an entry twice: {' '.join(key)}.",
                remedy="remove the one with the higher count.",
            )
        counts[key] = entry["count"]
    return counts


def _is_versioned(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and isinstance(document[-1], dict)


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {*Key._fields, "count"}
        and all(isinstance(entry[name], str) for name in Key._fields)
        and type(entry["count"]) is int  # true is no count
        and entry["count"] > 0
    )
