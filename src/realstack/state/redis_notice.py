"""What a test did to a Redis server beyond its own database: put right where nobody else uses it, told in any case.

A server counts how often each command was called, so one look at the counters tells whether anything is to be
compared at all. Settings, ACL users and functions belong to the whole server: they are put back only while no other
worker is at work, and told otherwise. What an environment lends while it is up is no worker's.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from realstack.state.redis_leases import OUR_NAME, STANDING, Leases
from realstack.state.redis_scripts import CHANGING, COUNT, COUNT_WHERE_SHARED, COUNTED, EMPTIES_ALL, SWAPS

CLIENTS = ("CLIENT", "LIST")
_RESET = "config|resetstat"
_SECRETS = ("pass", "auth", "user")
_BLOCKED, _IN_MULTI, _WATCHED_IN_VAIN = "b", "x", "d"
_SUBSCRIBED = ("sub", "psub", "ssub")


@dataclass
class _ServerWide:
    """Settings, ACL users by name, and the functions as ``FUNCTION DUMP`` has them (None: too old for any)."""

    settings: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    functions: bytes | None = None


class ServerWatch:
    """Compares a server with how it was at :meth:`begin`, and a database's connections with the last look.

    Where workers share a database (``shares_database``) nobody knows whose a connection is: they are told of only
    while no other worker is at work. ``counting`` is the script that reads the counters.
    """

    def __init__(self, leases: Leases, *, shares_database: bool = False) -> None:
        self.leases = leases
        self.shares_database = shares_database
        self.counting = COUNT_WHERE_SHARED if shares_database else COUNT
        self._counted = (COUNTED[0], EMPTIES_ALL, *COUNTED[1:]) if shares_database else COUNTED
        self._swaps = not self._is_given and not shares_database
        self._counts: list[int] | None = None
        self._known = self._before = _ServerWide()
        self._clients: dict[str, dict[str, str]] = {}

    async def begin(self) -> None:
        """Look for the first time. A server that lets us see nothing is watched by nobody."""
        from redis.exceptions import RedisError

        try:
            self._known = self._before = await _server_wide(self.leases.control)
            await self._count_swaps()
            self._counts = _numbers(await self.leases.control.eval(self.counting, 0))
        except RedisError:
            self._counts = None

    async def _count_swaps(self) -> None:
        """Begin to count realstack's own swaps, unless that has begun; a server that refuses to write is told of."""
        from redis.exceptions import ResponseError

        if not self._swaps:
            return
        with contextlib.suppress(ResponseError):
            await self.leases.control.set(SWAPS, time.time_ns() // 1000, nx=True)

    def follow(self, other: ServerWatch) -> None:
        """Go on where another watch of this process stands, which has just looked: what it told is not told again."""
        self._known, self._before, self._counts = other._known, other._before, other._counts

    async def look(self, number: int, *, at_any_rate: bool = False) -> list[str]:
        """As :meth:`noticed`, of the database ``number``, in a round trip of its own; nothing where nobody watches."""
        if not self.is_on:
            return []
        async with self.leases.control.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*CLIENTS)
            pipeline.eval(self.counting, 0)
            clients, counted = await pipeline.execute()
        return await self.noticed(counted, clients, number, at_any_rate=at_any_rate)

    async def last_look(self, number: int) -> list[str]:
        """As :meth:`look`, and put back what can be by now: who comes next would take it for known."""
        said = await self.look(number)
        if self._before is not self._known and not await self._why_it_stays():
            self._before = self._known  # what stayed while other workers ran
            said += await self._server_wide_put_right(at_any_rate=False)
        return said

    @property
    def is_on(self) -> bool:
        """Whether there is something to compare with."""
        return self._counts is not None

    async def noticed(self, counted: bytes, clients: bytes, number: int, *, at_any_rate: bool = False) -> list[str]:
        """What has happened since the last look, from the counters and the clients' list of now.

        ``at_any_rate`` puts settings back although other workers run: with these, none of them can work.
        """
        said = self._of_clients(clients, str(number))
        if said and self.shares_database and await self.leases.others():
            said = []
        counts = _numbers(counted)
        before, self._counts = self._counts, counts
        if before is None or ([counts[0], *counts[2:]] == [before[0], *before[2:]] and counts[1] > before[1]):
            return said
        swaps, calls = counts[0], dict(zip(self._counted, counts[2:], strict=True))
        old_swaps, old_calls = before[0], dict(zip(self._counted, before[2:], strict=True))
        restarted = (
            any(calls[name] < old_calls[name] for name in self._counted)
            or calls[_RESET] > old_calls[_RESET]  # which sets itself to 1
            or counts[1] <= before[1]  # each look is a script itself
        )
        if restarted:
            said.append(f"CONFIG RESETSTAT or a restart set the server's counters back, {_WHO}")
            old_calls, old_swaps = dict.fromkeys(self._counted, 0), swaps - calls["swapdb"]
        swapped, ours = calls["swapdb"] - old_calls["swapdb"], swaps - old_swaps
        lost = self._swaps and (swaps == 0 or not 0 <= ours <= swapped)
        if calls.get(EMPTIES_ALL, 0) > old_calls.get(EMPTIES_ALL, 0):
            said.append(f"FLUSHDB emptied the one database, of other workers too, {_WHO}")
        if calls["flushall"] > old_calls["flushall"]:
            said.append(f"FLUSHALL emptied every database of the server, those of other workers too, {_WHO}")
        elif lost:
            # A memory limit with a policy that evicts takes our keys too. Whose the swaps were is lost with them.
            said.append(f"realstack's own keys in database 0 were lost: evicted, or by FLUSHDB or SWAPDB there, {_WHO}")
        elif swapped > ours:
            said.append(f"SWAPDB exchanged two databases, maybe another worker's, {_WHO}")
        if calls["script|flush"] > old_calls["script|flush"]:
            said.append(f"SCRIPT FLUSH emptied the server's cache of scripts, {_WHO}")
        changed = restarted or any(calls[name] > old_calls[name] for name in CHANGING)
        if changed:
            said += await self._server_wide_put_right(at_any_rate=at_any_rate)
        if lost:
            await self._count_swaps()
        if lost or changed:
            self._counts = _numbers(await self.leases.control.eval(self.counting, 0))  # our own commands count too
        return said

    def _of_clients(self, listed: bytes, number: str) -> list[str]:
        """Connections to our database that are in another state than at the last look."""
        said = []
        seen: dict[str, dict[str, str]] = {}
        for line in listed.decode(errors="replace").splitlines():
            facts = dict(word.partition("=")[::2] for word in line.split(" "))
            if facts.get("db") != number or facts.get("name") == OUR_NAME:
                continue
            identity = facts["id"]
            seen[identity] = facts
            if what := _differs(self._clients.get(identity), facts):
                name = f" ({facts['name']})" if facts.get("name") else ""
                said.append(f"a connection{name} from {facts.get('addr')} {' and '.join(what)}")
        self._clients = seen
        return said

    async def _server_wide_put_right(self, *, at_any_rate: bool) -> list[str]:
        now, before = await _server_wide(self.leases.control), self._before
        differences = [*_settings(before, now), *_users(before, now), *_functions(before, now)]
        if not differences:
            return []
        why = "" if at_any_rate and not self._is_given else await self._why_it_stays()
        if why:
            self._before = now  # told once; it is not ours to change while others may rely on it
            return [f"{what}; it stays so, as {why}" for what, _ in differences]
        return [f"{what}; {await self._put_back(commands)}" for what, commands in differences]

    @property
    def _is_given(self) -> bool:
        return self.leases.endpoint.provider == "external"

    async def _why_it_stays(self) -> str:
        if any(each.get("worker") != STANDING for each in await self.leases.others()):
            return "another worker runs"
        return "the server is a given one" if self._is_given else ""

    async def _put_back(self, commands: list[tuple[str | bytes, ...]]) -> str:
        from redis.exceptions import ResponseError

        control: Any = self.leases.control
        try:
            for command in commands:
                await control.execute_command(*command)
        except ResponseError as problem:
            return f"it stays so, as the server refuses to put it back: {problem}"
        return "it was put back"


_WHO = "by this test or one that ran beside it"
_Difference = tuple[str, list[tuple[str | bytes, ...]]]


def _differs(before: dict[str, str] | None, now: dict[str, str]) -> list[str]:
    """What a connection is in the midst of now and was not at the last look."""
    was = before or {}
    what = []
    for name in _SUBSCRIBED:
        if int(now.get(name, "0")) > int(was.get(name, "0")):
            what.append(f"is subscribed to {now[name]} {'pattern' if name == 'psub' else 'channel'}(s)")
            break
    if _BLOCKED in now.get("flags", "") and _BLOCKED not in was.get("flags", ""):
        what.append(f"waits in {now.get('cmd', 'a blocking command').upper()}")
    # Not by `multi=`: where that has room for watched keys too, it is 0 long after both have ended.
    if _IN_MULTI in now.get("flags", "") and _IN_MULTI not in was.get("flags", ""):
        what.append("has left a MULTI open")
    if _watches(now) and not _watches(was):
        what.append("watches keys")
    if before is not None and now.get("name") != before.get("name"):
        what.append("has taken that name" if now.get("name") else f"has dropped its name {before.get('name')!r}")
    return what


def _watches(facts: dict[str, str]) -> bool:
    """Whether its next EXEC depends on keys; those that were written meanwhile are no longer counted, but flagged."""
    return int(facts.get("watch", "0")) > 0 or _WATCHED_IN_VAIN in facts.get("flags", "")


def _settings(before: _ServerWide, now: _ServerWide) -> list[_Difference]:
    found: list[_Difference] = []
    for name, value in now.settings.items():
        old = before.settings.get(name, value)
        if old != value:
            shown = "" if any(word in name for word in _SECRETS) else f" from {old!r} to {value!r}"
            found.append((f"CONFIG SET changed {name}{shown}", [("CONFIG", "SET", name, old)]))
    return found


def _users(before: _ServerWide, now: _ServerWide) -> list[_Difference]:
    found: list[_Difference] = []
    for name in sorted(before.users.keys() | now.users.keys()):
        old, new = before.users.get(name), now.users.get(name)
        if old is None:
            found.append((f"the ACL user {name!r} was added", [("ACL", "DELUSER", name)]))
        elif old != new:
            what = "removed" if new is None else "changed"
            found.append((f"the ACL user {name!r} was {what}", [("ACL", "SETUSER", name, "reset", *old.split())]))
    return found


def _functions(before: _ServerWide, now: _ServerWide) -> list[_Difference]:
    if before.functions is None or before.functions == now.functions:
        return []
    return [
        (
            "the server's functions were changed",
            [("FUNCTION", "RESTORE", before.functions, "FLUSH")],
        )
    ]


async def _server_wide(control: Any) -> _ServerWide:
    from redis.exceptions import ResponseError

    settings = {str(name): str(value) for name, value in (await control.config_get("*")).items()}
    users = {}
    for line in await control.execute_command("ACL LIST"):
        text = line.decode() if isinstance(line, bytes) else str(line)
        _, name, rules = text.split(" ", 2)
        users[name] = rules
    functions: Any = None
    with contextlib.suppress(ResponseError):  # older than 7.0
        functions = await control.execute_command("FUNCTION", "DUMP")
    return _ServerWide(settings, users, functions)


def _numbers(counted: bytes) -> list[int]:
    return [int(word) for word in counted.split()]
