"""System V shared memory that a killed server has left: the kernel keeps a segment until somebody removes it.

PostgreSQL makes one of 56 bytes, by which it knows that a data folder is in use, and removes it unless it is killed.
"""

from __future__ import annotations

from pathlib import Path

_SEGMENTS = Path("/proc/sysvipc/shm")
_REMOVE = 0  # IPC_RMID of <sys/ipc.h>, the same on Linux and macOS
_CLOCKS_DIFFER_BY_S = 2.0


def remove_left_by(pid: int, started: float) -> list[int]:
    """Remove what the process ``pid`` (since the instant ``started``) has made and nobody uses; the ids of it.

    The process must have ended. Where the system has no list of segments (Linux has: proc_sysvipc(5)) none is removed.
    """
    return [segment for segment in _left_by(pid, started) if _removed(segment)]


def _left_by(pid: int, started: float) -> list[int]:
    try:
        names, *rows = _SEGMENTS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
    segments = [dict(zip(names.split(), map(int, row.split()), strict=False)) for row in rows]
    return [
        each["shmid"]
        for each in segments
        if each["cpid"] == pid and each["nattch"] == 0 and each["ctime"] >= started - _CLOCKS_DIFFER_BY_S
    ]


def _removed(segment: int) -> bool:
    import ctypes

    try:
        return bool(ctypes.CDLL(None).shmctl(segment, _REMOVE, None) == 0)
    except (OSError, AttributeError):  # a C library without it
        return False
