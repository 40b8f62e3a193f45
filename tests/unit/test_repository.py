"""What the repository promises of itself: pins without addresses, hooks that run, an environment that renews itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def make(*arguments: str) -> str:
    """What make would do."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    return done.stdout


def test_every_constraint_is_a_name_and_a_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+( ;.*)?", line)] == []


def test_no_file_names_a_package_registry() -> None:
    """Whoever installs has an index of their own; an address in a file would go round it."""
    words = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "--index" + "-url", "--extra-index" + "-url"]
    folders = (".ci", "benchmarks", "docs", "examples", "fake_llm", "images", "src", "tests")
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    read = {path: path.read_text(encoding="utf-8", errors="replace") for path in files if path.suffix != ".pyc"}
    assert len(read) > 300
    assert [path for path, text in read.items() if any(word in text for word in words)] == []


def test_the_hooks_of_pre_commit_start_programs_of_the_project() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"].removeprefix("env PYTHONPATH=examples/netra ") for hook in repository["hooks"]]
    programs = [entry.split()[0] for entry in entries]
    assert len(programs) == 5
    assert [program for program in programs if not shutil.which(ROOT / program)] == []
    checked = make("check")
    assert [
        entry for entry in entries if not set(entry.split()) - {"--fix", "-q"} <= {*checked.split(), "format"}
    ] == []


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_the_environment_is_made_again_when_its_dependencies_changed(tmp_path: Path, changed: str) -> None:
    stamp = tmp_path / ".installed"
    stamp.touch()
    assert "pip install" not in make(f"VENV={tmp_path}", str(stamp))
    assert "pip install" in make(f"VENV={tmp_path}", "-W", changed, str(stamp))
