"""A whole cluster in one file: written once, laid out anew for every run.

One file is complete or not there (it is renamed when it is finished), and writing a thousand files from one
mapped file takes half the time of copying them from a thousand others. Trailing zeros, most of a fresh WAL
segment, are not stored: they become holes.

Layout: ``MAGIC``, length and CRC-32 of the index, the index (JSON), the bytes of the files.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from realstack.services.unprivileged import Identity

_MAGIC = b"realstack cluster 1\n"
_HEADER = struct.Struct(f"<{len(_MAGIC)}sQL")


class BrokenArchiveError(Exception):
    """The file is cut, half-made or of another version."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    stored: int
    offset: int


def pack(cluster: Path, archive: Path, *, version: str) -> None:
    """Write all of ``cluster`` to ``archive``; the file appears under its name only when it is whole."""
    unfinished = archive.with_name(f"{archive.name}.{os.getpid()}.part")
    folders = [str(path.relative_to(cluster)) for path in _walk(cluster) if path.is_dir()]
    files, contents, offset = [], [], 0
    for path in _walk(cluster):
        if path.is_file():
            content = path.read_bytes()
            stored = content.rstrip(b"\0")
            files.append([str(path.relative_to(cluster)), len(content), len(stored), offset])
            contents.append(stored)
            offset += len(stored)
    index = json.dumps({"version": version, "folders": folders, "files": files, "bytes": offset}).encode()
    try:
        with unfinished.open("wb") as out:
            unfinished.chmod(0o600)
            out.write(_HEADER.pack(_MAGIC, len(index), zlib.crc32(index)) + index)
            out.writelines(contents)
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)


def unpack(archive: Path, cluster: Path, owner: Identity) -> str:
    """Lay the cluster out in the new folder ``cluster``, owned by ``owner``; return its server's version.

    :raises BrokenArchiveError: ``archive`` is not whole; nothing was written.
    :raises FileNotFoundError: there is none.
    """
    with _mapped(archive) as mapped:
        version, folders, files, start = _read_index(mapped)
        _make_folder(cluster, owner)
        for folder in folders:
            _make_folder(cluster / folder, owner)
        # Both views are released by name: the traceback of a full disk would hold them past the map's end.
        with memoryview(mapped) as whole, whole[start:] as content:
            _write_files(files, content, cluster, owner)
    return version


def version_in(archive: Path) -> str:
    """The server's version that is written in ``archive``.

    :raises BrokenArchiveError: ``archive`` is not whole.
    :raises FileNotFoundError: there is none.
    """
    with _mapped(archive) as mapped:
        return _read_index(mapped)[0]


@contextmanager
def _mapped(archive: Path) -> Iterator[mmap.mmap]:
    with archive.open("rb") as source:
        if os.fstat(source.fileno()).st_size < _HEADER.size:
            raise BrokenArchiveError("it is shorter than its header")
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _walk(cluster: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(cluster):
        names.sort()
        for name in (*names, *sorted(files)):
            yield Path(folder, name)


def _read_index(mapped: mmap.mmap) -> tuple[str, list[str], list[_File], int]:
    magic, length, crc = _HEADER.unpack_from(mapped)
    raw = mapped[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or zlib.crc32(raw) != crc:
        raise BrokenArchiveError("its index is not one")
    index = json.loads(raw)
    start = _HEADER.size + length
    if len(mapped) != start + index["bytes"]:
        raise BrokenArchiveError(f"it has {len(mapped)} bytes instead of {start + index['bytes']}")
    return index["version"], index["folders"], [_File(*row) for row in index["files"]], start


def _make_folder(folder: Path, owner: Identity) -> None:
    folder.mkdir(mode=0o700)
    owner.own(folder)


def _write_files(files: list[_File], content: memoryview, cluster: Path, owner: Identity) -> None:
    root = os.fspath(cluster)
    for file in files:
        descriptor = os.open(f"{root}/{file.path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if owner.uid is not None and owner.gid is not None:
                os.fchown(descriptor, owner.uid, owner.gid)
            written = 0
            while written < file.stored:
                written += os.write(descriptor, content[file.offset + written : file.offset + file.stored])
            if file.stored < file.size:
                os.ftruncate(descriptor, file.size)
        finally:
            os.close(descriptor)
