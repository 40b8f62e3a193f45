"""What keeps an environment for others ends when it is told to, whether it came up or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realstack import registry
from realstack.config import Settings, load_settings
from realstack.keeper import KeptError, end, ensure_kept


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REALSTACK_PROVIDER", raising=False)
    (tmp_path / "001.sql").write_text("CREATE TABLE users (id int PRIMARY KEY);")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.realstack]\nprovider = "embedded"\nservices = ["postgres"]\n'
        '[tool.realstack.postgres]\nmigrations = ["001.sql"]\n'
    )
    return load_settings(tmp_path)


def test_two_callers_get_the_one_environment_and_end_stops_it(settings: Settings) -> None:
    first, started = ensure_kept("shared", settings, serves_pid=os.getpid())
    again, started_again = ensure_kept("shared", settings, serves_pid=os.getpid())
    assert (started, started_again) == (True, False)
    assert first.run == again.run
    assert first.owner_lives()
    assert end(first)
    assert registry.find("shared") is None
    assert not first.run.folder.exists()


def test_one_that_could_not_start_tells_every_caller_why_and_ends_at_once(settings: Settings) -> None:
    (settings.root / "001.sql").write_text("CREATE TABEL users (id int);")
    for _ in range(2):
        with pytest.raises(KeptError, match=r"001\.sql:1"):
            ensure_kept("shared", settings, serves_pid=os.getpid())
    record = registry.find("shared")
    assert record is not None
    assert end(record, within_s=10)
    assert registry.find("shared") is None
