"""What a process has left is removed, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from realstack.providers.shared_memory import remove_left_by

MAKE = "import ctypes, os; print(os.getpid(), ctypes.CDLL(None).shmget(0, 56, 0o1600))"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its segments")


def left_behind() -> tuple[int, int]:
    """A process that has ended, and the segment that it made (IPC_PRIVATE, IPC_CREAT)."""
    pid, segment = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, check=True).stdout.split()
    return int(pid), int(segment)


def test_only_that_processs_segments_go_and_only_those_since_its_start() -> None:
    began = time.time()
    (pid, segment), (other_pid, other) = left_behind(), left_behind()
    assert remove_left_by(pid, began + 3600) == []  # an earlier process of the same number made it
    assert remove_left_by(pid, began) == [segment]
    assert remove_left_by(pid, began) == []
    assert remove_left_by(other_pid, began) == [other]
