"""Redis and Valkey: endpoint, probe by redis-py's asyncio client, ``REDIS_URL``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import unquote, urlsplit

from realstack.model import Address, Endpoint, Secret, ServiceSpec
from realstack.providers.base import Recipe

if TYPE_CHECKING:
    from redis.asyncio import Redis as Client

SOCKET_NAME = "redis.sock"
CLUSTER, KEY_PREFIX = "cluster", "key_prefix"
"""Options of an endpoint: set if the server is a node of a cluster; what every key of a lent endpoint begins with."""
_CONNECT_TIMEOUT_S = 2.0


class Redis:
    """The key-value server, whichever of the two implementations runs."""

    kind: ClassVar[str] = "redis"
    client: ClassVar[str] = "redis.asyncio"
    default_port: ClassVar[int] = 6379

    def endpoint(self, spec: ServiceSpec, address: Address, provider: str) -> Endpoint:
        """Database 0, with the password of a given URL or of ``--requirepass`` in the declared command."""
        scheme, username, password, database = "redis", None, declared_password(spec), "0"
        if address.url:
            parts = urlsplit(address.url)
            scheme = parts.scheme
            username = unquote(parts.username) if parts.username else None
            password = Secret(unquote(parts.password)) if parts.password else None
            database = parts.path.strip("/") or "0"
        return Endpoint(
            spec.name,
            spec.kind,
            address.host,
            address.port,
            scheme,
            username=username,
            password=password,
            database=database,
            socket_dir=address.socket_dir,
            provider=provider,
        )

    async def probe(self, endpoint: Endpoint) -> Endpoint:
        """PING, then ask who answers: ``version`` is that of Valkey where it is Valkey."""
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # One try: how often to ask is the caller's loop's to say.
        connected = client(
            endpoint,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            socket_timeout=_CONNECT_TIMEOUT_S,
        )
        try:
            await connected.ping()
            info = await connected.info("server")
        finally:
            await connected.aclose()
        implementation = str(info.get("server_name") or "redis")
        version = info.get("valkey_version") or info.get("redis_version")
        options = {**endpoint.options, "implementation": implementation}
        if info.get("redis_mode") == "cluster" or info.get("server_mode") == "cluster":
            options[CLUSTER] = "1"
        return replace(endpoint, version=str(version) if version else None, options=options)

    def refuses(self, problem: Exception) -> bool:
        """``WRONGPASS``, ``NOAUTH``, ``NOPERM``, and a password for a server that knows none."""
        from redis.exceptions import AuthenticationError, NoPermissionError

        return isinstance(problem, AuthenticationError | NoPermissionError)

    def environment(self, endpoint: Endpoint) -> Mapping[str, str]:
        """``REDIS_URL``, and where keys have a prefix instead of a database of their own, ``REDIS_KEY_PREFIX``."""
        prefix = endpoint.options.get(KEY_PREFIX)
        return {"REDIS_URL": str(endpoint.url), **({"REDIS_KEY_PREFIX": prefix} if prefix else {})}

    def recipe(self, spec: ServiceSpec) -> Recipe:
        """A ``redis-server`` or ``valkey-server`` of this machine or of a wheel."""
        from realstack.services.redis_local import RedisRecipe

        return RedisRecipe(spec)


def client(endpoint: Endpoint, *, database: int | None = None, **options: Any) -> Client:
    """A ``redis.asyncio.Redis`` for ``endpoint``, by its unix socket where there is one. Not connected yet.

    For a cluster it is a ``redis.asyncio.RedisCluster``, which finds the other nodes by this one.
    """
    from redis.asyncio import Redis as Client

    if CLUSTER in endpoint.options:
        cluster: Any = _cluster(endpoint, **options)
        return cast("Client", cluster)

    db = database if database is not None else int(endpoint.database or 0)
    password = str(endpoint.password) if endpoint.password else None
    if endpoint.socket_dir:
        where: dict[str, Any] = {"unix_socket_path": str(endpoint.socket_dir / SOCKET_NAME)}
    else:
        where = {"host": endpoint.host, "port": endpoint.port, "ssl": endpoint.scheme == "rediss"}
    return Client(**where, db=db, username=endpoint.username, password=password, **options)


def _cluster(endpoint: Endpoint, **options: Any) -> Any:
    from redis.asyncio import RedisCluster

    password = str(endpoint.password) if endpoint.password else None
    return RedisCluster(
        host=endpoint.host,
        port=endpoint.port,
        ssl=endpoint.scheme == "rediss",
        username=endpoint.username,
        password=password,
        **options,
    )


def declared_arguments(spec: ServiceSpec) -> tuple[str, ...]:
    """The declared command without the program's name and a configuration file's."""
    words = spec.command or ()
    return words[1:] if words and not words[0].startswith("-") else words


def declared_password(spec: ServiceSpec) -> Secret | None:
    """The value of ``--requirepass`` in the declared command."""
    words = declared_arguments(spec)
    for word, value in pairwise(words):
        if word.lower() == "--requirepass" and value:
            return Secret(value)
    return None
