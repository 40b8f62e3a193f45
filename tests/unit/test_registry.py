"""Records of runs: written whole, found by name, passed over when they cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from realstack import registry
from realstack.errors import HomeUnusable
from realstack.model import Choice, Endpoint, Run, Secret


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path / "home"))


def record(run_id: str = "r1", *, pid: int | None = None, started: float | None = None) -> registry.Record:
    own = psutil.Process()
    return registry.Record(
        Run(run_id, Path("/nowhere"), pid or own.pid, own.create_time() if started is None else started, "shop"),
        name="up-shop",
        ready=True,
        choices={"postgres": Choice("embedded", "no engine answered")},
        endpoints={
            "postgres": Endpoint(
                "postgres",
                "postgres",
                "127.0.0.1",
                5432,
                "postgresql",
                username="app",
                password=Secret("hunter2"),
                socket_dir=Path("/run/x"),
                options={"maintenance_db": "postgres"},
            )
        },
        timings={"ready": 0.5},
    )


def test_a_record_comes_back_as_it_was_written() -> None:
    registry.write(record())
    found = registry.find("up-shop")
    assert found == record()
    assert found is not None
    assert isinstance(found.endpoints["postgres"].password, Secret)


def test_a_record_is_readable_by_its_owner_alone() -> None:
    registry.write(record())
    assert stat.S_IMODE(record().path.stat().st_mode) == 0o600


def test_a_record_whose_owner_is_dead_is_not_found_but_still_listed() -> None:
    """The process id may live again as another process: its start tells them apart."""
    registry.write(record(started=1.0))
    assert registry.find("up-shop") is None
    assert [found.run.run_id for found in registry.records()] == ["r1"]


def test_a_file_that_is_half_written_or_of_another_version_is_passed_over() -> None:
    registry.write(record())
    (registry.runs_folder() / "broken.json").write_text('{"run": {')
    other = '{"run": {}, "unknown": 1, "choices": {}, "endpoints": {}, "standing": {}}'
    (registry.runs_folder() / "other.json").write_text(other)
    assert [found.run.run_id for found in registry.records()] == ["r1"]


def test_the_newest_of_one_name_is_found() -> None:
    registry.write(record("r1"))
    registry.write(replace(record("r2")))
    os.utime(record("r1").path, (1, 1))
    found = registry.find("up-shop")
    assert found is not None
    assert found.run.run_id == "r2"


def test_forgetting_twice_is_no_error() -> None:
    registry.write(record())
    registry.forget("r1")
    registry.forget("r1")
    assert list(registry.records()) == []


def test_run_ids_fit_names_of_containers_and_databases() -> None:
    made = {registry.new_run_id() for _ in range(100)}
    assert len(made) == 100
    assert all(run_id.isalnum() and run_id.islower() and len(run_id) == 11 for run_id in made)


def test_a_home_that_cannot_be_made_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALSTACK_HOME", "/proc/of-nobody")
    with pytest.raises(HomeUnusable, match=r"/proc/of-nobody \(REALSTACK_HOME names it\): No such file") as caught:
        list(registry.records())
    assert "REALSTACK_HOME" in caught.value.remedy


def test_a_record_that_cannot_be_written_whole_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = registry.runs_folder()

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(HomeUnusable, match="No space left"):
        registry.write(record())
    assert list(folder.iterdir()) == []
