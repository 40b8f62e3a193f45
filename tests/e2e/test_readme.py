"""The README tells the truth: its example runs, its commands and targets exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from realstack import Database, FakeLLM, RedisDatabase
from realstack.cli.app import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = [pytest.mark.e2e, pytest.mark.real_services]


async def test_the_readmes_example_passes_as_it_stands(
    real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102 - our own README
    await names["test_triage"](real_db, real_redis, fake_llm)


def test_the_readmes_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\$ make (\w+)", README))
    assert named == {"e2e", "test"}
    assert [target for target in named if not re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE)] == []


def test_make_lists_every_target_that_explains_itself() -> None:
    explained = re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "e2e" in explained
    assert re.findall(r"^  make ([\w-]+) ", listed, re.MULTILINE) == explained


def test_the_readmes_commands_exist() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"realstack (up|down|env|run|doctor)\b", README)) | {"status", "logs", "reset"}
    assert named <= commands


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
