"""Where a run's data may lie: memory if there is enough of it, and what to say when there is none left."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MIN_FREE_BYTES = 512 * 1024 * 1024

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def tmpfs_with_room(min_free_bytes: int = MIN_FREE_BYTES) -> Path | None:
    """A writable folder in memory with at least ``min_free_bytes`` free, or None. Linux only.

    Docker gives containers a ``/dev/shm`` of 64 MB, so its size is looked at; the memory that the machine
    has left is looked at too, for a tmpfs promises more than there is.
    """
    if _memory_left() < min_free_bytes:
        return None
    for folder in _tmpfs_folders():
        if os.access(folder, os.W_OK | os.X_OK) and free_bytes(folder) >= min_free_bytes:
            return folder
    return None


def free_bytes(folder: Path) -> int:
    """Room left where ``folder`` lies, for who is not root."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def is_no_room(problem: OSError) -> bool:
    """Whether the disk, the tmpfs or a quota is full."""
    return problem.errno in _NO_ROOM


def no_room_sentence(folder: Path) -> str:
    """``no room left in /dev/shm/x (0.3 MB free of 64.0 MB)``."""
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return f"no room left in {folder} ({usage.free / 1e6:.1f} MB free of {usage.total / 1e6:.1f} MB)"


def _tmpfs_folders() -> Iterator[Path]:
    mounted = _tmpfs_mounts()
    for folder in (Path("/dev/shm"), Path(tempfile.gettempdir())):  # noqa: S108 - looked at, not written
        if str(folder) in mounted:
            yield folder


def _tmpfs_mounts() -> frozenset[str]:
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    fields = [line.split() for line in lines]
    return frozenset(part[1] for part in fields if len(part) > 2 and part[2] == "tmpfs")


def _memory_left() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
