"""After a reset nothing differs from the known state, whatever was done before; and this proof finds planted bugs.

``REALSTACK_SEQUENCES``: how many sequences are tried on each version (300 unless set). ``REALSTACK_PROOF_ON``: on which
versions (``"15 17 18"``). ``REALSTACK_SHARDS``: in how many tests, for pytest-xdist. ``REALSTACK_SEED``: a number that
repeats a run; a failure names it. ``make proof`` sets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from realstack.model import Endpoint
from realstack.services.postgres import connect_arguments
from realstack.state.fingerprint import Fingerprint, Fingerprints
from realstack.state.reset import InPlace, in_place, install
from tests.integration.state.proof_servers import server_of, versions
from tests.integration.state.random_state import EVERYTHING, Schema, Step, schemas, steps

SEQUENCES = int(os.environ.get("REALSTACK_SEQUENCES", "300"))
SHARDS = int(os.environ.get("REALSTACK_SHARDS", "1"))
SEED = int(os.environ.get("REALSTACK_SEED") or secrets.randbelow(1_000_000))
PER_SCHEMA = 60
ENDS_WITHIN_S = 3.0
TEMPLATE, CLONE = "proof_template", "proof_clone"

ENGINE = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""What is drawn is not kept, and is not to be quick."""

_PREPARED = "select gid from pg_prepared_xacts where database = current_database()"
_LEFT = """
select concat('an advisory lock is left by session ', pid) from pg_locks
where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
union all select concat('a temporary table is left: ', relname) from pg_class
where relpersistence = 't' and relkind = 'r'
union all select concat('a prepared transaction is left: ', gid) from pg_prepared_xacts
where database = current_database()
"""
"""What sessions leave, and a reset ends. A session that was told to end takes its time."""


@dataclass(frozen=True)
class Bug:
    """One rule broken: a pattern in the bodies of our functions and what takes its place, or plain SQL.

    ``schema``: what the rule is for, where not every database has it.
    ``shown_by``: the kinds of steps that can show it; to draw others too would take longer, and find the same.
    """

    pattern: str = ""
    instead: str = ""
    sql: str = ""
    drop_triggers: str = ""
    schema: str = ""
    shown_by: tuple[str, ...] = ("write",)


BUGS = {
    "touched rows are not deleted": Bug(r"DELETE FROM (ONLY )?\S+ AS t USING [^;]*;"),
    "touched rows are not put back": Bug(r"INSERT INTO [^;]*JOIN pg_realstack\.s_[^;]*;"),
    "a row without a key is put back once": Bug(
        r"(INSERT INTO [^;]*?) SELECT ([^;]*WHERE ROW)", r"\1 SELECT DISTINCT \2", shown_by=("special", "write")
    ),
    "rows without a key are not deleted": Bug(r"DELETE FROM (ONLY )?\S+ AS t WHERE ROW[^;]*;"),
    "compared tables keep what was added": Bug(
        r"DELETE FROM (ONLY )?\S+ AS t WHERE NOT EXISTS [^;]*;", shown_by=("special",)
    ),
    "compared tables do not get back what is lost": Bug(
        r"INSERT INTO [^;]*WHERE NOT EXISTS [^;]*;", shown_by=("truncate",)
    ),
    "an insert is not noted": Bug(r"INSERT INTO \S+ SELECT ((?!UNION)[^;])* FROM realstack_new;"),
    "a delete is not noted": Bug(r"INSERT INTO \S+ SELECT [^;]* FROM realstack_old;"),
    "an update notes new keys only": Bug(r"SELECT [^;]* FROM realstack_old\s+UNION ALL "),
    "an update notes old keys only": Bug(r" UNION ALL SELECT [^;]* FROM realstack_new"),
    "the family of a table is not marked": Bug(
        r"(INSERT INTO pg_realstack\.dirty VALUES \(\d+\)), [^;]*;", r"\1;", shown_by=("special",)
    ),
    "a truncated table is not compared as a whole": Bug(r"'compare_'", "'restore_'", shown_by=("truncate",)),
    "sequences stay where they are": Bug(r"PERFORM setval[^;]*;", shown_by=("sequence",)),
    "whether a sequence was called is forgotten": Bug(r"was\.is_called", "true", shown_by=("sequence",)),
    "a sequence is compared by its value only": Bug(r" OR is_called <> \w+", shown_by=("sequence",)),
    "numbers that were logged ahead are not looked at": Bug(r" OR log_cnt <> 0", shown_by=("ahead",)),
    "large objects are not looked at": Bug(
        r"IF pg_realstack\.large_objects\(\)[^;]*THEN", "IF false THEN", shown_by=("large",)
    ),
    "commands are not looked at": Bug(
        r"IF EXISTS \(SELECT FROM pg_realstack\.ddl\) THEN", "IF false THEN", shown_by=("ddl",)
    ),
    "drops are not noted": Bug(sql="drop event trigger realstack_drop", shown_by=("ddl",)),
    "commands that make something are not noted": Bug(sql="drop event trigger realstack_ddl", shown_by=("ddl",)),
    "triggers keep still under replica role": Bug(
        sql="update pg_trigger set tgenabled = 'O' where tgname ~ '^realstack'", shown_by=("role", "write", "write")
    ),
    "truncate is not watched": Bug(drop_triggers="t.tgname = 'realstack_truncate'", shown_by=("truncate",)),
    "partitions are not watched": Bug(drop_triggers="c.relispartition"),
    "the logs are not looked at": Bug(r"RETURN QUERY SELECT \d+ WHERE EXISTS[^;]*;", "RETURN;"),
    "the log is not emptied": Bug(r"ELSE DELETE FROM pg_realstack\.k_\d+; END IF;", "END IF;"),
    "the marks are not removed": Bug(
        r"ELSE DELETE FROM pg_realstack\.dirty; END IF;", "END IF;", shown_by=("truncate", "nothing")
    ),
    "numbers that a session holds are kept": Bug(r"IF was\.caches THEN[^;]*; END IF;", shown_by=("sequence",)),
    "what was clean once is taken for clean": Bug(
        r"IF here = clean", "IF clean IS NOT NULL", shown_by=("write", "nothing")
    ),
    "a sequence that writes no WAL is taken for one that does": Bug(
        sql="delete from pg_realstack.known where name = 'no WAL'",
        schema="create unlogged sequence loose;",
        shown_by=("loose", "nothing"),
    ),
    "clustered indexes are not looked at": Bug(
        r"IF pg_realstack\.clustered\(\)[^;]*THEN", "IF false THEN", shown_by=("cluster",)
    ),
    "owners are not looked at": Bug(r"IF now_around -> 'owners'[^;]*THEN", "IF false THEN", shown_by=("owner",)),
    "settings of the database are not looked at": Bug(
        r"IF now_around - 'owners'[^;]*THEN", "IF false THEN", shown_by=("database",)
    ),
    "event triggers are not looked at": Bug(
        r"IF pg_realstack\.event_triggers\(\)[^;]*THEN", "IF false THEN", shown_by=("events",)
    ),
    "a command that commits half-way is not noted": Bug(
        sql="drop event trigger realstack_start", shown_by=("concurrently",)
    ),
    "a table whose triggers always fire is restored": Bug(r"WHERE blocked <> ''", "WHERE false", shown_by=("blocked",)),
    "advisory locks are not looked at": Bug(r"locking := pg_realstack\.locking\(\);", shown_by=("session",)),
    "temporary tables are not looked at": Bug(
        r"IF EXISTS \(SELECT FROM pg_realstack\.temporary\) THEN", "IF false THEN", shown_by=("session",)
    ),
    "prepared transactions are not looked at": Bug(
        r"found := \(SELECT jsonb_agg\(gid\)[^;]*;", "found := NULL;", shown_by=("two-phase",)
    ),
}


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

    async def _drop(self, number: int) -> None:
        await self._maintenance.execute(f'drop database if exists "{CLONE}_{number}" with (force)')

    async def end(self) -> None:
        await self.leave()
        for number in (self._made - 1, self._made):
            await self._drop(number)

    async def leave(self) -> None:
        await self._in_place.close()
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
        for step in sequence:
            # What is refused, by whatever rule, has done nothing; a session that is gone is opened again.
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._do(step)
            changes_schema |= step.kind == "ddl"
        if len(sequence) % 3:  # else what is open stays open, and the reset has to end it
            await self._commit()
        report = await self._in_place.reset()
        for ended in report.ended:
            self._cut(ended.pid)
        if report.needs_clone:
            await self.fresh()
            assert changes_schema, f"a clone is asked for needlessly: {report.reasons} after {sequence}"
            assert "the reset failed" not in report.reasons[0], f"{report} after {sequence}"
            return
        difference = await self.difference()
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

    async def _commit(self) -> None:
        for session in self._sessions.values():
            if not session.is_closed() and session.is_in_transaction():
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
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

    async def _do(self, step: Step) -> None:
        session = await self.session(step.session)
        if step.kind == "copy":
            rows = [(number, number) for number in range(700, 705)]
            await session.copy_records_to_table(step.sql, records=rows, columns=["id", "n"])
        elif step.kind == "prepared":
            await session.execute(f"update {step.sql} set n = n + $1", 1)
        elif step.kind == "kill":
            pid = session.get_server_pid()
            await self._maintenance.execute(f"select pg_terminate_backend({pid})")
            self._cut(pid)
        else:
            await session.execute(step.sql)


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


async def plant(connection: asyncpg.Connection, bug: Bug) -> None:
    """Break the rule in the template."""
    await connection.execute("set realstack.resetting = 'on'")
    if bug.pattern:
        functions = await connection.fetch(
            "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'pg_realstack'::regnamespace"
        )
        changed = [new for (old,) in functions if (new := re.sub(bug.pattern, bug.instead, old)) != old]
        assert changed, "the pattern is in none of our functions"
        await connection.execute(";\n".join(changed))
        return
    await connection.execute(
        "update pg_trigger set tgisinternal = false where tgname ~ '^realstack';"
        "alter extension plpgsql drop event trigger realstack_drop;"
        "alter extension plpgsql drop event trigger realstack_start;"
        "alter extension plpgsql drop event trigger realstack_ddl;" + bug.sql
    )
    if bug.drop_triggers:
        triggers = await connection.fetch(
            "select format('%I on %s', t.tgname, t.tgrelid::regclass) from pg_trigger t "
            f"join pg_class c on c.oid = t.tgrelid where t.tgname ~ '^realstack' and {bug.drop_triggers}"
        )
        assert triggers
        await connection.execute("; ".join(f"drop trigger {row[0]}" for row in triggers))
    await connection.execute(
        "update pg_realstack.known set value = pg_realstack.event_triggers() where name = 'event triggers'"
    )


def sequences(schema: Schema) -> st.SearchStrategy[list[Step]]:
    """Most without DDL: after it nothing but a fresh clone is asked for."""
    plain = st.lists(steps(schema, ddl=False), min_size=1, max_size=10)
    with_ddl = st.lists(steps(schema), min_size=1, max_size=6)
    # one_of() would take equal ones for one.
    return st.integers(1, 8).flatmap(lambda number: with_ddl if number == 8 else plain)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "WAITS_FOR_S", 0.0)


@pytest.fixture(scope="module", params=versions())
def server(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    with server_of(request.param) as endpoint:
        yield endpoint


@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_differs_after_a_reset_whatever_was_done(server: Endpoint, shard: int) -> None:
    wanted = -(-SEQUENCES // SHARDS)
    per_schema = min(PER_SCHEMA, wanted)
    loop = asyncio.new_event_loop()

    @seed(f"{SEED} {server.version} {shard}")
    @settings(ENGINE, max_examples=-(-wanted // per_schema))
    @given(schema=schemas(), number=st.integers(0, 2**32))
    def prove(schema: Schema, number: int) -> None:
        world = proving(server, schema)
        proof = loop.run_until_complete(world.__aenter__())

        @seed(number)
        @settings(ENGINE, max_examples=per_schema, phases=[Phase.generate, Phase.shrink])
        @given(sequence=sequences(schema))
        def prove_one(sequence: list[Step]) -> None:
            loop.run_until_complete(proof.run(sequence))

        try:
            prove_one()
        except AssertionError:
            note(schema.sql)
            raise
        finally:
            loop.run_until_complete(world.__aexit__(None, None, None))

    try:
        prove()
    except BaseException as problem:
        problem.add_note(
            f"To repeat it: REALSTACK_SEED={SEED} REALSTACK_SHARDS={SHARDS} "
            f"REALSTACK_SEQUENCES={SEQUENCES}, PostgreSQL {server.version}, shard {shard}."
        )
        raise
    finally:
        loop.close()


class FoundError(BaseException):
    """Ends Hypothesis where a bug was found, as no other exception does: it would draw all the other examples."""


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_a_planted_bug_is_found(server: Endpoint, bug: Bug) -> None:
    loop = asyncio.new_event_loop()
    world = proving(server, EVERYTHING, bug)
    proof = loop.run_until_complete(world.__aenter__())

    @settings(
        ENGINE,
        max_examples=300,
        derandomize=True,
    )
    @given(sequence=st.lists(steps(EVERYTHING, only=bug.shown_by), min_size=1, max_size=4))
    def prove(sequence: list[Step]) -> None:
        try:
            loop.run_until_complete(proof.run(sequence))
        except AssertionError as problem:
            raise FoundError from problem

    try:
        with pytest.raises(FoundError):
            prove()
    finally:
        loop.run_until_complete(world.__aexit__(None, None, None))
        loop.close()
