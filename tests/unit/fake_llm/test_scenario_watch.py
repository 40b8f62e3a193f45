"""Scenario files that are edited while the server runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_llm import edits
from fake_llm.model import Message, Turn
from fake_llm.scenario_file import load_files, load_text
from fake_llm.scenario_watch import WatchedFiles
from fake_llm.session import Sessions

TURN = Turn("openai_chat", "m", (Message("user", "hello"),))


class Edited:
    """A folder of scenarios, a server's sessions on it, and what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("a.yaml", "- {name: hello, reply: before}")
        self.sessions = Sessions(load_files([folder]))
        self.watched = WatchedFiles([folder])

    def write(self, name: str, text: str) -> None:
        """Size and time of the file are others than before."""
        path = self.folder / name
        path.write_text(text + " " * (path.stat().st_size + 1 - len(text) if path.exists() else 0))

    def said(self, session: str = "s") -> str:
        self.watched.look(self.sessions)
        return self.sessions.get(session).select(TURN, {}).reply.text


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edited:
    monkeypatch.setattr(edits, "LOOKS_EVERY_S", 0.0)
    return Edited(tmp_path)


def test_an_edit_counts_in_old_and_in_new_sessions(edited: Edited) -> None:
    assert edited.said() == "before"
    edited.write("a.yaml", "- {name: hello, reply: after}")
    assert (edited.said(), edited.said("another")) == ("after", "after")


def test_a_wrong_edit_is_told_once_and_the_last_good_ones_stay(
    edited: Edited, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write("a.yaml", "- {name: hello, repl: after}")
    assert (edited.said(), edited.said()) == ("before", "before")
    told = capsys.readouterr().err
    assert told.count("did you mean 'reply'?") == 1
    assert "a.yaml:1" in told
    edited.write("a.yaml", "- {name: hello, reply: mended}")
    assert edited.said() == "mended"


def test_files_come_and_go_and_counts_stay_with_the_names(edited: Edited) -> None:
    edited.write("a.yaml", "- {name: once, times: 1, reply: one}\n- {name: hello, reply: before}")
    assert (edited.said(), edited.said()) == ("one", "before")
    edited.write("b.yaml", "- {name: more, reply: more}")
    assert edited.said() == "before"
    (edited.folder / "a.yaml").unlink()
    assert edited.said() == "more"


def test_a_sessions_own_rules_and_those_handed_over_stay(edited: Edited) -> None:
    edited.sessions.handed = load_text("- {name: handed, times: 1, reply: handed}", "h.yaml")
    edited.sessions.get("s").put_in_front(load_text("- {name: own, times: 1, reply: own}", "o.yaml"))
    edited.write("a.yaml", "- {name: hello, reply: after}")
    assert [edited.said() for _ in range(3)] == ["own", "handed", "after"]


def test_it_does_not_look_at_every_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "LOOKS_EVERY_S", 3600.0)
    edited = Edited(tmp_path)
    assert edited.said() == "before"
    edited.write("a.yaml", "- {name: hello, reply: after}")
    assert edited.said() == "before"
