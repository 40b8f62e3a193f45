"""The code base that the gates look at: its packages, and the modules in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from realstack.errors import SettingsError

_NEVER = {"__pycache__", "node_modules", "site-packages"}
_NO_PACKAGE = {"docs", "doc", "examples", "benchmarks", "build", "dist"}
"""Folders beside the packages that are none of the product's, where nobody named the packages."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module by its whole name. ``path`` is absolute; ``shown`` is relative to the project's root, with ``/``."""

    name: str
    path: Path
    shown: str
    is_package: bool = False

    @property
    def is_program(self) -> bool:
        """Whether importing it runs a program: it is read, and not imported."""
        return self.name.rpartition(".")[2] == "__main__"


@dataclass(frozen=True, slots=True)
class Project:
    """The packages of a code base. ``roots``: the folders that they lie in, to be on ``sys.path``."""

    root: Path
    roots: tuple[Path, ...]
    modules: tuple[Module, ...]


def find_project(root: Path, packages: Sequence[str], excluded: Sequence[str]) -> Project:
    """The modules of ``packages``: names or paths from ``root``; of all that are found there and in ``src``, if none.

    :raises SettingsError: a package is not there, or there is none.
    """
    root = root.resolve()
    found = [_package(root, name) for name in packages] or _packages(root, excluded)
    if not found:
        raise SettingsError(
            f"no package was found in {root}.",
            remedy='name them: [tool.realstack.check] packages = ["src/shop"], or --package.',
        )
    modules = {module.name: module for path in found for module in _modules(root, path, excluded)}
    roots = tuple(dict.fromkeys(path.parent for path in found))
    return Project(root, roots, tuple(modules[name] for name in sorted(modules)))


def _package(root: Path, name: str) -> Path:
    """A package, or a module that is a single file, by its path or its dotted name."""
    parts = name.removesuffix(".py").replace("/", ".").strip(".").split(".")
    for base in (root, root / "src"):
        for path in (base.joinpath(*parts), base.joinpath(*parts[:-1], parts[-1] + ".py")):
            if path.is_dir() or path.is_file():
                return path
    raise SettingsError(
        f"the package {name!r} is neither in {root} nor in its folder src.",
        remedy="name it as it is imported, or by its path from the project's root.",
    )


def _packages(root: Path, excluded: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for base in (root / "src", root):
        if not base.is_dir():
            continue
        for path in sorted(base.iterdir()):
            named = path.name in _NO_PACKAGE or path.name in _NEVER or _is_excluded(path.name, path.name, excluded)
            if path.is_dir() and not named and (path / "__init__.py").is_file():
                found.append(path)
    return found


def _modules(root: Path, package: Path, excluded: Sequence[str]) -> Iterator[Module]:
    if package.is_file():
        yield Module(package.stem, package, _shown(root, package))
        return
    yield from _below(root, package, package.name, excluded, frozenset())


def _below(root: Path, folder: Path, name: str, excluded: Sequence[str], above: frozenset[str]) -> Iterator[Module]:
    """``above``: where the folders above really lie, so that a link to one of them comes to an end."""
    real = os.path.realpath(folder)
    if real in above:
        return
    init = folder / "__init__.py"
    if init.is_file():
        yield Module(name, init, _shown(root, init), is_package=True)
    for path in sorted(folder.iterdir()):
        shown = _shown(root, path)
        if path.name in _NEVER or path.name.startswith(".") or _is_excluded(path.name, shown, excluded):
            continue
        if path.is_dir():
            if path.name.isidentifier():
                yield from _below(root, path, f"{name}.{path.name}", excluded, above | {real})
        elif path.suffix == ".py" and path.stem != "__init__" and path.stem.isidentifier():
            yield Module(f"{name}.{path.stem}", path, shown)


def _is_excluded(name: str, shown: str, excluded: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) or fnmatch(shown, pattern) for pattern in excluded)


def _shown(root: Path, path: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()
