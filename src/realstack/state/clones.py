"""Lends copies of the template. One lender a worker process."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint
from realstack.state import naming
from realstack.state.copying import is_probed, kept_strategy, probe
from realstack.state.database_settings import DatabaseSettings, read_database_settings, write_database_settings
from realstack.state.maintenance import Maintenance, Work, is_connection_lost
from realstack.state.report import notes_of, one_line
from realstack.state.server import (
    connect_for_maintenance,
    create_database,
    drop_database,
    our_databases,
    set_comment,
)
from realstack.state.template import Template

if TYPE_CHECKING:
    import asyncpg


class Databases:
    """Lends databases at the known state, each a copy of ``template``.

    From the first :meth:`lend` to :meth:`close` it uses ``maintenance`` (its own, where none is given), and holds a
    lock there that tells others that this lender lives: what it lent is dropped by the next run if it dies. All of
    its use is in one event loop; tasks may call it side by side.
    """

    def __init__(
        self, endpoint: Endpoint, template: Template, worker: str, run_id: str, maintenance: Maintenance | None = None
    ) -> None:
        self.endpoint = endpoint
        self.template = template
        self._lender = naming.lender_name(run_id, worker)
        self._numbers = 0
        self._lent: set[str] = set()
        self._maintenance = maintenance or Maintenance(endpoint)
        self._strategy: str | None = None
        self._probed = False
        self._settings: DatabaseSettings | None = None

    def __repr__(self) -> str:
        return f"<Databases {self._lender} {len(self._lent)} lent>"

    async def lend(self) -> Endpoint:
        """A database of the caller's own at the known state, until it is given back.

        :raises RealstackError: the server cannot make it: no room, no right, or the template is gone.
        """
        return replace(self.endpoint, database=await self._maintenance.run(self._lender, self._made))

    async def give_back(self, lent: Endpoint, *, keep: bool = False) -> None:
        """The end of :meth:`lend`: drop the database with whatever sessions are left in it.

        ``keep`` leaves it for a person to look at; a run of a week later drops it. What cannot be dropped now
        :meth:`close` tries again.

        :raises NotOurs: this lender did not lend it, or it was given back before.
        :raises RealstackError: the server does not drop it.
        """
        name = lent.database or ""
        if name not in self._lent:
            raise NotOurs(
                f"the database {name!r} was not lent by {self!r}.", remedy="give back what lend() returned, once."
            )
        if keep:
            self._lent.discard(name)  # whatever becomes of its mark, close() must not drop it
            comment = naming.mark("clone", state=self.template.state, used=_now(), kept=True)
            await self._done("marked to be kept", name, lambda connection: set_comment(connection, name, comment))
        else:
            await self._dropped(name)

    async def probe(self) -> None:
        """Find out which way of copying is the fastest here, if nobody on this machine has yet; takes a moment."""
        if not self._probed:
            await self._maintenance.run(self._lender, self._found_fastest)

    async def close(self) -> None:
        """Drop what is still lent, and leave the server. May be called twice; a dead server is no error.

        :raises RealstackError: some of it cannot be dropped; all the rest was.
        """
        problems = []
        try:
            for name in sorted(self._lent):
                try:
                    await self._dropped(name)
                except RealstackError as problem:
                    if is_connection_lost(problem):
                        break  # the server is gone, and with it all that it held; or the next run drops it
                    problems.append(problem)
        finally:
            self._lent.clear()
            await self._maintenance.leave(self._lender)
        if problems:
            first, *others = problems
            first.details = (*first.details, *(other.problem for other in others))
            raise first

    async def _made(self, connection: asyncpg.Connection) -> str:
        settings = await self._learned(connection)
        self._numbers += 1
        name = naming.clone_name(self._lender, self._numbers)
        self._lent.add(name)
        await create_database(
            connection,
            name,
            template=self.template.name,
            strategy=self._strategy,
            comment=naming.mark("clone", state=self.template.state, used=_now()),
        )
        await write_database_settings(connection, name, settings)
        return name

    async def _learned(self, connection: asyncpg.Connection) -> DatabaseSettings:
        """What is the same for every copy; asked for once."""
        if self._settings is None:
            self._strategy = await kept_strategy(connection, self.endpoint)
            self._probed = await is_probed(connection, self.endpoint)
            self._settings = await read_database_settings(connection, self.template.name)
        return self._settings

    async def _found_fastest(self, connection: asyncpg.Connection) -> None:
        await self._learned(connection)
        if self._probed:
            return
        self._probed = True
        self._numbers += 1
        name = naming.clone_name(self._lender, self._numbers)
        self._lent.add(name)  # so that a probe which is cut short leaves nothing
        self._strategy = await probe(connection, self.endpoint, self.template.name, name)
        self._lent.discard(name)

    async def _dropped(self, name: str) -> None:
        await self._done("dropped", name, lambda connection: drop_database(connection, name))
        self._lent.discard(name)  # not before: who is cancelled in between leaves it to close()

    async def _done(self, what: str, name: str, work: Work[None]) -> None:
        import asyncpg

        try:
            await self._maintenance.run(self._lender, work)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
            raise RealstackError(
                f"the database {name} could not be {what}: {type(problem).__name__}: {one_line(problem)}",
                details=notes_of(problem) if isinstance(problem, asyncpg.PostgresError) else (),
                remedy="look for what a test left in it: a prepared transaction, a subscription.",
            ) from problem


async def restore(lent: Endpoint, template: Template) -> None:
    """Make the lent database anew from ``template``, under its own name, from any process.

    Sessions in it are ended. It stays lent by whom it was.

    :raises NotOurs: no lender of realstack's made it.
    """
    name = lent.database or ""
    connection = await connect_for_maintenance(lent)
    try:
        comment = (await our_databases(connection)).get(name)
        if naming.lender_of(name) is None or not naming.is_ours(name, comment):
            raise NotOurs(f"the database {name!r} was not lent by realstack.", remedy="`realstack env` names those.")
        await drop_database(connection, name)
        mark = naming.mark("clone", state=template.state, used=_now())
        strategy = await kept_strategy(connection, lent)
        await create_database(connection, name, template=template.name, strategy=strategy, comment=mark)
        settings = await read_database_settings(connection, template.name)
        await write_database_settings(connection, name, settings)
    finally:
        await connection.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
