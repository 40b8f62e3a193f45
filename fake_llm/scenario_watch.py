"""Scenario files that are edited while the server runs: read again; while they are wrong the last good ones stay."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fake_llm.scenario_file import files_of, load_files
from fake_llm.session import Sessions
from fake_llm.written import ScenarioError

LOOKS_EVERY_S = 0.5

Seen = tuple[tuple[str, int, int], ...]


class WatchedFiles:
    """The files and folders that the server was started with. Looked at when a request comes, not in between."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen = self._now()
        self._next = 0.0

    def __repr__(self) -> str:
        return f"<WatchedFiles {', '.join(map(str, self._paths))}>"

    def look(self, sessions: Sessions) -> None:
        """Give ``sessions`` what the files say, if they changed since the last look and are right.

        What is wrong in them goes to standard error, once for each edit.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOKS_EVERY_S
        seen = self._now()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            scenarios = load_files(self._paths)
        except ScenarioError as error:
            sys.stderr.write(f"{error}\nThe scenarios from before the edit stay.\n")
            return
        sessions.replace_base(scenarios)

    def _now(self) -> Seen:
        """Name, size and time of each file; one that is gone has none."""
        found = []
        for path in files_of(self._paths):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((str(path), status.st_size, status.st_mtime_ns))
        return tuple(found)
