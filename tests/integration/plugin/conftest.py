"""Inner pytest runs in processes of their own, each with records of its own, on embedded services."""

from __future__ import annotations

import http.cookiejar  # noqa: F401 - pytester forgets at each test's end what was first imported in it: two of it clash
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from realstack.handles.background import BackgroundLoop
from realstack.model import Endpoint, Run, ServiceSpec
from realstack.providers.embedded import Embedded
from realstack.readiness import until_ready
from realstack.services import service
from tests.warm import Warm

SCHEMA = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);"
SEED = "INSERT INTO users VALUES (1, 'Ada'), (2, 'Lin');"
SETTINGS = """
[tool.realstack]
provider = "embedded"
services = [{services}]

[tool.realstack.postgres]
migrations = ["db/001.sql"]
seed = ["db/seed.sql"]
keep = false

[tool.realstack.redis]
seed = ["db/redis.yaml"]

[tool.pytest.ini_options]
filterwarnings = ["error"]
addopts = ["--strict-markers"]
asyncio_default_fixture_loop_scope = "function"
{ini}
"""


CACHES = platformdirs.user_cache_path().absolute()
"""As it is before pytester gives each test another HOME: the clusters in it are made once, not by every inner run."""


class Project:
    """A small project with a schema, a seed, and settings."""

    def __init__(self, pytester: pytest.Pytester, warm: Warm) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self._warm = warm
        self.write("db/001.sql", SCHEMA)
        self.write("db/seed.sql", SEED)
        self.write("db/redis.yaml", "greeting: hello\n")
        self.settings()

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def settings(self, *services: str, ini: str = 'asyncio_mode = "auto"') -> None:
        """Write the settings; all services, or these."""
        named = ", ".join(f'"{name}"' for name in services or ("postgres", "redis", "fake_llm"))
        self.write("pyproject.toml", SETTINGS.format(services=named, ini=ini))

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in the current folder: the project's, until the test changes it."""
        began = time.monotonic()
        ran = self._python("pytest", "-p", "no:cacheprovider", *arguments)
        sys.stdout.write(ran.stdout)
        sys.stderr.write(ran.stderr)
        out, err = ran.stdout.splitlines(), ran.stderr.splitlines()
        return pytest.RunResult(ran.returncode, out, err, time.monotonic() - began)

    def run_by_a_new_interpreter(self, *arguments: str) -> pytest.RunResult:
        """Where it matters what is imported."""
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=120)

    def realstack(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command in the project."""
        return self._python("realstack", *arguments)

    def _python(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return self._warm.run(module, *arguments, cwd=Path.cwd(), env=environment)


@pytest.fixture
def project(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, warm: Warm
) -> Project:
    monkeypatch.setenv("REALSTACK_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHES))
    for name in ("REALSTACK_PROVIDER", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    # Only what a test asks for is loaded: every plugin of the environment costs each inner run its import.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ("realstack", "pytest_asyncio.plugin", "anyio.pytest_plugin", "xdist")
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p {name}" for name in plugins))
    return Project(pytester, warm)


@pytest.fixture
def few_connections(
    project: Project, run: Run, postgres_spec: ServiceSpec, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Endpoint]:
    """A given server of its own, with 40 connections, which outlives the inner runs."""
    spec = replace(postgres_spec, command=("postgres", "-cmax_connections=40"))
    loop = BackgroundLoop()
    kind = service("postgres")

    @asynccontextmanager
    async def running() -> AsyncIterator[Endpoint]:
        async with Embedded({"postgres": kind.recipe(spec)}).running([spec], run) as started:
            process = started["postgres"]
            endpoint = kind.endpoint(spec, process.address, "embedded")
            yield await until_ready(
                "postgres", lambda: kind.probe(endpoint), within_s=30, died=process.died, log=process.log_lines
            )

    endpoint = loop.enter(running())
    try:
        monkeypatch.setenv("REALSTACK_POSTGRES_URL", str(endpoint.url))
        monkeypatch.setenv("REALSTACK_DISPOSABLE", "postgres")
        monkeypatch.setenv("REALSTACK_PROVIDER", "auto")
        yield endpoint
    finally:
        loop.close()
