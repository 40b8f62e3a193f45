"""Times in YAML seeds that count from a fixed instant: ``!time -3d`` with ``$now: 2025-01-01T12:00:00Z`` above.

The instant stands in the file, so that two builds make the same rows, whenever they run.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

NOW = "$now"

_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_NAMES = {
    "week": "w",
    "day": "d",
    "hour": "h",
    "min": "m",
    "minute": "m",
    "sec": "s",
    "second": "s",
}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_FORM = re.compile(r"(?:now)?\s*(?:([+-])\s*((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+)|0)?")


class NotATimeError(ValueError):
    """The text is no time; it says why."""


def instant(text: str) -> datetime:
    """The base instant that ``text`` names; without a zone it is in UTC.

    :raises NotATimeError: it names none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as problem:
        raise NotATimeError(f"{text!r} is no instant: write it as 2025-01-01T12:00:00Z") from problem
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def time_from(base: datetime, text: str) -> datetime:
    """The time that lies by ``text`` after ``base``: ``-3d``, ``now - 3 days``, ``+1h30m``, ``now``.

    There are no months and years, as those are not of one length.

    :raises NotATimeError: that is not its form.
    """
    words = text.strip().lower()
    match = _FORM.fullmatch(words)
    if match is None or not words:
        raise NotATimeError(f"{text!r} is no time from now: write it as -3d, +1h30m, now - 2 weeks")
    span = timedelta()
    for number, unit in _AMOUNT.findall(match[2] or ""):
        name = _NAMES.get(unit.removesuffix("s") if unit not in _UNITS else unit, unit)
        if name not in _UNITS:
            raise NotATimeError(f"{text!r}: there is no unit {unit!r}; there are w, d, h, m, s and ms")
        span += float(number) * _UNITS[name]
    try:
        return base - span if match[1] == "-" else base + span
    except OverflowError as problem:
        raise NotATimeError(f"{text!r} lies outside of the calendar") from problem
