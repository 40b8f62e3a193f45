"""One process's use of an environment: it attaches to one or starts one, and lends to each test what it holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack import handles, registry
from realstack.config import Settings, load_settings, past_proxy
from realstack.environment import Environment, Event, attach, running_environment, why_not_attach
from realstack.errors import RealstackError
from realstack.handles.background import BackgroundLoop
from realstack.keeper import ensure_kept
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Endpoint

if TYPE_CHECKING:
    from realstack.handles.database import Database
    from realstack.handles.isolation import Isolation, Lender
    from realstack.handles.llm import FakeLLM
    from realstack.handles.redis import RedisDatabase
    from realstack.state.redis_state import RedisState


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
    """

    def __init__(
        self,
        start: Path | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        worker: str = "main",
        shared: Shared | None = None,
        attach_to: str = "",
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
        self._lenders: dict[Isolation, Lender] = {}
        self.notes: list[str] = []
        self._redis: RedisState | None = None
        self._test: TestLease | None = None
        self._tests = 0

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

    @property
    def test(self) -> TestLease:
        """What the running test holds. It ends with :meth:`end_test`."""
        with self._lock:
            if self._test is None:
                self._tests += 1
                name, isolation = handles.test_in_progress()
                self._test = TestLease(self, f"{self.run_id}-{self.worker}-{self._tests}", name, isolation)
            return self._test

    def test_in_progress(self) -> TestLease | None:
        """What the running test holds, if it has asked for anything."""
        return self._test

    def end_test(self) -> None:
        """Take back what the test held. Synchronous; to be called when its fixtures have ended."""
        with self._lock:
            test, self._test = self._test, None
        if test is not None:
            test.close()

    def lend_database(self, isolation: str = "") -> Endpoint:
        """A database of its own at the known state, by that mode of isolation (default: the settings' mode).

        :raises SettingsError: there is no such mode.
        """
        return self._loop.run(self._lender(isolation).lend())

    def take_back_database(self, lent: Endpoint, isolation: str = "") -> list[str]:
        """The end of :meth:`lend_database`; what there is to say of it."""
        if self._environment is None:
            return []
        return self._loop.run(self._lender(isolation).take_back(lent))

    def _lender(self, isolation: str) -> Lender:
        from realstack.handles.isolation import isolation_named, lender_for

        environment = self.environment
        where = "the marker" if isolation else "[tool.realstack] isolation"
        mode = isolation_named(isolation or environment.settings.isolation, where)
        with self._lock:
            if mode not in self._lenders:
                self._lenders[mode] = lender_for(mode, environment, self.worker, self.run_id)
            return self._lenders[mode]

    def lend_redis(self) -> Endpoint:
        """A logical Redis database of this process's own, brought to its seed."""
        environment = self.environment
        with self._lock:
            if self._redis is None:
                from realstack.state.redis_state import RedisState

                self._redis = RedisState(
                    environment.endpoint(REDIS), environment.settings.redis, self.worker, self.run_id
                )
        return self._loop.run(self._redis.lend())

    def take_back_redis(self, lent: Endpoint) -> None:
        """The end of :meth:`lend_redis`."""
        if self._redis is not None:
            self._loop.run(self._redis.give_back(lent))

    def close(self) -> None:
        """End the test in progress, drop what was lent, and end the environment if it is our own."""
        try:
            self.end_test()
            for lender in self._lenders.values():
                self._loop.run(lender.close())
            if self._redis is not None:
                self._loop.run(self._redis.close())
        finally:
            self._lenders.clear()
            self._redis = self._environment = None
            self._loop.close()

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


def shared_name(run: str) -> str:
    """The record's name of the environment that the workers of one pytest-xdist run share."""
    return f"xdist-{run}"


class TestLease:
    """What one test holds: at most one database, one Redis and one session of the fake LLM, each at its first ask."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    def __init__(self, session: Session, name: str, test: str = "", isolation: str = "") -> None:
        self.session = session
        self.name = name
        self.test = test
        self.isolation = isolation
        self._database: Database | None = None
        self._redis: RedisDatabase | None = None
        self._llm: FakeLLM | None = None
        self._log_marks: dict[str, int] = {}

    def database(self) -> Database:
        """The test's database, at the known state when first asked for."""
        if self._database is None:
            from realstack.handles.database import Database

            self.mark_logs()
            self._database = Database(self.session.lend_database(self.isolation))
        return self._database

    def redis(self) -> RedisDatabase:
        """The test's Redis, at its seed when first asked for."""
        if self._redis is None:
            from realstack.handles.redis import RedisDatabase

            self.mark_logs()
            self._redis = RedisDatabase(self.session.lend_redis())
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
        """Sections for a failing test's report: the services' log lines since it began, and its LLM calls."""
        environment = self.session.environment
        sections = []
        for name, mark in self._log_marks.items():
            lines = environment.log_lines(name, mark)
            if lines:
                sections.append((f"realstack: log of {name}", "\n".join(lines[-MOST_LOG_LINES:])))
        if self._llm is not None and (calls := self._llm.calls):
            sections.append(("realstack: LLM calls", "\n".join(str(call) for call in calls)))
        return sections

    def close(self) -> None:
        """Close the handles, and give back what was lent.

        :raises WroteInReadOnly: the test was to read only.
        """
        if self._llm is not None:
            self._llm.close()
        if self._redis is not None:
            self._redis.shut()
            self.session.take_back_redis(self._redis.endpoint)
        if self._database is not None:
            self._database.shut()
            said = self.session.take_back_database(self._database.endpoint, self.isolation)
            self.session.notes += [f"{self.test}: {sentence}" for sentence in said]


MOST_LOG_LINES = 60


def llm_endpoint(endpoint: Endpoint, session: str) -> Endpoint:
    """The endpoint as seen by one session of the fake LLM."""
    return replace(endpoint, options={**endpoint.options, "session": session})


def worker_name() -> str:
    """This process's name among the workers of a pytest-xdist run, or ``main``."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")
