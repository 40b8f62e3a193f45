"""Runs sequences against a lent Redis database, resets it, and compares it with a seed written afresh.

Talks to the server by sockets of its own, so that what is proven and what proves it share nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from realstack.errors import NotOurs
from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import SOCKET_NAME
from realstack.state.redis_report import RedisResetReport
from realstack.state.redis_seed import RedisSeed, seed_of
from tests.integration.state.random_redis import KEYS, NO_SUCH_QUEUE, Step

SCRATCH = "3000"
"""The database into which the seed is written afresh."""

# Sets and hashes have no order; of all else the server's own form says all.
_CONTENTS = """
redis.call('SELECT', ARGV[1])
local prefix, ends_of_fields = ARGV[2], ARGV[3] == '1'
local keys = redis.call('KEYS', prefix .. '*')
table.sort(keys)
local contents, ends = {}, {}
for _, key in ipairs(keys) do
  local name, kind, body = string.sub(key, #prefix + 1), redis.call('TYPE', key)['ok'], nil
  if kind == 'set' then
    body = redis.call('SMEMBERS', key)
    table.sort(body)
  elseif kind == 'hash' then
    body = redis.call('HKEYS', key)
    table.sort(body)
    if ends_of_fields and #body > 0 then
      for i, at in ipairs(redis.call('HPEXPIRETIME', key, 'FIELDS', #body, unpack(body))) do
        if at ~= -1 then ends[#ends + 1] = {name .. '[' .. body[i] .. ']', string.format('%.0f', at)} end
      end
    end
    for i, field in ipairs(body) do
      body[i] = #field .. ':' .. field .. '=' .. redis.call('HGET', key, field)
    end
  else
    body = {redis.call('DUMP', key)}
  end
  for i, part in ipairs(body) do body[i] = #part .. ':' .. part end
  contents[#contents + 1] = {name, kind .. ' ' .. redis.sha1hex(table.concat(body))}
  local at = redis.call('PEXPIRETIME', key)
  if at ~= -1 then ends[#ends + 1] = {name, string.format('%.0f', at)} end
end
redis.call('SELECT', '0')
return {contents, ends}
"""


class Refused(Exception):
    """An error that the server answered with."""


class Socket:
    """A connection that sends words and reads answers, and is in the database ``number``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.number = "0"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.begin()

    def begin(self) -> None:
        """Forget what the last connection was in the midst of."""
        self.queued: list[Step] | None = None
        self.watches = self.subscribed = self.waits = self.waits_long = self.named = False
        self.unread = 0

    async def open(self, number: str) -> None:
        """Connect, unless connected, and select that database."""
        if self._streams is None:
            self.begin()
            limit = 2**22
            if self.endpoint.socket_dir:
                path = str(self.endpoint.socket_dir / SOCKET_NAME)
                self._streams = await asyncio.open_unix_connection(path, limit=limit)
            else:
                self._streams = await asyncio.open_connection(self.endpoint.host, self.endpoint.port, limit=limit)
            self.number = "0"
            if number != "0":
                await self.ask(("SELECT", number))
                self.number = number

    @property
    def is_open(self) -> bool:
        return self._streams is not None

    async def ask(self, words: Sequence[str | bytes | int]) -> Any:
        """The answer to one command."""
        (answer,) = await self.ask_all([words])
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def ask_all(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """The answers to commands that are sent at once. An error is an answer, and so is a connection's end."""
        self.send(commands)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await self.answer())
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                break
        return answers + [Refused("the connection has ended")] * (len(commands) - len(answers))

    def send(self, commands: Iterable[Sequence[str | bytes | int]]) -> None:
        assert self._streams
        self._streams[1].write(b"".join(map(_packed, commands)))

    async def answer(self) -> Any:
        """The next answer. What is published to a subscriber comes between answers, and is none."""
        while True:
            found = await self.read()
            if not isinstance(found, list) or not found or found[0] not in (b"message", b"pmessage"):
                return found

    async def read(self) -> Any:
        assert self._streams
        reader = self._streams[0]
        line = await reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Refused(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        size = int(rest)
        if size < 0:
            return None
        if kind == b"$":
            return (await reader.readexactly(size + 2))[:-2]
        assert kind == b"*", line
        return [await self.read() for _ in range(size)]

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
        self.begin()


def _packed(words: Sequence[str | bytes | int]) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Lender(Protocol):
    """What is proven: whatever lends and resets."""

    last_reset: RedisResetReport | None

    async def lend(self) -> Endpoint: ...
    async def reset(self, lent: Endpoint) -> RedisResetReport: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class Contents:
    """Each key's type and a digest of what it holds; each key's and field's end in ms by the server's clock."""

    values: dict[bytes, bytes]
    ends: dict[bytes, int]

    def differences(self, seed: Contents, not_before: int, not_after: int) -> list[str]:
        """What differs from ``seed``, whose ends are counted from some instant between the two."""
        found = [
            f"{key.decode()}: {seed.values.get(key)!r} became {self.values.get(key)!r}"
            for key in sorted(self.values.keys() | seed.values.keys())
            if self.values.get(key) != seed.values.get(key)
        ]
        found += [
            f"{key.decode()}: ends {seed.ends.get(key)}, became {self.ends.get(key)}"
            for key in sorted(self.ends.keys() ^ seed.ends.keys())
        ]
        since = {end - seed.ends[key] for key, end in self.ends.items() if key in seed.ends}
        if len(since) > 1:
            found.append(f"ends count from {len(since)} instants, {max(since) - min(since)} ms apart")
        if since and not not_before <= min(since) <= max(since) <= not_after:
            found.append(f"ends count from {min(since)}, and the reset ran from {not_before} to {not_after}")
        return found


@dataclass(slots=True)
class _Happened:
    """What a sequence has done that a reset is to tell of, and what it may tell of."""

    told: set[str] = field(default_factory=set)
    may_be_told: set[str] = field(default_factory=set)
    server: bool = False
    harm: bool = False
    """Other databases were touched: leases and counters may be gone."""
    evicts: bool = False
    """A memory limit may have evicted any key, leases and counters too; or the server refuses to write."""
    slow: bool = False
    """The clone or the sealed copy may be gone: the slow way is the right one."""
    waits_for: set[str] = field(default_factory=set)


_SETTINGS = ("hz", "set-max-intset-entries", "maxmemory-policy", "maxmemory-samples", "maxmemory",
             "min-replicas-to-write", "notify-keyspace-events")  # fmt: skip


_NAMES = frozenset({*KEYS, NO_SUCH_QUEUE})


class Proof:
    """One lender, one database that it has lent, and three connections of an application to it.

    ``kind`` is how it is reset where nothing was damaged; ``puts_back``, whether settings, users and functions are too.
    """

    def __init__(self, server: Endpoint, lender: Lender, *, kind: str, puts_back: bool) -> None:
        self.server = server
        self.lender = lender
        self.puts_back = puts_back
        self.kind = kind
        self.done = 0
        self._control = Socket(server)
        self._sessions = [Socket(server) for _ in range(3)]
        self._happened = _Happened()
        self._since_harm = 9
        self._seed = Contents({}, {})
        self._field_ends = False
        self._server_wide: Any = None
        self._lent: Endpoint | None = None

    async def __aenter__(self) -> Proof:
        await self._control.open("0")
        self._field_ends = not isinstance((await self._asked(["HPEXPIRETIME", "no", "FIELDS", 1, "f"]))[0], Refused)
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in (self._control, *self._sessions):
            each.close()

    async def prove(self, plan: RedisPlan, sequences: Sequence[Sequence[Step]]) -> None:
        """Lend, then for each sequence: do it, reset, compare."""
        seed = seed_of(plan)
        self._seed = await self._written_afresh(seed)
        self._server_wide = await self._server_wide_now()
        self._since_harm = 9
        self._lent = await self.lender.lend()
        assert self.lender.last_reset
        try:
            for sequence in sequences:
                await self.run(sequence)
        finally:
            for session in self._sessions:
                session.close()
            await self.lender.close()

    async def run(self, sequence: Sequence[Step]) -> None:
        """Do it, reset, compare."""
        self._happened = happened = _Happened()
        for number, group in groupby(sequence, key=lambda step: step.session):
            await self._sent(self._sessions[number], list(group))
        self._of_connections()
        changed = await self._server_wide_changed() if happened.server else set()
        happened.told |= changed
        not_before = await self._now()
        report = await self._reset()
        not_after = await self._now()
        self._tidy()
        contents = await self._contents(self._number, self._prefix)
        about = f"after {report} of {_shown(sequence)}"
        found = contents.differences(self._seed, not_before, not_after)
        if happened.waits_for and "waits in" in " ".join(report.noticed):
            # Who waits for a key of the seed is served when it is back: told, and so no difference.
            found = [each for each in found if each.partition(":")[0] not in happened.waits_for]
        assert not found, f"{found} {about}"
        if changed and self.puts_back:
            left = await self._server_wide_changed()
            assert not left, f"{left} {about}"
        elif changed:
            self._server_wide = await self._server_wide_now()
        self._check_notices(report, about)
        self._since_harm = 0 if happened.slow else self._since_harm + 1
        if self._since_harm > 2 and self._seed.values:
            assert report.kind == self.kind, about
        self.done += 1

    @property
    def _prefix(self) -> str:
        assert self._lent
        return self._lent.options.get("key_prefix", "")

    @property
    def _number(self) -> str:
        assert self._lent
        return self._lent.database or "0"

    async def _reset(self) -> RedisResetReport:
        assert self._lent
        try:
            return await self.lender.reset(self._lent)
        except NotOurs:
            assert self._happened.harm or self._happened.evicts  # its lease went with database 0, or was evicted
            self._lent = await self.lender.lend()
            assert self.lender.last_reset
            for session in self._sessions:
                session.close()
            self._happened.told.clear()
            return self.lender.last_reset

    async def _sent(self, session: Socket, steps: list[Step]) -> None:
        await session.open(self._number)
        for blocks, group in groupby(steps, key=lambda step: step.blocks or step.words[0] == "close"):
            if session.waits:
                return
            if not blocks:
                sent = list(group)
                commands = [command for step in sent for command in self._commands(step)]
                answers = iter(await session.ask_all(commands))
                for step in sent:
                    for command in self._commands(step):
                        self._answered(session, Step(step.session, step.kind, tuple(command)), next(answers))
                if not session.is_open:
                    await session.open(self._number)
                continue
            for step in group:
                if step.words[0] == "close":
                    session.close()
                    await session.open(self._number)
                elif not await self._waits(session, step):
                    continue
                else:
                    return

    def _commands(self, step: Step) -> list[tuple[str, ...]]:
        """The commands of a step, with numbers for the databases' names."""
        numbers = self._numbers()
        words = tuple(numbers.get(word, self._prefix + word if word in _NAMES else word) for word in step.words)
        if words[0] != "into":
            return [words]
        return [("SELECT", words[1]), words[2:], ("SELECT", self._number)]

    def _numbers(self) -> Mapping[str, str]:
        state: Any = self.lender
        sealed = state._sealed.number if getattr(state, "_sealed", None) else 4095
        # One that is only about to be made has no number yet, and 0 is where realstack's own keys are.
        clones = [clone.number for clone in getattr(state, "_clones", {}).values() if clone.number] or [4094]
        return {"own": self._number, "sealed": str(sealed), "clone": str(clones[0])}

    async def _waits(self, session: Socket, step: Step) -> bool:
        """Send what may wait. In a transaction, and where it is refused or served at once, there is an answer."""
        session.send(self._commands(step))
        await self._now()  # by the time of the answer the server has come to it, and not later than to the next step
        if session.queued is None and not session.subscribed:
            if step.words[1] != NO_SUCH_QUEUE:
                self._happened.waits_for |= set(step.words)
            session.waits = True
            if session.number == self._number:
                self._happened.may_be_told.add("waits in")
                session.waits_long = step.words[1] == NO_SUCH_QUEUE
            return True
        self._answered(session, step, await session.answer())
        return False

    def _answered(self, session: Socket, step: Step, answer: Any) -> None:  # noqa: PLR0912
        words = step.words
        if words[0] in ("EXEC", "DISCARD"):
            if isinstance(answer, Refused) and "without MULTI" in str(answer):
                return
            queued, session.queued, session.watches = session.queued, None, False
            if words[0] == "EXEC" and isinstance(answer, list):
                for each, its in zip(queued or [], answer, strict=True):
                    self._answered(session, each, its)
            return
        if answer == "QUEUED":
            assert session.queued is not None
            session.queued.append(step)
            return
        happened = self._happened
        if step.kind in ("server", "refusing"):
            happened.server = True
            happened.may_be_told |= {"CONFIG", "ACL", "functions"}
        if step.kind == "refusing":
            happened.evicts = True
            happened.may_be_told.add("own keys")
        if isinstance(answer, Refused):
            return
        match words:
            case ("MULTI",):
                session.queued = []
            case ("WATCH", _):
                session.watches = True
            case ("SELECT", number):
                session.number = number
            case ("SUBSCRIBE" | "PSUBSCRIBE", _):
                session.subscribed = True
            case ("CLIENT", "SETNAME", _):
                session.named = True
            case ("CLIENT", "KILL", *_):
                happened.slow = True
                for other in self._sessions:
                    if other is not session and not other.subscribed:
                        other.close()
            case ("FLUSHALL", *_) | ("EVAL", "return redis.call('FLUSHALL')", "0"):
                self._harm("FLUSHALL")
            case ("SWAPDB", one, two):
                if one != two:
                    self._harm("SWAPDB")
                else:
                    happened.may_be_told.add("SWAPDB")
            case ("SCRIPT", "FLUSH"):
                happened.told.add("SCRIPT FLUSH")
            case ("CONFIG", "RESETSTAT"):
                happened.told = happened.told - {"FLUSHALL", "SWAPDB", "SCRIPT FLUSH"} | {"RESETSTAT"}
                happened.may_be_told |= {"FLUSHALL", "SWAPDB", "SCRIPT FLUSH"}
        if step.kind in ("others", "refusing"):
            happened.slow = True  # the clone is spoiled, or cannot be made

    def _harm(self, word: str) -> None:
        self._happened.harm = self._happened.slow = self._happened.server = True
        told = self._happened.told
        if word == "FLUSHALL":
            told -= {"SWAPDB"}  # which is the lesser evil
            told.add(word)
        elif not told & {"FLUSHALL", "RESETSTAT"}:
            told.add(word)
        self._happened.may_be_told |= {"FLUSHALL", "SWAPDB", "own keys"}

    def _of_connections(self) -> None:
        """What the lent database's connections are in the midst of now."""
        for session in self._sessions:
            if not session.is_open or session.number != self._number:
                continue
            for state, word in (
                (session.subscribed, "is subscribed"),
                (session.queued is not None, "has left a MULTI open"),
                (session.watches, "watches keys"),
                # A server with too few replicas refuses at once what would wait.
                (session.waits_long and not self._happened.evicts, "waits in"),
            ):
                if state:
                    self._happened.told.add(word)
            if session.named:
                self._happened.may_be_told.add("has taken that name")

    def _tidy(self) -> None:
        """Connections begin anew after one that was left in the midst of something."""
        for session in self._sessions:
            if (
                session.queued is not None
                or session.watches
                or session.subscribed
                or session.waits
                or session.named
                or session.number != self._number
            ):
                session.close()

    def _check_notices(self, report: RedisResetReport, about: str) -> None:
        told, happened = " ".join(report.noticed), self._happened
        missing = {word for word in happened.told if word not in told}
        if not happened.harm:
            assert not missing, f"{missing} not told {about}"
        elif happened.told & {"FLUSHALL", "SWAPDB", "RESETSTAT"}:
            assert any(word in told for word in ("FLUSHALL", "SWAPDB", "RESETSTAT")), f"{missing} not told {about}"
        allowed = happened.told | happened.may_be_told
        if happened.slow or self._since_harm <= 2:
            allowed |= {"sealed copy", "counters back"}
        for sentence in report.noticed:
            assert any(word in sentence for word in allowed), f"{sentence!r} is no news {about}"

    async def _asked(self, *commands: Sequence[Any]) -> list[Any]:
        await self._control.open("0")
        answers = await self._control.ask_all(commands)
        if not self._control.is_open:  # a test killed it
            await self._control.open("0")
            answers = await self._control.ask_all(commands)
        return answers

    async def _now(self) -> int:
        ((seconds, microseconds),) = await self._asked(["TIME"])
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _contents(self, number: str, prefix: str) -> Contents:
        (answer,) = await self._asked(["EVAL", _CONTENTS, 0, number, prefix, int(self._field_ends)])
        if isinstance(answer, Refused):
            raise answer
        values, ends = answer
        return Contents(dict(values), {key: int(end) for key, end in ends})

    async def _written_afresh(self, seed: RedisSeed) -> Contents:
        """What the seed's commands make where nothing of what is proven is between."""
        own = [write.command for write in seed.writes]
        answers = await self._asked(["SELECT", SCRATCH], ["FLUSHDB"], *own, ["SELECT", "0"])
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert not refused, refused
        contents = await self._contents(SCRATCH, "")
        await self._asked(["SELECT", SCRATCH], ["FLUSHDB"], ["SELECT", "0"])
        contents.ends = dict(seed.ttls)
        contents.ends |= {b"%b[%b]" % (key, name): end for (key, name), end in seed.field_ttls.items()}
        return contents

    async def _server_wide_now(self) -> list[Any]:
        return await self._asked(
            *(["CONFIG", "GET", name] for name in _SETTINGS), ["ACL", "LIST"], ["FUNCTION", "DUMP"]
        )

    async def _server_wide_changed(self) -> set[str]:
        """Words of the sentences about what is not as it was at the lend."""
        now, before = await self._server_wide_now(), self._server_wide
        words = [*_SETTINGS, "ACL user", "functions"]
        return {word for word, old, new in zip(words, before, now, strict=True) if old != new}


def _shown(sequence: Sequence[Step]) -> str:
    return "; ".join(f"{step.session}> {' '.join(step.words).partition(chr(10))[0]}" for step in sequence)
