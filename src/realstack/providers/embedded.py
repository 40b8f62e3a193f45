"""Services as plain processes of this machine: no Docker, no daemon, no privileges."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from realstack.errors import ProviderUnavailable, RealstackError, ServiceStartFailed
from realstack.model import Run, ServiceSpec, tail
from realstack.providers.base import Launch, Recipe
from realstack.providers.completion import all_to_their_end
from realstack.providers.local_process import LocalProcess, spawn
from realstack.providers.ports import LOOPBACK, PortTakenError, ReservedPort
from realstack.providers.scratch import is_no_room, no_room_sentence, tmpfs_with_room

__all__ = ["Embedded", "tmpfs_with_room"]

_ATTEMPTS = 4
_LISTENS_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.005


class Embedded:
    """Runs each service by its recipe (keyed by ``spec.name``) as a process of this machine."""

    name: ClassVar[str] = "embedded"

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._recipes = dict(recipes)

    def unavailable(self, specs: Sequence[ServiceSpec]) -> dict[str, str]:
        """Which of ``specs`` cannot run here, and why. Empty: all can. Fast, no side effects."""
        reasons = {spec.name: self._why_not(spec) for spec in specs}
        return {name: why for name, why in reasons.items() if why}

    @asynccontextmanager
    async def running(self, specs: Sequence[ServiceSpec], run: Run) -> AsyncIterator[Mapping[str, LocalProcess]]:
        """Start all ``specs`` side by side; on exit end every process and remove its folder.

        Logs stay in ``run.folder``, which belongs to the environment.

        :raises ProviderUnavailable: a service has no recipe or no binaries here.
        :raises ServiceStartFailed: a folder could not be laid out or a process not be started.
        """
        self._require_available(specs)
        started: dict[str, LocalProcess] = {}
        try:
            await all_to_their_end([self._start(spec, run, started) for spec in specs])
            yield {spec.name: started[spec.name] for spec in specs}
        finally:
            await all_to_their_end([_discard(process, run) for process in reversed(list(started.values()))])
            for spec in specs:
                await asyncio.to_thread(shutil.rmtree, _folder_of(spec, run), ignore_errors=True)

    def _why_not(self, spec: ServiceSpec) -> str | None:
        recipe = self._recipes.get(spec.name)
        if recipe is None:
            return "no recipe says how it runs as a local process"
        return recipe.unavailable()

    def _require_available(self, specs: Sequence[ServiceSpec]) -> None:
        if reasons := self.unavailable(specs):
            raise ProviderUnavailable(
                "The embedded provider cannot run " + ", ".join(sorted(reasons)) + " here.",
                details=[f"{name}: {why}" for name, why in sorted(reasons.items())],
                remedy="pip install 'realstack[embedded]', or choose a provider that uses Docker "
                "(REALSTACK_PROVIDER=containers).",
            )

    async def _start(self, spec: ServiceSpec, run: Run, started: dict[str, LocalProcess]) -> None:
        began = time.monotonic()
        for _ in range(_ATTEMPTS):
            process = await asyncio.to_thread(self._prepare_and_spawn, spec, run)
            started[spec.name] = process
            if process.port_is_held or _declared_port(spec) is not None:
                return
            if not await _lost_its_port(process):
                return
            await _discard(started.pop(spec.name), run)
        raise ServiceStartFailed(
            spec.name,
            "start",
            problem=f"{_ATTEMPTS} ports in a row were taken by others between choosing and binding",
            after_s=time.monotonic() - began,
            log_tail=tail(process.log_lines()),
            remedy="try again; something on this machine binds ports very fast.",
        )

    def _prepare_and_spawn(self, spec: ServiceSpec, run: Run) -> LocalProcess:
        folder = _folder_of(spec, run)
        port = _reserve(spec)
        launch: Launch | None = None
        try:
            folder.mkdir()
            launch = self._recipes[spec.name].prepare(spec, folder, run, port.number)
            return spawn(spec, launch, run, port)
        except BaseException as problem:
            # Before anything is removed: it tells how much room is left.
            told = _explained(spec, folder, problem) if isinstance(problem, OSError) else problem
            port.release()
            for made in (folder, *(launch.owned_folders if launch else ())):
                shutil.rmtree(made, ignore_errors=True)
            if told is problem:
                raise
            raise told from problem


def _reserve(spec: ServiceSpec) -> ReservedPort:
    """The declared host port if there is one, free for us alone; else any free one."""
    wanted = _declared_port(spec)
    try:
        if wanted is not None:
            _refuse_if_answered(wanted)
        return ReservedPort(wanted)
    except PortTakenError as problem:
        raise ServiceStartFailed(
            spec.name,
            "port",
            problem=str(problem),
            remedy="end what listens there, or declare no fixed host port (ports: "
            f'["127.0.0.1::{spec.port}"]) to get a free one.',
        ) from problem


def _declared_port(spec: ServiceSpec) -> int | None:
    return next((port.host for port in spec.ports if port.container == spec.port), None)


def _refuse_if_answered(port: int) -> None:
    """A server on 0.0.0.0 with SO_REUSEPORT would let us bind and then take half of our connections."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=0.5):
        raise PortTakenError(f"port {port} of {LOOPBACK} is taken: somebody answers there")


async def _lost_its_port(process: LocalProcess) -> bool:
    """Wait until it listens or ends; True if it ended because its port was taken meanwhile."""
    deadline = time.monotonic() + _LISTENS_WITHIN_S
    while time.monotonic() < deadline:
        if process.died():
            return any("already in use" in line.lower() for line in process.log_lines())
        if await asyncio.to_thread(_listens, process.address.port):
            return False
        await asyncio.sleep(_LOOK_EVERY_S)
    return False


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(0.2)
        return client.connect_ex((LOOPBACK, port)) == 0


async def _discard(process: LocalProcess, run: Run) -> None:
    await process.stop()
    for folder in (_folder_of(process.spec, run), *process.launch.owned_folders):
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _folder_of(spec: ServiceSpec, run: Run) -> Path:
    return run.folder / spec.name


def _explained(spec: ServiceSpec, folder: Path, problem: OSError) -> RealstackError:
    if is_no_room(problem):
        return ServiceStartFailed(
            spec.name,
            "prepare",
            problem=no_room_sentence(Path(problem.filename) if problem.filename else folder),
            remedy="free some room there, or point TMPDIR at a folder that has some.",
        )
    return ServiceStartFailed(
        spec.name,
        "prepare",
        problem=f"{type(problem).__name__}: {problem}",
        remedy="look at the path and its permissions; `realstack doctor` checks what this service needs.",
    )
