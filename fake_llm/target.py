"""Where a request goes by its method and path alone: remembered, as clients ask at few paths again and again."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from fake_llm.dialects import Route, canonical_path, deployment, is_azure, route
from fake_llm.session import split_path

LONGEST = 200
"""Characters of a path that is remembered, so that what is stays small."""


class Target(NamedTuple):
    """The ``session`` that the path names, the ``path`` as the routes know it, the ``route``: None for no such path.

    ``provider`` is "azure" or "", ``model`` the deployment in a path of Azure's that names one.
    """

    session: str | None
    path: str
    route: Route | None
    provider: str = ""
    model: str | None = None


def target(method: str, path: str) -> Target:
    """Where a request goes."""
    return _remembered(method, path) if len(path) <= LONGEST else _target(method, path)


def _target(method: str, path: str) -> Target:
    session, rest = split_path(path)
    asked = canonical_path(rest)
    return Target(session, asked, route(method, asked), "azure" if is_azure(rest) else "", deployment(rest))


_remembered = lru_cache(maxsize=1_024)(_target)
