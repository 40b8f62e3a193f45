"""What the proof of the reset runs: the world of one random schema, in which it is done, reset and compared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.fingerprint import Fingerprint, Fingerprints
from realstack.state.reset import InPlace, ResetReport, install
from tests.integration.state.random_state import Schema
from tests.integration.state.random_steps import LASTS, Step
from tests.integration.state.reset_bugs import Bug, plant

ENDS_WITHIN_S = 3.0
TEMPLATE, CLONE = "rs_proof_template", "rs_proof_clone"  # as realstack names its own: neighbours are not noticed

_PREPARED = "select gid from pg_prepared_xacts where database = current_database()"
_LEFT = """
select concat('a transaction is left open by session ', pid, ': ', state) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
  and (xact_start is not null or state ~ '^(active|idle in transaction)')
union all
select concat('an advisory lock is left by session ', pid) from pg_locks
where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
union all select concat('a temporary table is left: ', relname) from pg_class
where relpersistence = 't' and relkind = 'r'
union all select concat('a prepared transaction is left: ', gid) from pg_prepared_xacts
where database = current_database()
"""
"""What sessions leave, and a reset ends. A session that was told to end takes its time."""
_AROUND = """
select jsonb_build_array(
    (select jsonb_agg(to_jsonb(a) order by rolname) from pg_authid a),
    (select jsonb_agg(to_jsonb(m) order by roleid, member, grantor) from pg_auth_members m),
    (select jsonb_agg(to_jsonb(s) order by setrole) from pg_db_role_setting s where setdatabase = 0),
    (select jsonb_agg(to_jsonb(d) order by classoid, objoid) from pg_shdescription d),
    (select jsonb_agg(to_jsonb(o) order by roname) from pg_replication_origin o),
    (select jsonb_agg(to_jsonb(p) order by parname) from pg_parameter_acl p),
    (select jsonb_agg(to_jsonb(t) order by oid) from pg_tablespace t),
    (select jsonb_agg(slot_name order by slot_name) from pg_replication_slots),
    pg_read_file('postgresql.auto.conf'))::text,
    (select concat_ws(' ', datdba, datacl, datconnlimit) from pg_database where datname = current_database())
"""
"""The server as a whole, which is noticed, and what the database itself has beside its content."""


class Proof:
    """A template of one schema, a copy of it, three sessions of an application, and the known fingerprint."""

    def __init__(self, server: Endpoint, maintenance: asyncpg.Connection) -> None:
        self.endpoint = replace(server, database="")
        self._made = 0
        self._maintenance = maintenance
        self._sessions: dict[int, asyncpg.Connection] = {}
        self._in_place = InPlace(self.endpoint)
        self._reader: asyncpg.Connection | None = None
        self._fingerprints = Fingerprints()
        self._running: list[asyncio.Task[str]] = []
        self._last: dict[int, str] = {}
        self._server = self._rights = ""
        self.known = Fingerprint({})

    async def session(self, number: int) -> asyncpg.Connection:
        found = self._sessions.get(number)
        if found is None or found.is_closed():
            quick = {"lock_timeout": "5ms", "client_min_messages": "error"}
            found = await asyncpg.connect(**connect_arguments(self.endpoint), server_settings=quick)
            self._sessions[number] = found
        return found

    async def fresh(self) -> None:
        await self.leave()
        # The one before the last, whose sessions are gone by now: DROP waits for those that are just going.
        await self._drop(self._made - 1)
        self._made += 1
        self.endpoint = replace(self.endpoint, database=f"{CLONE}_{self._made}")
        await self._maintenance.execute(
            f"create database {self.endpoint.database} template {TEMPLATE} strategy file_copy"
        )
        self._in_place = InPlace(self.endpoint)
        await self._in_place.start()
        self._reader = await asyncpg.connect(**connect_arguments(self.endpoint))
        self._server, self._rights = await self._reader.fetchrow(_AROUND)

    async def _drop(self, number: int) -> None:
        await self._maintenance.execute(f'drop database if exists "{CLONE}_{number}" with (force)')

    async def end(self) -> None:
        await self.leave()
        for number in (self._made - 1, self._made):
            await self._drop(number)

    async def leave(self) -> None:
        await self._in_place.close()
        await self._end_running()
        if self._reader is not None:
            for (name,) in await self._reader.fetch(_PREPARED):
                await self._reader.execute(f"rollback prepared '{name}'")
            self._reader.terminate()
        for session in self._sessions.values():
            session.terminate()
        self._sessions.clear()

    async def run(self, sequence: list[Step]) -> None:
        """Do it, reset, compare."""
        changes_schema = False
        self._last.clear()
        for step in sequence:
            # What is refused, by whatever rule, has done nothing; a session that is gone is opened again.
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._do(step)
            changes_schema |= step.kind == "ddl"
        if len(sequence) % 3:  # else what is open stays open, and the reset has to end it
            await self._commit()
        report = await self._in_place.reset()
        difference = [*await self._end_running(), *await self._untold(report)]
        for ended in report.ended:
            self._cut(ended.pid)
        if report.needs_clone:
            await self.fresh()
            assert not difference, f"{difference} after {report} of {sequence}"
            assert changes_schema, f"a clone is asked for needlessly: {report.reasons} after {sequence}"
            assert "the reset failed" not in report.reasons[0], f"{report} after {sequence}"
            return
        difference += await self.difference()
        again = await self._in_place.reset()
        if again.kind != "untouched":
            difference.append(f"the second reset in a row was not needless: {again}")
        if any("free_sequence" in step.sql for step in sequence):
            difference += await self._numbers_kept()
        if difference:
            await self.fresh()
        assert not difference, f"{difference} after {report} of {sequence}"

    async def know(self, template: asyncpg.Connection) -> None:
        self.known = await self._fingerprints.take(template)

    async def difference(self) -> list[str]:
        assert self._reader is not None
        different = self.known.difference(await self._fingerprints.take(self._reader))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDS_WITHIN_S):
                while await self._reader.fetch(_LEFT):  # noqa: ASYNC110 - it is in another process
                    await asyncio.sleep(0.002)
        return different + [row[0] for row in await self._reader.fetch(_LEFT)]

    async def _untold(self, report: ResetReport) -> list[str]:
        """What the reset should have noticed of the server and of live sessions, and did not, or needlessly."""
        assert self._reader is not None
        before = self._server
        self._server, rights = await self._reader.fetchrow(_AROUND)
        told = any(each.startswith("ALTER SYSTEM") or " of the server changed" in each for each in report.notices)
        wrong = []
        if told is not (before != self._server):
            wrong.append(f"of the server it was told: {report.notices}, and it was {before}, is {self._server}")
        if not report.needs_clone and rights != self._rights:
            wrong.append(f"the database's owner and rights were {self._rights}, are {rights}")
        gone = {each.pid for each in report.ended}
        for pid, last in self._last.items():
            if last in LASTS and pid not in gone and not any(f"session {pid} " in each for each in report.notices):
                wrong.append(f"it was not told that session {pid} ran {last}")
        return wrong

    async def _commit(self) -> None:
        for session in self._sessions.values():
            if not session.is_closed() and session.is_in_transaction():
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    self._last.pop(session.get_server_pid(), None)
                    await session.execute("commit")

    async def _numbers_kept(self) -> list[str]:
        """What a session had in its cache of numbers; each takes the next five, and the next reset puts them back."""
        kept, expected = [], 6
        for session in self._sessions.values():
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                number = await session.fetchval("select nextval('free_sequence')")
                if number != expected:
                    kept.append(f"a session kept number {number}")
                expected += 5
        return kept

    def _cut(self, pid: int) -> None:
        """The server ended it; a client may take its time to notice."""
        for number, session in list(self._sessions.items()):
            if session.is_closed() or session.get_server_pid() == pid:
                session.terminate()
                del self._sessions[number]
        self._last.pop(pid, None)

    async def _do(self, step: Step) -> None:
        session = await self.session(step.session)
        pid = session.get_server_pid()
        if step.kind in ("copy", "prepared"):
            self._last.pop(pid, None)
        if step.kind == "copy":
            rows = [(number, number) for number in range(700, 705)]
            await session.copy_records_to_table(step.sql, records=rows, columns=["id", "n"])
        elif step.kind == "prepared":
            await session.execute(f"update {step.sql} set n = n + $1", 1)
        elif step.kind == "kill":
            await self._maintenance.execute(f"select pg_terminate_backend({pid})")
            self._cut(pid)
        elif step.kind == "running":
            await self._begin(session, step.sql)
        else:
            self._last.pop(pid, None)
            await session.execute(step.sql)
            self._last[pid] = step.sql

    async def _begin(self, session: asyncpg.Connection, statement: str) -> None:
        """Begin it, and leave it running."""
        self._last.pop(session.get_server_pid(), None)
        task = asyncio.create_task(session.execute(statement))
        self._running.append(task)
        pid = session.get_server_pid()
        sleeps = f"select count(*) from pg_stat_activity where pid = {pid} and wait_event = 'PgSleep'"
        while not task.done() and not await self._maintenance.fetchval(sleeps):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.001)

    async def _end_running(self) -> list[str]:
        """What the reset has ended ends here too, by an error. What still runs is returned, and ended."""
        running, self._running = self._running, []
        if not running:
            return []
        _, left = await asyncio.wait(running, timeout=ENDS_WITHIN_S)
        for task in left:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return ["a statement still runs" for _ in left]


@asynccontextmanager
async def proving(server: Endpoint, schema: Schema, bug: Bug | None = None) -> AsyncIterator[Proof]:
    maintenance = await asyncpg.connect(**connect_arguments(server))
    proof = Proof(server, maintenance)
    try:
        await maintenance.execute(f"drop database if exists {TEMPLATE} with (force)")
        await maintenance.execute(f"create database {TEMPLATE} template template0 strategy file_copy")
        connection = await asyncpg.connect(**connect_arguments(server, database=TEMPLATE))
        try:
            await connection.execute(schema.sql + (bug.schema if bug else ""))
            await install(connection)
            if bug is not None:
                await plant(connection, bug)
            await proof.know(connection)
        finally:
            await connection.close()
        await proof.fresh()
        yield proof
    finally:
        await proof.end()
        await maintenance.execute(f"drop database if exists {TEMPLATE} with (force)")
        await maintenance.close()
