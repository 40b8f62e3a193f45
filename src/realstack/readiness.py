"""The only wait loop. A probe answers or raises; the loop owns the deadline and looks for early deaths."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from realstack.errors import NotReadyInTime, RealstackError, ServiceStartFailed
from realstack.model import tail

Answer = TypeVar("Answer")

POLL_EVERY_S = 0.02
PROBE_TIMEOUT_S = 5.0
_OR_WAIT = "or raise [tool.realstack] ready_within_s."


async def until_ready(
    service: str,
    probe: Callable[[], Awaitable[Answer]],
    *,
    within_s: float,
    died: Callable[[], str | None],
    log: Callable[[], list[str]],
    every_s: float = POLL_EVERY_S,
    probe_timeout_s: float = PROBE_TIMEOUT_S,
    final: Callable[[Exception], RealstackError | None] = lambda problem: None,
    remedy: str = "",
) -> Answer:
    """Ask ``probe`` every ``every_s`` seconds until it answers, and return its answer.

    ``final`` says which of the probe's problems no waiting will mend, and what to raise then, at once. ``remedy`` is
    what to do if the deadline passes, where there is something better to say than "look at its log".

    :raises ServiceStartFailed: ``died`` told an end; raised at once, with the last lines of ``log``.
    :raises NotReadyInTime: ``within_s`` seconds passed; holds the probe's last problem.
    :raises ImportError: the service's client is not installed.
    """
    began = time.monotonic()
    last_answer: str | None = None
    while True:
        if (end := died()) is not None:
            raise ServiceStartFailed(
                service,
                "ready",
                problem=f"it ended with {end} before it answered",
                after_s=time.monotonic() - began,
                last_answer=last_answer,
                log_tail=tail(log()),
                remedy="read its log above; `realstack doctor` checks what it needs.",
            )
        left = within_s - (time.monotonic() - began)
        if left <= 0:
            lines = tail(log())
            raise NotReadyInTime(
                service,
                "ready",
                problem=f"it did not become ready within {within_s:g} s",
                after_s=time.monotonic() - began,
                last_answer=last_answer,
                log_tail=lines,
                remedy=remedy or f"look at its {'log' if lines else 'last answer'} above, {_OR_WAIT}",
            )
        try:
            # not wait_for: until Python 3.12 that one loses a cancellation that meets a finished probe
            async with asyncio.timeout(min(left, probe_timeout_s)):
                return await probe()
        except TimeoutError:
            last_answer = f"no answer within {min(left, probe_timeout_s):.1f} s"
        except ImportError:
            raise  # a client that is not installed will not be there in a moment
        except Exception as problem:
            if (error := final(problem)) is not None:
                raise error from problem
            last_answer = f"{type(problem).__name__}: {problem}".strip()
        await asyncio.sleep(every_s)
