"""Whether files were edited since they were last looked at: when a request comes, not in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

LOOKS_EVERY_S = 0.5
Seen = tuple[tuple[str, int, int], ...]


class Edits:
    """Looks at the names, sizes and times of what ``files`` gives, and not more often than :data:`LOOKS_EVERY_S`."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        self._files = files
        self._seen = self._now()
        self._next = 0.0

    def __repr__(self) -> str:
        return f"<Edits of {len(self._seen)} files>"

    def are_new(self) -> bool:
        """Whether there are any since it was last asked."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + LOOKS_EVERY_S
        before, self._seen = self._seen, self._now()
        return self._seen != before

    def _now(self) -> Seen:
        """Of each file; one that is gone has none."""
        found = []
        for path in self._files():
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((str(path), status.st_size, status.st_mtime_ns))
        return tuple(found)
