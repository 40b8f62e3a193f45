"""Brings one lent database back to the known state, from inside, while the application stays connected."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from realstack.errors import RealstackError
from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.changes import Changes
from realstack.state.report import one_line
from realstack.state.reset.difference import read_changes
from realstack.state.reset.sql import OWN_PATH, RESETTING
from realstack.state.reset.units import OWN_SCHEMA

if TYPE_CHECKING:
    import asyncpg

Kind = Literal["untouched", "restored", "needs_clone"]

WAITS_FOR_S = 0.25
"""How long a transaction that was left open may take to end by itself."""
ENDS_WITHIN_S = 5.0
"""How long one that was cancelled may take."""

# The database's own defaults must not bear on how rows are put back.
_SETTINGS: Mapping[str, str] = {
    "application_name": "realstack reset",
    "session_replication_role": "replica",
    RESETTING: "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "0",
    "synchronous_commit": "off",
    "jit": "off",
    "track_functions": "none",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "xmlbinary": "base64",
    "transform_null_equals": "off",
    "array_nulls": "on",
}

# The database's own path is for the user's functions alone, while rows are put back.
_PATH = f"""
SELECT pg_catalog.set_config('{OWN_PATH}', pg_catalog.current_setting('search_path'), false);
SET search_path = pg_catalog
"""
_RESET = f"SELECT {OWN_SCHEMA}.reset($1::text::pg_lsn, $2::text::jsonb, $3::text, $4::text::timestamptz)::text"
_SURROUNDINGS = f"SELECT {OWN_SCHEMA}.surroundings()::text"
_SERVER = f"SELECT {OWN_SCHEMA}.server_wide()::text"
_SERVER_MARK = f"SELECT {OWN_SCHEMA}.server_mark()"
_NO_WAL = f"SELECT count(*) > 0 FROM {OWN_SCHEMA}.known WHERE name = 'no WAL'"  # noqa: S608 - our own constant


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that stood in the reset's way. ``how``: it ``ended by itself``, was ``cancelled`` or ``terminated``."""

    pid: int
    how: str
    why: str
    query: str
    application: str = ""

    def __str__(self) -> str:
        return f"session {self.pid} {self.how}: {self.why}" + (f": {self.query}" if self.query else "")


@dataclass(frozen=True, slots=True)
class ResetReport:
    """What a reset found and did. ``reasons``: why only a fresh clone helps. ``ended``: sessions in its way.

    ``kind`` speaks of the database: where nothing but sessions had to be ended it is ``untouched``. ``notices`` are
    what no reset of a database undoes: the server's own settings, its roles, and what stays with a live session.
    """

    kind: Kind
    tables: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    ended: tuple[EndedSession, ...] = ()
    notices: tuple[str, ...] = ()
    took_s: float = 0.0

    @property
    def needs_clone(self) -> bool:
        """Whether the database is not at the known state and has to be made anew."""
        return self.kind == "needs_clone"


class InPlace:
    """Resets one lent database. Holds one connection to it from the first use to :meth:`close`.

    The database must be at the known state at :meth:`start` (a fresh clone is). All use is in one event loop, one
    call at a time. After a report that ``needs_clone`` it is of no more use: close it, make the database anew.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection: asyncpg.Connection | None = None
        self._statement: Any = None
        self._clean: str | None = None
        self._looked: str | None = None
        self._trusts_wal = True
        self._surroundings = ""
        self._server: Mapping[str, Any] = {}
        self._server_mark = ""

    def __repr__(self) -> str:
        return f"<InPlace {self.endpoint.safe_url}>"

    async def __aenter__(self) -> InPlace:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect, and take what is around the database (its settings, the server's roles) for known.

        :raises RealstackError: the database does not let us in, or its template was made without reset in place.
        """
        import asyncpg

        if self._connection is not None:
            return
        try:
            connection = await asyncpg.connect(**connect_arguments(self.endpoint), server_settings=dict(_SETTINGS))
        except (OSError, asyncpg.PostgresError) as problem:
            raise RealstackError(
                f"{self.endpoint.safe_url} does not let us in: {one_line(problem)}",
                remedy="`realstack status` shows what runs.",
            ) from problem
        try:
            await connection.execute(_PATH)
            self._statement = await self._prepared(connection)
            self._surroundings = await connection.fetchval(_SURROUNDINGS)
            self._server_mark = await connection.fetchval(_SERVER_MARK)
            self._server = json.loads(await connection.fetchval(_SERVER))
            self._trusts_wal = not await connection.fetchval(_NO_WAL)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def _prepared(self, connection: asyncpg.Connection) -> Any:
        import asyncpg

        try:
            return await connection.prepare(_RESET)
        except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError) as problem:
            raise RealstackError(
                f"{self.endpoint.safe_url} cannot be reset in place: its template was made without.",
                remedy='use isolation = "database", or build the template anew.',
            ) from problem

    async def close(self) -> None:
        """Leave the database. May be called twice; a dead server is no error."""
        import asyncpg

        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()

    async def reset(self) -> ResetReport:
        """Bring the database back to the known state, or say why only a fresh clone can be.

        Waits for transactions that are open, :data:`WAITS_FOR_S` at most, and ends them then.
        """
        import asyncpg

        began = time.monotonic()
        await self.start()
        ended: dict[int, EndedSession] = {}
        try:
            answer = await self._answer(ended)
            notices = await self._notices() if answer.get("server_changed") else ()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            # Rolled back or cut off: how far it came does not matter, a clone is right in any case.
            reason = f"the reset failed: {type(problem).__name__}: {one_line(problem)}"
            return ResetReport("needs_clone", reasons=(reason,), ended=tuple(ended.values()), took_s=_since(began))
        self._clean = answer.get("lsn") if self._trusts_wal and answer["kind"] == "untouched" else None
        self._looked = answer.get("looked")
        return ResetReport(
            answer["kind"],
            tuple(answer.get("tables") or ()),
            tuple(answer.get("sequences") or ()),
            tuple(answer.get("reasons") or ()),
            tuple(ended.values()),
            (*notices, *(_lasts(each) for each in answer.get("lasting") or () if each["pid"] not in ended)),
            _since(began),
        )

    async def changes(self) -> Changes:
        """What was committed to the database since it was at the known state. To be asked before :meth:`reset`."""
        await self.start()
        assert self._connection is not None  # noqa: S101 - start() has made it
        return await read_changes(self._connection)

    async def _answer(self, ended: dict[int, EndedSession]) -> dict[str, Any]:
        """The server's answer, once nobody is at work any more."""
        began = time.monotonic()
        pause = 0.0005
        known = (self._clean, self._surroundings, self._server_mark, self._looked)
        while True:
            answer: dict[str, Any] = json.loads(await self._statement.fetchval(*known))
            for pid, held in (answer.get("locking") or {}).items():
                ended[int(pid)] = EndedSession(int(pid), "terminated", f"it kept the advisory lock {held}", "")
            for pid in answer.get("keeping") or ():
                ended[pid] = EndedSession(pid, "terminated", "it kept a temporary table", "")
            if answer["kind"] == "prepared":
                await self._roll_back(answer["transactions"], ended)
            elif answer["kind"] != "busy":
                return answer
            elif _since(began) > WAITS_FOR_S + ENDS_WITHIN_S:
                return {
                    "kind": "needs_clone",
                    "reasons": [f"{_shown(each)} does not end" for each in answer["sessions"]],
                }
            else:
                await self._end(answer["sessions"], ended, overdue=_since(began) > WAITS_FOR_S)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.02)

    async def _end(self, sessions: list[dict[str, Any]], ended: dict[int, EndedSession], *, overdue: bool) -> None:
        """Cancel what runs, terminate what waits for its client: nothing else ends a transaction that is idle."""
        assert self._connection is not None  # noqa: S101 - start() has made it
        for each in sessions:
            running = each["state"] == "active" and (each["pid"] not in ended or ended[each["pid"]].how != "cancelled")
            how = "ended by itself" if not overdue else "cancelled" if running else "terminated"
            known = ended.get(each["pid"])
            if known is None or known.how != how:
                ended[each["pid"]] = EndedSession(
                    each["pid"], how, f"its transaction was open ({each['state']})", each["query"], each["application"]
                )
                if overdue:
                    function = "pg_cancel_backend" if running else "pg_terminate_backend"
                    await self._connection.execute(f"SELECT {function}({int(each['pid'])})")

    async def _roll_back(self, transactions: list[str], ended: dict[int, EndedSession]) -> None:
        assert self._connection is not None  # noqa: S101 - start() has made it
        for number, name in enumerate(transactions):
            quoted = name.replace("'", "''")
            await self._connection.execute(f"ROLLBACK PREPARED '{quoted}'")
            ended[-1 - number] = EndedSession(0, "rolled back", f"prepared transaction {name!r} was left", "")

    async def server_changes(self) -> tuple[str, ...]:
        """What changed in the server as a whole since the last look, where a database is to be kept and not reset."""
        import asyncpg

        try:
            return await self._notices()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return ()

    async def _notices(self) -> tuple[str, ...]:
        """What changed in the server as a whole since the last look."""
        assert self._connection is not None  # noqa: S101 - start() has made it
        self._server_mark = await self._connection.fetchval(_SERVER_MARK)
        now = json.loads(await self._connection.fetchval(_SERVER))
        before, self._server = self._server, now
        return tuple(_changed(what, before.get(what), now[what]) for what in now if before.get(what) != now[what])


def _lasts(session: Mapping[str, Any]) -> str:
    application = f" ({session['application']})" if session["application"] else ""
    return f"what session {session['pid']}{application} ran last stays with it: {session['query'].strip()}"


def _changed(what: str, before: Any, now: Any) -> str:
    if isinstance(before or now, dict):
        before, now = before or {}, now or {}
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        return f"{what} of the server changed: {', '.join(names)}"
    if what == "ALTER SYSTEM":
        lines = set((now or "").splitlines()) ^ set((before or "").splitlines())
        return f"ALTER SYSTEM was used: {', '.join(sorted({line.partition(' = ')[0] for line in lines}))}"
    return f"{what} of the server changed"


def _shown(session: Mapping[str, Any]) -> str:
    return f"session {session['pid']} ({session['state']}: {session['query']})"


def _since(began: float) -> float:
    return time.monotonic() - began
