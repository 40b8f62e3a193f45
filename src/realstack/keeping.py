"""A project's known state, kept from run to run: data of Postgres that have its template already.

What a run's tests had is never kept. When a run ends that had to build a state which was built before today, a server
of its own is started, builds the same state, and its data are kept once it was stopped in good order. Nothing that
fails in this fails the run.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from realstack import registry
from realstack.beginning import new_run
from realstack.choosing import provider_named
from realstack.config import Settings
from realstack.known_state import IN_PLACE, known_template
from realstack.model import POSTGRES, ServiceSpec
from realstack.providers.base import KEPT, Data, Running
from realstack.readiness import until_ready
from realstack.running import Environment
from realstack.services import service
from realstack.watchdog import watched

if TYPE_CHECKING:
    from realstack.providers.local_process import LocalProcess
    from realstack.services.postgres_kept import KeptClusters
    from realstack.state.fingerprint import Fingerprint

PROVIDER = "embedded"
"""In containers the engine takes most of a start's time, and keeping took longer than a day's runs would have won."""
WITHIN_S = 20.0
TOO_LONG_S = 10.0
"""A state that takes longer to build is not kept: a run's end would wait for it."""
BUILDS_APART_S = 1.1
"""Two builds of a state that stores the present second then differ."""
_STOPS_WITHIN_S = 10.0


def may_start_from_kept(spec: ServiceSpec, settings: Settings, provider: str) -> ServiceSpec:
    """The declaration as it is; that of Postgres also knows how to find data that have the wanted state."""
    if spec.name != POSTGRES or provider != PROVIDER:
        return spec
    return _finding(spec, partial(_find, settings) if _may_be_kept(spec, settings) else None)


@dataclass(frozen=True, slots=True)
class _Wish:
    state: str
    clusters: KeptClusters
    built_at: float
    seen: Fingerprint


class Keeping:
    """What one run does about it. Made at its start; ``say`` tells what became of it."""

    def __init__(self, environment: Environment, say: Callable[[str], None]) -> None:
        self._environment = environment
        self._say = say
        self._built_at = 0.0
        self._wish: _Wish | None = None

    def failed_to_start(self) -> None:
        """Drop the kept data from which a start failed: the next one begins with fresh ones."""
        data = _data(self._environment)
        if data is not None and data.kept_in is not None and self._environment.template is None:
            data.kept_in.unlink(missing_ok=True)

    def known_state_is_there(self) -> None:
        """Note when; and make good what its start took from the template in kept data."""
        self._built_at = time.monotonic()
        data = _data(self._environment)
        if data is not None and data.kept_in is not None:
            from realstack.services.postgres_kept import put_back_relation_cache

            put_back_relation_cache(data.folder)

    async def consider(self) -> None:
        """Decide whether to keep the known state, while its server still runs."""
        try:
            self._wish = await self._considered()
        except Exception as problem:  # noqa: BLE001 - no fault of the run's
            self._say(f"the known state is not kept: {type(problem).__name__}: {problem}")

    async def _considered(self) -> _Wish | None:
        environment, data = self._environment, _data(self._environment)
        settings, template = environment.settings, environment.template
        if data is None or template is None or not template.built:
            return None
        if data.kept_in is not None:  # they have another state than their name says, or extensions have changed
            data.kept_in.unlink(missing_ok=True)
            return None
        if not _may_be_kept(settings.spec(POSTGRES), settings) or template.took_s > TOO_LONG_S:
            return None
        from realstack.state.keepable import template_fingerprint, why_not_exact

        state = await asyncio.to_thread(_state_id, settings)
        clusters = _clusters(data.key)
        if clusters is None or not clusters.built_before(state) or clusters.path_of(state).exists():
            return None
        if why_not := await asyncio.to_thread(why_not_exact, settings.postgres):
            clusters.note_why_not(state, why_not)
            return None
        seen = await template_fingerprint(environment.endpoint(POSTGRES), template, environment.run.run_id)
        return _Wish(state, clusters, self._built_at, seen)

    async def keep(self) -> None:
        """Keep what was decided on; to be called when the run's own services are gone."""
        if self._wish is None:
            return
        from filelock import FileLock, Timeout

        wish = self._wish
        try:
            with FileLock(wish.clusters.cache / "kept.lock", timeout=0):
                async with asyncio.timeout(WITHIN_S):
                    why_not = await _keep(wish, self._environment.settings)
        except Timeout:
            return  # another run keeps one; the next may keep this
        except TimeoutError:
            why_not = f"it took longer than {WITHIN_S:g} s"
        except Exception as problem:  # noqa: BLE001 - as above
            why_not = f"{type(problem).__name__}: {problem}"
        if why_not:
            wish.clusters.note_why_not(wish.state, why_not)
        self._say(f"the known state is not kept: {why_not}" if why_not else "the known state is kept for the next run")


async def _keep(wish: _Wish, settings: Settings) -> str:
    """Why it was not done; empty if it was."""
    from realstack.state.keepable import made_ready_to_stop, template_fingerprint

    spec, kind = _of_its_own(settings.spec(POSTGRES)), service(POSTGRES)
    run = new_run(settings.project)
    with watched(registry.Record(run)):
        async with provider_named(PROVIDER, settings, [spec]).running([spec], run) as running:
            started = running[spec.name]
            endpoint = kind.endpoint(spec, started.address, PROVIDER)
            endpoint = await until_ready(
                POSTGRES,
                lambda: kind.probe(endpoint),
                within_s=settings.ready_within_s,
                died=started.died,
                log=started.log_lines,
            )
            await asyncio.sleep(max(0.0, wish.built_at + BUILDS_APART_S - time.monotonic()))
            template, _ = await known_template(settings, endpoint)
            if await template_fingerprint(endpoint, template, run.run_id) != wish.seen:
                return "two builds of it differ"
            why_not, number = await made_ready_to_stop(endpoint, template)
            return why_not or await _stopped_and_kept(started, wish, endpoint.version or "", number)


async def _stopped_and_kept(started: Running, wish: _Wish, version: str, template: int) -> str:
    at = wish.clusters.path_of(wish.state)
    await asyncio.to_thread(wish.clusters.make_room)
    from realstack.services.postgres_archive import pack
    from realstack.services.postgres_kept import set_aside_relation_cache

    process: LocalProcess = started  # type: ignore[assignment]
    assert process.data is not None  # noqa: S101 - what the recipe of Postgres tells
    os.kill(process.pid, signal.SIGINT)
    async with asyncio.timeout(_STOPS_WITHIN_S):
        while process.died() is None:  # noqa: ASYNC110 - a process's end is no event
            await asyncio.sleep(0.005)
    if process.died() != "exit status 0":
        return f"its server ended with {process.died()}"
    set_aside_relation_cache(process.data.folder, template)
    await asyncio.to_thread(pack, process.data.folder, at, version=version)
    return ""


def _of_its_own(spec: ServiceSpec) -> ServiceSpec:
    """For a server that nobody else uses and that begins with fresh data."""
    return replace(_finding(spec, None), ports=(), depends_on=())


def _may_be_kept(spec: ServiceSpec, settings: Settings) -> bool:
    """Not where it is not wanted, nor where the server's day does not begin when ours does."""
    of_its_own = "timezone" in " ".join(spec.command or ()).lower() or {"TZ", "PGTZ"} & set(spec.environment)
    return settings.keep_state and not of_its_own


def _find(settings: Settings, key: str) -> Path | None:
    clusters = _clusters(key)
    return clusters.find(lambda: _state_id(settings)) if clusters is not None else None


def _clusters(key: str) -> KeptClusters | None:
    from realstack.services.cache import cache_folder
    from realstack.services.postgres_kept import KeptClusters

    cache = cache_folder("clusters")
    return KeptClusters(cache, key) if cache is not None else None


def _state_id(settings: Settings) -> str:
    from realstack.state.keepable import state_id

    return state_id(settings.postgres, in_place=settings.isolation in IN_PLACE)


def _finding(spec: ServiceSpec, find: Callable[[str], Path | None] | None) -> ServiceSpec:
    return replace(spec, extra={**spec.extra, KEPT: find})


def _data(environment: Environment) -> Data | None:
    """What can be kept of the data of Postgres; None where another process or a given server has them."""
    data = getattr(environment.running.get(POSTGRES), "data", None)
    return data if isinstance(data, Data) else None
