"""Clusters that hold a known state already, kept for the day on which they were made.

A state may depend on the date (``CURRENT_DATE``, a partition for each month), so the next day it is built anew. Beside
them lie notes: of a state that was built once today, or why it is not kept.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from realstack.errors import RealstackError

MOST = 8
KEPT, NOTED = ".kept", ".noted"
_HALF_MADE_AFTER_S = 3600.0
_RELATION_CACHE, _SET_ASIDE = "pg_internal.init", "pg_internal.init.kept"


@dataclass(frozen=True, slots=True)
class KeptClusters:
    """Those in ``cache`` that a server with that ``key`` can start from: binaries, login, settings."""

    cache: Path
    key: str

    def path_of(self, state: str) -> Path:
        """Where the cluster with that known state lies, if there is one."""
        return self.cache / f"{self.key}-{state[:24]}-{_today()}{KEPT}"

    def find(self, state: Callable[[], str]) -> Path | None:
        """The one with that known state; which it is, is asked for only where it may be here."""
        if next(self.cache.glob(f"{self.key}-*-{_today()}{KEPT}"), None) is None:
            return None
        try:
            path = self.path_of(state())
        except (RealstackError, OSError):
            return None  # whoever builds the state tells what is wrong with its sources
        return path if path.is_file() else None

    def built_before(self, state: str) -> bool:
        """Note that this state was built; whether it was before, today, and nothing spoke against keeping it.

        The first of a day also drops what is of another one.

        :raises OSError: no room, no permission.
        """
        note = self.path_of(state).with_suffix(NOTED)
        if note.is_file():
            return not note.stat().st_size
        self.make_room(0)
        note.touch(mode=0o600)
        return False

    def note_why_not(self, state: str, why: str) -> None:
        """It is not to be tried again today."""
        with contextlib.suppress(OSError):
            self.path_of(state).with_suffix(NOTED).write_text(why, encoding="utf-8")

    def make_room(self, for_more: int = 1) -> None:
        """Drop what is of another day or half-made, and the longest unused: there are :data:`MOST` at most."""
        for path in self.cache.iterdir():
            of_another_day = path.suffix in (KEPT, NOTED) and not path.stem.endswith(_today())
            if of_another_day or (path.suffix == ".part" and _age_s(path) > _HALF_MADE_AFTER_S):
                path.unlink(missing_ok=True)
        kept = sorted(kept_in(self.cache), key=_age_s)
        for path in kept[max(0, MOST - for_more) :]:
            path.unlink(missing_ok=True)


def set_aside_relation_cache(data: Path, database: int) -> None:
    """Of the database of that number, in the data of a server that was stopped in good order.

    Every start removes those files, as a crash may have made them wrong. A template must be closed to all, so nobody
    would write its file again, and every copy of it would have to read the catalogue anew.
    """
    made = data / "base" / str(database) / _RELATION_CACHE
    if made.is_file():
        made.rename(made.with_name(_SET_ASIDE))


def put_back_relation_cache(data: Path) -> None:
    """What was set aside, once the server answers."""
    for made in (data / "base").glob(f"*/{_SET_ASIDE}"):
        made.rename(made.with_name(_RELATION_CACHE))


def kept_in(cache: Path) -> Iterator[Path]:
    """All of them, whosoever they are."""
    return cache.glob(f"*{KEPT}")


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _today() -> str:
    return datetime.now(UTC).strftime("%Y%m%d")
