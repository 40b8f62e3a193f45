"""One process's use of an environment: it attaches to one or starts one, and lends to each test what it holds."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from realstack import handles, registry
from realstack.config import Settings, load_settings, past_proxy
from realstack.environment import Environment, Event, attach, running_environment, why_not_attach
from realstack.errors import RealstackError
from realstack.handles.background import BackgroundLoop
from realstack.handles.connections import ConnectionBudget
from realstack.keeper import end, ensure_kept
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Endpoint

if TYPE_CHECKING:
    from realstack.handles.database import Database
    from realstack.handles.isolation import Lender, Wish
    from realstack.handles.llm import FakeLLM
    from realstack.handles.pools import Pools
    from realstack.handles.redis import RedisDatabase
    from realstack.handles.redis_lenders import RedisLenders
    from realstack.handles.transaction import TransactionDatabase
    from realstack.state.changes import Changes
    from realstack.state.maintenance import Maintenance
    from realstack.state.redis_changes import RedisChanges

CHANGES_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Set for a worker of a pytest-xdist run: its workers share servers, which end with ``controller_pid``."""

    run: str
    controller_pid: int


def up_name(settings: Settings) -> str:
    """The record's name of the environment that `realstack up` keeps for this project."""
    return f"up-{settings.project}"


class Session:
    """Starts nothing until :attr:`environment` is asked for; ends it in :meth:`close`, if it is its own.

    Thread-safe. A failed start is remembered: every later ask raises the same error, and nothing is tried
    again. ``attach_to`` names the session of a process that forked this one: its environment is used.
    ``prove``: compare with the known state after every test. ``keep_failed``: databases of tests that failed stay, and
    so does an environment of its own that holds one.
    """

    def __init__(
        self,
        start: Path | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        worker: str = "main",
        shared: Shared | None = None,
        attach_to: str = "",
        prove: bool = False,
        keep_failed: bool = False,
    ) -> None:
        self.worker = worker
        self.run_id = registry.new_run_id()
        self.name = attach_to or (shared_name(shared.run) if shared else f"session-{self.run_id}")
        self._inherited = bool(attach_to)
        self.events: list[Event] = []
        self._start = start
        self._overrides = dict(overrides or {})
        self._shared = shared
        self._lock = threading.RLock()
        self._loop = BackgroundLoop()
        self._environment: Environment | None = None
        self._failed: RealstackError | None = None
        self._prove = prove
        self._keep_failed = keep_failed
        self.started_up = ""
        self.kept: list[str] = []
        self._lenders: dict[tuple[bool, tuple[str, ...]], Lender] = {}
        self._maintenance: Maintenance | None = None
        self._late: list[Exception] = []
        self.notes: list[str] = []
        self._pools: Pools | None = None
        self._redis: RedisLenders | None = None
        self._test: TestLease | None = None
        self._tests = self._numbers = 0

    def __repr__(self) -> str:
        return f"<Session {self.worker} {self._environment or 'not started'}>"

    @property
    def started(self) -> bool:
        """Whether an environment is there already."""
        return self._environment is not None

    @property
    def environment(self) -> Environment:
        """The environment; attached to or started by the first ask, which blocks until it is ready.

        :raises RealstackError: it cannot be had; the same error again at every further ask.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed
            if self._environment is None:
                try:
                    self._environment = self._opened()
                except RealstackError as problem:
                    self._failed = problem
                    raise
            return self._environment

    def summary(self) -> list[str]:
        """What runs where, why, how long it took, and how many connections the workers may open, a line each."""
        lines = self.environment.summary()
        if POSTGRES in self.environment.endpoints:
            lines.append(str(self._connections()))
        return lines

    def _connections(self) -> ConnectionBudget:
        limit = self.environment.endpoint(POSTGRES).options.get("max_connections", "0")
        workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") if self._shared is not None else "1"
        return ConnectionBudget(int(limit), int(workers))

    @property
    def test(self) -> TestLease:
        """What the running test holds. It ends with :meth:`end_test`."""
        with self._lock:
            if self._test is None:
                self._tests += 1
                self._test = TestLease(
                    self, f"{self.run_id}-{self.worker}-{self._tests}", handles.test_in_progress(), self._keep_failed
                )
            return self._test

    def test_in_progress(self) -> TestLease | None:
        """What the running test holds, if it has asked for anything."""
        return self._test

    def end_test(self, *, failed: bool = False) -> None:
        """Take back what the test held. Synchronous; to be called when its fixtures have ended.

        :raises WroteInReadOnly: the test was to read only.
        :raises NotAtKnownState: its database is not what it was; that is no fault of the test's.
        """
        with self._lock:
            test, self._test = self._test, None
        if test is not None:
            test.close(failed=failed)

    def wish(self, isolation: str = "", seeds: tuple[str, ...] = ()) -> Wish:
        """What to lend: by that mode of isolation (default: the settings'), with those seeds on top.

        :raises SettingsError: there is no such mode.
        """
        from realstack.handles.isolation import Wish, isolation_named

        settings = self.environment.settings
        where = "the marker" if isolation else "[tool.realstack] isolation"
        return Wish(isolation_named(isolation or settings.isolation, where), _from_root(settings.root, seeds))

    def lend_database(self, wish: Wish | None = None) -> Database:
        """A database of its own at the known state. It blocks until there is one.

        :raises RealstackError: there is none to be had, or what a seed says does not fit.
        """
        wish = wish or self.wish()
        lender = self._lender(wish)
        endpoint = self._loop.run(lender.lend())
        if wish.isolation == "transaction":
            from realstack.handles.transaction import TransactionDatabase

            return TransactionDatabase(endpoint)
        from realstack.handles.database import Database

        pools = self._pools_of(endpoint)
        return Database(endpoint, pools, lambda: self._loop.ask(lender.changes(endpoint)), pools.max_size)

    def _pools_of(self, endpoint: Endpoint) -> Pools:
        """Those that the test before left for that database, or new ones."""
        from realstack.handles.pools import Pools

        left, self._pools = self._pools, None
        if left is not None and left.endpoint == endpoint:
            return left
        if left is not None:
            left.close()  # its database is lent no more for now, and connections are not without bound
        return Pools(endpoint, self._connections().pool_size)

    def take_back_database(self, lent: Database, wish: Wish | None = None, *, keep: bool = False) -> list[str]:
        """The end of :meth:`lend_database`; what there is to say of it."""
        if self._environment is None:
            lent.shut()
            return []
        wish = wish or self.wish()
        lender = self._lender(wish)
        pools = None
        if lender.in_place:
            pools = lent.end_of_test()
        else:
            lent.shut()
        same_again = False
        try:
            taken = self._loop.run(lender.take_back(lent.endpoint, read_only=wish.isolation == "readonly", keep=keep))
            same_again = taken.same_again
        finally:
            if pools is not None and same_again and self._pools is None:
                self._pools = pools
            elif pools is not None:
                pools.close()
        return list(taken.said)

    def changes_of(self, lent: Database, wish: Wish) -> Changes | None:
        """What was committed to a lent database since, or done in its transaction, for synchronous callers.

        :raises TimeoutError: it cannot be said: a transaction of the test's is in the way.
        """
        if wish.isolation == "transaction":
            lent = cast("TransactionDatabase", lent)  # what a transaction did its own connection sees alone
            return lent.changes_until_now(CHANGES_WITHIN_S)
        return self._loop.run(asyncio.wait_for(self._lender(wish).changes(lent.endpoint), CHANGES_WITHIN_S))

    def redis_changes_of(self, lent: RedisDatabase, seeds: tuple[str, ...]) -> RedisChanges:
        """What differs in a lent Redis from its seed, for synchronous callers."""
        assert self._redis is not None  # noqa: S101 - it has lent it
        seeds = _from_root(self.environment.settings.root, seeds)
        return self._loop.run(asyncio.wait_for(self._redis.changes(seeds, lent.endpoint), CHANGES_WITHIN_S))

    def _lender(self, wish: Wish) -> Lender:
        from realstack.handles.isolation import resets_in_place

        with self._lock:
            key = (resets_in_place(wish, self.environment), wish.seeds)
            if key in self._lenders:
                self._lenders[key] = self._lenders.pop(key)  # the latest used is the last to go
            else:
                seeded = [each for each in self._lenders if each[1]]
                if wish.seeds and len(seeded) >= self._connections().seeded:
                    self._evict(self._lenders.pop(seeded[0]))
                self._lenders[key] = self._made_lender(wish)
            return self._lenders[key]

    def _evict(self, lender: Lender) -> None:
        """What its end finds is told at the end: the test that made it go has done nothing."""
        try:
            self._loop.run(lender.close())
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is another test's
            self._late.append(problem)

    def _made_lender(self, wish: Wish) -> Lender:
        from realstack.handles.isolation import lender_for
        from realstack.state.maintenance import Maintenance

        if self._maintenance is None:
            self._maintenance = Maintenance(self.environment.endpoint(POSTGRES))
        self._numbers += 1
        worker = f"{self.worker}-{self._numbers}"
        return self._loop.run(
            lender_for(wish, self.environment, worker, self.run_id, self._maintenance, prove=self._prove)
        )

    def lend_redis(self, seeds: tuple[str, ...] = ()) -> RedisDatabase:
        """A logical Redis database of this process's own, brought to its seed, with ``seeds`` (paths) on top."""
        from realstack.handles.redis import RedisDatabase

        environment = self.environment
        seeds = _from_root(environment.settings.root, seeds)
        with self._lock:
            if self._redis is None:
                from realstack.handles.redis_lenders import RedisLenders

                plan = environment.settings.redis
                self._redis = RedisLenders(environment.endpoint(REDIS), plan, self.worker, self.run_id, self.notes)
            redis = self._redis
        endpoint = self._loop.run(redis.lend(seeds, handles.test_in_progress().name))
        return RedisDatabase(endpoint, lambda: self._loop.ask(redis.changes(seeds, endpoint)))

    def take_back_redis(self, lent: RedisDatabase, seeds: tuple[str, ...] = ()) -> None:
        """The end of :meth:`lend_redis`."""
        if self._environment is not None and self._redis is not None:
            seeds = _from_root(self._environment.settings.root, seeds)
            self._loop.run(self._redis.take_back(seeds, lent.endpoint))

    def close(self) -> None:
        """End the test in progress, drop what was lent, and end the environment if it is our own.

        :raises NotAtKnownState: the last proof found that a database, or the template, is not what it should be.
        :raises RealstackError: something that was lent cannot be dropped. Of several problems the first is raised.
        """
        problems: list[Exception] = self._late
        try:
            endings: list[Callable[[], None]] = [partial(self._end, each) for each in self._lent_by()]
            for ending in (self.end_test, self._close_pools, *endings):
                try:
                    ending()
                except Exception as problem:  # noqa: BLE001 - the rest is to be ended too
                    problems.append(problem)
        finally:
            self._late, self._maintenance = [], None
            self._lenders.clear()
            self._redis = None
            self._environment = None
            self._loop.close()
            if self.started_up and not self.kept and self._shared is None:
                end_up(self.started_up)
        if problems:
            self.notes += [str(problem) for problem in problems[1:]]
            raise problems[0]

    def _close_pools(self) -> None:
        if self._pools is not None:
            self._pools.close()
            self._pools = None

    def _lent_by(self) -> list[Lender | RedisLenders]:
        return [*self._lenders.values(), *([self._redis] if self._redis is not None else [])]

    def _end(self, lender: Lender | RedisLenders) -> None:
        self._loop.run(lender.close())

    def _opened(self) -> Environment:
        os.environ.update(past_proxy(os.environ))  # the tests' own clients must reach loopback
        settings = load_settings(self._start, overrides=self._overrides)
        if self._inherited and (inherited := registry.find(self.name)) is not None:
            return self._loop.run(attach(settings, inherited))
        record = registry.find(up_name(settings))
        why_not = None
        if record is not None and record.ready:
            why_not = why_not_attach(settings, record)
            if why_not is None:
                return self._loop.run(attach(settings, record))
        if self._keep_failed:
            if why_not is not None:
                raise RealstackError(
                    f"databases of failed tests are to be kept, and what is up is of no use for that: {why_not}.",
                    remedy="`realstack down`, then run the tests again.",
                )
            record, started = ensure_kept(
                up_name(settings), settings, overrides=self._overrides, listen=self.events.append
            )
            self.started_up = record.name if started else ""
            return self._loop.run(attach(settings, record))
        if self._shared is not None:
            return self._loop.run(attach(settings, self._kept(settings, self._shared.controller_pid)))
        return self._loop.enter(running_environment(settings, name=self.name, listen=self.events.append))

    def _kept(self, settings: Settings, controller_pid: int) -> registry.Record:
        record, _ = ensure_kept(
            self.name,
            settings,
            overrides=self._overrides,
            serves_pid=controller_pid,
            listen=self.events.append,
        )
        return record


def _from_root(root: Path, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Paths as the settings write them, which is how errors show them; other sources as they are."""
    return tuple(
        os.path.relpath(source, root) if Path(source).is_absolute() and Path(source).is_relative_to(root) else source
        for source in sources
    )


def end_up(name: str) -> None:
    """End the environment of that name, which was started to keep databases of tests that failed, and keeps none."""
    record = registry.find(name)
    if record is not None:
        end(record)


def shared_name(run: str) -> str:
    """The record's name of the environment that the workers of one pytest-xdist run share."""
    return f"xdist-{run}"


class TestLease:
    """What one test holds: at most one database, one Redis and one session of the fake LLM, each at its first ask."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    def __init__(self, session: Session, name: str, ask: handles.TestAsk, keeps_if_failed: bool = False) -> None:
        self.session = session
        self.name = name
        self.ask = ask
        self._keeps_if_failed = keeps_if_failed
        self._undone_though_kept = False
        self._database: tuple[Database, Wish] | None = None
        self._redis: RedisDatabase | None = None
        self._llm: FakeLLM | None = None
        self._log_marks: dict[str, int] = {}

    def database(self) -> Database:
        """The test's database, at the known state when first asked for."""
        if self._database is None:
            self.mark_logs()
            wish = self.session.wish(self.ask.isolation, self.ask.seeds)
            self._database = (self.session.lend_database(wish), wish)
            if wish.isolation == "transaction":
                self._undone_though_kept, self._keeps_if_failed = self._keeps_if_failed, False
        return self._database[0]

    def redis(self) -> RedisDatabase:
        """The test's Redis, at its seed when first asked for."""
        if self._redis is None:
            self.mark_logs()
            self._redis = self.session.lend_redis(self.ask.redis_seeds)
        return self._redis

    def llm(self) -> FakeLLM:
        """The test's session of the fake LLM: its own rules, its own calls."""
        if self._llm is None:
            from realstack.handles.llm import FakeLLM

            self.mark_logs()
            self._llm = FakeLLM(self.session.environment.endpoint(FAKE_LLM), self.name)
        return self._llm

    def environ(self) -> dict[str, str]:
        """The variables by which an application of its own process finds what this test holds."""
        environment = self.session.environment
        lent: dict[str, Endpoint] = {}
        if POSTGRES in environment.endpoints:
            lent[POSTGRES] = self.database().endpoint
        if REDIS in environment.endpoints:
            lent[REDIS] = self.redis().endpoint
        if FAKE_LLM in environment.endpoints:
            lent[FAKE_LLM] = self.llm().endpoint
        return environment.environ(**lent)

    def mark_logs(self) -> None:
        """Remember where the services' logs stand, so that :meth:`report` shows this test's lines alone."""
        environment = self.session.environment
        if not self._log_marks:
            self._log_marks = {name: len(environment.log_lines(name)) for name in environment.endpoints}

    def report(self) -> list[tuple[str, str]]:
        """Sections for a failing test's report: what it changed, the services' log lines, and its LLM calls."""
        environment = self.session.environment
        sections = self._changes()
        if self._undone_though_kept:
            self._undone_though_kept = False
            self.session.notes.append(f"{self.ask.name}: {UNDONE}")
        for name, mark in self._log_marks.items():
            lines = environment.log_lines(name, mark)
            if lines:
                sections.append((f"realstack: log of {name}", "\n".join(lines[-MOST_LOG_LINES:])))
        if self._llm is not None and (calls := self._llm.calls):
            sections.append(("realstack: LLM calls", "\n".join(str(call) for call in calls)))
        return sections

    def _changes(self) -> list[tuple[str, str]]:
        sections = []
        if self._database is not None:
            lent, wish = self._database
            title = "realstack: what the test changed in the database"
            sections.append((title, _told(lambda: self.session.changes_of(lent, wish))))
        redis = self._redis
        if redis is not None:
            title = "realstack: what the test changed in Redis"
            sections.append((title, _told(lambda: self.session.redis_changes_of(redis, self.ask.redis_seeds))))
        return [(title, text) for title, text in sections if text]

    def close(self, *, failed: bool = False) -> None:
        """Close the handles, and give back what was lent.

        :raises WroteInReadOnly: the test was to read only.
        :raises NotAtKnownState: the reset did not bring its database back.
        """
        if self._llm is not None:
            self._llm.close()
        if self._redis is not None:
            self._redis.shut()
            self.session.take_back_redis(self._redis, self.ask.redis_seeds)
        if self._database is not None:
            database, wish = self._database
            keep = failed and self._keeps_if_failed
            said = self.session.take_back_database(database, wish, keep=keep)
            if keep:
                name = database.endpoint.database or ""
                self.session.kept.append(name)
                said.append(
                    f"its database is kept: {database.endpoint.safe_url}; look at it with "
                    f'psql "$(realstack state url {name})"'
                )
            self.session.notes += [f"{self.ask.name}: {sentence}" for sentence in said]


UNDONE = (
    'its database is not kept: isolation="transaction" has undone all that the test did; with '
    'isolation="reset" it would stay'
)


def _told(ask: Callable[[], Changes | RedisChanges | None]) -> str:
    """A short table; a failing test's report must not fail for want of it."""
    try:
        changes = ask()
    except TimeoutError:
        return "not known: a transaction of the test's is in the way"
    except RealstackError as problem:
        return f"not known: {problem.problem}"
    except Exception as problem:  # noqa: BLE001 - the report's other sections are to be read all the same
        return f"not known: {type(problem).__name__}: {problem}"
    return changes.text() if changes else ""


MOST_LOG_LINES = 60


def llm_endpoint(endpoint: Endpoint, session: str) -> Endpoint:
    """The endpoint as seen by one session of the fake LLM."""
    return replace(endpoint, options={**endpoint.options, "session": session})


def worker_name() -> str:
    """This process's name among the workers of a pytest-xdist run, or ``main``."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")
