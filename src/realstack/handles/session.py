"""One process's use of an environment: it attaches to one or starts one, and lends to each test what it holds."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from realstack import handles, registry
from realstack.config import past_proxy
from realstack.errors import RealstackError
from realstack.handles.background import BackgroundLoop
from realstack.handles.connections import ConnectionBudget
from realstack.handles.lease import TestLease
from realstack.handles.lending import Lenders
from realstack.handles.opening import Opening, Shared, end_up, shared_name
from realstack.known_state import scenario_files
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Endpoint
from realstack.running import Environment, Event

if TYPE_CHECKING:
    from realstack.handles.database import Database
    from realstack.handles.isolation import Lender, Wish
    from realstack.handles.llm import FakeLLM
    from realstack.handles.pools import Kept
    from realstack.handles.redis import RedisDatabase
    from realstack.handles.redis_lenders import RedisLenders
    from realstack.handles.transaction import TransactionDatabase
    from realstack.services.fake_llm_files import ScenarioFile
    from realstack.state.changes import Changes
    from realstack.state.redis_changes import RedisChanges

CHANGES_WITHIN_S = 5.0

KeptKind = TypeVar("KeptKind", bound="Kept[Any]")


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
        self.events: list[Event] = []
        self._shared = shared
        self._opening = Opening(
            self.name, start, dict(overrides or {}), self.events.append, shared, bool(attach_to), keep_failed
        )
        self._lock = threading.RLock()
        self._loop = BackgroundLoop()
        self._environment: Environment | None = None
        self._failed: RealstackError | None = None
        self._keep_failed = keep_failed
        self.kept: list[str] = []
        self._late: list[Exception] = []
        self._lenders = Lenders(self._loop, self.run_id, worker, self._late.append, prove=prove)
        self.notes: list[str] = []
        self._kept: dict[type[Kept[Any]], Kept[Any]] = {}
        self._redis: RedisLenders | None = None
        self._scenario_files: tuple[ScenarioFile, ...] | None = None
        self._test: TestLease | None = None
        self._tests = 0

    def __repr__(self) -> str:
        return f"<Session {self.worker} {self._environment or 'not started'}>"

    @property
    def started(self) -> bool:
        """Whether an environment is there already."""
        return self._environment is not None

    @property
    def started_up(self) -> str:
        """The name of the environment that was put up to keep databases of failed tests; empty if none was."""
        return self._opening.started_up

    @property
    def why_not_up(self) -> str:
        """Why what is up is not used; empty where nothing is up, or where it is used."""
        return self._opening.why_not_up

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
                    os.environ.update(past_proxy(os.environ))  # the tests' own clients must reach loopback
                    self._environment = self._opening.open(self._loop)
                except RealstackError as problem:
                    self._failed = problem
                    raise
            return self._environment

    def summary(self) -> list[str]:
        """What runs where, why, how long it took, and how many connections the workers may open, a line each."""
        lines = self.environment.summary()
        if self.why_not_up:
            lines.insert(0, f"what is up is not used: {self.why_not_up}")
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
            from realstack.handles.transaction import TransactionDatabase, Transactions

            return TransactionDatabase(
                endpoint, self._left_by_test_before(Transactions, endpoint) or Transactions(endpoint)
            )
        from realstack.handles.database import Database
        from realstack.handles.pools import Pools

        pools = self._left_by_test_before(Pools, endpoint) or Pools(endpoint, self._connections().pool_size)
        return Database(endpoint, pools, lambda: self._loop.ask(lender.changes(endpoint)), pools.max_size)

    def _left_by_test_before(self, kind: type[KeptKind], endpoint: Endpoint) -> KeptKind | None:
        """Connections of that kind to that database; those to others are closed."""
        with self._lock:
            others = [self._kept.pop(each) for each, kept in [*self._kept.items()] if kept.endpoint != endpoint]
            left = self._kept.pop(kind, None)
        for other in others:
            other.close()  # its database is lent no more for now, and connections are not without bound
        return left if isinstance(left, kind) else None

    def take_back_database(self, lent: Database, wish: Wish | None = None, *, keep: bool = False) -> list[str]:
        """The end of :meth:`lend_database`; what there is to say of it."""
        if self._environment is None:
            lent.shut()
            return []
        wish = wish or self.wish()
        lender = self._lender(wish)
        pools, taken = None, None
        try:
            if lender.in_place:
                pools = lent.end_of_test()
            else:
                lent.shut()
        finally:
            try:
                read_only = wish.isolation == "readonly"
                taken = self._loop.run(lender.take_back(lent.endpoint, read_only=read_only, keep=keep))
            finally:
                if pools is not None:
                    self._keep_or_close(pools, same_again=taken is not None and taken.same_again)
        return list(taken.said)

    def _keep_or_close(self, pools: Kept[Any], *, same_again: bool) -> None:
        ended = [pools]
        with self._lock:
            if same_again:
                ended = [] if self._kept.setdefault(type(pools), pools) is pools else [pools]
            else:
                ended += [
                    self._kept.pop(each) for each, kept in [*self._kept.items()] if kept.endpoint == pools.endpoint
                ]
        for each in ended:
            each.close()

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
        with self._lock:
            return self._lenders.of(wish, self.environment, self._connections().seeded)

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

    def llm(self, name: str) -> FakeLLM:
        """A session of the fake LLM of that name. It starts with the scenario files as this process found them."""
        from realstack.handles.llm import FakeLLM

        environment = self.environment
        with self._lock:
            if self._scenario_files is None:
                self._scenario_files = scenario_files(environment.settings)
        # What was put up may have been handed files that are not wanted any more.
        files = self._scenario_files if self._scenario_files or environment.attached else None
        return FakeLLM(environment.endpoint(FAKE_LLM), name, files)

    def close(self) -> None:
        """End the test in progress, drop what was lent, and end the environment if it is our own.

        :raises NotAtKnownState: the last proof found that a database, or the template, is not what it should be.
        :raises RealstackError: something that was lent cannot be dropped. Of several problems the first is raised.
        """
        problems = self._late
        try:
            endings: list[Callable[[], None]] = [partial(self._end, each) for each in self._lent_by()]
            for ending in (self.end_test, self._close_pools, *endings):
                try:
                    ending()
                except Exception as problem:  # noqa: BLE001 - the rest is to be ended too
                    problems.append(problem)
        finally:
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
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()

    def _lent_by(self) -> list[Lender | RedisLenders]:
        return [*self._lenders.by_wish.values(), *([self._redis] if self._redis is not None else [])]

    def _end(self, lender: Lender | RedisLenders) -> None:
        self._loop.run(lender.close())


def _from_root(root: Path, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Paths as the settings write them, which is how errors show them; other sources as they are."""
    return tuple(
        os.path.relpath(source, root) if Path(source).is_absolute() and Path(source).is_relative_to(root) else source
        for source in sources
    )
