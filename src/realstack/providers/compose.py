"""Services by Docker Compose v2 itself, under a project name of the run's own: all that Compose knows works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import yaml
from anyio import to_thread

from realstack.compose_file import ComposeProject
from realstack.errors import (
    ComposeFileError,
    ImageUnavailable,
    ProviderUnavailable,
    RealstackError,
    ServiceStartFailed,
)
from realstack.model import Address, Run, ServiceSpec, tail
from realstack.providers import docker_engine
from realstack.providers.completion import ended_by
from realstack.providers.docker_api import Api, Container
from realstack.providers.docker_builds import BUILD_LABEL, NO_BUILDER, build_failed, needs_build
from realstack.providers.docker_container import Contained, end_of, host_port_of, refusal, tag_of
from realstack.providers.docker_engine import COMPOSE_PROJECT_LABEL, SERVICE_LABEL, log_of
from realstack.providers.docker_programs import GET_COMPOSE, why_no_compose

COMPOSE_SERVICE_LABEL = "com.docker.compose.service"
PULL_WITHIN_S, READY_WITHIN_S = 300.0, 60.0
_LOOKS_AFTER_A_CUT = 4


class Compose:
    """Starts the services and what they depend on by ``docker compose up``; on exit the project is gone.

    That one command pulls, builds and starts, and waits for dependencies. It has ``ready_within_s`` seconds for each
    service, and ``pull_within_s`` seconds more if an image is to be pulled or built.
    """

    name: ClassVar[str] = "compose"

    def __init__(
        self, project: ComposeProject, *, pull_within_s: float = PULL_WITHIN_S, ready_within_s: float = READY_WITHIN_S
    ) -> None:
        self._project = project
        self._pull_within_s, self._ready_within_s = pull_within_s, ready_within_s

    @asynccontextmanager
    async def running(self, specs: Sequence[ServiceSpec], run: Run) -> AsyncIterator[Mapping[str, Contained]]:
        """Start all ``specs``; see :class:`realstack.providers.base.Provider`.

        :raises ProviderUnavailable: no engine answers, or Compose v2 is not installed.
        :raises ComposeFileError: Compose refuses the file.
        :raises ImageUnavailable: an image is not to be had.
        :raises ServiceStartFailed: an image could not be built, or a container not be started.
        :raises LeftBehind: on exit, something could not be removed.
        """
        engine = await to_thread.run_sync(docker_engine.require_engine)
        await to_thread.run_sync(_require_compose)
        api = await to_thread.run_sync(Api, engine)
        up = _Up(self._project, api, run)
        with contextlib.closing(api):
            async with ended_by(partial(asyncio.to_thread, up.remove_all)):
                yield await up.start(specs, self._pull_within_s, self._ready_within_s)


def _require_compose() -> None:
    if (problem := why_no_compose()) is not None:
        raise ProviderUnavailable(
            f"{problem}.", remedy=f"{GET_COMPOSE}, or choose the provider 'containers', which needs none."
        )


class _Up:
    """One run's compose project."""

    def __init__(self, project: ComposeProject, api: Api, run: Run) -> None:
        self.project, self.api, self.engine, self.run = project, api, api.engine, run
        self.name = docker_engine.project_of(run.run_id)
        self._cut_short = False

    async def start(
        self, specs: Sequence[ServiceSpec], pull_within_s: float, ready_within_s: float
    ) -> dict[str, Contained]:
        """``up``, and where each service is then."""
        began = time.monotonic()
        docker_engine.leave_note(self.run, self.engine)
        wanted = self.project.with_dependencies(specs)
        digests, build = await to_thread.run_sync(self._builds, wanted)
        fetch = build or await to_thread.run_sync(self._lacks_an_image, wanted)
        within_s = ready_within_s * len(wanted) + (pull_within_s if fetch else 0)
        override = self.run.folder / "compose.override.yml"
        content = override_of(specs, self.run, self.engine.publish_ip, digests)
        override.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [*self._compose(override), "up", "--detach", "--no-recreate", "--quiet-pull"]
        command += ["--build"] if build else []
        try:
            with anyio.fail_after(within_s):
                status, output = await self._run([*command, *(spec.compose_name for spec in specs)])
        except TimeoutError as problem:
            raise ServiceStartFailed(
                specs[0].name,
                "start",
                problem=f"`docker compose up` of {', '.join(spec.name for spec in specs)} did not come to an end",
                after_s=time.monotonic() - began,
                remedy="a registry or a dependency's health check may hang: "
                f"`docker compose -f {self.project.path} up` shows which; or raise [tool.realstack] "
                f"{'pull_within_s' if fetch else 'ready_within_s'}.",
            ) from problem
        if status:
            raise explained(self.project, specs, output, time.monotonic() - began)
        return await to_thread.run_sync(self._found, specs)

    def remove_all(self) -> None:
        """Remove the project: what ``down --volumes`` would, but without reading the file again."""
        docker_engine.remove_noted(self.api, self.run, looks=_LOOKS_AFTER_A_CUT if self._cut_short else 1)

    def _builds(self, wanted: Sequence[ServiceSpec]) -> tuple[dict[str, str], bool]:
        """The hash that each built image is to carry, and whether any is to be built now."""
        digests: dict[str, str] = {}
        is_stale = False
        for spec in wanted:
            if spec.build is not None and not any(key.startswith("build.") for key in spec.unsupported):
                stale, digest = needs_build(self.api, spec, spec.build)
                digests[spec.compose_name] = digest or "unknown"
                is_stale = is_stale or stale
            elif spec.build is not None:
                is_stale = True  # only Compose knows what goes into it
        return digests, is_stale

    def _lacks_an_image(self, wanted: Sequence[ServiceSpec]) -> bool:
        return any(self.api.inspect_image(tag_of(spec)) is None for spec in wanted if spec.build is None)

    def _compose(self, override: Path) -> list[str]:
        folder = self.project.path.parent
        return [
            *("docker", "compose", "--ansi", "never", "--project-name", self.name),
            *("--project-directory", str(folder), "--file", str(self.project.path), "--file", str(override)),
        ]

    async def _run(self, command: Sequence[str]) -> tuple[int, str]:
        """Exit status and output. A cancelled start kills the whole group: `docker` runs Compose as its child."""
        environment = {
            **os.environ,
            **self.project.variables,
            **self.engine.environment(),
            "REALSTACK_RUN": self.run.run_id,
            "COMPOSE_PROGRESS": "plain",
            "BUILDKIT_PROGRESS": "plain",
        }
        process = await anyio.open_process(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        output = b""
        async with process:
            try:
                assert process.stdout is not None  # noqa: S101 - a pipe unless told otherwise
                async for chunk in process.stdout:
                    output += chunk
                return await process.wait(), output.decode("utf-8", "replace")
            except BaseException:
                self._cut_short = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def _found(self, specs: Sequence[ServiceSpec]) -> dict[str, Contained]:
        containers = self.api.containers(f"{COMPOSE_PROJECT_LABEL}={self.name}")
        by_service = {container.labels[COMPOSE_SERVICE_LABEL]: container for container in containers}
        return {spec.name: self._contained(spec, by_service[spec.compose_name]) for spec in specs}

    def _contained(self, spec: ServiceSpec, container: Container) -> Contained:
        container.reload()
        host_port = host_port_of(container, spec.port) if spec.port else 0
        if host_port is None:
            raise ServiceStartFailed(
                spec.name,
                "start",
                problem=f"it ended with {end_of(container) or 'no port published'} as soon as it was started",
                log_tail=tail(log_of(container)),
                remedy="read its log above.",
            )
        return Contained(spec, Address(self.engine.address, host_port), container)


def override_of(specs: Sequence[ServiceSpec], run: Run, publish_ip: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """The run's own compose file beside the project's: marks, and a free host port where none is published."""
    services: dict[str, Any] = {name: {"build": {"labels": {BUILD_LABEL: it}}} for name, it in digests.items()}
    for spec in specs:
        service = services.setdefault(spec.compose_name, {})
        service["labels"] = {**run.labels, SERVICE_LABEL: spec.name}
        if spec.port and spec.port not in {port.container for port in spec.ports}:
            service["ports"] = [f"{publish_ip}::{spec.port}"]
    return {"services": services}


_NOT_TO_BE_HAD = re.compile(
    r"pull access denied|manifest unknown|manifest for .* not found|no such host|failed to resolve reference"
    r"|TLS handshake|i/o timeout|connection refused|toomanyrequests|unauthorized"
)
_FILE_REFUSED = re.compile(
    r"validating |yaml: |required variable|undefined (?:service|network|volume|secret|config)|no such service"
    r"|Additional property|additional properties"
    r"|invalid (?:compose project|interpolation|reference)|service .* depends on"
)
_BUILD = re.compile(r"failed to solve|failed to build|failed to read dockerfile", re.IGNORECASE)
_OF_SERVICE = re.compile(r"realstack-r[0-9a-f]+-([\w.-]+)-\d+")


def explained(
    project: ComposeProject, specs: Sequence[ServiceSpec], output: str, after_s: float | None = None
) -> RealstackError:
    """What Compose's last words mean, and what to do."""
    lines = [line for line in output.splitlines() if line.strip()]
    said = lines[-1].strip() if lines else "it said nothing"
    spec = _blamed(specs, lines)
    stage, problem, remedy = refusal(said, spec.port)
    if stage in ("port", "disk"):
        return ServiceStartFailed(
            spec.name, stage, problem=problem, after_s=after_s, log_tail=tail(lines, 8), remedy=remedy
        )
    if _FILE_REFUSED.search(said):
        keys = [f" at services.{one.compose_name}.image" for one in specs if one.image and f"'{one.image}'" in said]
        return ComposeFileError(
            f"Docker Compose refuses {project.path}{''.join(keys)}: {said}",
            details=tail(lines, 8)[:-1],
            remedy="correct the file; `docker compose config` checks it.",
        )
    built = next((one for one in specs if one.build), None)
    if built is not None and built.build and (_BUILD.search(output) or NO_BUILDER.search(output)):
        return build_failed(built, built.build, "\n".join(lines), after_s)
    if _NOT_TO_BE_HAD.search(output):
        return ImageUnavailable(
            f"Docker Compose could not get an image: {said}",
            details=tail(lines, 8)[:-1],
            remedy="check the image's name; where nothing can be pulled, `make images` builds the images, and "
            "REALSTACK_PROVIDER=embedded needs none.",
        )
    return ServiceStartFailed(
        spec.name,
        "start",
        problem=f"`docker compose up` failed: {said}",
        after_s=after_s,
        log_tail=tail(lines),
        remedy=f"`docker compose -f {project.path} up` shows the same by hand.",
    )


def _blamed(specs: Sequence[ServiceSpec], lines: Sequence[str]) -> ServiceSpec:
    """The service of the last container that is named; else one that the last line names; else the first."""
    named = [name for line in reversed(lines) for name in _OF_SERVICE.findall(line)]
    named += re.findall(r"[\w.-]+", lines[-1]) if lines else []
    by_name = {spec.compose_name: spec for spec in specs}
    return next((by_name[name] for name in named if name in by_name), specs[0])
