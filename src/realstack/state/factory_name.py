"""The name of a factory source: ``factory:package.module:name``, ``…*20`` for how many, ``… -> table`` for where to.

Nothing but text work: both the process that builds and the one in which the factory runs read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = "factory:package.module:name, with *20 for how many and -> table for the rows' table where they do not tell it"

_FORM = re.compile(r"(?P<module>[\w.]+):(?P<name>[\w.]+)(?:\*(?P<count>\d+))?(?:\s*->\s*(?P<table>\S(?:.*\S)?))?\s*")


@dataclass(frozen=True, slots=True)
class FactoryName:
    """What a source of that kind says. ``count`` is 0 and ``table`` empty where it says nothing of them."""

    module: str
    name: str
    count: int = 0
    table: str = ""


def read_factory_name(text: str) -> FactoryName | None:
    """What stands behind ``factory:``; None if it does not have that form."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    return FactoryName(match["module"], match["name"], int(match["count"] or 0), match["table"] or "")
