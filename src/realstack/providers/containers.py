"""Services as containers, made one by one from their declarations by the Engine's API."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, TypeVar

from realstack.errors import ProviderUnavailable, RealstackError, ServiceStartFailed, UnsupportedByProvider
from realstack.model import Address, Dependency, Run, ServiceSpec, tail
from realstack.providers import docker_engine
from realstack.providers.completion import ended_by
from realstack.providers.docker_api import Api, Container, RefusedError
from realstack.providers.docker_baked import ensure_baked
from realstack.providers.docker_config import container_config, published
from realstack.providers.docker_container import LOOK_EVERY_S, Contained, end_of, host_port_of, refusal, tag_of
from realstack.providers.docker_engine import SERVICE_LABEL, log_of
from realstack.providers.docker_images import ensure_image
from realstack.providers.docker_pull import StoppedError

Result = TypeVar("Result")

DEPENDENCY_WITHIN_S = 120.0
PULL_WITHIN_S = 300.0


class Containers:
    """Starts containers side by side, in the order of ``depends_on``; on exit all are removed with their volumes."""

    name: ClassVar[str] = "containers"

    def __init__(self, pull_within_s: float = PULL_WITHIN_S) -> None:
        self._pull_within_s = pull_within_s

    @asynccontextmanager
    async def running(self, specs: Sequence[ServiceSpec], run: Run) -> AsyncIterator[Mapping[str, Contained]]:
        """Start all ``specs``; see :class:`realstack.providers.base.Provider`.

        :raises UnsupportedByProvider: a declaration has keys that only Docker Compose can honour.
        :raises ProviderUnavailable: no engine answers, or it answers no more.
        :raises ImageUnavailable: an image is not to be had.
        :raises ServiceStartFailed: an image could not be built, or a container not be started.
        :raises LeftBehind: on exit, something could not be removed.
        """
        refuse_unsupported(specs)
        api = await asyncio.to_thread(lambda: Api(docker_engine.require_engine()))
        start = _Start(api, run, self._pull_within_s)
        with contextlib.closing(api):
            async with ended_by(start.remove_all):
                await start.all_of(specs)
                yield {spec.name: start.running[spec.name] for spec in specs}


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

    def __init__(self, api: Api, run: Run, pull_within_s: float) -> None:
        self.api, self.engine, self.run, self.pull_within_s = api, api.engine, run, pull_within_s
        self.running: dict[str, Contained] = {}
        self._network: str | None = None
        self._waited_for: set[str] = set()
        self._stop = threading.Event()
        self._at_work: list[asyncio.Future[Any]] = []

    async def all_of(self, specs: Sequence[ServiceSpec]) -> None:
        """Start each as soon as what it depends on is as far as it must be."""
        docker_engine.leave_note(self.run, self.engine)
        dependencies = [dependency for spec in specs for dependency in spec.depends_on]
        self._waited_for = {each.service for each in dependencies if each.condition == "service_healthy"}
        if dependencies:
            self._network = await self._in_thread(self._make_network)
        started = {spec.compose_name: asyncio.Event() for spec in specs}

        async def one(spec: ServiceSpec) -> None:
            for dependency in spec.depends_on:
                await started[dependency.service].wait()
                await self._await_condition(spec, dependency)
            await self._in_thread(partial(self._start, spec))
            started[spec.compose_name].set()

        try:
            async with asyncio.TaskGroup() as tasks:
                for spec in specs:
                    tasks.create_task(one(spec))
        except* RealstackError as group:
            raise _first(group) from group

    async def remove_all(self) -> None:
        """Remove all that carries the run's mark: also what was being made when something else failed."""
        self._stop.set()
        ends = await asyncio.gather(*self._at_work, return_exceptions=True)
        # What an engine did not answer in time it may do all the same.
        is_all = not any(isinstance(end, ProviderUnavailable) for end in ends)
        await asyncio.to_thread(partial(docker_engine.remove_noted, self.api, self.run, is_all=is_all))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Do it in a thread that a cancelled start need not wait for here: pulls and builds look at ``_stop``.

        :meth:`remove_all` waits for it: what it was asking the engine for may come late.
        """

        def body() -> Result:
            if self._stop.is_set():
                raise StoppedError
            return work()

        future = asyncio.get_running_loop().run_in_executor(None, body)
        self._at_work.append(future)
        return await asyncio.shield(future)

    def _make_network(self) -> str:
        name = docker_engine.project_of(self.run.run_id)
        self.api.call("POST", "/networks/create", {"Name": name, "CheckDuplicate": True, "Labels": self.run.labels})
        return name

    def _start(self, spec: ServiceSpec) -> None:
        image = ensure_image(self.api, spec, self.run, pull_within_s=self.pull_within_s, stop=self._stop)
        declared = container_config(spec, self.run, self.engine)
        config = published(declared, spec, self.engine)
        config["Image"] = tag_of(spec)
        if baked := ensure_baked(self.api, spec, image, declared, self.run, stop=self._stop):
            config.update(Image=baked.image, Entrypoint=baked.entrypoint, Cmd=baked.command)
        if spec.compose_name not in self._waited_for:
            # Clients ask whether it is ready. The engine would go on to start a process in it for each check.
            config["Healthcheck"] = {"Test": ["NONE"]}
        config["Labels"] = {**spec.labels, **self.run.labels, SERVICE_LABEL: spec.name}
        if self._network is not None:
            config["HostConfig"]["NetworkMode"] = self._network
            config["NetworkingConfig"] = {"EndpointsConfig": {self._network: {"Aliases": [spec.compose_name]}}}
        if self._stop.is_set():
            raise StoppedError
        began = time.monotonic()
        try:
            container = self.api.create(f"{docker_engine.project_of(self.run.run_id)}-{spec.compose_name}", config)
            container.start()
            container.reload()
        except RefusedError as problem:
            raise refused(spec, problem, time.monotonic() - began) from problem
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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEPENDENCY_WITHIN_S):
                if await _comes_to(dependency.condition, on):
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


async def _comes_to(condition: str, on: Contained) -> bool:
    """Wait until ``on`` is healthy, or has ended well; False once it cannot come to that any more."""
    healthy = condition == "service_healthy"
    while not await asyncio.to_thread(_is_healthy if healthy else _has_ended_well, on.container):
        if (healthy and _is_unhealthy(on.container)) or on.died() not in (None, "exit status 0"):
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


def _health(container: Container) -> str:
    return str((container.attrs["State"].get("Health") or {}).get("Status"))


def _is_healthy(container: Container) -> bool:
    container.reload()
    return _health(container) == "healthy"


def _is_unhealthy(container: Container) -> bool:
    """By what was last read of it: unhealthy for good, ended, or never to be healthy for want of a health check."""
    return _health(container) in ("unhealthy", "None") or container.attrs["State"]["Status"] in ("exited", "dead")


def _has_ended_well(container: Container) -> bool:
    return end_of(container) == "exit status 0"


def refused(spec: ServiceSpec, problem: RefusedError, after_s: float) -> ServiceStartFailed:
    """The engine's refusal to make or start a container, with what to do."""
    stage, told, remedy = refusal(problem.words, spec.port)
    return ServiceStartFailed(spec.name, stage, problem=told, after_s=after_s, remedy=remedy)
