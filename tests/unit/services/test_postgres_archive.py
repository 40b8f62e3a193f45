"""A cluster in one file: laid out as it was, or refused as a whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from realstack.services.postgres_archive import BrokenArchiveError, pack, unpack, version_in
from realstack.services.unprivileged import Identity

CONTENT = {
    "PG_VERSION": b"18\n",
    "empty": b"",
    "base/1/2600": bytes(range(256)) * 64,
    "pg_wal/000000010000000000000001": b"\x10\x00wal" + bytes(1 << 20),
    "all/zeros": bytes(8192),
}


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    folder = tmp_path / "cluster"
    for name, content in CONTENT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "pg_wal" / "archive_status").mkdir()
    return folder


@pytest.fixture
def archive(cluster: Path, tmp_path: Path) -> Path:
    path = tmp_path / "kept.cluster"
    pack(cluster, path, version="18.6")
    return path


def test_what_was_packed_comes_out_byte_for_byte(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert unpack(archive, out, Identity()) == "18.6"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == CONTENT
    assert (out / "pg_wal" / "archive_status").is_dir()


def test_only_the_owner_may_enter(archive: Path, tmp_path: Path) -> None:
    """PostgreSQL refuses a data folder that others may read."""
    out = tmp_path / "out"
    unpack(archive, out, Identity())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))}
    assert modes == {0o700, 0o600}
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600


def test_names_are_bytes(cluster: Path, tmp_path: Path) -> None:
    """A tablespace's folder, or an extension's, may be called anything the file system takes."""
    name = os.fsdecode(b"\xe9 caf\xc3\xa9")
    (cluster / name).write_bytes(b"here")
    pack(cluster, tmp_path / "kept", version="18.6")
    unpack(tmp_path / "kept", tmp_path / "out", Identity())
    assert (tmp_path / "out" / name).read_bytes() == b"here"


def test_what_the_system_refuses_is_told_with_its_file(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError) as refused:
        unpack(archive, tmp_path / "out", Identity())
    assert Path(refused.value.filename) == tmp_path / "out"
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "none", tmp_path / "new", Identity())


def test_zeros_take_no_room_in_the_archive(archive: Path) -> None:
    assert archive.stat().st_size < 1 << 17


@pytest.mark.parametrize("kept", [0, 10, 40, -1])
def test_a_cut_archive_is_refused_before_anything_is_written(archive: Path, tmp_path: Path, kept: int) -> None:
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(BrokenArchiveError):
        unpack(archive, tmp_path / "out", Identity())
    with pytest.raises(BrokenArchiveError):
        version_in(archive)
    assert not (tmp_path / "out").exists()


def test_a_changed_index_is_refused(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"18.6")] = ord("9")
    archive.write_bytes(content)
    with pytest.raises(BrokenArchiveError, match="index"):
        unpack(archive, tmp_path / "out", Identity())


def test_a_failed_pack_leaves_no_file(cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no room"):
        pack(cluster, tmp_path / "new.cluster", version="18.6")
    assert [path.name for path in tmp_path.iterdir()] == ["cluster"]
