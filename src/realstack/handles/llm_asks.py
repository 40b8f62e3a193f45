"""Functions of a test that have the words of the fake LLM: asked over its control API, from threads of their own."""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from realstack.errors import FakeLLMError
from realstack.handles.llm_control import Control
from realstack.model import Endpoint

WAIT_S = 5.0
"""How long one look waits for a question; short of what the connection waits for an answer."""
PAUSE_S = 0.2
"""Before the next look, where the fake did not answer."""

Function = Callable[["LLMRequest"], Any]
"""Sync or async; gives a text, a reply of the scenario form (``{"json": …}``, ``{"tool_calls": […]}``), or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """A request to the fake LLM, as a function that answers it sees it.

    ``turn`` counts from 1 in a conversation, ``call`` from 1 for the rule. ``tool_result`` is the last one, or "".
    ``headers`` are without secrets; ``request`` is the raw body, ``metadata`` its own.
    """

    user: str
    system: str
    model: str
    dialect: str
    turn: int
    tool_result: str
    tool_results: tuple[Mapping[str, str], ...]
    tools: tuple[str, ...]
    messages: tuple[Mapping[str, Any], ...]
    conversation: str
    attachments: int
    metadata: Mapping[str, Any]
    headers: Mapping[str, str]
    stream: bool
    seed: int | None
    session: str
    state: str
    call: int
    request: Mapping[str, Any]


class Asks:
    """The functions that a session's rules name, and a thread that waits for questions to them.

    Its thread begins with the first function, and ends with :meth:`close`. ``errors`` are what functions raised.
    """

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._endpoint = endpoint
        self._path = path
        self._functions: dict[str, tuple[Function, asyncio.AbstractEventLoop | None]] = {}
        self._taken: set[int] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self.errors: list[BaseException] = []

    def __repr__(self) -> str:
        return f"<Asks for {', '.join(self._functions) or 'nothing'}>"

    def add(self, name: str, function: Function) -> None:
        """Let ``function`` answer to that name.

        An async one runs in the event loop that is running now, a test's; without one in a new loop for each question.
        """
        self._functions[name] = function, _running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, daemon=True, name="fake_llm asks")
            self._thread.start()

    def close(self) -> None:
        """Ask no function any more. What is running ends by itself; nobody waits for it."""
        self._closed.set()

    def _listen(self) -> None:
        control = Control(self._endpoint)
        after = 0
        try:
            while not self._closed.is_set():
                try:
                    found = control.ask("GET", f"{self._path}?after={after}&wait_s={WAIT_S}", missing_ok=True)
                except FakeLLMError:
                    after = 0  # a fake that was started anew counts from 1
                    self._closed.wait(PAUSE_S)
                    continue
                if found is None:
                    self._closed.wait(PAUSE_S)
                    continue
                for ask in found["asks"]:
                    after = max(after, ask["id"])
                    self._take(ask)
        finally:
            control.close()

    def _take(self, ask: Mapping[str, Any]) -> None:
        if ask["function"] in self._functions and ask["id"] not in self._taken:
            self._taken.add(ask["id"])
            threading.Thread(target=self._answer, args=(ask,), daemon=True, name=f"fake_llm {ask['function']}").start()

    def _answer(self, ask: Mapping[str, Any]) -> None:
        function, loop = self._functions[ask["function"]]
        try:
            said: Mapping[str, Any] = {"reply": _called(function, request_from(ask["request"]), loop)}
        except BaseException as error:  # noqa: BLE001 - an assertion, or pytest's own failure, is told to the fake
            self.errors.append(error)
            said = {"error": f"the test's function raised {_last_line(error)}"}
        control = Control(self._endpoint)
        try:
            self._send(control, ask["id"], said)
        finally:
            control.close()

    def _send(self, control: Control, number: int, said: Mapping[str, Any]) -> None:
        """A reply that is no JSON is an error of the function's too."""
        path = f"{self._path}/{number}"
        try:
            control.ask("PUT", path, said, missing_ok=True)
        except (TypeError, ValueError, FakeLLMError) as error:
            self.errors.append(error)
            with suppress(FakeLLMError):  # the fake is gone, and the question with it
                control.ask("PUT", path, {"error": f"the test's function gave no reply: {error}"}, missing_ok=True)


def request_from(sent: Mapping[str, Any]) -> LLMRequest:
    """A request as the control API has it, with tuples for lists. What a newer fake adds is left out."""
    known: dict[str, Any] = {field.name: sent[field.name] for field in fields(LLMRequest)}
    for name, value in known.items():
        known[name] = tuple(value) if isinstance(value, list) else value
    return LLMRequest(**known)


def _called(function: Function, request: LLMRequest, loop: asyncio.AbstractEventLoop | None) -> Any:
    found = function(request)
    if not inspect.isawaitable(found):
        return found

    async def finish() -> Any:
        return await found

    if loop is not None and not loop.is_closed():
        return asyncio.run_coroutine_threadsafe(finish(), loop).result()
    return asyncio.run(finish())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _last_line(error: BaseException) -> str:
    """As the last line of its traceback, with the place in which it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return traceback.format_exception_only(error)[-1].strip() + place
