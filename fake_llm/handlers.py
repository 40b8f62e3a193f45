"""Python functions that have the words of a scenario: in a folder of the server's own, or in a test's process."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fake_llm.asked import AnswerFault, Asked
from fake_llm.edits import Edits
from fake_llm.model import Json
from fake_llm.scenario import Answer, Asking

if TYPE_CHECKING:
    from fake_llm.session import Session

MAX_RUNNING = 64
"""Functions that run at the same time; one that never ends keeps its thread."""

Function = Callable[[Any], Any]


class Handlers:
    """The functions of a folder, by ``module:function``. They are imported when a scenario names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._found: dict[str, Function] = {}
        self._edits = Edits(lambda: sorted(self.folder.rglob("*.py")))
        sys.path.append(str(self.folder))

    def __repr__(self) -> str:
        return f"<Handlers {', '.join(sorted(self._found))} of {self.folder}>"

    def find(self, name: str) -> Function:
        """The function of that name.

        :raises ValueError: there is none in the folder, or its module cannot be imported.
        """
        self._look()
        if name not in self._found:
            self._found[name] = self._imported(name)
        return self._found[name]

    def _imported(self, name: str) -> Function:
        module_name, colon, function_name = name.partition(":")
        if not colon or not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
            raise ValueError(f"{name!r} is not of the form module:function")
        place = self.folder.joinpath(*module_name.split("."))
        if not place.with_suffix(".py").is_file() and not (place / "__init__.py").is_file():
            raise ValueError(f"there is no module {module_name!r} in {self.folder}")
        try:
            module = import_module(module_name)
        except Exception as error:
            raise ValueError(f"{module_name!r} cannot be imported: {last_line(error)}") from error
        if not self._owns(module):
            raise ValueError(f"another module is called {module_name!r} already; give this one another name")
        function = getattr(module, function_name, None)
        if not callable(function) or getattr(function, "__module__", None) != module_name:
            raise ValueError(f"{module_name!r} defines no function {function_name!r}")
        return function  # type: ignore[no-any-return]

    def _look(self) -> None:
        """Import everything again if the folder was edited. While that fails, what there was stays."""
        if not self._edits.are_new():
            return
        before = {name: module for name, module in sys.modules.items() if self._owns(module)}
        for name in before:
            del sys.modules[name]
        invalidate_caches()
        try:
            self._found = {name: self._imported(name) for name in self._found}
        except ValueError as error:
            for name in [name for name, module in sys.modules.items() if self._owns(module)]:
                del sys.modules[name]
            sys.modules.update(before)
            sys.stderr.write(f"{error}\nThe handlers from before the edit stay.\n")

    def _owns(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and Path(file).is_relative_to(self.folder)


@dataclass(slots=True)
class _Served:
    handlers: Handlers | None = None
    running: int = 0
    loop: asyncio.AbstractEventLoop | None = None


_served = _Served()


def use(folder: Path | None) -> None:
    """Let scenarios name the functions in ``folder``. For whoever starts the server; nobody else can say it."""
    _served.handlers = None if folder is None else Handlers(folder)


def find(name: str) -> Function:
    """The function of that name in the server's folder.

    :raises ValueError: there is none, or the server was given no folder.
    """
    if _served.handlers is None:
        raise ValueError("handler: this server has none, it is started with --handlers DIR for them")
    return _served.handlers.find(name)


def asking(handler: str | None, ask: str | None, within_s: float, answer_of: Callable[[Json], Answer]) -> Asking:
    """Asks the server's ``handler``, or the test's function ``ask``."""

    async def asks(asked: Asked, session: Session) -> Answer:
        if handler is None:
            return answer_of(await session.asks.ask(ask or "", asked.values(), within_s))
        return answer_of(await _said(handler, asked, within_s))

    return asks


async def _said(name: str, asked: Asked, within_s: float) -> Json:
    try:
        function = find(name)
        async with asyncio.timeout(within_s):
            return await _called(function, Request(**asked.values()))
    except TimeoutError as error:
        raise AnswerFault(f"its handler {name} has not answered within {within_s:g} s") from error
    except AnswerFault:
        raise
    except Exception as error:
        traceback.print_exc()
        raise AnswerFault(f"its handler {name} raised {last_line(error)}") from error


def _called(function: Function, request: Request) -> Awaitable[Json]:
    """What ``function`` gives, by a thread of its own, or in the one loop of all asynchronous ones."""
    if _served.running >= MAX_RUNNING:
        raise AnswerFault(f"{MAX_RUNNING} handlers are running, and none has ended")
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Json] = loop.create_future()
    _served.running += 1

    def end(result: Json, error: Exception | None) -> None:
        _served.running -= 1
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def told(result: Json, error: Exception | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(end, result, error)

    def run() -> None:
        try:
            found = function(request)
            if inspect.isawaitable(found):
                running = asyncio.run_coroutine_threadsafe(_finish(found, told), _loop_of_handlers())
                loop.call_soon_threadsafe(future.add_done_callback, lambda ended: running.cancel())
            else:
                told(found, None)
        except Exception as error:  # noqa: BLE001 - it is told where the function was asked
            told(None, error)

    threading.Thread(target=run, daemon=True, name="handler").start()
    return future


async def _finish(awaitable: Awaitable[Json], told: Callable[[Json, Exception | None], None]) -> None:
    try:
        told(await awaitable, None)
    except asyncio.CancelledError:
        told(None, TimeoutError())
        raise
    except Exception as error:  # noqa: BLE001 - as above
        told(None, error)


_loop_lock = threading.Lock()


def _loop_of_handlers() -> asyncio.AbstractEventLoop:
    """One loop in a thread of its own, so that a function that blocks it blocks no request that asks none."""
    with _loop_lock:
        if _served.loop is None:
            _served.loop = asyncio.new_event_loop()
            threading.Thread(target=_served.loop.run_forever, daemon=True, name="handlers").start()
        return _served.loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a handler is given: the names that templates know too. Changing what is inside changes nothing."""

    user: str
    system: str
    model: str
    dialect: str
    turn: int
    tool_result: str
    tool_results: list[dict[str, str]]
    tools: list[str]
    messages: list[dict[str, Any]]
    conversation: str
    attachments: int
    metadata: dict[str, Any]
    headers: dict[str, str]
    stream: bool
    seed: int | None
    session: str
    state: str
    call: int
    request: dict[str, Any]


def last_line(error: BaseException) -> str:
    """The error as the last line of its traceback has it, with the place in which it was raised."""
    told = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{told} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else told
