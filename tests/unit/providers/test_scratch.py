"""The choice of a folder in memory."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from realstack.providers import scratch


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scratch, "_tmpfs_folders", lambda: iter([tmp_path]))
    monkeypatch.setattr(scratch, "_memory_left", lambda: 1 << 34)
    monkeypatch.setattr(scratch, "free_bytes", lambda folder: 1 << 30)
    return tmp_path


def test_a_roomy_tmpfs_is_taken(memory: Path) -> None:
    assert scratch.tmpfs_with_room(1 << 29) == memory


def test_a_small_tmpfs_is_passed_over(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's default is 64 MB."""
    monkeypatch.setattr(scratch, "free_bytes", lambda folder: 64 << 20)
    assert scratch.tmpfs_with_room(1 << 29) is None


def test_a_tmpfs_that_promises_more_than_the_memory_left_is_passed_over(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_memory_left", lambda: 100 << 20)
    assert scratch.tmpfs_with_room(1 << 29) is None


def test_a_tmpfs_that_cannot_be_written_is_passed_over(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert scratch.tmpfs_with_room(1 << 29) is None


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_a_full_disk_and_a_used_up_quota_are_no_room(number: int, full: bool) -> None:
    assert scratch.is_no_room(OSError(number, "")) is full


def test_room_is_told_for_a_folder_that_is_gone(tmp_path: Path) -> None:
    assert f"no room left in {tmp_path} (" in scratch.no_room_sentence(tmp_path / "gone" / "too")
