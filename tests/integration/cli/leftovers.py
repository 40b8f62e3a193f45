"""What a run that has ended may have left on this machine: folders, and processes that carry its mark."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

GONE_WITHIN_S = 60.0
"""Tests beside this one kill watchdogs, and sweep themselves a while later."""
_RUN = re.compile(r"realstack-(r[0-9a-f]{10})(?![0-9a-f])")
_PLACES = (Path("/dev/shm"), Path(tempfile.gettempdir()))


def looked_for() -> Callable[[], list[str]]:
    """Look at what is there now; the function returned tells what has come since, and stays.

    Other runs come and go on the same machine. What is theirs is known by their watchdogs, which live as long as they
    do and have the run's name in their command line; so what counts is what no watchdog answers for. It is given the
    time that a sweep takes.
    """
    before = set(_present())

    def left() -> list[str]:
        deadline = time.monotonic() + GONE_WITHIN_S
        while found := sorted(set(_present()) - before):
            if time.monotonic() > deadline:
                return found
            time.sleep(0.1)
        return []

    return left


def _present() -> Iterator[str]:
    """Folders and processes of runs that no watchdog answers for."""
    marked: list[tuple[str, str]] = []
    watched: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            if "realstack.watchdog" in words:
                watched.add(words[words.index("realstack.watchdog") + 1])
            elif (run_id := process.environ().get("REALSTACK_RUN")) and not _is_of_another_suite(process):
                marked.append((run_id, f"process {process.pid} of {run_id}: {' '.join(words)}"))
            elif in_folder := _RUN.search(process.cwd()):
                marked.append((in_folder[1], f"process {process.pid} in {process.cwd()}: {' '.join(words)}"))
    for place in _PLACES:
        marked += [(found[1], str(path)) for path in place.glob("realstack-r*") if (found := _RUN.match(path.name))]
    return (text for run_id, text in marked if run_id not in watched)


def _is_of_another_suite(process: psutil.Process) -> bool:
    """Whether it has a living pytest above it, and not this one; what was left behind has lost its parents."""
    parents = process.parents()
    if any(parent.pid == os.getpid() for parent in parents):
        return False
    return any("pytest" in word for parent in parents for word in parent.cmdline()[:4])
