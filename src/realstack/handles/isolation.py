"""How each test gets a database at the known state: a fresh clone, or one database that is reset in place."""

from __future__ import annotations

import asyncio
import difflib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from realstack.errors import NotAtKnownState, SettingsError, WroteInReadOnly
from realstack.handles.known import KnownState
from realstack.known_state import IN_PLACE
from realstack.model import ISOLATIONS, POSTGRES, Endpoint, Isolation
from realstack.running import Environment
from realstack.state.layers import prepare_layer
from realstack.state.reset import InPlace, ResetReport
from realstack.state.template import Template, prepare_template

if TYPE_CHECKING:
    from realstack.state.changes import Changes
    from realstack.state.maintenance import Maintenance

AT_MOST_OF_THE_RUN = 0.05
"""How much of a run's time proving samples may take, unless every reset is to be proven."""


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


@dataclass(frozen=True, slots=True)
class Wish:
    """What a test asks for. ``seeds``: sources on top of the known state, paths from the project's folder."""

    isolation: Isolation
    seeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of a lent database. ``said``: what there is to say of it, in sentences.

    ``same_again``: the next to ask is lent the same one, and no session in it was ended or holds on to something.
    """

    said: tuple[str, ...] = ()
    same_again: bool = False


class Lender(Protocol):
    """Lends databases to tests, one after the other. All of its use is in one event loop.

    ``in_place``: it brings a database back while its connections stay open.
    """

    in_place: bool

    async def lend(self) -> Endpoint:
        """A database at the known state."""
        ...

    async def changes(self, lent: Endpoint) -> Changes:
        """What was committed to it since it was lent."""
        ...

    async def take_back(self, lent: Endpoint, *, read_only: bool = False, keep: bool = False) -> TakenBack:
        """The end of :meth:`lend`. ``keep``: leave it to be looked at."""
        ...

    async def close(self) -> None:
        """Drop what is left."""
        ...


class Clones:
    """A fresh clone of the template for each test, made ahead, dropped after it."""

    in_place = False

    def __init__(self, known: KnownState, *, prove: bool) -> None:
        self._known = known
        self._prove = prove

    async def lend(self) -> Endpoint:
        """A clone that nobody has used.

        :raises NotAtKnownState: the template is not what was built; or, where every test is proven, its clone is not.
        """
        self._known.assert_checked_well()
        lent = await self._known.pool.lend()
        self._known.check_beside()
        if self._prove and (lines := await self._known.differences(lent)):
            self._known.pool.give_back(lent)
            raise NotAtKnownState("a fresh clone is not at the known state.", details=lines)
        return lent

    async def changes(self, lent: Endpoint) -> Changes:
        """Compares it with a clone that nobody writes; tables whose rows differ are read as a whole."""
        return await self._known.changes(lent)

    async def take_back(self, lent: Endpoint, *, read_only: bool = False, keep: bool = False) -> TakenBack:
        """Drop it, in the background."""
        self._known.pool.give_back(lent, keep=keep)
        return TakenBack()

    async def close(self) -> None:
        """Drop what was not given back."""
        await self._known.close()


class ResetInPlace:
    """One database, brought back to the known state after each test; an application's pool stays connected.

    What cannot be undone in place is answered by a fresh clone for the next test. Who asks while the database
    is lent gets a clone of its own. The reset is proven by fingerprint after the 8th, 64th … test and at the end,
    or after each with ``prove``.
    """

    in_place = True

    def __init__(self, known: KnownState, *, prove: bool) -> None:
        self._known = known
        self._proof = _Sampling(always=prove)
        self._resident: tuple[Endpoint, InPlace] | None = None
        self._resident_lent = False
        self._one_at_a_time = asyncio.Lock()

    async def lend(self) -> Endpoint:
        """The resident database, or a clone if that one is lent.

        :raises NotAtKnownState: the template is not what was built.
        :raises RealstackError: the declared user may not do what reset in place needs (it is no superuser).
        """
        self._known.assert_checked_well()
        async with self._one_at_a_time:  # who asks during a reset waits for its end
            if not self._resident_lent:
                return await self._lend_resident()
        return await self._known.databases.lend()

    async def _lend_resident(self) -> Endpoint:
        if self._resident is None:
            endpoint = await self._known.databases.lend()
            in_place = InPlace(endpoint)
            await in_place.start()
            self._resident = (endpoint, in_place)
            self._known.check_beside()
        self._resident_lent = True
        return self._resident[0]

    async def changes(self, lent: Endpoint) -> Changes:
        """By the log of what was touched, where the database is the resident one."""
        if self._resident is None or not self._is_resident(lent):
            return await self._known.changes(lent)
        async with self._one_at_a_time:
            return await self._resident[1].changes()

    async def take_back(self, lent: Endpoint, *, read_only: bool = False, keep: bool = False) -> TakenBack:
        """Reset it, or make it anew where a reset does not do.

        :raises WroteInReadOnly: it was lent for reading only, and was written; it is at the known state again.
        :raises NotAtKnownState: the reset did not bring it back; it is dropped, and the next test gets a fresh one.
        """
        if self._resident is None or not self._is_resident(lent):
            await self._known.databases.give_back(lent, keep=keep)
            return TakenBack()
        async with self._one_at_a_time:
            self._resident_lent = False
            if keep:
                said = await self._resident[1].server_changes()  # else the next look would take them for known
                await self._give_up(keep=True)
                return TakenBack(said)
            return await self._reset(self._resident[1], read_only=read_only)

    async def _reset(self, resident: InPlace, *, read_only: bool) -> TakenBack:
        report = await resident.reset()
        if report.needs_clone:
            await self._give_up()
        else:
            await self._prove_now_and_then(report)
        if read_only and report.kind != "untouched":
            raise WroteInReadOnly(
                'the test is marked isolation="readonly", and wrote.',
                details=_what(report),
                remedy='take the write out, or mark the test isolation="reset".',
            )
        said = _worth_saying(report)
        return TakenBack(said, same_again=not said)

    async def close(self) -> None:
        """Prove the last state, then leave and drop everything.

        :raises NotAtKnownState: the database is not at the known state.
        """
        try:
            if self._resident is not None and not self._resident_lent and self._proof.is_due_at_end():
                await self._prove()
        finally:
            if self._resident is not None:
                await self._resident[1].close()
                self._resident = None
            await self._known.close()

    def _is_resident(self, lent: Endpoint) -> bool:
        return self._resident is not None and lent.database == self._resident[0].database

    async def _give_up(self, *, keep: bool = False) -> None:
        assert self._resident is not None  # noqa: S101 - the callers have looked
        (endpoint, in_place), self._resident = self._resident, None
        await in_place.close()
        await self._known.databases.give_back(endpoint, keep=keep)

    async def _prove_now_and_then(self, report: ResetReport) -> None:
        if self._proof.is_due_after(report):
            await self._prove()

    async def _prove(self) -> None:
        assert self._resident is not None  # noqa: S101 - the callers have looked
        began = time.monotonic()
        lines = await self._known.differences(self._resident[0])
        self._proof.took(time.monotonic() - began)
        if lines:
            await self._give_up()
            raise NotAtKnownState(
                "the reset did not bring the database back to the known state.",
                details=lines,
                remedy='mark the test isolation="database", and tell us: this is a bug in realstack.',
            )


class _Sampling:
    """When a reset is to be proven."""

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._restored = 0
        self._next = 8
        self._unproven = False
        self._spent_s = 0.0
        self._last_s = 0.0
        self._began = time.monotonic()

    def is_due_after(self, report: ResetReport) -> bool:
        """After every reset, or after the 8th, 64th … that had something to undo."""
        if report.kind == "restored":
            self._restored += 1
            self._unproven = True
        if self._always:
            return True
        if self._restored < self._next:
            return False
        self._next *= 8
        return self._spent_s + self._last_s <= AT_MOST_OF_THE_RUN * (time.monotonic() - self._began)

    def is_due_at_end(self) -> bool:
        """Unless the last proof says all, or one takes too long for a run as short as this."""
        return self._unproven and self._last_s <= max(1.0, AT_MOST_OF_THE_RUN * (time.monotonic() - self._began))

    def took(self, seconds: float) -> None:
        """A proof was made."""
        self._unproven = False
        self._last_s = seconds
        self._spent_s += seconds


def resets_in_place(wish: Wish, environment: Environment) -> bool:
    """Whether that wish is for a database which is reset in place; else it is for fresh clones."""
    return wish.isolation in IN_PLACE and not (wish.isolation == "reset" and bool(environment.only_clones))


async def lender_for(
    wish: Wish, environment: Environment, worker: str, run_id: str, maintenance: Maintenance, *, prove: bool
) -> Lender:
    """A lender of that mode and those seeds. ``worker`` must be no other lender's of the run.

    :raises SeedFailed: a seed is missing or does not fit.
    :raises RealstackError: the template cannot be made that way on this server.
    """
    in_place = resets_in_place(wish, environment)
    endpoint = environment.endpoint(POSTGRES)
    template = await _template(environment, in_place=in_place)
    if wish.seeds:
        template = await prepare_layer(endpoint, template, environment.settings.postgres, wish.seeds)
    known = KnownState(endpoint, template, worker, run_id, maintenance)
    return ResetInPlace(known, prove=prove) if in_place else Clones(known, prove=prove)


async def _template(environment: Environment, *, in_place: bool) -> Template:
    """The environment's own template where it is of that kind; else the other kind, built beside it."""
    if environment.template is not None and environment.template.in_place is in_place:
        return environment.template
    return await prepare_template(environment.endpoint(POSTGRES), environment.settings.postgres, in_place=in_place)


def _worth_saying(report: ResetReport) -> tuple[str, ...]:
    anew = (f"its database was made anew: {reason}" for reason in report.reasons)
    return (*anew, *map(str, report.ended), *report.notices)


def _what(report: ResetReport) -> list[str]:
    found = [f"table {name}" for name in report.tables] + [f"sequence {name}" for name in report.sequences]
    return found + list(report.reasons)
