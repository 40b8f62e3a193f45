"""The three services side by side, as `make e2e` runs them without Docker."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from redis.exceptions import RedisError

from realstack.model import Endpoint, Run, ServiceSpec
from realstack.providers.embedded import Embedded
from realstack.providers.local_process import LocalProcess
from realstack.readiness import until_ready
from realstack.services import service
from realstack.services.redis import client


async def ready(process: LocalProcess) -> Endpoint:
    kind = service(process.spec.kind)
    endpoint = kind.endpoint(process.spec, process.address, "embedded")
    return await until_ready(
        process.spec.name, lambda: kind.probe(endpoint), within_s=60, died=process.died, log=process.log_lines
    )


async def test_all_three_answer_their_own_clients_and_leave_nothing(
    run: Run, postgres_spec: ServiceSpec, redis_spec: ServiceSpec, fake_llm_spec: ServiceSpec
) -> None:
    specs = [postgres_spec, redis_spec, fake_llm_spec]
    provider = Embedded({spec.name: service(spec.kind).recipe(spec) for spec in specs})
    assert provider.unavailable(specs) == {}
    async with provider.running(specs, run) as running:
        endpoints = await asyncio.gather(*(ready(running[spec.name]) for spec in specs))
        pids = [process.pid for process in running.values()]
        assert all(endpoint.version for endpoint in endpoints)
        assert all(endpoint.host == "127.0.0.1" for endpoint in endpoints)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert {path.name for path in run.folder.iterdir()} == {
        "postgres.log", "redis.log", "fake_llm.log", "processes",
    }  # fmt: skip


async def test_redis_says_which_of_the_two_it_is(run: Run, redis_spec: ServiceSpec) -> None:
    recipe = service("redis").recipe(redis_spec)
    async with Embedded({"redis": recipe}).running([redis_spec], run) as running:
        endpoint = await ready(running["redis"])
        assert recipe.source().startswith(f"{endpoint.options['implementation']}-server from ")
        async with client(endpoint, database=4095) as connected:
            assert await connected.set("key", "value")
    assert list(run.folder.rglob("*.rdb")) == []


async def test_a_declared_redis_password_is_asked_for(run: Run) -> None:
    spec = ServiceSpec("redis", "redis", "redis", 6379, command=("redis-server", "--requirepass", "s3cret"))
    async with Embedded({"redis": service("redis").recipe(spec)}).running([spec], run) as running:
        process = running["redis"]
        await ready(process)
        stranger = service("redis").endpoint(ServiceSpec("redis", "redis", "redis", 6379), process.address, "embedded")
        with pytest.raises(RedisError, match=r"(?i)authenticat"):
            await service("redis").probe(stranger)
