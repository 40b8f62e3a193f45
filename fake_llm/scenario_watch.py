"""Scenario files that are edited while the server runs: read again; while they are wrong the last good ones stay."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fake_llm.edits import Edits
from fake_llm.scenario_file import files_of, load_files
from fake_llm.session import Sessions
from fake_llm.written import ScenarioError


class WatchedFiles:
    """The files and folders that the server was started with. Looked at when a request comes, not in between."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._edits = Edits(lambda: files_of(self._paths))

    def __repr__(self) -> str:
        return f"<WatchedFiles {', '.join(map(str, self._paths))}>"

    def look(self, sessions: Sessions) -> None:
        """Give ``sessions`` what the files say, if they changed since the last look and are right.

        What is wrong in them goes to standard error, once for each edit.
        """
        if not self._edits.are_new():
            return
        try:
            scenarios = load_files(self._paths)
        except ScenarioError as error:
            sys.stderr.write(f"{error}\nThe scenarios from before the edit stay.\n")
            return
        sessions.replace_base(scenarios)
