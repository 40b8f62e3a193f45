"""Questions to functions in a test's process: a request waits here until somebody fetched and answered it."""

from __future__ import annotations

import asyncio
from itertools import count

from fake_llm.asked import AnswerFault
from fake_llm.model import Json

_numbers = count(1)
"""Of all sessions, so that a session that is made anew asks nothing under a number that was used."""


class Asks:
    """A session's open questions. Belongs to the server's event loop."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Json, asyncio.Future[Json]]] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Asks {len(self._open)} open, {len(self._waiting)} listening>"

    async def ask(self, function: str, request: Json, within_s: float) -> Json:
        """What the test's ``function`` says to ``request``.

        :raises AnswerFault: it raised, nobody answered in time, or the session ended.
        """
        number = next(_numbers)
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._open[number] = {"id": number, "function": function, "request": request}, answer
        self._wake()
        try:
            return await asyncio.wait_for(answer, within_s)
        except TimeoutError as error:
            raise AnswerFault(f"the test's function {function!r} has not answered within {within_s:g} s") from error
        finally:
            self._open.pop(number, None)

    async def after(self, number: int, wait_s: float) -> list[Json]:
        """The open questions with a higher number, as soon as there are any; none after ``wait_s``."""
        found = self._after(number)
        if found or self._closed:
            return found
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait_for(waiter, wait_s)
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiter)
        return self._after(number)

    def answer(self, number: int, said: Json) -> bool:
        """Answer a question; False if it is not open any more."""
        return self._settle(number, lambda answer: answer.set_result(said))

    def fail(self, number: int, why: str) -> bool:
        """As :meth:`answer`, where the function has none."""
        return self._settle(number, lambda answer: answer.set_exception(AnswerFault(why)))

    def close(self) -> None:
        """Fail every question, and let no listener wait."""
        self._closed = True
        for number in list(self._open):
            self.fail(number, "its session ended")
        self._wake()

    def _settle(self, number: int, how: object) -> bool:
        _, answer = self._open.get(number, (None, None))
        if answer is None or answer.done():
            return False
        assert callable(how)  # noqa: S101 - for the type checker
        how(answer)
        return True

    def _after(self, number: int) -> list[Json]:
        return [question for at, (question, answer) in self._open.items() if at > number and not answer.done()]

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
