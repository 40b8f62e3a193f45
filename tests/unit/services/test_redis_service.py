"""Redis as its clients see it, and what of its declared command holds for a local server."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import UnixDomainSocketConnection

from realstack.errors import UnsupportedByProvider
from realstack.model import Address, Run, Secret, ServiceSpec
from realstack.services.redis import Redis, client, declared_password
from realstack.services.redis_local import RedisRecipe

RUN = Run("r1", Path("/nonexistent"), 1, 0.0, "tests")


def spec(*command: str, **extra: str) -> ServiceSpec:
    return ServiceSpec("redis", "redis", "cache", 6379, command=command or None, extra=extra)


def arguments(*command: str, folder: Path = Path("/run/x")) -> list[str]:
    return list(RedisRecipe(spec()).prepare(spec(*command), folder, RUN, 7000).argv[1:])


def last(words: list[str], directive: str) -> str:
    return words[len(words) - words[::-1].index(directive)]


def test_the_declared_password_is_the_endpoints() -> None:
    declared = spec("redis-server", "--requirepass", "s3cret")
    endpoint = Redis().endpoint(declared, Address("127.0.0.1", 7000), "embedded")
    assert Redis().environment(endpoint) == {"REDIS_URL": "redis://:s3cret@127.0.0.1:7000/0"}
    assert "s3cret" not in repr(endpoint)
    assert declared_password(spec("redis-server")) is None


def test_a_given_url_decides() -> None:
    address = Address("x", 7000, url=Secret("rediss://app:p%40ss@x:7000/3"))
    endpoint = Redis().endpoint(spec("redis-server", "--requirepass", "other"), address, "external")
    assert endpoint.url == "rediss://app:p%40ss@x:7000/3"


def test_clients_take_the_unix_socket_where_there_is_one() -> None:
    endpoint = Redis().endpoint(spec(), Address("127.0.0.1", 7000, socket_dir=Path("/run/x")), "embedded")
    pool = client(endpoint, database=5).connection_pool
    assert pool.connection_class is UnixDomainSocketConnection
    assert pool.connection_kwargs["path"] == "/run/x/redis.sock"
    assert pool.connection_kwargs["db"] == 5


def test_nothing_is_kept_on_disk_and_nobody_else_is_let_in() -> None:
    words = arguments()
    assert words[words.index("--save") + 1] == ""
    assert last(words, "--appendonly") == "no"
    assert last(words, "--bind") == "127.0.0.1"
    assert last(words, "--dir") == "/run/x"


def test_what_the_command_says_comes_after_our_defaults() -> None:
    words = arguments("redis-server", "--databases", "64", "--maxmemory-policy", "allkeys-lru", "--APPENDONLY", "yes")
    assert last(words, "--databases") == "64"
    assert last(words, "--maxmemory-policy") == "allkeys-lru"
    assert last(words, "--appendonly") == "yes"


def test_where_the_server_runs_is_not_the_commands_to_say() -> None:
    words = arguments("redis-server", "--port", "6380", "--bind", "0.0.0.0", "::", "--daemonize", "yes")
    assert words.count("--port") == words.count("--bind") == words.count("--daemonize") == 1
    assert "0.0.0.0" not in words
    assert "::" not in words


def test_a_configuration_file_of_the_image_is_refused() -> None:
    with pytest.raises(UnsupportedByProvider, match=r"/etc/redis\.conf"):
        arguments("redis-server", "/etc/redis.conf", "--port", "1")


def test_a_long_folder_goes_without_a_socket() -> None:
    launch = RedisRecipe(spec()).prepare(spec(), Path("/run") / ("long" * 30), RUN, 7000)
    assert launch.socket_dir is None
    assert "--unixsocket" not in launch.argv


def test_a_missing_program_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    recipe = RedisRecipe(spec(bin=str(tmp_path)))
    assert recipe.unavailable() == f"no redis-server or valkey-server in {tmp_path}"
    (tmp_path / "valkey-server").touch(mode=0o755)
    assert RedisRecipe(spec(bin=str(tmp_path))).source() == f"valkey-server from {tmp_path}"
