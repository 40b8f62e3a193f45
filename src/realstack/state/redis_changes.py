"""What a test changed in its Redis database: keys added, changed, removed and expired, against the seed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class RedisValue:
    """What a key holds: text (bytes where it is not UTF-8), list, set, dict; a stream has ``entries`` and ``groups``.

    A sorted set is a dict of scores by member.
    """

    kind: str
    value: Any

    def __str__(self) -> str:
        return f"{self.kind} {_short(self.value)}"


@dataclass(frozen=True)
class RedisChanges:
    """The differences from the seed, by key, in the order of the keys' names.

    ``retimed`` are keys whose time to live was changed or taken away: seconds by the seed and seconds left, rounded
    up; None stands for no end. A hash's field with an end of its own stands there as ``key[field]``. ``expired`` are
    keys, and fields of hashes that are still there, that ended when the seed says. Compares with another one, or with
    a dict as :meth:`as_dict` makes it; is false if nothing differs.
    """

    added: Mapping[str, RedisValue] = field(default_factory=dict)
    changed: Mapping[str, tuple[RedisValue, RedisValue]] = field(default_factory=dict)
    removed: Mapping[str, RedisValue] = field(default_factory=dict)
    expired: tuple[str, ...] = ()
    retimed: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.expired or self.retimed)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RedisChanges):
            return self.as_dict() == other.as_dict()
        return self.as_dict() == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def as_dict(self) -> dict[str, Any]:
        """``{"added": {key: value}, "changed": {key: (before, after)}, "removed": {key: value}, "expired": [key],
        "retimed": {key: (before_s, after_s)}}`` without what is empty; fit for a snapshot.
        """
        parts: dict[str, Any] = {
            "added": {key: value.value for key, value in self.added.items()},
            "changed": {key: (before.value, after.value) for key, (before, after) in self.changed.items()},
            "removed": {key: value.value for key, value in self.removed.items()},
            "expired": list(self.expired),
            "retimed": dict(self.retimed),
        }
        return {name: part for name, part in parts.items() if part}

    def without(self, *patterns: str) -> RedisChanges:
        """The same but for keys whose names fit one of the ``patterns`` (``session:*``)."""

        def kept(key: str) -> bool:
            return not any(fnmatchcase(key, pattern) for pattern in patterns)

        def of(part: Mapping[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in part.items() if kept(key)}

        expired = tuple(key for key in self.expired if kept(key))
        return RedisChanges(of(self.added), of(self.changed), of(self.removed), expired, of(self.retimed))

    def text(self, most: int = 20) -> str:
        """A line a key, ``most`` of them: ``+`` added, ``~`` changed, ``-`` removed or expired."""
        lines = [f"+ {key}: {value}" for key, value in self.added.items()]
        lines += [f"~ {key}: {before} → {after}" for key, (before, after) in self.changed.items()]
        lines += [f"~ {key}: ends {_in(before)} → {_in(after)}" for key, (before, after) in self.retimed.items()]
        lines += [f"- {key}: {value}" for key, value in self.removed.items()]
        lines += [f"- {key}: expired" for key in self.expired]
        more = len(lines) - most
        return "\n".join([*lines[:most], *([f"… and {more} more"] if more > 0 else [])])


def _short(value: Any) -> str:
    shown = repr(sorted(value, key=str)) if isinstance(value, set) else repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown)} characters)"


def _in(seconds: float | None) -> str:
    return "never" if seconds is None else f"in {seconds:g} s"
