"""A loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realstack.handles.background import BackgroundLoop


def test_work_runs_in_another_thread_and_its_result_comes_back() -> None:
    background = BackgroundLoop()

    async def where() -> int:
        return threading.get_ident()

    try:
        assert background.run(where()) != threading.get_ident()
    finally:
        background.close()


def test_what_was_entered_is_left_by_the_same_task_latest_first() -> None:
    background = BackgroundLoop()
    said: list[tuple[str, object]] = []

    @asynccontextmanager
    async def manager(name: str) -> AsyncIterator[str]:
        task = asyncio.current_task()
        yield name
        said.append((name, asyncio.current_task() is task))

    assert background.enter(manager("first")) == "first"
    assert background.enter(manager("second")) == "second"
    background.close()
    assert said == [("second", True), ("first", True)]


def test_a_manager_that_fails_to_enter_raises_its_own_error() -> None:
    background = BackgroundLoop()

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        raise LookupError("no such thing")
        yield

    try:
        with pytest.raises(LookupError, match="no such thing"):
            background.enter(manager())
    finally:
        background.close()


def test_an_error_while_leaving_is_raised_after_the_rest_was_left() -> None:
    background = BackgroundLoop()
    left: list[str] = []

    @asynccontextmanager
    async def good() -> AsyncIterator[None]:
        yield
        left.append("good")

    @asynccontextmanager
    async def bad() -> AsyncIterator[None]:
        yield
        raise OSError("disk gone")

    background.enter(good())
    background.enter(bad())
    with pytest.raises(OSError, match="disk gone"):
        background.close()
    assert left == ["good"]


def test_closing_what_was_never_used_does_nothing_and_starts_no_thread() -> None:
    before = threading.active_count()
    BackgroundLoop().close()
    assert threading.active_count() == before
