"""The running services of one run: where they are, what they log, and how an application finds them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realstack.config import Settings, past_proxy
from realstack.errors import RealstackError
from realstack.model import Choice, Endpoint, Run, Secret
from realstack.providers.base import Running
from realstack.services import service

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


@dataclass(slots=True)
class Environment:
    """The running services of one run. Made by :func:`running_environment`, or by attaching to a record.

    ``timings`` are seconds since the start of the run: per service ``NAME ready``, and ``ready`` for all.
    ``attached`` tells that another process owns the services. ``only_clones`` says why this server's databases cannot
    be reset in place, whatever the settings ask for; empty where they can.
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
            lines += self.template.notes
        if self.only_clones and self.settings.isolation == "reset":
            lines.append(f"a fresh database for each test: {self.only_clones}")
        if "ready" in self.timings:
            verb = "attached" if self.attached else "ready"
            lines.append(f"{verb} after {self.timings['ready']:.2f} s")
        return lines


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
