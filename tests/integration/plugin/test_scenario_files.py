"""[tool.realstack.fake_llm] scenarios: what every session of the fake LLM starts with, whoever runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.plugin.conftest import Project
from tests.integration.providers.conftest import require_docker

TEST = """
import json, urllib.request

def said(base_url, key):
    body = {"model": "m", "messages": [{"role": "user", "content": "System is slow"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    asked = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]

def test_a_tests_own_session(fake_llm):
    config = fake_llm.config()
    assert said(config.base_url, config.api_key) == "WORDS"
    fake_llm.on(user="slow").reply("a rule comes first")
    assert said(config.base_url, config.api_key) == "a rule comes first"
    fake_llm.reset()
    assert said(config.base_url, config.api_key) == "WORDS"
"""
UNNAMED = """
def test_a_session_that_the_application_names(realstack_env):
    base = realstack_env.environ()["OPENAI_BASE_URL"]
    assert said(base, "sk-realstack-of-the-application") == "WORDS"
"""
FILE = "scenarios:\n  - match: {{user: slow}}\n    reply: {words}\n"


@pytest.fixture(params=["embedded", "containers", "compose"])
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name != "embedded":
        require_docker()
    monkeypatch.setenv("REALSTACK_PROVIDER", name)
    return name


def with_scenarios(project: Project, words: str, *, test: str = TEST) -> None:
    project.settings("fake_llm")
    settings = (project.path / "pyproject.toml").read_text()
    project.write("pyproject.toml", f'{settings}\n[tool.realstack.fake_llm]\nscenarios = ["flows"]\n')
    project.write("flows/slow.yaml", FILE.format(words=words))
    project.write("test_said.py", test.replace("WORDS", words))


@contextmanager
def up(project: Project) -> Iterator[None]:
    """What `realstack up` starts, until the end of the block."""
    started = project.realstack("up")
    try:
        assert started.returncode == 0, started.stderr
        yield
    finally:
        project.realstack("down")


def test_every_session_starts_with_the_files_on_every_provider(project: Project, provider: str) -> None:
    with_scenarios(project, "from the file", test=TEST + UNNAMED)
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"realstack: fake_llm: {provider}, because*"])


def test_a_wrong_file_is_an_error_with_its_name_line_and_key_on_every_provider(project: Project, provider: str) -> None:
    with_scenarios(project, "from the file")
    project.write("flows/wrong.yaml", "scenarios:\n  - match: {usr: slow}\n    reply: x\n")
    result = project.run()
    result.assert_outcomes(errors=1)
    assert "flows/wrong.yaml:2: scenarios[0].match.usr: unknown key 'usr', did you mean 'user'?" in str(result.stdout)


def test_an_edited_file_and_an_emptied_list_are_noticed_by_the_next_run_that_attaches(project: Project) -> None:
    with_scenarios(project, "as it was")
    with up(project):
        project.run().assert_outcomes(passed=1)
        with_scenarios(project, "as it is now")
        result = project.run()
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["*attached to run*"])

        project.settings("fake_llm")
        project.write("test_said.py", TEST.replace('== "WORDS"', '!= "as it was"'))
        project.run().assert_outcomes(passed=1)


def test_realstack_reset_hands_an_edited_file_to_the_session_that_realstack_env_names(project: Project) -> None:
    with_scenarios(project, "as it was", test=TEST + UNNAMED.replace("of-the-application", "default"))
    with up(project):
        project.run().assert_outcomes(passed=2)
        with_scenarios(project, "as it is now", test=TEST + UNNAMED.replace("of-the-application", "default"))
        assert project.realstack("reset").returncode == 0
        project.run().assert_outcomes(passed=2)


def test_a_given_fake_llm_gets_the_files_with_each_tests_session_and_keeps_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch, given_fake: Callable[[str], str]
) -> None:
    """Other runs may use it at the same time: what their sessions start with stays as it was."""
    with_scenarios(project, "from the file", test=TEST + UNNAMED.replace("WORDS", "its own"))
    monkeypatch.setenv("REALSTACK_FAKE_LLM_URL", given_fake(FILE.format(words="its own")))
    monkeypatch.setenv("REALSTACK_PROVIDER", "external")
    project.run().assert_outcomes(passed=2)


@pytest.fixture
def given_fake(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts a fake LLM with a scenario file of its own; gives its address."""
    processes: list[subprocess.Popen[str]] = []

    def start(text: str) -> str:
        file = tmp_path / "own.yaml"
        file.write_text(text)
        command = [sys.executable, "-m", "fake_llm", "--port", "0", "--log-level", "error", "--scenarios", str(file)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        processes.append(process)
        assert process.stdout is not None
        return str(json.loads(process.stdout.readline())["url"])

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=10)


COMPOSE = """
services:
  fake-llm:
    image: fake-llm
    ports: ["127.0.0.1::8080"]
    x-realstack: {scenarios: flows/slow.yaml}
"""


def test_the_compose_files_own_scenarios_start_at_the_compose_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings("fake_llm")
    project.write("deploy/test.yml", COMPOSE)
    project.write("deploy/flows/slow.yaml", FILE.format(words="beside it"))
    project.write("test_said.py", (TEST + UNNAMED).replace("WORDS", "beside it"))
    monkeypatch.setenv("REALSTACK_COMPOSE_FILE", "deploy/test.yml")
    project.run().assert_outcomes(passed=2)
