"""The servers that the proof runs on: each PostgreSQL that ``REALSTACK_PROOF_ON`` names, wherever it is found."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from realstack.compose_file import read_compose_file
from realstack.handles.background import BackgroundLoop
from realstack.model import Endpoint, Run, ServiceSpec
from realstack.providers import docker_engine
from realstack.providers.base import Provider
from realstack.providers.containers import Containers
from realstack.providers.embedded import Embedded, tmpfs_with_room
from realstack.readiness import until_ready
from realstack.registry import new_run_id
from realstack.services import postgres_binaries, service
from realstack.watchdog import Watchdog
from tests.lack import without

ANY = "any"
"""The version that the embedded provider finds first."""
TWO_PHASE = "-cmax_prepared_transactions=10"
ROOT = Path(__file__).parents[3]


def versions() -> list[str]:
    """Major versions, as ``REALSTACK_PROOF_ON="15 17 18"`` names them."""
    return os.environ.get("REALSTACK_PROOF_ON", "").split() or [ANY]


@contextmanager
def server_of(version: str) -> Iterator[Endpoint]:
    """A server of that major version: by programs that are installed, by a wheel's, or by the image through Docker."""
    spec, provider = _how(version)
    folder = Path(tempfile.mkdtemp(prefix="realstack-test-proof-", dir=tmpfs_with_room(512 * 1024 * 1024)))
    folder.chmod(0o711)
    own = psutil.Process()
    run = Run(new_run_id(), folder, os.getpid(), own.create_time(), "tests")
    watchdog = Watchdog(run)  # a proof is long, and may be killed
    loop = BackgroundLoop()
    kind = service("postgres")
    try:
        process = loop.enter(provider.running([spec], run))["postgres"]
        endpoint = kind.endpoint(spec, process.address, provider.name)
        answered = loop.run(
            until_ready(
                "postgres",
                lambda: kind.probe(endpoint),
                within_s=60,
                died=process.died,
                log=process.log_lines,
            )
        )
        assert version in (ANY, str(postgres_binaries.major(answered.version or ""))), answered.version
        yield answered
    finally:
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        watchdog.done()


def _how(version: str) -> tuple[ServiceSpec, Provider]:
    spec = ServiceSpec(
        "postgres",
        "postgres",
        "postgres",
        5432,
        environment={"POSTGRES_PASSWORD": "proof"},
        command=("postgres", TWO_PHASE),
    )
    if version != ANY:
        folder = _installed(version)
        if folder is None:
            return _in_the_image(version), Containers()
        spec = replace(spec, extra={"bin": str(folder)})
    return spec, Embedded({"postgres": service("postgres").recipe(spec)})


def _installed(version: str) -> Path | None:
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if (debian / "postgres").exists():
        return debian
    for found in postgres_binaries.in_wheels():
        if str(postgres_binaries.major(found.version)) == version:
            return found.folder
    return None


def _in_the_image(version: str) -> ServiceSpec:
    (spec,) = [one for one in read_compose_file(ROOT / "docker-compose.test.yml").services if one.kind == "postgres"]
    problem = docker_engine.can_run([spec])
    if not problem and f":{version}" not in (spec.image or ""):
        problem = f"{spec.image} is not of PostgreSQL {version}"
    without(problem and f"PostgreSQL {version} is neither installed nor in a wheel, and {problem}")
    return replace(spec, command=(*(spec.command or ("postgres",)), TWO_PHASE))
