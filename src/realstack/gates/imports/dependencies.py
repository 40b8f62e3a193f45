"""What a project declares that it needs, by its pyproject.toml or its requirements.txt."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Distributions by their normalised names (PEP 503). ``optional``: those of extras and groups, with its name."""

    declared: frozenset[str] = frozenset()
    optional: dict[str, str] = field(default_factory=dict)


def dependencies_of(root: Path) -> Dependencies:
    """Those of the project in ``root``. A file that cannot be read declares nothing."""
    declared, optional = set(_of_requirements(root / "requirements.txt")), {}
    document = _toml(root / "pyproject.toml")
    project = document.get("project", {})
    poetry = document.get("tool", {}).get("poetry", {})
    declared |= set(_names(project.get("dependencies", ()))) | set(_names(poetry.get("dependencies", ())))
    groups = {
        **poetry.get("extras", {}),
        **{name: group.get("dependencies", ()) for name, group in poetry.get("group", {}).items()},
        **document.get("dependency-groups", {}),
        **project.get("optional-dependencies", {}),
    }
    for group, asked in groups.items():
        optional.update(dict.fromkeys(_names(asked), group))
    return Dependencies(frozenset(declared), {name: group for name, group in optional.items() if name not in declared})


def normalised(name: str) -> str:
    """A distribution's name as all of its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_requirements(path: Path) -> Iterable[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return _names(line for line in lines if not line.lstrip().startswith(("#", "-")))


def _names(asked: Iterable[Any]) -> list[str]:
    return [normalised(found[1]) for each in asked if isinstance(each, str) and (found := _NAME.match(each))]


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}
