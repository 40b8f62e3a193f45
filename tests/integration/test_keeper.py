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


def in_every_interpreter(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``code`` run at the start of every Python process that is started from now on."""
    (folder / "early").mkdir()
    (folder / "early" / "sitecustomize.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder / "early"))


def test_an_exception_that_nobody_foresaw_is_told_with_its_type_text_and_place(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "import realstack.environment as e\ndef choose(settings):\n    raise ZeroDivisionError('of seven')\n"
    in_every_interpreter(broken + "e.choose = choose\n", tmp_path, monkeypatch)
    for _ in range(2):
        with pytest.raises(KeptError) as caught:
            ensure_kept("shared", settings, serves_pid=os.getpid())
        assert "ZeroDivisionError: of seven" in str(caught.value)
        assert f"at {tmp_path}/early/sitecustomize.py:3, in choose" in str(caught.value)
        assert "[unexpected]" in str(caught.value)
    record = registry.find("shared")
    assert record is not None
    assert end(record, within_s=10)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended with signal 9"),
        ("import os; os.write(2, b'no such thing'); os._exit(3)", "ended with exit status 3"),
    ],
)
def test_a_keeper_that_ends_without_a_word_is_told_by_how_it_ended_and_what_it_said(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    in_every_interpreter(f"import sys\nif 'realstack.keeper' in sys.orig_argv:\n    {code}\n", tmp_path, monkeypatch)
    with pytest.raises(KeptError) as caught:
        ensure_kept("shared", settings, serves_pid=os.getpid())
    assert told in str(caught.value)
    assert ("no such thing" in str(caught.value)) == ("no such thing" in code)
