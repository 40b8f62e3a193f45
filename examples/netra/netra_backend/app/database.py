"""The database as the application sees it: an asyncpg pool, or anything that behaves as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

UNREACHABLE: tuple[type[Exception], ...] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)
"""What asyncpg raises when the server is away, unknown by name, silent, starting, stopping or full."""


class Database(Protocol):
    """The part of :class:`asyncpg.Pool` that the application uses; rows are mappings."""

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """All rows of a query."""

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """The first row of a query, or None."""

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """The first value of the first row, or None."""


@asynccontextmanager
async def open_pool(url: str, *, max_size: int = 10) -> AsyncIterator[Database]:
    """A pool for the life of the process; connects at first use, so the process starts without a server."""
    pool = await asyncpg.create_pool(url, min_size=0, max_size=max_size, command_timeout=30, timeout=5)
    try:
        yield pool
    finally:
        await pool.close()
