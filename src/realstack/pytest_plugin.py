"""Hooks and fixtures, nothing else.

Fixtures are synchronous and their handles connect where they are used, so they serve tests of every async
plugin and loop scope. Nothing is imported or started until a test asks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from realstack.unrewritten import leave_unrewritten

leave_unrewritten("realstack")  # before any other module of it

from realstack import handles  # noqa: E402

if TYPE_CHECKING:
    from realstack.handles.database import Database
    from realstack.handles.llm import FakeLLM
    from realstack.handles.redis import RedisDatabase
    from realstack.handles.session import Session
    from realstack.running import Environment

Asked = TypeVar("Asked")

FIXTURES = frozenset({"realstack_env", "real_db", "real_redis", "fake_llm", "service_environ"})

MARKERS = {
    "unit": "needs nothing but the code under test",
    "integration": "needs one real service",
    "e2e": "a whole flow on real services",
    "smoke": "runs against a target: local, or a deployment",
    "real_services": "needs the services that realstack runs",
    "realstack(isolation)": "how the test gets its database: reset, database, transaction or readonly",
    "seed(*sources, redis)": "seeds on top of the known state: files beside the test or from the project's folder",
}

COULD_NOT_RUN = 2

_outcome = pytest.StashKey[dict[str, Any]]()
_failed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The command line's part of the settings."""
    group = parser.getgroup("realstack", "real Postgres, real Redis and a fake LLM")
    group.addoption(
        "--realstack-provider",
        metavar="NAME",
        help="how the services come to run: auto, embedded, containers, compose or external",
    )
    group.addoption(
        "--realstack-isolation",
        metavar="MODE",
        help="how a test gets its database: reset (in place), database (a fresh clone), transaction or readonly",
    )
    group.addoption(
        "--realstack-verify",
        action="store_true",
        help="compare the database with the known state after every test, by fingerprint",
    )
    group.addoption(
        "--realstack-keep-failed",
        action="store_true",
        help="keep the databases of tests that fail, and the environment with them, until `realstack down`",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and say how the session is made, should a test ask for it."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.stash[_outcome] = {}
    handles.made_by(lambda: _new_session(config))


def _new_session(config: pytest.Config) -> Session:
    from realstack.handles.opening import Shared
    from realstack.handles.session import Session

    worker: dict[str, Any] = getattr(config, "workerinput", {})
    shared = None
    if "realstack_controller" in worker:
        shared = Shared(worker["testrunuid"], worker["realstack_controller"])
    return Session(
        config.rootpath,
        overrides={
            "provider": config.getoption("--realstack-provider"),
            "isolation": config.getoption("--realstack-isolation"),
        },
        worker=worker.get("workerid", "main"),
        shared=shared,
        prove=config.getoption("--realstack-verify"),
        keep_failed=config.getoption("--realstack-keep-failed"),
    )


@pytest.fixture(scope="session")
def realstack_env() -> Environment:
    """The run's environment: endpoints, choices with their reasons, and ``environ()`` for an application."""
    return _ask(lambda session: session.environment)


@pytest.fixture
def real_db() -> Database:
    """The test's own database at the known state: an asyncpg pool that works in every event loop."""
    return _ask(lambda session: session.test.database())


@pytest.fixture
def real_redis() -> RedisDatabase:
    """The test's own logical Redis database at its seed: a ``redis.asyncio.Redis`` for every event loop."""
    return _ask(lambda session: session.test.redis())


@pytest.fixture
def fake_llm() -> FakeLLM:
    """The test's own session of the fake LLM: its rules and its calls, seen by no other test."""
    return _ask(lambda session: session.test.llm())


@pytest.fixture
def service_environ() -> dict[str, str]:
    """The variables by which an application in its own process finds what this test holds."""
    return _ask(lambda session: session.test.environ())


def _ask(what: Callable[[Session], Asked]) -> Asked:
    """What a fixture asks for, or one clear failure without our own frames."""
    from realstack.errors import RealstackError

    try:
        return what(handles.current())
    except RealstackError as problem:
        failed = str(problem)
    if not handles.current().started:
        handles.could_not_start()
    pytest.fail(f"realstack: {failed}", pytrace=False)


def pytest_report_header(config: pytest.Config) -> str | None:
    """One line; the rest follows once something has started."""
    if config.getoption("collectonly"):
        return None
    from realstack import __version__

    return f"realstack: {__version__}, starts what a test asks for"


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Start now if a collected test asks by fixture, and say what runs where, why, and how long it took."""
    asked = any(FIXTURES & set(getattr(item, "fixturenames", ())) for item in items)
    if not asked or config.getoption("collectonly") or _will_not_run(items[0].session):
        return []
    from realstack.errors import RealstackError

    session = handles.current()
    try:
        lines = session.summary()
        config.stash[_outcome]["shown"] = True
    except RealstackError as problem:
        lines = f"could not start: {problem}".splitlines()
        handles.could_not_start()
    return [f"realstack: {line}" for line in lines]


def _will_not_run(session: pytest.Session) -> bool:
    """A file that could not be collected interrupts the run before its first test."""
    return bool(session.testsfailed) and not session.config.getoption("continue_on_collection_errors")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """From here on `get_test_db()` means the test's own database."""
    marker = item.get_closest_marker("realstack")
    handles.test_begins(
        handles.TestAsk(
            item.nodeid,
            str(marker.kwargs.get("isolation", "")) if marker else "",
            _sources(item, lambda seed: seed.args),
            _sources(item, lambda seed: _listed(seed.kwargs.get("redis", ()))),
        )
    )
    item.stash[_failed] = False
    return (yield)


def _sources(item: pytest.Item, of: Callable[[pytest.Mark], Iterable[Any]]) -> tuple[str, ...]:
    """What the test's seed markers name, the module's first, then its class's, then its own."""
    markers = reversed(list(item.iter_markers("seed")))
    return tuple(_beside(item, str(source)) for marker in markers for source in of(marker))


def _listed(given: Any) -> Iterable[Any]:
    return (given,) if isinstance(given, str | os.PathLike) else given


def _beside(item: pytest.Item, source: str) -> str:
    """A file beside the test is meant before one of the project's folder."""
    beside = item.path.parent / source
    return str(beside) if beside.exists() else source


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report what its services logged and what the LLM was asked."""
    report = yield
    if report.failed and report.when != "teardown":
        item.stash[_failed] = True
    session = handles.opened()
    test = session.test_in_progress() if session is not None else None
    if test is not None and report.failed and report.when != "teardown":
        try:
            report.sections.extend(test.report())
        except Exception as problem:  # noqa: BLE001 - a report about a failure must not become the failure
            report.sections.append(("realstack", f"no more is known: {problem}"))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After the test's own fixtures have ended, take back what it held."""
    try:
        return (yield)
    finally:
        session = handles.opened()
        if session is not None:
            _end_test(session, failed=item.stash.get(_failed, False))
        handles.test_ended()


def _end_test(session: Session, *, failed: bool) -> None:
    from realstack.errors import RealstackError

    try:
        session.end_test(failed=failed)
    except RealstackError as problem:
        told = str(problem)
    else:
        return
    pytest.fail(f"realstack: {told}", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what is ours; a worker tells its controller what ran."""
    ours = handles.opened()
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    outcome = session.config.stash[_outcome]
    if ours is not None:
        summary = ours.summary() if ours.started else []
        ended_well = _end_session(ours)
        outcome.setdefault("notes", []).extend(ours.notes)
        if not ended_well:
            outcome.setdefault("exit", int(pytest.ExitCode.TESTS_FAILED))
        if output is not None and summary:
            output["realstack"] = summary
            output["realstack_notes"] = ours.notes
            output["realstack_kept"] = (ours.started_up, ours.kept)
        elif summary and "shown" not in outcome:
            outcome["summary"] = summary
    if handles.start_failed():
        outcome["exit"] = COULD_NOT_RUN
    if outcome.get("exit") == COULD_NOT_RUN:
        session.exitstatus = COULD_NOT_RUN
    elif outcome.get("exit") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if output is not None and outcome.get("exit"):
        output["realstack_exit"] = outcome["exit"]


def _end_session(ours: Session) -> bool:
    """Whether there was nothing wrong; else its notes say what."""
    from realstack.errors import RealstackError

    try:
        handles.end()
    except RealstackError as problem:
        ours.notes.append(str(problem))
        return False
    return True


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what a crash of the session left open, and as controller the environment that the workers shared."""
    handles.end()
    handles.made_by(None)
    run = config.stash[_outcome].get("xdist") if _outcome in config.stash else None
    if run is not None:
        _end_shared(run)
    started_up = config.stash[_outcome].get("started_up") if _outcome in config.stash else None
    if started_up and not config.stash[_outcome].get("kept"):
        from realstack.handles.opening import end_up

        end_up(started_up)


def _end_shared(run: str) -> None:
    """End the environment that the workers of that pytest-xdist run shared, if they asked for one."""
    from realstack import registry
    from realstack.errors import HomeUnusable
    from realstack.handles.opening import shared_name
    from realstack.keeper import end

    with suppress(HomeUnusable):  # then the workers have told it, and none has started anything
        record = registry.find(shared_name(run))
        if record is not None:
            end(record)
        (registry.runs_folder() / f"{shared_name(run)}.lock").unlink(missing_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """As controller of pytest-xdist: tell the worker whose end ends the shared environment."""
    node.workerinput["realstack_controller"] = os.getpid()
    node.config.stash[_outcome]["xdist"] = node.workerinput["testrunuid"]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """As controller: keep what the first worker that used the environment said of it."""
    output, outcome = getattr(node, "workeroutput", {}), node.config.stash[_outcome]
    if output.get("realstack"):
        outcome.setdefault("summary", output["realstack"])
        outcome.setdefault("notes", []).extend(output["realstack_notes"])
    started_up, kept = output.get("realstack_kept") or ("", [])
    outcome["started_up"] = outcome.get("started_up") or started_up
    outcome["kept"] = bool(outcome.get("kept") or kept)
    if output.get("realstack_exit"):
        outcome["exit"] = max(output["realstack_exit"], outcome.get("exit", 0))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What a reset had to say of tests; and what ran where, why, and how long it took, if the header did not tell."""
    outcome = config.stash[_outcome]
    for line in (*outcome.get("summary", ()), *outcome.get("notes", ())):
        terminalreporter.write_line(f"realstack: {line}")
