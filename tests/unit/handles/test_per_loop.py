"""One client per loop, closed by the loop that opened it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from realstack.handles.per_loop import PerLoop


class Client:
    """Remembers in which loop it was opened and closed."""

    def __init__(self) -> None:
        self.opened_in = asyncio.get_running_loop()
        self.closed_in: asyncio.AbstractEventLoop | None = None


class Opened:
    """Makes clients and keeps them for the test to look at."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.fail = False

    async def make(self) -> Client:
        await asyncio.sleep(0)
        if self.fail:
            raise ConnectionRefusedError
        self.clients.append(Client())
        return self.clients[-1]

    async def close(self, client: Client) -> None:
        await asyncio.sleep(0)
        client.closed_in = asyncio.get_running_loop()


def test_each_loop_gets_its_own_client_and_closes_it_before_it_ends() -> None:
    """The loop's own shutdown closes it: nobody else is called."""
    opened = Opened()
    per_loop = PerLoop(opened.make, opened.close)

    async def use() -> tuple[Client, Client]:
        return await per_loop.here(), await per_loop.here()

    first, again = asyncio.run(use())
    other, _ = asyncio.run(use())
    assert first is again
    assert other is not first
    assert [client.closed_in for client in opened.clients] == [client.opened_in for client in opened.clients]
    assert per_loop.clients() == []


def test_tasks_that_ask_at_once_share_one_client() -> None:
    opened = Opened()
    per_loop = PerLoop(opened.make, opened.close)

    async def use() -> int:
        clients = await asyncio.gather(*(per_loop.here() for _ in range(10)))
        return len({id(client) for client in clients})

    assert asyncio.run(use()) == 1
    assert len(opened.clients) == 1


def test_a_loop_that_stands_still_is_closed_from_synchronous_code() -> None:
    opened = Opened()
    per_loop = PerLoop(opened.make, opened.close)
    loop = asyncio.new_event_loop()
    try:
        client = loop.run_until_complete(per_loop.here())
        per_loop.close()
        assert client.closed_in is loop
    finally:
        loop.close()


def test_a_loop_that_runs_in_another_thread_closes_its_own_client() -> None:
    opened = Opened()
    per_loop = PerLoop(opened.make, opened.close)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        client = asyncio.run_coroutine_threadsafe(per_loop.here(), loop).result(5)
        per_loop.close()
        assert client.closed_in is loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_failed_opening_is_told_and_tried_again() -> None:
    opened = Opened()
    opened.fail = True
    per_loop = PerLoop(opened.make, opened.close)

    async def use() -> Client:
        with pytest.raises(ConnectionRefusedError):
            await per_loop.here()
        opened.fail = False
        return await per_loop.here()

    assert asyncio.run(use()).closed_in is not None


def test_what_was_closed_here_is_opened_anew() -> None:
    opened = Opened()
    per_loop = PerLoop(opened.make, opened.close)

    async def use() -> bool:
        first = await per_loop.here()
        await per_loop.close_here()
        return await per_loop.here() is not first and first.closed_in is not None

    assert asyncio.run(use())
