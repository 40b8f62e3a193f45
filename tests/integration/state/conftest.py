"""One Postgres and one Redis for this folder's tests, as the embedded provider runs them."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import asyncpg
import psutil
import pytest

from realstack.handles.background import BackgroundLoop
from realstack.model import Endpoint, PostgresPlan, Run, ServiceSpec
from realstack.providers.embedded import Embedded, tmpfs_with_room
from realstack.readiness import until_ready
from realstack.registry import new_run_id
from realstack.services import service
from realstack.services.postgres import connect_arguments
from realstack.services.redis import client
from realstack.state.clones import Databases
from realstack.state.template import Template, prepare_template
from realstack.watchdog import Watchdog
from tests.integration.state.reset_schema import SCHEMA

SPECS = {
    "postgres": ServiceSpec(
        "postgres", "postgres", "postgres", 5432, environment={"POSTGRES_PASSWORD": "p%40 s'x", "POSTGRES_DB": "app"}
    ),
    "redis": ServiceSpec("redis", "redis", "redis", 6379),
}


@pytest.fixture(scope="session")
def endpoints() -> Iterator[Mapping[str, Endpoint]]:
    loop = BackgroundLoop()
    folder = Path(tempfile.mkdtemp(prefix="realstack-test-state-", dir=tmpfs_with_room(512 * 1024 * 1024)))
    folder.chmod(0o711)
    own = psutil.Process()
    run = Run(new_run_id(), folder, os.getpid(), own.create_time(), "tests")
    watchdog = Watchdog(run)  # for the case that this session is killed
    provider = Embedded({name: service(spec.kind).recipe(spec) for name, spec in SPECS.items()})
    try:
        running = loop.enter(provider.running(list(SPECS.values()), run))
        found: dict[str, Endpoint] = {}
        for name, spec in SPECS.items():
            kind, process = service(spec.kind), running[name]
            endpoint = kind.endpoint(spec, process.address, "embedded")
            found[name] = loop.run(
                until_ready(
                    name,
                    lambda kind=kind, endpoint=endpoint: kind.probe(endpoint),  # type: ignore[misc]
                    within_s=30,
                    died=process.died,
                    log=process.log_lines,
                )
            )
        yield found
    finally:
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        watchdog.done()


@pytest.fixture
def postgres(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    return endpoints["postgres"]


@pytest.fixture
def redis_server(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    return endpoints["redis"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file below the test's project root, folders included."""

    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
async def empty_redis(redis_server: Endpoint) -> AsyncIterator[Endpoint]:
    """The server as if it had just been started."""
    async with client(redis_server, database=0) as control:
        await control.flushall()
        yield redis_server
        await control.flushall()


@pytest.fixture
async def lent(postgres: Endpoint, write: Callable[[str, str], Path], tmp_path: Path) -> AsyncIterator[Endpoint]:
    """A database that can be reset in place, for :data:`SCHEMA`."""
    role = "do $$ begin create role realstack_reader; exception when duplicate_object then end $$;"
    write("m/1.sql", role + SCHEMA + "grant insert on tags to realstack_reader;")
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    databases = Databases(postgres, template, "main", tmp_path.name)
    try:
        yield await databases.lend()
    finally:
        await databases.close()


@pytest.fixture
async def app(lent: Endpoint) -> AsyncIterator[asyncpg.Connection]:
    """The application's session in it."""
    connection = await asyncpg.connect(**connect_arguments(lent))
    yield connection
    await connection.close()


@pytest.fixture
async def template(postgres: Endpoint, write: Callable[[str, str], Path], tmp_path: Path) -> Template:
    """A state of two users."""
    write("m/1.sql", "create table users (id int primary key); insert into users values (1), (2);")
    return await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)))


@pytest.fixture
async def databases(postgres: Endpoint, template: Template, tmp_path: Path) -> AsyncIterator[Databases]:
    """Who copies it."""
    lender = Databases(postgres, template, "pool", tmp_path.name)
    yield lender
    await lender.close()
