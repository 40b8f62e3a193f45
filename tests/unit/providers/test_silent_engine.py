"""An engine that answers at first and hangs then: one clear error in bounded time, and the rest is the watchdog's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack.config import Settings, load_settings
from realstack.environment import running_environment
from realstack.errors import LeftBehind, ProviderUnavailable, RealstackError
from realstack.model import ServiceSpec
from realstack.providers import docker_api, docker_engine
from realstack.registry import records
from tests.fake_engine import PORT, FakeEngine, serving

COMPOSE = f"""
services:
  one: {{image: "it:1", ports: ["127.0.0.1::{PORT}"]}}
  two: {{image: "it:1", ports: ["127.0.0.1::{PORT}"]}}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(docker_api, "LOOK_TIMEOUT_S", 0.5)
    monkeypatch.setattr(docker_api, "CALL_TIMEOUT_S", 1.0)
    engine = FakeEngine()
    with serving(engine, tmp_path / "engine.sock") as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        yield engine


@pytest.fixture
def settings(fake: FakeEngine, tmp_path: Path) -> Settings:
    (tmp_path / "docker-compose.test.yml").write_text(COMPOSE)
    (tmp_path / "pyproject.toml").write_text('[tool.realstack]\nprovider = "containers"\nservices = ["one", "two"]\n')
    return load_settings(tmp_path, environ={})


def swept_within(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while list(records()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not list(records())


@pytest.mark.parametrize(
    "hangs", ["POST /containers/create", "/start", "GET /containers/[^/]+/json", "GET /images", "^(?!GET /_ping)"]
)
async def test_it_is_one_error_with_a_remedy_and_the_watchdog_removes_what_there_is(
    fake: FakeEngine, settings: Settings, hangs: str
) -> None:
    fake.hangs = hangs
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable, match=r"gave no answer within [01]\.?5? s") as caught:
        async with running_environment(settings):
            pass
    assert time.monotonic() - began < 8
    assert "docker info" in caught.value.remedy
    assert any("containers, because" in line for line in caught.value.context)
    hangs_at_the_end = "_ping" in hangs
    assert any("could not be removed" in line for line in caught.value.context) == hangs_at_the_end
    fake.hangs = "never"
    fake.holds("late", realstack_run=next(records()).run.run_id)
    assert swept_within(20)
    assert fake.containers == {}


async def test_an_engine_that_hangs_at_the_end_leaves_it_to_the_watchdog(fake: FakeEngine, settings: Settings) -> None:
    with pytest.raises(LeftBehind, match="what the Docker engine holds of run") as caught:
        async with running_environment(settings):
            fake.hangs = "^(?!GET /_ping)"
    assert "realstack down" in caught.value.remedy
    assert len(list(records())) == 1
    fake.hangs = "never"
    assert swept_within(20)
    assert fake.containers == {}


async def test_an_engine_that_refuses_at_the_end_is_told_in_its_own_words(fake: FakeEngine, settings: Settings) -> None:
    with pytest.raises(LeftBehind, match="the engine refused: refused by the fake engine"):
        async with running_environment(settings):
            fake.refuses = "DELETE"
    fake.refuses = "never"
    assert swept_within(20)
    assert fake.containers == {}


async def test_a_test_s_own_error_is_told_and_all_is_gone_at_once(fake: FakeEngine, settings: Settings) -> None:
    with pytest.raises(ValueError, match="own"):
        async with running_environment(settings) as environment:
            raise ValueError("own")
    assert (fake.containers, list(records()), environment.run.folder.exists()) == ({}, [], False)


def test_auto_is_told_why_such_an_engine_cannot_run_them(fake: FakeEngine) -> None:
    fake.hangs = "GET /images"
    told = docker_engine.can_run([ServiceSpec("it", "generic", "it", 1, image="it:1")])
    assert "gave no answer within 0.5 s" in (told or "")


async def test_the_log_of_a_service_whose_engine_is_gone_is_an_error_of_ours(
    fake: FakeEngine, settings: Settings
) -> None:
    async with running_environment(settings) as environment:
        environment.running.clear()  # as for who has attached
        fake.hangs = "GET /containers"
        with pytest.raises(RealstackError, match="gave no answer"):
            environment.log_lines("one")
        fake.hangs = "never"
