"""Kept clusters: which may be taken, how many there are, and what is written down beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realstack.errors import MigrationFailed
from realstack.services import postgres_kept
from realstack.services.postgres_kept import (
    MOST,
    KeptClusters,
    kept_in,
    put_back_relation_cache,
    set_aside_relation_cache,
)

STATE = "5" * 64


def never_asked() -> str:
    raise AssertionError("reading all sources takes time, and there is nothing that could be found")


def test_a_state_is_found_by_its_own_key_only(tmp_path: Path) -> None:
    mine, other = KeptClusters(tmp_path, "mine"), KeptClusters(tmp_path, "other")
    assert mine.find(never_asked) is None
    mine.path_of(STATE).touch()
    assert mine.find(lambda: STATE) == mine.path_of(STATE)
    assert mine.find(lambda: "6" * 64) is None
    assert other.find(never_asked) is None


def test_a_state_counts_for_one_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = KeptClusters(tmp_path, "key")
    clusters.path_of(STATE).touch()
    assert not clusters.built_before(STATE)
    monkeypatch.setattr(postgres_kept, "_today", lambda: "20301231")
    assert clusters.find(never_asked) is None
    assert not clusters.built_before(STATE), "which also drops what is of another day"
    assert [path.name for path in tmp_path.iterdir()] == [f"key-{STATE[:24]}-20301231.noted"]


def test_sources_that_cannot_be_read_are_for_others_to_tell(tmp_path: Path) -> None:
    def broken() -> str:
        raise MigrationFailed("db: there is no such folder")

    clusters = KeptClusters(tmp_path, "key")
    clusters.path_of(STATE).touch()
    assert clusters.find(broken) is None


def test_the_second_build_is_worth_keeping_unless_something_spoke_against_it(tmp_path: Path) -> None:
    clusters = KeptClusters(tmp_path, "key")
    assert [clusters.built_before(STATE) for _ in range(3)] == [False, True, True]
    clusters.note_why_not(STATE, "two builds differ")
    assert not clusters.built_before(STATE)


def test_the_longest_unused_make_room_for_one_more(tmp_path: Path) -> None:
    clusters = KeptClusters(tmp_path, "key")
    paths = [clusters.path_of(f"{number:064}"[::-1]) for number in range(MOST + 3)]
    for age, path in enumerate(paths):
        path.touch()
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "fresh.cluster").touch()
    half_made, being_made = tmp_path / "a.kept.1.part", tmp_path / "b.kept.2.part"
    for part in (half_made, being_made):
        part.touch()
    os.utime(half_made, (1_000_000, 1_000_000))
    clusters.make_room()
    assert set(kept_in(tmp_path)) == set(paths[: MOST - 1])
    assert (tmp_path / "fresh.cluster").exists()
    assert (half_made.exists(), being_made.exists()) == (False, True)


def test_the_relation_cache_of_one_database_survives_a_start(tmp_path: Path) -> None:
    for number in (5, 16384):
        (tmp_path / "base" / str(number)).mkdir(parents=True)
        (tmp_path / "base" / str(number) / "pg_internal.init").write_text(str(number))
    set_aside_relation_cache(tmp_path, 16384)
    for left in tmp_path.rglob("pg_internal.init"):
        left.unlink()  # as the server does when it starts
    put_back_relation_cache(tmp_path)
    assert [path.read_text() for path in tmp_path.rglob("pg_internal.init*")] == ["16384"]
