"""Lays out a packed cluster; also a program of its own, which another process can wait for.

    python -I -S postgres_unpack.py ARCHIVE FOLDER [UID GID]

It prints the version of the cluster's server. It ends with :data:`BROKEN` and the reason where the archive is not whole
(nothing was written then), with :data:`FAILED`, the number of the system's error and the file where that refused.

As a program it needs none of our modules and few of Python's: its start is half of its time.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import zlib

MAGIC = b"realstack cluster 2\n"
HEADER = struct.Struct(f"<{len(MAGIC)}sQL")
"""The magic, then length and CRC-32 of the index.

The index has a line for each of these, in this order: the server's version; how many bytes of content follow the index;
how many folders there are; each folder; each file, as ``SIZE STORED PATH`` (bytes; what is not stored is zeros).
"""
BROKEN, FAILED = 3, 4


class BrokenArchiveError(Exception):
    """The file is cut, half-made or of another version."""


def unpack(archive: str, cluster: str, uid: int | None = None, gid: int | None = None) -> str:
    """Lay the cluster out in the new folder ``cluster``, owned by that user; return its server's version.

    :raises BrokenArchiveError: ``archive`` is not whole; nothing was written.
    :raises OSError: there is none (FileNotFoundError), or the system refused.
    """
    with open(archive, "rb") as source:  # noqa: PTH123 - importing pathlib takes longer than all of this
        if os.fstat(source.fileno()).st_size < HEADER.size:
            raise BrokenArchiveError("it is shorter than its header")
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            version, folders, files, start = _read_index(mapped)
            for folder in ("", *folders):
                path = f"{cluster}/{folder}"
                os.mkdir(path, 0o700)  # noqa: PTH102
                if uid is not None and gid is not None:
                    os.chown(path, uid, gid)
            # Both views are released by name: the traceback of a full disk would hold them past the map's end.
            with memoryview(mapped) as whole, whole[start:] as content:
                _write_files(files, content, cluster, uid, gid)
    return version


def version_in(archive: str) -> str:
    """The server's version that is written in ``archive``.

    :raises BrokenArchiveError: ``archive`` is not whole.
    :raises FileNotFoundError: there is none.
    """
    with open(archive, "rb") as source:  # noqa: PTH123 - importing pathlib takes longer than all of this
        if os.fstat(source.fileno()).st_size < HEADER.size:
            raise BrokenArchiveError("it is shorter than its header")
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _read_index(mapped)[0]


def _read_index(mapped: mmap.mmap) -> tuple[str, list[str], list[tuple[str, int, int]], int]:
    """The version, the folders, each file with its size and what of it is stored, and where the content begins."""
    magic, length, crc = HEADER.unpack_from(mapped)
    start = HEADER.size + length
    raw = mapped[HEADER.size : start]
    if magic != MAGIC or zlib.crc32(raw) != crc:
        raise BrokenArchiveError("its index is not one")
    version, content, count, *rest = raw.decode("utf-8", "surrogateescape").split("\n")
    if len(mapped) != start + int(content):
        raise BrokenArchiveError(f"it has {len(mapped)} bytes instead of {start + int(content)}")
    files = []
    for line in rest[int(count) :]:
        size, stored, path = line.split(" ", 2)
        files.append((path, int(size), int(stored)))
    return version, rest[: int(count)], files, start


def _write_files(
    files: list[tuple[str, int, int]], content: memoryview, cluster: str, uid: int | None, gid: int | None
) -> None:
    offset = 0
    for name, size, stored in files:
        descriptor = os.open(f"{cluster}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if uid is not None and gid is not None:
                os.fchown(descriptor, uid, gid)
            written = 0
            while written < stored:
                written += os.write(descriptor, content[offset + written : offset + stored])
            if stored < size:
                os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        offset += stored


def main(archive: str, cluster: str, *owner: str) -> int:
    """What the program does."""
    try:
        sys.stdout.write(unpack(archive, cluster, *map(int, owner)))
    except BrokenArchiveError as problem:
        sys.stdout.write(str(problem))
        return BROKEN
    except OSError as problem:
        # A write's error names no file.
        sys.stdout.write(f"{problem.errno or 0} {problem.filename or cluster}")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
