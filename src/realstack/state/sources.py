"""What makes a known state: the plan's sources as ordered steps, and the hash that names their result."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from realstack.errors import MigrationFailed, RealstackError, SeedFailed
from realstack.model import PostgresPlan
from realstack.state.factory_name import FORM, read_factory_name

STATE_FORMAT = 2
"""Part of every hash. To be raised when realstack makes another state of the same sources."""

DEFAULT_NOW = "2025-01-01T00:00:00+00:00"
"""The instant at which factories run, where the plan names none."""

RANDOM_LIBRARIES = ("polyfactory", "faker", "factory-boy", "numpy", "sqlalchemy", "pydantic")
"""Another version of these may make other rows of the same seed."""

KINDS = {".sql": "sql", ".csv": "csv", ".jsonl": "jsonl", ".yaml": "yaml", ".yml": "yaml"}

_REVERTS = re.compile(r"(?:^|[._-])(?:down|undo|rollback)\.sql$|^U\d[\d._]*__.*\.sql$", re.IGNORECASE)
_FLYWAY = re.compile(r"^(?P<kind>[BVR])(?P<version>\d+(?:[._]\d+)*)?__", re.IGNORECASE)


class Phase(Enum):
    """Which half of the plan a step belongs to; it decides the class of its errors."""

    MIGRATIONS = "migrations"
    SEED = "seed"

    @property
    def error(self) -> type[RealstackError]:
        """The class that reports a failure of this phase."""
        return MigrationFailed if self is Phase.MIGRATIONS else SeedFailed


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to apply. ``kind`` is a value of :data:`KINDS`, ``alembic``, ``python`` or ``factory``.

    ``path`` is the file to apply (alembic: its ini file; python: the plan's root). ``argument`` is alembic's
    revision or python's ``module:function``. ``inputs`` are all files whose content counts, ``counts`` what else does.
    ``now`` is the instant from which times count, as ISO text; empty if the plan names none.
    """

    phase: Phase
    kind: str
    shown: str
    path: Path
    argument: str = ""
    inputs: tuple[Path, ...] = ()
    counts: tuple[str, ...] = ()
    now: str = ""


def read_steps(plan: PostgresPlan) -> list[Step]:
    """The plan's sources in the order in which they apply, folders spread out into their files.

    :raises MigrationFailed: a migration source is missing or of no known kind.
    :raises SeedFailed: the same of a seed.
    """
    steps: list[Step] = []
    for phase, sources in ((Phase.MIGRATIONS, plan.migrations), (Phase.SEED, plan.seed)):
        for source in sources:
            steps.extend(replace(step, now=plan.now) for step in _steps_of(source, phase, plan.root))
    return steps


def hash_of(steps: Sequence[Step], *, root: Path, server_version: str) -> str:
    """64 hex digits that differ if anything differs that the state is made from: names, order or bytes.

    ``server_version`` is the exact one, such as ``17.6``: a minor version may store and compute otherwise.
    """
    digest = hashlib.sha256()

    def add(part: bytes) -> None:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)

    add(f"realstack state {STATE_FORMAT} postgres {server_version}".encode())
    for step in steps:
        for text in (step.phase.value, step.kind, step.shown, step.argument, step.now, *step.counts):
            add(text.encode())
        for path in step.inputs:
            add(shown_path(path, root).encode())
            add(path.read_bytes())
    return digest.hexdigest()


def natural_key(name: str) -> tuple[object, ...]:
    """Sorts ``2_x`` before ``10_x``, and Flyway's ``V1__`` before ``V1.1__`` before ``V2__`` before ``R__``."""
    if flyway := _FLYWAY.match(name):
        version = tuple(int(part) for part in re.split(r"[._]", flyway["version"] or "") if part)
        group = 1 if flyway["kind"].upper() == "R" else 0
        return (group, version, _natural(name[flyway.end() :]))
    return (0, (), _natural(name))


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files with one of ``suffixes`` below ``folder``, in natural order; scripts that revert are left out."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and path.is_file() and not _REVERTS.search(path.name)
    ]
    return sorted(found, key=lambda path: tuple(natural_key(part) for part in path.relative_to(folder).parts))


def shown_path(path: Path, root: Path) -> str:
    """``path`` as errors show it: from the project's root where it lies below it."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)


def missing_path(source: str, path: Path) -> tuple[str, str]:
    """Problem and remedy where ``path`` of ``source`` does not exist."""
    parent = path.parent
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"{source}: there is no such file or folder ({path}).",
        f"{hint}Paths are relative to the folder of pyproject.toml.",
    )


def _natural(name: str) -> tuple[object, ...]:
    parts = re.split(r"(\d+)", name.lower())
    return (*((int(part), "") if part.isdigit() else (-1, part) for part in parts), name)


def _steps_of(source: str, phase: Phase, root: Path) -> Iterator[Step]:
    if source.startswith("alembic:"):
        yield _alembic(source, phase, root)
    elif source.startswith("python:"):
        yield _python(source, phase, root)
    elif source.startswith("factory:"):
        yield _factory(source, phase, root)
    else:
        yield from _files(source, phase, root)


def _files(source: str, phase: Phase, root: Path) -> Iterator[Step]:
    path = root / source
    if path.is_dir():
        if (path / "env.py").is_file() and (path / "versions").is_dir():
            raise phase.error(
                f"{source}: this is a folder of alembic's, not one of SQL files.",
                remedy='name its ini file instead: "alembic:path/to/alembic.ini".',
            )
        paths = files_below(path, tuple(KINDS))
        if not paths:
            raise phase.error(
                f"{source}: this folder holds none of {', '.join('*' + suffix for suffix in KINDS)}.",
                remedy=f"correct the path in [tool.realstack.postgres] {phase.value}, or take it out.",
            )
    elif path.is_file():
        paths = [path]
    else:
        problem, remedy = missing_path(source, path)
        raise phase.error(problem, remedy=remedy)
    for file in paths:
        yield _file(file, phase, root)


def _file(path: Path, phase: Phase, root: Path) -> Step:
    shown = shown_path(path, root)
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise phase.error(
            f"{shown}: a source of this kind is not known.",
            remedy=f"known are {', '.join(KINDS)}, alembic:path/alembic.ini, python:module:name, factory:module:name.",
        )
    return Step(phase, kind, shown, path, inputs=(path,))


def _alembic(source: str, phase: Phase, root: Path) -> Step:
    name, _, revision = source.removeprefix("alembic:").partition("@")
    path = root / name
    if not path.is_file():
        problem, remedy = missing_path(source, path)
        raise phase.error(problem, remedy=remedy)
    folders = _alembic_folders(path, source, phase)
    inputs = [path]
    for folder in folders:
        inputs.extend(sorted(file for file in folder.rglob("*") if file.suffix in (".py", ".sql") and file.is_file()))
    return Step(phase, "alembic", source, path, argument=revision or "heads", inputs=tuple(dict.fromkeys(inputs)))


def _alembic_folders(ini: Path, source: str, phase: Phase) -> list[Path]:
    """The folders of ``script_location`` and ``version_locations``; relative ones count from the ini file."""
    parser = ConfigParser({"here": str(ini.parent)})
    try:
        parser.read_string(ini.read_text(encoding="utf-8"))
        location = parser.get("alembic", "script_location")
        more = parser.get("alembic", "version_locations", fallback="")
    except (ConfigError, UnicodeDecodeError) as problem:
        raise phase.error(
            f"{source}: {ini.name} cannot be read: {problem}",
            remedy="it needs a section [alembic] with script_location; `alembic current` checks it.",
        ) from problem
    folders = [ini.parent / part for part in (location, *re.split(r"[\s,:;]+", more)) if part]
    if not folders[0].is_dir():
        raise phase.error(
            f"{source}: its script_location {location!r} is no folder beside {ini.name}.",
            remedy="correct script_location; a relative one counts from the ini file's folder.",
        )
    return [folder for folder in folders if folder.is_dir()]


def _python(source: str, phase: Phase, root: Path) -> Step:
    module, _, function = source.removeprefix("python:").partition(":")
    if not module or not function:
        raise phase.error(f"{source}: this names no function.", remedy='write it as "python:package.module:function".')
    inputs = _package(source, module, phase, root)
    return Step(phase, "python", source, root, argument=f"{module}:{function}", inputs=inputs)


def _factory(source: str, phase: Phase, root: Path) -> Step:
    argument = source.removeprefix("factory:").strip()
    name = read_factory_name(argument)
    if name is None:
        raise phase.error(f"{source}: this names no factory.", remedy=f"write it as {FORM}.")
    inputs = _package(source, name.module, phase, root)
    libraries = tuple(f"{each} {version_of(each)}" for each in RANDOM_LIBRARIES)
    counts = (f"python {sys.version_info.major}.{sys.version_info.minor}", *libraries)
    return Step(phase, "factory", source, root, argument, inputs, counts)


def version_of(library: str) -> str:
    """Its installed version; empty if it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _package(source: str, module: str, phase: Phase, root: Path) -> tuple[Path, ...]:
    """All files of the package that ``module`` is in, or its own."""
    path = _module_file(module, root)
    if path is None:
        raise phase.error(
            f"{source}: there is no module {module!r} below {root}, nor among the installed ones.",
            remedy="correct the name; the folder of pyproject.toml is on the import path, and its src/ too.",
        )
    in_package = "." in module or path.name == "__init__.py"
    return tuple(sorted(path.parent.rglob("*.py"))) if in_package else (path,)


def _module_file(module: str, root: Path) -> Path | None:
    """The module's source file, found without importing anything."""
    below = Path(*module.split("."))
    for folder in (root, root / "src", *(Path(entry) for entry in sys.path if entry)):
        for candidate in (folder / below / "__init__.py", (folder / below).with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None
