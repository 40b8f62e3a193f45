"""Settings: where they come from, what wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from realstack.config import COMPOSE_FILE, find_root, load_settings, past_proxy, project_id
from realstack.errors import SettingsError

COMPOSE = """
services:
  postgres:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: x}
    ports: ["5432"]
  redis:
    image: redis:8
    ports: ["6379"]
  fake-llm:
    image: fake
    ports: ["8080"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / COMPOSE_FILE).write_text(COMPOSE)
    return tmp_path


def write(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)


def test_a_project_without_any_settings_gets_the_defaults(project: Path) -> None:
    settings = load_settings(project, environ={})
    assert (settings.provider, settings.services) == ("auto", ("postgres", "redis", "fake_llm"))
    assert settings.compose.path == project / COMPOSE_FILE


def test_a_project_without_a_compose_file_gets_the_declaration_that_is_built_in(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environ={})
    assert [spec.kind for spec in settings.specs] == ["postgres", "redis", "fake_llm"]


def test_argument_wins_over_variable_wins_over_file(project: Path) -> None:
    write(project, '[tool.realstack]\nprovider = "compose"\n')
    environ = {"REALSTACK_PROVIDER": "containers"}
    chosen = [
        load_settings(project, environ={}),
        load_settings(project, environ=environ),
        load_settings(project, environ=environ, overrides={"provider": "embedded"}),
        load_settings(project, environ=environ, overrides={"provider": None}),
    ]
    assert [settings.provider for settings in chosen] == ["compose", "containers", "embedded", "containers"]
    assert [settings.provider_set_by for settings in chosen] == [
        "[tool.realstack] provider",
        "REALSTACK_PROVIDER",
        "the command line",
        "REALSTACK_PROVIDER",
    ]


def test_settings_are_found_from_a_subfolder(project: Path) -> None:
    write(project, '[tool.realstack]\nprovider = "embedded"\n')
    below = project / "tests" / "e2e"
    below.mkdir(parents=True)
    assert load_settings(below, environ={}).root == project


def test_a_nested_projects_own_table_wins_over_the_outer_one(project: Path) -> None:
    inner = project / "inner"
    inner.mkdir()
    write(inner, "[tool.realstack]\n")
    assert find_root(inner) == inner


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[tool.realstack]\nprovidr = "embedded"', "did you mean 'provider'?"),
        ('[tool.realstack.postgres]\nmigration = ["db"]', "did you mean 'migrations'?"),
        ("[tool.realstack]\nwhatever_else = 1", "known keys are"),
        ('[tool.realstack]\nprovider = "embeded"', "did you mean 'embedded'?"),
        ('[tool.realstack]\nready_within_s = "soon"', "must be a number"),
        ("[tool.realstack]\nready_within_s = 0", "must be a number of seconds above 0"),
        ("[tool.realstack]\npostgres = 3", "must be a table"),
        ("[tool.realstack.postgres]\nseed = [1]", "must be a list of strings"),
        ('[tool.realstack]\nservices = ["postgre"]', "did you mean 'postgres'?"),
        ('[tool.realstack]\ncompose_file = "nowhere.yml"', "does not exist"),
        ('[tool.realstack.fake_llm]\nscenarios = ["nowhere.yml"]', "does not exist"),
        ("[tool.realstack", "is not valid TOML"),
        ('[tool.realstack.postgres]\nnow = "soon"', "must be an instant"),
        ("[tool.realstack.seed]\nmasks = {}", "did you mean 'mask'?"),
        ('[tool.realstack.seed]\nmask = ["users.email"]', "must be a table of strings"),
    ],
)
def test_a_wrong_setting_is_refused_and_the_remedy_named(project: Path, text: str, named: str) -> None:
    write(project, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(project, environ={})
    assert named in str(caught.value)
    assert "To mend it:" in str(caught.value)


def test_one_path_may_stand_for_a_list_of_one(project: Path) -> None:
    write(project, '[tool.realstack.postgres]\nseed = "db/seed.sql"')
    assert load_settings(project, environ={}).postgres.seed == ("db/seed.sql",)


def test_the_applications_own_database_url_is_never_taken(project: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://live/db", "REALSTACK_REDIS_URL": "redis://127.0.0.1:1/0"}
    assert load_settings(project, environ=environ).addresses == {"redis": "redis://127.0.0.1:1/0"}


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("", ""),
        ('now = "2025-01-31"', "2025-01-31T00:00:00+00:00"),
        ('now = "2025-01-31T12:00+02:00"', "2025-01-31T12:00:00+02:00"),
    ],
)
def test_the_instant_of_the_seed_is_read_with_its_zone_or_as_utc(project: Path, text: str, now: str) -> None:
    write(project, f"[tool.realstack.postgres]\n{text}")
    assert load_settings(project, environ={}).postgres.now == now


def test_what_a_capture_does_is_read_from_the_file_and_its_salt_from_the_environment(project: Path) -> None:
    table = 'mask = {"*.email" = "email"}\nunmasked = "teams.name"\nexclude = ["countries"]'
    write(project, f"[tool.realstack.seed]\n{table}")
    found = load_settings(project, environ={"REALSTACK_MASK_SALT": "hunter2"})
    assert (found.mask, found.unmasked, found.not_captured) == ({"*.email": "email"}, ("teams.name",), ("countries",))
    assert found.mask_salt == "hunter2"
    assert "hunter2" not in repr(found)


def test_a_given_address_does_not_show_in_the_settings_repr(project: Path) -> None:
    environ = {"REALSTACK_POSTGRES_URL": "postgresql://u:hunter2@h/db"}
    assert "hunter2" not in repr(load_settings(project, environ=environ))


@pytest.mark.parametrize(("text", "meant"), [("true", True), ("false", False), ('"auto"', None)])
def test_a_key_prefix_is_wanted_or_not_or_found_by_asking(project: Path, text: str, meant: bool | None) -> None:
    assert load_settings(project, environ={}).redis.key_prefix is None
    write(project, f"[tool.realstack.redis]\nkey_prefix = {text}")
    assert load_settings(project, environ={}).redis.key_prefix is meant


def test_a_key_prefix_is_nothing_else(project: Path) -> None:
    write(project, '[tool.realstack.redis]\nkey_prefix = "mine:"')
    with pytest.raises(SettingsError, match='true, false or "auto"'):
        load_settings(project, environ={})


def test_disposable_is_declared_by_file_or_variable(project: Path) -> None:
    write(project, "[tool.realstack.redis]\ndisposable = true")
    assert load_settings(project, environ={}).disposable == {"redis"}
    assert load_settings(project, environ={"REALSTACK_DISPOSABLE": "postgres"}).disposable == {"redis", "postgres"}


def test_two_projects_of_the_same_name_have_names_of_their_own(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "My Shop", tmp_path / "b" / "My Shop"
    assert project_id(one) != project_id(other)
    assert project_id(one).startswith("my-shop-")


def test_a_proxy_is_kept_away_from_loopback_and_what_was_excepted_stays_so() -> None:
    merged = past_proxy({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "intranet,localhost"})
    assert merged == {"NO_PROXY": "intranet,localhost,127.0.0.1", "no_proxy": "127.0.0.1,localhost"}
    assert past_proxy({"NO_PROXY": "intranet"}) == {}


@pytest.mark.parametrize("key", ["provider", "isolation"])
def test_a_word_that_is_none_of_the_known_is_refused_naming_who_said_it(project: Path, key: str) -> None:
    known, misspelt = ("embedded", "embeded") if key == "provider" else ("transaction", "transactoin")
    cases: list[tuple[str, dict[str, str], dict[str, str]]] = [
        ("the command line", {f"REALSTACK_{key.upper()}": known}, {key: misspelt}),
        (f"REALSTACK_{key.upper()}", {f"REALSTACK_{key.upper()}": misspelt}, {}),
        (f"{project}/pyproject.toml: [tool.realstack] {key}", {}, {}),
    ]
    write(project, f'[tool.realstack]\n{key} = "{misspelt}"\n')
    for set_by, environ, overrides in cases:
        with pytest.raises(SettingsError) as caught:
            load_settings(project, environ=environ, overrides=overrides)
        assert caught.value.problem == f"{set_by} names the unknown {key} {misspelt!r}."
        assert caught.value.remedy == f"did you mean {known!r}?"


def test_a_service_is_one_whether_it_is_called_by_realstacks_name_or_the_compose_files(project: Path) -> None:
    (project / COMPOSE_FILE).write_text(COMPOSE.replace("  postgres:\n", "  db:\n"))
    environ = {"REALSTACK_POSTGRES_URL": "postgresql://there/app", "REALSTACK_DISPOSABLE": "db"}
    write(project, '[tool.realstack]\nservices = ["db", "postgres", "fake-llm"]\n')
    settings = load_settings(project, environ=environ)
    assert settings.services == ("postgres", "fake_llm")
    assert settings.addresses == {"postgres": "postgresql://there/app"}
    assert settings.disposable == {"postgres"}
