"""Keeps pytest from rewriting realstack's own modules, as it does with every plugin's package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class Unrewritten(MetaPathFinder):
    """Finds the modules of one package as Python does without pytest.

    There is no assertion in them to be explained, and rewriting costs each its parsing in the first run. It also fails
    where two threads do it at once: ``ast`` of CPython 3.11 counts its depth for all of them together.
    """

    def __init__(self, package: str) -> None:
        self._below = f"{package}."

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's own spec; None for those of other packages."""
        return PathFinder.find_spec(name, path, target) if name.startswith(self._below) else None


def leave_unrewritten(package: str) -> None:
    """From now on modules of ``package`` are imported as they are. Twice does no harm."""
    if not any(isinstance(finder, Unrewritten) for finder in sys.meta_path):
        sys.meta_path.insert(0, Unrewritten(package))
