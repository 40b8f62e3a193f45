"""What ran where, and why: shown once, whichever way a test asks, and also why what is up is not used."""

from __future__ import annotations

import pytest

from tests.integration.plugin.conftest import Project

REDIS = """
services:
  redis:
    image: redis:8
    command: [redis-server, --databases, "{databases}"]
    ports: ["127.0.0.1::6379"]
"""
BY_FUNCTION = """
from realstack import get_test_redis

async def test_it():
    async with get_test_redis() as redis:
        assert await redis.get("greeting") == b"hello"
"""
BY_FIXTURE = "async def test_it(real_redis):\n    assert await real_redis.get('greeting') == b'hello'\n"


@pytest.mark.parametrize("test", [BY_FUNCTION, BY_FIXTURE, BY_FUNCTION + BY_FIXTURE.replace("test_it", "test_too")])
def test_the_summary_is_shown_once_whether_a_fixture_asks_or_a_function(project: Project, test: str) -> None:
    project.settings("redis")
    project.write("test_it.py", test)
    result = project.run()
    assert result.ret == 0
    assert str(result.stdout).count("realstack: redis: embedded, because") == 1
    assert str(result.stdout).count("realstack: ready after") == 1


def test_nothing_is_shown_where_nothing_was_started(project: Project) -> None:
    project.write("test_it.py", "def test_it():\n    pass\n")
    assert "realstack: ready" not in str(project.run().stdout)


@pytest.mark.parametrize("test", [BY_FUNCTION, BY_FIXTURE])
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_run_says_why_it_does_not_use_what_is_up(project: Project, test: str, workers: tuple[str, ...]) -> None:
    project.settings("redis")
    project.write("test_it.py", test)
    file = project.write("docker-compose.test.yml", REDIS.format(databases=7))
    assert project.realstack("up").returncode == 0
    try:
        file.write_text(REDIS.format(databases=8))
        result = project.run(*workers)
        assert result.ret == 0
        result.stdout.fnmatch_lines(["realstack: what is up is not used: its declaration differs*`realstack down`*"])
        result.stdout.fnmatch_lines(["realstack: ready after *"] if not workers else ["realstack: attached after *"])
    finally:
        assert project.realstack("down").returncode == 0
