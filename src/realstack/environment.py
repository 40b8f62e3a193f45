"""The composition root: the services of one run together with their known state. The main path is STAGES."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from realstack import registry
from realstack.attaching import recorded
from realstack.beginning import new_run
from realstack.choosing import choose, provider_named
from realstack.config import Settings
from realstack.errors import NotOurs, RealstackError
from realstack.keeping import Keeping, may_start_from_kept
from realstack.known_state import known_template, scenario_files, standing
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Choice, Endpoint, ServiceSpec
from realstack.providers.external import credentials_refused, variable_for
from realstack.readiness import until_ready
from realstack.running import Environment, Event, Listener
from realstack.services import service
from realstack.services.fake_llm_files import hand_over
from realstack.watchdog import watched

if TYPE_CHECKING:
    from realstack.state.template import Template


@dataclass(slots=True)
class Start:
    """What the stages hand on to each other."""

    environment: Environment
    stack: AsyncExitStack
    listen: Listener
    keeping: Keeping
    began: float = field(default_factory=time.monotonic)

    def say(self, stage: str, name: str | None, text: str) -> None:
        """Tell the listener."""
        self.listen(Event(stage, name, text, self.seconds()))

    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began


async def choose_providers(start: Start) -> None:
    """Decide for each service how it comes to run, and keep why."""
    environment = start.environment
    environment.choices = await asyncio.to_thread(choose, environment.settings)
    for choice in dict.fromkeys(environment.choices.values()):
        start.say("choose", None, str(choice))


async def start_services(start: Start) -> None:
    """Start every service; what was started is stopped when the run's stack closes."""
    environment = start.environment
    start.stack.push_async_callback(
        _ended, asyncio.create_task(asyncio.to_thread(_import_clients, environment.settings))
    )
    by_provider: dict[str, list[ServiceSpec]] = {}
    for spec in environment.settings.specs:
        by_provider.setdefault(environment.choices[spec.name].value, []).append(spec)
    for name, specs in by_provider.items():
        start.say("start", None, f"{name}: {', '.join(spec.name for spec in specs)}")
        provider = provider_named(name, environment.settings, specs)
        declared = [may_start_from_kept(spec, environment.settings, name) for spec in specs]
        started = await start.stack.enter_async_context(provider.running(declared, environment.run))
        environment.running.update(started)


def _import_clients(settings: Settings) -> None:
    """Import the clients that the probes need, and what seeds, while the services start: it takes about as long."""
    for spec in settings.specs:
        if module := service(spec.kind).client:
            import_module(module)
        for module in _NEEDED_SOON.get(spec.name, ()):
            import_module(module)


_NEEDED_SOON = {
    POSTGRES: ("realstack.state.template", "realstack.state.sql_file", "realstack.state.clones"),
    REDIS: ("realstack.state.redis_state",),
}


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for ``task``; its failure, a client that is not there, is the probe's to tell."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def await_known_state(start: Start) -> None:
    """Wait until each service answers its own client, and bring it to the known state; all side by side."""
    async with asyncio.TaskGroup() as tasks:
        for spec in start.environment.settings.specs:
            tasks.create_task(_ready_and_seeded(start, spec))
    environment = start.environment
    environment.endpoints = {name: environment.endpoints[name] for name in environment.choices}
    environment.timings["ready"] = start.seconds()


STAGES: tuple[Callable[[Start], Awaitable[None]], ...] = (choose_providers, start_services, await_known_state)


@asynccontextmanager
async def running_environment(
    settings: Settings, *, name: str = "", stands: bool = False, listen: Listener = lambda event: None
) -> AsyncIterator[Environment]:
    """Start the services of ``settings`` at their known state; on exit nothing of them is left.

    ``name`` writes a record to which other processes may attach; ``stands`` also lends a database and a Redis
    for as long as the environment is up, and records them.

    :raises RealstackError: something could not start, and all that had started is gone again; or it could not be
        removed (:class:`~realstack.errors.LeftBehind`), and the watchdog goes on trying.
    """
    run = new_run(settings.project)
    environment = Environment(settings, run)
    record = registry.Record(run, name=name)
    async with AsyncExitStack() as stack:
        stack.enter_context(watched(record))
        keeping = Keeping(environment, lambda text: start.say("keep", POSTGRES, text))
        start = Start(environment, stack, listen, keeping)
        stack.push_async_callback(keeping.keep)  # at its turn the services are gone
        try:
            for stage in STAGES:
                await stage(start)
        except BaseExceptionGroup as group:
            keeping.failed_to_start()
            raise _with_reasons(first_cause(group), environment) from group
        except RealstackError as problem:
            keeping.failed_to_start()
            raise _with_reasons(problem, environment) from problem.__cause__
        if name:
            lent = await stack.enter_async_context(standing(environment)) if stands else {}
            registry.write(recorded(environment, record, lent))
        yield environment
        if not stands:  # `realstack down` waits for this one's end
            await keeping.consider()


async def attach(settings: Settings, record: registry.Record) -> Environment:
    """An environment that another process owns, brought to the known state of ``settings``.

    :raises RealstackError: its Postgres does not answer, or the known state cannot be built.
    """
    began = time.monotonic()
    environment = Environment(
        settings,
        record.run,
        choices={
            name: Choice(choice.value, f"attached to run {record.run.run_id}; there: {choice.because}")
            for name, choice in record.choices.items()
        },
        endpoints=dict(record.endpoints),
        timings=dict(record.timings),
        attached=True,
    )
    if POSTGRES in environment.endpoints:
        await _known_state(environment, environment.endpoints[POSTGRES])
    environment.timings["ready"] = time.monotonic() - began
    return environment


async def _ready_and_seeded(start: Start, spec: ServiceSpec) -> None:
    environment, running = start.environment, start.environment.running[spec.name]
    kind = service(spec.kind)
    endpoint = kind.endpoint(spec, running.address, environment.choices[spec.name].value)
    is_given = endpoint.provider == "external"
    endpoint = await until_ready(
        spec.name,
        lambda: kind.probe(endpoint),
        within_s=environment.settings.ready_within_s,
        died=running.died,
        log=running.log_lines,
        final=lambda problem: credentials_refused(spec.name, problem) if is_given and kind.refuses(problem) else None,
        remedy=f"correct {variable_for(spec.name)}, or start what it leads to." if is_given else "",
    )
    environment.endpoints[spec.name] = endpoint
    environment.timings[f"{spec.name} ready"] = start.seconds()
    start.say("ready", spec.name, f"{endpoint.version or ''} at {endpoint.host}:{endpoint.port}")
    if is_given:
        await _assert_disposable(environment.settings, endpoint)
    elif spec.kind == FAKE_LLM and (files := scenario_files(environment.settings)):
        await hand_over(endpoint, files)  # for sessions that the application names; a test's is made with them
    if spec.name == POSTGRES:
        template = await _known_state(environment, endpoint)
        start.keeping.known_state_is_there()
        start.say("seed", spec.name, f"known state {template.state[:12]}")
        environment.timings[f"{spec.name} seeded"] = start.seconds()


async def _known_state(environment: Environment, endpoint: Endpoint) -> Template:
    environment.template, environment.only_clones = await known_template(environment.settings, endpoint)
    return environment.template


async def _assert_disposable(settings: Settings, endpoint: Endpoint) -> None:
    if endpoint.kind not in (POSTGRES, REDIS):
        return
    if endpoint.service not in settings.disposable:
        raise NotOurs(
            f"{endpoint.safe_url} is a given address, and nothing declares it fit for throwing away.",
            remedy=f"if it is, say so: REALSTACK_DISPOSABLE={endpoint.service}, "
            f"or [tool.realstack.{endpoint.kind}] disposable = true.",
        )
    from realstack.state.ownership import assert_ours

    await assert_ours(endpoint, declared_disposable=True)


def _with_reasons(error: BaseException, environment: Environment) -> BaseException:
    """``error`` with the choices that had been made, and why: a wrong choice may be its real cause."""
    if isinstance(error, RealstackError) and environment.choices:
        reasons: dict[str, list[str]] = {}
        for name, choice in environment.choices.items():
            reasons.setdefault(str(choice), []).append(name)
        error.context += tuple(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return error


def first_cause(error: BaseException) -> BaseException:
    """The error that a reader needs of a group: the first of ours, else the first at all."""
    leaves: list[BaseException] = []

    def collect(item: BaseException) -> None:
        if isinstance(item, BaseExceptionGroup):
            for inner in item.exceptions:
                collect(inner)
        else:
            leaves.append(item)

    collect(error)
    ours = [leaf for leaf in leaves if isinstance(leaf, RealstackError)]
    return (ours or leaves)[0]
