"""What a reset of Redis has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

How = Literal["swapped", "copied", "written"]


@dataclass(frozen=True, slots=True)
class RedisResetReport:
    """How a database came back to its seed, and what its last user left that is not in any database.

    ``kind``: ``swapped`` with a clone that was ready, ``copied`` from the sealed copy, or ``written`` anew.
    ``noticed`` are sentences for the report of the test that ran last.
    """

    kind: How
    noticed: tuple[str, ...] = ()
