"""A whole cluster in one file: written once, laid out anew for every run.

One file is complete or not there (it is renamed when it is finished), and writing a thousand files from one
mapped file takes half the time of copying them from a thousand others. Trailing zeros, most of a fresh WAL
segment, are not stored: they become holes. The layout is told in :mod:`realstack.services.postgres_unpack`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from realstack.services import postgres_unpack
from realstack.services.postgres_unpack import BROKEN, FAILED, HEADER, MAGIC, BrokenArchiveError
from realstack.services.unprivileged import Identity

__all__ = ["BrokenArchiveError", "pack", "unpack", "version_in"]


def pack(cluster: Path, archive: Path, *, version: str) -> None:
    """Write all of ``cluster`` to ``archive``; the file appears under its name only when it is whole."""
    unfinished = archive.with_name(f"{archive.name}.{os.getpid()}.part")
    folders = [str(path.relative_to(cluster)) for path in _walk(cluster) if path.is_dir()]
    files, contents, total = [], [], 0
    for path in _walk(cluster):
        if path.is_file():
            content = path.read_bytes()
            stored = content.rstrip(b"\0")
            files.append(f"{len(content)} {len(stored)} {path.relative_to(cluster)}")
            contents.append(stored)
            total += len(stored)
    lines = [version, str(total), str(len(folders)), *folders, *files]
    index = "\n".join(lines).encode("utf-8", "surrogateescape")
    try:
        with unfinished.open("wb") as out:
            unfinished.chmod(0o600)
            out.write(HEADER.pack(MAGIC, len(index), zlib.crc32(index)) + index)
            out.writelines(contents)
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)


def unpack(archive: Path, cluster: Path, owner: Identity) -> str:
    """Lay the cluster out in the new folder ``cluster``, owned by ``owner``; return its server's version.

    Another process does it: each of the thousands of system calls would give up the interpreter's lock, and wait to
    get it back from the thread that imports the clients meanwhile (0.2 s instead of 0.06 s).

    :raises BrokenArchiveError: ``archive`` is not whole; nothing was written.
    :raises FileNotFoundError: there is none.
    :raises OSError: no room, no permission.
    """
    program = [sys.executable, "-I", "-S", "-X", "utf8", postgres_unpack.__file__, str(archive), str(cluster)]
    if owner.uid is not None and owner.gid is not None:
        program += [str(owner.uid), str(owner.gid)]
    done = subprocess.run(
        program, capture_output=True, encoding="utf-8", errors="surrogateescape", start_new_session=True, check=False
    )
    if done.returncode == BROKEN:
        raise BrokenArchiveError(done.stdout)
    if done.returncode == FAILED:
        number, _, file = done.stdout.partition(" ")
        raise OSError(int(number), os.strerror(int(number)), file)
    if done.returncode != 0:
        raise OSError(f"{archive} could not be laid out: {done.stderr.strip() or done.returncode}")
    return done.stdout


def version_in(archive: Path) -> str:
    """The server's version that is written in ``archive``.

    :raises BrokenArchiveError: ``archive`` is not whole.
    :raises FileNotFoundError: there is none.
    """
    return postgres_unpack.version_in(str(archive))


def _walk(cluster: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(cluster):
        names.sort()
        for name in (*names, *sorted(files)):
            yield Path(folder, name)
