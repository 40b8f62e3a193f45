"""One known state of a session: its copies, and one copy that nobody writes, to compare with."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from realstack.errors import NotAtKnownState, RealstackError
from realstack.model import Endpoint
from realstack.state.clones import Databases
from realstack.state.pool import WarmPool
from realstack.state.template import Template

if TYPE_CHECKING:
    from realstack.state.changes import Changes
    from realstack.state.fingerprint import Fingerprint
    from realstack.state.maintenance import Maintenance

CHECK_AFTER_S = 0.2
"""The first tests go first: whether a template that was found is what was built is looked at beside them."""
CHECK_ENDS_WITHIN_S = 20.0
MOST_DIFFERENCES = 20


class KnownState:
    """The template, its lender, and what is compared with it. All of its use is in one event loop."""

    def __init__(
        self, endpoint: Endpoint, template: Template, worker: str, run_id: str, maintenance: Maintenance | None = None
    ) -> None:
        self.template = template
        self.databases = Databases(endpoint, template, worker, run_id, maintenance)
        self.pool = WarmPool(self.databases)
        self._witness: Endpoint | None = None
        self._fingerprint: Fingerprint | None = None
        self._asked = asyncio.Lock()
        self._check: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def __repr__(self) -> str:
        return f"<KnownState {self.template.state[:12]} {self.pool!r}>"

    async def witness(self) -> Endpoint:
        """A copy that is never lent."""
        if self._witness is None:
            self._witness = await self.databases.lend()
        return self._witness

    async def fingerprint(self) -> Fingerprint:
        """The known state's own, which must be the one with which the template was first seen.

        :raises NotAtKnownState: somebody has changed the template since.
        """
        from realstack.state.fingerprint import fingerprint
        from realstack.state.template import seen_fingerprint

        async with self._asked:
            if self._fingerprint is None:
                found = await fingerprint(await self.witness())
                first = await seen_fingerprint(self.databases.endpoint, self.template, found.digest)
                if first != found.digest:
                    raise NotAtKnownState(
                        f"the template {self.template.name} is not what was built: its fingerprint is "
                        f"{found.digest[:12]}, and was {first[:12]}.",
                        remedy="somebody wrote into it: drop it (`realstack down`, or DROP DATABASE), and it is built "
                        "anew.",
                    )
                self._fingerprint = found
        return self._fingerprint

    async def differences(self, used: Endpoint) -> list[str]:
        """In what that database is not at the known state, a line each; none if it is."""
        from realstack.state.comparison import compare
        from realstack.state.fingerprint import fingerprint

        known = await self.fingerprint()
        lines = known.difference(await fingerprint(used))
        if any(line.startswith("rows ") for line in lines):
            lines += (await compare(await self.witness(), used)).rows()
        if len(lines) > MOST_DIFFERENCES:
            lines[MOST_DIFFERENCES:] = [f"… {len(lines) - MOST_DIFFERENCES} more"]
        return lines

    async def changes(self, used: Endpoint) -> Changes:
        """What leads from the known state to that database."""
        from realstack.state.comparison import compare

        return await compare(await self.witness(), used)

    def check_beside(self) -> None:
        """Look beside the tests whether a template that was found is what was built. One that we built is."""
        if self._check is None and not self.template.built:
            self._check = asyncio.create_task(self._checked())

    def assert_checked_well(self) -> None:
        """What the look has found so far.

        :raises NotAtKnownState: the template is not what was built.
        """
        check = self._check
        if check is not None and check.done() and not check.cancelled() and (problem := check.exception()) is not None:
            raise problem

    async def close(self) -> None:
        """End the look, and drop everything.

        :raises NotAtKnownState: the template is not what was built, and no test was told.
        :raises RealstackError: some of it cannot be dropped; all the rest was.
        """
        try:
            self._hurry.set()
            if self._check is not None:
                await asyncio.wait([self._check], timeout=CHECK_ENDS_WITHIN_S)
                self._check.cancel()
                self.assert_checked_well()
        finally:
            try:
                await self.pool.close()
            finally:
                await self.databases.close()

    async def _checked(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), CHECK_AFTER_S)
        try:
            await self.fingerprint()
        except NotAtKnownState:
            raise
        except (RealstackError, OSError):
            return  # a server that is gone is somebody else's to tell
