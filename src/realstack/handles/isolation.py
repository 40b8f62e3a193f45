"""How each test gets a database at the known state: a fresh clone, or one database that is reset in place."""

from __future__ import annotations

import difflib
from typing import Literal, Protocol, get_args

from realstack.environment import Environment
from realstack.errors import SettingsError, WroteInReadOnly
from realstack.model import POSTGRES, Endpoint
from realstack.state.clones import Databases
from realstack.state.reset import InPlace, ResetReport
from realstack.state.template import Template, prepare_template

Isolation = Literal["database", "reset", "readonly"]
ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)


def isolation_named(name: str, where: str) -> Isolation:
    """The mode of that name.

    :raises SettingsError: there is none; the nearest is named.
    """
    for known in ISOLATIONS:
        if name == known:
            return known
    close = difflib.get_close_matches(name, ISOLATIONS, n=1)
    raise SettingsError(
        f"{where} asks for the unknown isolation {name!r}.",
        remedy=f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(ISOLATIONS)}.",
    )


class Lender(Protocol):
    """Lends databases to tests, one after the other. All of its use is in one event loop."""

    async def lend(self) -> Endpoint:
        """A database at the known state."""
        ...

    async def take_back(self, lent: Endpoint) -> list[str]:
        """The end of :meth:`lend`; what there is to say of it, in sentences."""
        ...

    async def close(self) -> None:
        """Drop what is left."""
        ...


class Clones:
    """A fresh clone of the template for each test, dropped after it."""

    def __init__(self, environment: Environment, worker: str, run_id: str) -> None:
        self._environment = environment
        self._names = (worker, run_id)
        self._databases: Databases | None = None

    async def lend(self) -> Endpoint:
        """A new clone."""
        if self._databases is None:
            template = await _template(self._environment, in_place=False)
            self._databases = Databases(self._environment.endpoint(POSTGRES), template, *self._names)
        return await self._databases.lend()

    async def take_back(self, lent: Endpoint) -> list[str]:
        """Drop it."""
        if self._databases is not None:
            await self._databases.give_back(lent)
        return []

    async def close(self) -> None:
        """Drop what was not given back."""
        if self._databases is not None:
            await self._databases.close()


class ResetInPlace:
    """One database, brought back to the known state after each test; an application's pool stays connected.

    What cannot be undone in place is answered by a fresh clone for the next test. Who asks while the database
    is lent gets a clone of its own. ``read_only``: a test that wrote is told so, after the reset.
    """

    def __init__(self, environment: Environment, worker: str, run_id: str, *, read_only: bool = False) -> None:
        self._environment = environment
        self._names = (f"{worker}ip", run_id) if not read_only else (f"{worker}ro", run_id)
        self._read_only = read_only
        self._databases: Databases | None = None
        self._resident: tuple[Endpoint, InPlace] | None = None
        self._resident_lent = False

    async def lend(self) -> Endpoint:
        """The resident database, or a clone if that one is lent.

        :raises RealstackError: the declared user may not do what reset in place needs (it is no superuser).
        """
        databases = await self._clones()
        if self._resident_lent:
            return await databases.lend()
        if self._resident is None:
            endpoint = await databases.lend()
            in_place = InPlace(endpoint)
            await in_place.start()
            self._resident = (endpoint, in_place)
        self._resident_lent = True
        return self._resident[0]

    async def take_back(self, lent: Endpoint) -> list[str]:
        """Reset it, or make it anew where a reset does not do.

        :raises WroteInReadOnly: it was lent for reading only, and was written; it is at the known state again.
        """
        databases = await self._clones()
        if self._resident is None or lent.database != self._resident[0].database:
            await databases.give_back(lent)
            return []
        self._resident_lent = False
        endpoint, in_place = self._resident
        report = await in_place.reset()
        if report.needs_clone:
            self._resident = None
            await in_place.close()
            await databases.give_back(endpoint)
        if self._read_only and report.kind != "untouched":
            raise WroteInReadOnly(
                'the test is marked isolation="readonly", and wrote.',
                details=_what(report),
                remedy='take the write out, or mark the test isolation="reset".',
            )
        return _worth_saying(report)

    async def close(self) -> None:
        """Leave and drop everything."""
        if self._resident is not None:
            await self._resident[1].close()
            self._resident = None
        if self._databases is not None:
            await self._databases.close()

    async def _clones(self) -> Databases:
        if self._databases is None:
            template = await _template(self._environment, in_place=True)
            self._databases = Databases(self._environment.endpoint(POSTGRES), template, *self._names)
        return self._databases


def lender_for(isolation: Isolation, environment: Environment, worker: str, run_id: str) -> Lender:
    """The lender of that mode."""
    if isolation == "database":
        return Clones(environment, worker, run_id)
    return ResetInPlace(environment, worker, run_id, read_only=isolation == "readonly")


async def _template(environment: Environment, *, in_place: bool) -> Template:
    """The environment's own template where it is of that kind; else the other kind, built beside it."""
    if environment.template is not None and environment.template.in_place is in_place:
        return environment.template
    return await prepare_template(environment.endpoint(POSTGRES), environment.settings.postgres, in_place=in_place)


def _worth_saying(report: ResetReport) -> list[str]:
    said = [f"its database was made anew: {reason}" for reason in report.reasons]
    said += [str(session) for session in report.ended]
    return said + list(report.notices)


def _what(report: ResetReport) -> list[str]:
    found = [f"table {name}" for name in report.tables] + [f"sequence {name}" for name in report.sequences]
    return found + list(report.reasons)
