"""`realstack up --file other.yml`: what follows works with what is up, or says why not."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from realstack import registry
from tests.integration.cli.conftest import Shop

OTHER = """
services:
  cache:
    image: redis:8
    ports: ["127.0.0.1::6379"]
    x-realstack: {kind: redis, name: cache}
"""
DEFAULT = """
services:
  redis:
    image: redis:8
    command: [redis-server, --databases, "7"]
    ports: ["127.0.0.1::6379"]
"""
SETTINGS = """
[tool.realstack]
provider = "embedded"
services = ["redis"]
"""


@pytest.fixture
def two_files(shop: Shop) -> Iterator[Shop]:
    """The default file and another one differ in how many databases Redis has."""
    shop.write("pyproject.toml", SETTINGS)
    shop.write("docker-compose.test.yml", DEFAULT)
    shop.write("other.yml", DEFAULT.replace('"7"', '"9"'))
    shop.write("test_it.py", "def test_it(realstack_env):\n    pass\n")
    yield shop
    shop.call("down")


def pytest_in(shop: Shop, **variables: str) -> str:
    ran = shop.pytest("--rootdir", str(shop.path), **variables)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_pytest_and_run_attach_to_what_was_put_up_with_another_file(two_files: Shop) -> None:
    assert two_files.call("up", "--file", "other.yml").returncode == 0
    assert "attached to run" in pytest_in(two_files)
    [record] = registry.records()
    ran = two_files.call("run", "--", sys.executable, "-c", "import os; print(os.environ['REDIS_URL'])")
    assert f":{record.endpoints['redis'].port}/" in ran.stdout
    assert ran.stderr == ""


def test_pytest_says_why_it_does_not_attach_where_a_file_is_named_for_it(two_files: Shop) -> None:
    two_files.call("up", "--file", "other.yml")
    said = pytest_in(two_files, REALSTACK_COMPOSE_FILE="docker-compose.test.yml")
    assert "what is up is not used: its declaration differs from what" in said
    assert "other.yml" in said
    assert "ready after" in said


def test_pytest_and_run_say_why_an_edited_file_or_a_missing_one_is_not_attached_to(two_files: Shop) -> None:
    two_files.call("up", "--file", "other.yml")
    two_files.write("other.yml", DEFAULT.replace('"7"', '"8"'))
    assert "what is up is not used: its declaration differs from what" in pytest_in(two_files)
    (two_files.path / "other.yml").unlink()
    assert "what is up is not used: it was put up with" in pytest_in(two_files)
    ran = two_files.call("run", "--", "true")
    assert (ran.returncode, "what is up is not used: it was put up with" in ran.stderr) == (0, True)


def test_commands_work_with_services_of_another_file_by_its_own_names(shop: Shop) -> None:
    """The default file lacks the settings' services, and those that are up were named by a variable that is gone."""
    shop.write("docker-compose.test.yml", DEFAULT)
    shop.write("pyproject.toml", '[tool.realstack]\nprovider = "embedded"\n')
    shop.write("other.yml", OTHER)
    shop.environ["REALSTACK_SERVICES"] = "cache"
    up = shop.call("up", "--file", "other.yml")
    assert up.returncode == 0, up.stderr
    del shop.environ["REALSTACK_SERVICES"]
    for command in (("env",), ("logs", "cache"), ("logs",), ("reset",), ("status",)):
        answer = shop.call(*command)
        assert answer.returncode == 0, (command, answer.stderr)
    assert shop.call("down").returncode == 0
