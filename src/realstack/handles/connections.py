"""How many connections to Postgres each worker of a run may open, so that all of them fit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

POOL_SIZE = 10
"""What a test's pool opens at most, where there is room: asyncpg's own default."""
LEAST_POOL_SIZE = 2
OURS = 4
"""A worker's own: one that makes databases, one that resets the database without further seeds, two that compare."""
MOST_SEEDED = 6
"""How many databases with seeds of single tests a worker holds ready; each has one connection, which resets it."""
RESERVED = 8
"""The server's for superusers, and somebody's psql."""


@dataclass(frozen=True, slots=True)
class ConnectionBudget:
    """``limit``: the server's ``max_connections``, 0 if not known. ``workers``: that share it."""

    limit: int
    workers: int

    @property
    def seeded(self) -> int:
        """How many databases with seeds of single tests a worker may hold ready at a time."""
        if not self.limit:
            return MOST_SEEDED
        return max(1, min(MOST_SEEDED, self._room // 3))

    @property
    def pool_size(self) -> int:
        """How many connections the pool of one test may open in one event loop."""
        if not self.limit:
            return POOL_SIZE
        return max(LEAST_POOL_SIZE, min(POOL_SIZE, self._room - self.seeded))

    @property
    def _room(self) -> int:
        """What is left to one worker for tests."""
        return (self.limit - RESERVED) // self.workers - OURS

    def __str__(self) -> str:
        a_worker = self.pool_size + self.seeded + OURS
        together = a_worker * self.workers
        who = f"{self.workers} workers with {a_worker} each" if self.workers > 1 else "one process"
        said = f"at most {together} of the server's {self.limit} connections: {who}"
        if together > self.limit - RESERVED:
            said += "; that is too many: use fewer workers, or raise max_connections"
        return said
