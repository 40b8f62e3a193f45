"""What one test holds of an environment, and what a failing test's report says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from realstack import handles
from realstack.errors import RealstackError
from realstack.model import FAKE_LLM, POSTGRES, REDIS, Endpoint

if TYPE_CHECKING:
    from realstack.handles.database import Database
    from realstack.handles.isolation import Wish
    from realstack.handles.llm import FakeLLM
    from realstack.handles.redis import RedisDatabase
    from realstack.handles.session import Session
    from realstack.state.changes import Changes
    from realstack.state.redis_changes import RedisChanges

MOST_LOG_LINES = 60


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
            self.mark_logs()
            self._llm = self.session.llm(self.name)
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
        with ExitStack() as ends:  # each, though another fails
            if self._database is not None:
                ends.callback(self._give_back_database, *self._database, failed=failed)
            if self._redis is not None:
                ends.callback(self._give_back_redis, self._redis)
            if self._llm is not None:
                ends.callback(self._llm.close)

    def _give_back_redis(self, redis: RedisDatabase) -> None:
        redis.shut()
        self.session.take_back_redis(redis, self.ask.redis_seeds)

    def _give_back_database(self, database: Database, wish: Wish, *, failed: bool) -> None:
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
