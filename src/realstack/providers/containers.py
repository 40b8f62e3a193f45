"""Services as containers, made one by one from their declarations with testcontainers and the Docker SDK."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
from anyio import to_thread

from realstack.errors import RealstackError, ServiceStartFailed, UnsupportedByProvider
from realstack.model import Address, Dependency, HealthCheck, Run, ServiceSpec, Volume, tail
from realstack.providers import docker_engine
from realstack.providers.docker_address import Engine
from realstack.providers.docker_baked import ensure_baked
from realstack.providers.docker_container import LOOK_EVERY_S, Contained, end_of, host_port_of, refusal
from realstack.providers.docker_engine import SERVICE_LABEL, log_of
from realstack.providers.docker_images import StoppedError, ensure_image

if TYPE_CHECKING:
    import docker

DEPENDENCY_WITHIN_S = 120.0
PULL_WITHIN_S = 300.0
_NANOSECONDS = 1_000_000_000


class Containers:
    """Starts containers side by side, in the order of ``depends_on``; on exit all are removed with their volumes."""

    name: ClassVar[str] = "containers"

    def __init__(self, pull_within_s: float = PULL_WITHIN_S) -> None:
        self._pull_within_s = pull_within_s

    @asynccontextmanager
    async def running(self, specs: Sequence[ServiceSpec], run: Run) -> AsyncIterator[Mapping[str, Contained]]:
        """Start all ``specs``; see :class:`realstack.providers.base.Provider`.

        :raises UnsupportedByProvider: a declaration has keys that only Docker Compose can honour.
        :raises ProviderUnavailable: no engine answers.
        :raises ImageUnavailable: an image is not to be had.
        :raises ServiceStartFailed: an image could not be built, or a container not be started.
        """
        refuse_unsupported(specs)
        engine = await to_thread.run_sync(docker_engine.require_engine)
        client = await to_thread.run_sync(docker_engine.connect, engine)
        start = _Start(engine, client, run, self._pull_within_s)
        try:
            await start.all_of(specs)
            yield {spec.name: start.running[spec.name] for spec in specs}
        finally:
            with anyio.CancelScope(shield=True):
                await start.remove_all()
                await to_thread.run_sync(client.close)


def refuse_unsupported(specs: Sequence[ServiceSpec]) -> None:
    """Name all that this provider cannot honour.

    :raises UnsupportedByProvider: there is something.
    """
    refused = [f"services.{spec.compose_name}.{key}" for spec in specs for key in spec.unsupported]
    wanted = {spec.compose_name for spec in specs}
    refused += [
        f"services.{spec.compose_name}.depends_on.{dependency.service} (it is not among the run's services)"
        for spec in specs
        for dependency in spec.depends_on
        if dependency.service not in wanted
    ]
    if refused:
        raise UnsupportedByProvider(
            f"The provider 'containers' cannot honour {', '.join(refused)}.",
            remedy="choose the provider 'compose' (REALSTACK_PROVIDER=compose), which can, or take it out.",
        )


class _Start:
    """One run's containers while they are started."""

    def __init__(self, engine: Engine, client: docker.DockerClient, run: Run, pull_within_s: float) -> None:
        self.engine, self.client, self.run, self.pull_within_s = engine, client, run, pull_within_s
        self.running: dict[str, Contained] = {}
        self._network: Any = None
        self._stop = threading.Event()
        self._threads: list[threading.Event] = []

    async def all_of(self, specs: Sequence[ServiceSpec]) -> None:
        """Start each as soon as what it depends on is as far as it must be."""
        docker_engine.leave_note(self.run, self.engine)
        if any(spec.depends_on for spec in specs):
            self._network = await to_thread.run_sync(self._make_network)
        started = {spec.compose_name: anyio.Event() for spec in specs}

        async def one(spec: ServiceSpec) -> None:
            for dependency in spec.depends_on:
                await started[dependency.service].wait()
                await self._await_condition(spec, dependency)
            await self._in_thread(self._start, spec)
            started[spec.compose_name].set()

        try:
            async with anyio.create_task_group() as tasks:
                for spec in specs:
                    tasks.start_soon(one, spec)
        except* RealstackError as group:
            raise _first(group) from group

    async def remove_all(self) -> None:
        """Remove all that carries the run's mark: also what was being made when something else failed."""
        self._stop.set()
        await to_thread.run_sync(lambda: [ended.wait() for ended in self._threads])
        await to_thread.run_sync(docker_engine.remove_marked, self.client, self.run.run_id)

    async def _in_thread(self, work: Callable[[ServiceSpec], None], spec: ServiceSpec) -> None:
        """Do it in a thread that a cancelled start need not wait for: pulls and builds look at ``_stop``."""

        def body() -> None:
            ended = threading.Event()
            self._threads.append(ended)
            try:
                work(spec)
            finally:
                ended.set()

        await to_thread.run_sync(body, abandon_on_cancel=True)

    def _make_network(self) -> Any:
        return self.client.networks.create(docker_engine.project_of(self.run.run_id), labels=self.run.labels)

    def _start(self, spec: ServiceSpec) -> None:
        image = ensure_image(
            self.client, self.engine, spec, self.run, pull_within_s=self.pull_within_s, stop=self._stop
        )
        settings = container_settings(spec, self.run)
        baked = ensure_baked(self.client, spec, image, settings, self.run, stop=self._stop)
        settings["ports"] = {f"{port}/tcp": (self.engine.publish_ip, host) for port, host in published_ports(spec)}
        settings["name"] = f"{docker_engine.project_of(self.run.run_id)}-{spec.compose_name}"
        if self._network is not None:
            endpoint = self.client.api.create_endpoint_config(aliases=[spec.compose_name])
            settings.update(network=self._network.name, networking_config={self._network.name: endpoint})
        if baked is not None:
            image = baked.image
            settings.update(entrypoint=baked.entrypoint, command=baked.command)
        labels = {**spec.labels, **self.run.labels, SERVICE_LABEL: spec.name}
        if self._stop.is_set():
            raise StoppedError
        began = time.monotonic()
        try:
            container = _started(self.engine, image, labels, settings)
        except Exception as problem:
            raise explained(spec, problem, time.monotonic() - began) from problem
        host_port = host_port_of(container, spec.port)
        if spec.port and host_port is None:
            raise ServiceStartFailed(
                spec.name,
                "start",
                problem=f"it ended with {end_of(container) or 'no port published'} as soon as it was started",
                after_s=time.monotonic() - began,
                log_tail=tail(log_of(container)),
                remedy="read its log above; `docker run` it by hand to try.",
            )
        self.running[spec.name] = Contained(spec, Address(self.engine.address, host_port or 0), container)

    async def _await_condition(self, spec: ServiceSpec, dependency: Dependency) -> None:
        """Wait until the dependency is as far as ``condition`` asks; the engine tells by its own health check."""
        on = next(one for one in self.running.values() if one.spec.compose_name == dependency.service)
        if dependency.condition == "service_started":
            return
        healthy = dependency.condition == "service_healthy"
        is_met = _is_healthy if healthy else _has_ended_well
        with anyio.move_on_after(DEPENDENCY_WITHIN_S):
            while not await to_thread.run_sync(is_met, on.container):
                if (healthy and _is_unhealthy(on.container)) or on.died() not in (None, "exit status 0"):
                    break
                await anyio.sleep(LOOK_EVERY_S)
            else:
                return
        raise ServiceStartFailed(
            on.spec.name,
            "depends_on",
            problem=f"{spec.name!r} waits for it with the condition {dependency.condition!r}, which it did not meet: "
            f"{on.died() or 'it runs'}, its health is {_health(on.container)}",
            log_tail=tail(on.log_lines()),
            remedy="read its log above, and look at its health check.",
        )


def _first(group: BaseExceptionGroup[RealstackError]) -> RealstackError:
    """What failed first is what a reader needs; the others failed beside it."""
    problem: BaseException = group
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    assert isinstance(problem, RealstackError)  # noqa: S101 - `except*` let no other through
    return problem


def published_ports(spec: ServiceSpec) -> list[tuple[int, int | None]]:
    """Each port of the container that is published, with the host port that was asked for; the clients' one always."""
    asked = {port.container: port.host for port in spec.ports}
    return list({**({spec.port: None} if spec.port else {}), **asked}.items())


def container_settings(spec: ServiceSpec, run: Run) -> dict[str, Any]:
    """The declaration in the words of the SDK, without image, ports, labels, name and network."""
    settings: dict[str, Any] = {
        "command": list(spec.command) if spec.command is not None else None,
        "entrypoint": list(spec.entrypoint) if spec.entrypoint is not None else None,
        "environment": dict(spec.environment),
        "tmpfs": dict(entry.partition(":")[::2] for entry in spec.tmpfs),
        "mounts": [_mount(volume, run) for volume in spec.volumes],
        "healthcheck": _health_check(spec.health_check) if spec.health_check else None,
        "user": spec.user,
        "working_dir": spec.working_dir,
        "shm_size": spec.shm_size,
        "stop_signal": spec.stop_signal,
        "init": spec.init,
    }
    return {name: value for name, value in settings.items() if value not in (None, {}, [])}


def _mount(volume: Volume, run: Run) -> Any:
    """A mount. A named volume is the run's own, as Compose's are the project's own, and goes with the run."""
    from docker.types import Mount

    if volume.bind:
        return Mount(volume.target, volume.source, type="bind", read_only=volume.read_only)
    named = f"{docker_engine.project_of(run.run_id)}_{volume.source}" if volume.source else None
    return Mount(volume.target, named, type="volume", read_only=volume.read_only, labels=run.labels)


def _health_check(check: HealthCheck) -> dict[str, Any]:
    times = {"interval": check.interval_s, "timeout": check.timeout_s, "start_period": check.start_period_s}
    found: dict[str, Any] = {name: int(value * _NANOSECONDS) for name, value in times.items() if value is not None}
    if check.test:
        found["test"] = list(check.test)
    if check.retries is not None:
        found["retries"] = check.retries
    return found


def _started(engine: Engine, image: str, labels: Mapping[str, str], settings: Mapping[str, Any]) -> Any:
    """A started container, by testcontainers: it reads its own settings of engines and credentials, and marks it.

    Its sweeper, a container with the engine's socket mounted, is left out: the run's own watchdog sweeps.
    """
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.labels import create_labels

    class Unswept(DockerContainer):
        def start(self) -> Unswept:
            create = self.get_docker_client().client.containers.create
            self._container = create(self.image, labels=create_labels(self.image, dict(labels)), **self._kwargs)
            self._container.start()
            self._container.reload()
            return self

    declared = Unswept(image, docker_client_kw={"environment": engine.environment()}).with_kwargs(**settings)
    declared.image = image  # its prefix for a mirror of the hub must not be put before images that were made here
    return declared.start().get_wrapped_container()


def _health(container: Any) -> str:
    return str((container.attrs["State"].get("Health") or {}).get("Status"))


def _is_healthy(container: Any) -> bool:
    container.reload()
    return _health(container) == "healthy"


def _is_unhealthy(container: Any) -> bool:
    """By what was last read of it: unhealthy for good, ended, or never to be healthy for want of a health check."""
    return _health(container) in ("unhealthy", "None") or container.attrs["State"]["Status"] in ("exited", "dead")


def _has_ended_well(container: Any) -> bool:
    return end_of(container) == "exit status 0"


def explained(spec: ServiceSpec, problem: Exception, after_s: float) -> Exception:
    """The engine's refusal to make or start a container, with what to do; other errors as they are."""
    import docker

    if isinstance(problem, RealstackError) or not isinstance(problem, docker.errors.APIError):
        return problem
    stage, told, remedy = refusal(str(getattr(problem, "explanation", None) or problem), spec.port)
    return ServiceStartFailed(spec.name, stage, problem=told, after_s=after_s, remedy=remedy)
