"""The command as its users run it: a process of its own, in a project of its own, with records of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack import registry
from tests.integration.cli.leftovers import looked_for
from tests.warm import Warm

COMPOSE = """
services:
  postgres:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: secret-word}
    ports: ["127.0.0.1::5432"]
  redis:
    image: redis:8
    ports: ["127.0.0.1::6379"]
  fake-llm:
    image: fake-llm
    ports: ["127.0.0.1::8080"]
"""
SETTINGS = """
[tool.realstack]
provider = "embedded"

[tool.realstack.postgres]
migrations = ["db/001.sql"]
seed = ["db/users.yaml"]
keep = false

[tool.realstack.redis]
seed = ["db/redis.yaml"]
"""


class Shop:
    """A project, and the command run in it."""

    def __init__(self, path: Path, home: Path, warm: Warm) -> None:
        self.path = path
        self._warm = warm
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("REALSTACK_")}
        self.environ |= {"REALSTACK_HOME": str(home), "CI": "true", "PYTHONPATH": os.pathsep.join(sys.path)}
        self.write("docker-compose.test.yml", COMPOSE)
        self.write("pyproject.toml", SETTINGS)
        self.write("db/001.sql", "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);\n")
        self.write("db/users.yaml", "users:\n  - {id: 1, name: Ada}\n  - {id: 2, name: Lin}\n")
        self.write("db/redis.yaml", "greeting: hello\n")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command, and do not wait."""
        return subprocess.Popen(
            [sys.executable, "-m", "realstack", *arguments],
            cwd=self.path,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return self._warm.run("realstack", *arguments, cwd=self.path, env=self.environ)

    def pytest(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run pytest to its end."""
        environment = {**self.environ, **variables}
        return self._warm.run("pytest", "-p", "no:cacheprovider", *arguments, cwd=self.path, env=environment)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: Warm) -> Iterator[Shop]:
    """A project whose environment, if one is up at the end, is taken down; nothing may be left then.

    That is no record, no folder of a run and no process of one.
    """
    left = looked_for()
    project = tmp_path / "shop"
    project.mkdir()
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path / "home"))
    made = Shop(project, tmp_path / "home", warm)
    yield made
    made.write("docker-compose.test.yml", COMPOSE)
    made.write("pyproject.toml", SETTINGS)
    made.call("down")
    assert list(registry.records()) == []
    assert left() == []
