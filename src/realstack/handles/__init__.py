"""What a test holds: a database, a Redis, a fake LLM, and the session of this process that lends them.

This module itself imports next to nothing: a suite that uses none of it must not pay for it.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realstack.handles.session import Session


@dataclass(frozen=True, slots=True)
class TestAsk:
    """A test's id, and what its markers ask for: the isolation, and seeds on top of the known state (paths)."""

    __test__ = False

    name: str = ""
    isolation: str = ""
    seeds: tuple[str, ...] = ()
    redis_seeds: tuple[str, ...] = ()


_lock = threading.RLock()
_make: Callable[[], Session] | None = None
_session: Session | None = None
_test: TestAsk | None = None
_inherited = ""
_start_failed = False


def _forget_parents_session() -> None:
    """In a forked child the parent's session has no thread; what it runs is attached to, and not ended, there."""
    global _session, _inherited, _lock  # noqa: PLW0603
    _lock = threading.RLock()
    if _session is not None:
        _inherited = _session.name
        atexit.unregister(end)
        _session = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_session)


def made_by(make: Callable[[], Session] | None) -> None:
    """Say how this process's session is made, if it is ever asked for. The pytest plugin does."""
    global _make  # noqa: PLW0603 - one session a process is the point
    _make = make


def current() -> Session:
    """This process's session; made at the first ask, ended when the interpreter exits if nothing ends it before."""
    global _session  # noqa: PLW0603
    with _lock:
        if _session is None:
            if _inherited:
                from realstack.handles.session import Session

                _session = Session(attach_to=_inherited)
            elif _make is not None:
                _session = _make()
            else:
                from realstack.handles.session import Session

                _session = Session()
            atexit.register(end)
        return _session


def in_test() -> bool:
    """Whether a pytest test is running, which then holds what is lent until its end."""
    return _test is not None


def test_in_progress() -> TestAsk:
    """What the running test asks for; nothing in particular where there is none."""
    return _test or TestAsk()


def test_begins(ask: TestAsk) -> None:
    """Say that a test begins. The pytest plugin does."""
    global _test  # noqa: PLW0603
    _test = ask


def test_ended() -> None:
    """Say that it has ended, with its fixtures."""
    global _test  # noqa: PLW0603
    _test = None


def could_not_start() -> None:
    """Remember that this process's environment could not be had: its exit code says so."""
    global _start_failed  # noqa: PLW0603
    _start_failed = True


def start_failed() -> bool:
    """Whether this process's environment could not be had."""
    return _start_failed


def opened() -> Session | None:
    """This process's session if it was asked for, else None."""
    return _session


def end() -> None:
    """End this process's session and what it owns. The next :func:`current` makes a new one."""
    global _session
    with _lock:
        session, _session = _session, None
    if session is not None:
        atexit.unregister(end)
        session.close()
