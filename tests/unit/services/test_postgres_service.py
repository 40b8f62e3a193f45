"""Postgres as its clients see it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from realstack.model import Address, Endpoint, Secret, ServiceSpec
from realstack.services import service
from realstack.services.postgres import Postgres, connect_arguments


def spec(environment: Mapping[str, str]) -> ServiceSpec:
    return ServiceSpec("postgres", "postgres", "db", 5432, environment=environment)


def endpoint(environment: Mapping[str, str], **address: object) -> Endpoint:
    where = Address("127.0.0.1", 7000, **address)  # type: ignore[arg-type]
    return Postgres().endpoint(spec({"POSTGRES_PASSWORD": "pw", **environment}), where, "embedded")


def test_the_registry_gives_this_service() -> None:
    assert isinstance(service("postgres"), Postgres)


@pytest.mark.parametrize(
    ("environment", "login"),
    [
        ({}, ("postgres", "postgres")),
        ({"POSTGRES_USER": "app"}, ("app", "app")),
        ({"POSTGRES_USER": "app", "POSTGRES_DB": "orders"}, ("app", "orders")),
        ({"POSTGRES_USER": "", "POSTGRES_DB": ""}, ("postgres", "postgres")),
    ],
)
def test_defaults_are_those_of_the_official_image(environment: dict[str, str], login: tuple[str, str]) -> None:
    made = endpoint(environment)
    assert (made.username, made.database) == login
    assert made.options["maintenance_db"] == "postgres"


def test_a_given_url_decides_credentials_database_and_tls() -> None:
    url = Secret("postgresql://ci%40x:p%2Fw@db.example:6000/live%20data?sslmode=require")
    made = endpoint({"POSTGRES_USER": "app"}, url=url)
    assert (made.username, made.password, made.database) == ("ci@x", Secret("p/w"), "live data")
    assert made.options == {"maintenance_db": "live data", "sslmode": "require"}
    assert connect_arguments(made)["ssl"] == "require"
    assert Postgres().environment(made)["DATABASE_URL"].endswith("/live%20data?sslmode=require")
    assert Postgres().environment(made)["PGSSLMODE"] == "require"


def test_a_given_url_without_database_means_the_users_own() -> None:
    made = endpoint({}, url=Secret("postgresql://ci@db.example"))
    assert (made.database, made.password) == ("ci", None)


def test_clients_take_the_unix_socket_and_ask_for_no_tls() -> None:
    arguments = connect_arguments(endpoint({}, socket_dir=Path("/run/x")), database="other")
    assert (arguments["host"], arguments["port"]) == ("/run/x", 7000)
    assert arguments["ssl"] is False
    assert arguments["database"] == "other"


def test_applications_find_it_by_url_and_by_libpqs_variables() -> None:
    assert Postgres().environment(endpoint({"POSTGRES_PASSWORD": "p@ss", "POSTGRES_DB": "orders"})) == {
        "DATABASE_URL": "postgresql://postgres:p%40ss@127.0.0.1:7000/orders",
        "PGHOST": "127.0.0.1",
        "PGPORT": "7000",
        "PGUSER": "postgres",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "orders",
    }
