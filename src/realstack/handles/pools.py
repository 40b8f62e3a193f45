"""The connections to one database, kept over the tests that it is lent to for as long as their event loop lives."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import asyncpg

from realstack.handles.per_loop import Client, PerLoop
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.reset.units import OWN_SCHEMA

CLOSE_WITHIN_S = 2.0

# What releasing a connection has not undone already: RESET ALL touches neither role. RESET comes first, since to the
# database's reset a session whose last statement began with SET is one that holds on to something.
AS_NEW = "RESET ROLE; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DISCARD TEMP; DISCARD SEQUENCES"

_LASTS = (
    # A setting of the application's own: once named it is '' in that session, and nothing makes it NULL again.
    r"\mset_config\M",
    r"""\mset\s+(session\s+|local\s+)?"?\w*"?\s*\.""",
    r"\mset\s+[%']",
    # asyncpg keeps what it has prepared, and that may mean another table from now on.
    r"\m(create|alter|drop|search_path)\M",
    # An SQL statement's name, a library, a seed, an open door to another server.
    r"\m(prepare|load|setseed|pg_replication_origin_session_setup)\M",
    r"\mdblink",
)
LASTS = "|".join(_LASTS)
"""Statements whose effect stays with a session whatever is reset: PostgreSQL's syntax, and Python's but for ``\\m``."""
_LASTS_HERE = re.compile(re.sub(r"\\[mM]", r"\\b", LASTS), re.IGNORECASE)

# Whether what the schema brings could do the same unseen: by a function's text or settings, by its language's own
# memory, or by a call of set_config() that is kept as a tree (an SQL body, a view, a rule, a policy, a default).
_SCHEMA_LASTS = rf"""
WITH tree(text) AS (
    SELECT to_jsonb(p) ->> 'prosqlbody' FROM pg_catalog.pg_proc p WHERE p.oid >= 16384  -- since PostgreSQL 14
    UNION ALL SELECT r.ev_action::text FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384
    UNION ALL SELECT d.adbin::text FROM pg_catalog.pg_attrdef d
    UNION ALL SELECT concat(p.polqual, p.polwithcheck) FROM pg_catalog.pg_policy p
)
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE p.oid >= 16384 AND n.nspname <> '{OWN_SCHEMA}' AND (
        p.prosrc ~* $1 AND l.lanname <> 'c' OR l.lanname NOT IN ('c', 'sql', 'plpgsql')
        OR EXISTS (SELECT FROM unnest(p.proconfig) setting WHERE setting ~ '^[^=]*[.]'))
) OR EXISTS (
    SELECT FROM tree WHERE tree.text ~ ('funcid ' || 'pg_catalog.set_config'::regproc::oid || '\M')
)
"""  # noqa: S608 - our own constant


class KeptConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types of its own
    """A connection that knows whether a later test would notice what this one did to it."""

    __slots__ = ("changed",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changed = False

    def _saw(self, query: object) -> None:
        if not self.changed and _LASTS_HERE.search(str(query)):
            self.changed = True

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        """As :meth:`asyncpg.Connection.execute`."""
        self._saw(query)
        done: str = await super().execute(query, *args, **kwargs)
        return done

    async def executemany(self, command: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.executemany`."""
        self._saw(command)
        return await super().executemany(command, *args, **kwargs)

    async def fetch(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetch`."""
        self._saw(query)
        return await super().fetch(query, *args, **kwargs)

    async def fetchval(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetchval`."""
        self._saw(query)
        return await super().fetchval(query, *args, **kwargs)

    async def fetchrow(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetchrow`."""
        self._saw(query)
        return await super().fetchrow(query, *args, **kwargs)

    async def fetchmany(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.fetchmany`."""
        self._saw(query)
        return await super().fetchmany(query, *args, **kwargs)

    async def prepare(self, query: str, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.prepare`."""
        self._saw(query)
        return await super().prepare(query, **kwargs)

    def cursor(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.cursor`."""
        self._saw(query)
        return super().cursor(query, *args, **kwargs)

    async def copy_from_query(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`asyncpg.Connection.copy_from_query`."""
        self._saw(query)
        return await super().copy_from_query(query, *args, **kwargs)

    async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
        """As :meth:`asyncpg.Connection.set_type_codec`."""
        self.changed = True
        await super().set_type_codec(*args, **kwargs)

    async def set_builtin_type_codec(self, *args: Any, **kwargs: Any) -> None:
        """As :meth:`asyncpg.Connection.set_builtin_type_codec`."""
        self.changed = True
        await super().set_builtin_type_codec(*args, **kwargs)

    async def reset_type_codec(self, *args: Any, **kwargs: Any) -> None:
        """As :meth:`asyncpg.Connection.reset_type_codec`."""
        self.changed = True
        await super().reset_type_codec(*args, **kwargs)

    def add_query_logger(self, callback: Any) -> None:
        """As :meth:`asyncpg.Connection.add_query_logger`."""
        self.changed = True
        super().add_query_logger(callback)

    def add_termination_listener(self, callback: Any) -> None:
        """As :meth:`asyncpg.Connection.add_termination_listener`."""
        self.changed = True
        super().add_termination_listener(callback)


class Kept(PerLoop[Client], ABC):
    """Connections to ``endpoint`` that may be handed on to the next test on it."""

    endpoint: Endpoint

    @abstractmethod
    def end_of_test(self) -> None:
        """Make each connection as new, and close those of a loop where that cannot be; from synchronous code."""


async def schema_lasts(connection: asyncpg.Connection) -> bool:
    """Whether what the schema brings may leave something with a session that another test would notice."""
    return bool(await connection.fetchval(_SCHEMA_LASTS, LASTS))


class Pools(Kept[asyncpg.Pool]):
    """An :class:`asyncpg.Pool` on ``endpoint`` for each event loop, of at most ``max_size`` connections each."""

    def __init__(self, endpoint: Endpoint, max_size: int) -> None:
        super().__init__(self._open, self._shut)
        self.endpoint = endpoint
        self.max_size = max_size
        # By the loop, and weak: what belongs to a loop that was closed without a word is nobody's any more.
        self._opened: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[KeptConnection]] = WeakKeyDictionary()
        self._schema_lasts: bool | None = None

    def __repr__(self) -> str:
        return f"<Pools {self.endpoint.safe_url}>"

    def end_of_test(self) -> None:
        """Make each connection as new, and close those of a loop where that cannot be; from synchronous code.

        Kept are pools that the test has given every connection back to, and whose connections carry nothing on that
        another test would notice.
        """
        self.close(unless=self._is_as_new)

    async def _open(self) -> asyncpg.Pool:
        opened: WeakSet[KeptConnection] = WeakSet()

        async def note(connection: KeptConnection) -> None:
            if self._schema_lasts is None:
                self._schema_lasts = await schema_lasts(connection)
            connection.changed = False
            opened.add(connection)

        pool = await asyncpg.create_pool(
            min_size=0,
            max_size=self.max_size,
            connection_class=KeptConnection,
            init=note,
            **connect_arguments(self.endpoint),
        )
        self._opened[asyncio.get_running_loop()] = opened
        return pool

    async def _shut(self, pool: asyncpg.Pool) -> None:
        """Close ``pool``; connections that a test never gave back are cut."""
        self._opened.pop(asyncio.get_running_loop(), None)
        try:
            await asyncio.wait_for(pool.close(), CLOSE_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()  # or its database was dropped under it

    async def _is_as_new(self, pool: asyncpg.Pool) -> bool:
        opened = self._opened[asyncio.get_running_loop()]
        if self._schema_lasts or not _is_idle(pool, opened):
            return False
        try:
            for connection in list(opened):
                if not connection.is_closed():
                    await connection.execute(AS_NEW, timeout=CLOSE_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return _is_idle(pool, opened)  # tasks that the test has left may have come between


def _is_idle(pool: asyncpg.Pool, opened: Iterable[KeptConnection]) -> bool:
    """Whether every connection was given back, and none carries anything on."""
    unused = not pool.is_closing() and pool.get_idle_size() == pool.get_size()
    return unused and not any(each.changed for each in opened if not each.is_closed())
