"""The rules of ``.dockerignore``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from realstack.providers.docker_ignore import files_of, is_ignored, read_rules


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("*.md", ["a.md"], ["b/a.md", "a.mdx"]),
        ("**/*.pyc", ["a.pyc", "b/c/a.pyc"], ["a.py"]),
        ("/folder/", ["folder", "folder/a", "folder/b/c"], ["folders", "b/folder"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z/y"], ["a/b", "z"]),
        ("a/**", ["a/b", "a/b/c"], ["b"]),
        ("t?st[0-9]", ["test1", "tast9/x"], ["test", "t/st1"]),
        ("[^a]b", ["cb"], ["ab"]),
        ("./a/../b", ["b"], ["a"]),
        ("\\\\!x\n# no rule\n\n", ["\\!x"], ["# no rule"]),
        ("a+b.c", ["a+b.c"], ["aab.c", "a+bxc"]),
        ("*\n!keep\nkeep/not", ["a", "keep/not", "keep/not/a"], ["keep", "keep/a"]),
    ],
)
def test_a_path_is_ignored_by_the_last_rule_that_matches_it(rules: str, ignored: list[str], kept: list[str]) -> None:
    read = read_rules(rules)
    assert [path for path in (*ignored, *kept) if is_ignored(path, read)] == ignored


def test_folders_are_left_unread_unless_a_rule_may_take_something_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/b/keep", "a/b/drop", "shut/in", "deep/er/x.keep", "top"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to("a")
    read: list[str] = []
    scandir = os.scandir

    def watched(path: str) -> Any:
        read.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr("os.scandir", watched)
    assert sorted(files_of(tmp_path, read_rules("*\n!a/b/keep\n!top\n!link"))) == ["a/b/keep", "link", "top"]
    assert read == [tmp_path.name, "a", "b"]
    assert sorted(files_of(tmp_path, read_rules("*\n!**/*.keep"))) == ["deep/er/x.keep"]
    assert len(list(files_of(tmp_path, []))) == 6
