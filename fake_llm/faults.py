"""Faults and delays as a plan of sending. Decided here purely; :mod:`fake_llm.connection` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fake_llm.model import Fault, Reply

MALFORMED = b'{"id": "truncated", "object": "chat.completion", "choices": [{"index": 0, "mess'
"""What a malformed body is: JSON that stops."""

MALFORMED_EVENT = b'data: {"id": "truncated", "choices": [{"ind\n\n'


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so many seconds; None: until the client leaves."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Write:
    """Send these bytes in one write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection here, the response unfinished; ``reset``: by a TCP reset."""

    reset: bool = False


Step = Pause | Write | Close


def plan_body(reply: Reply, body: bytes) -> list[Step]:
    """How a whole body is sent. A fault that only a stream can show has been answered before."""
    fault = reply.fault
    steps: list[Step] = [Pause(reply.delay_s)] if reply.delay_s else []
    if fault is None:
        return [*steps, Write(body)]
    if fault.kind == "hang":
        return [*steps, Pause(fault.hang_s), Close()]
    if fault.kind == "cut":
        after = len(body) // 2 if fault.after_bytes is None else min(fault.after_bytes, len(body) - 1)
        if fault.after_chunks == 0:
            after = 0
        return [*steps, Write(body[:after]), Close(fault.reset)]
    if fault.kind == "malformed":
        return [*steps, Write(MALFORMED)]
    return [*steps, Write(b"")]


def plan_stream(reply: Reply, events: Sequence[bytes], error_event: bytes | None) -> list[Step]:
    """How a stream's events are sent: in one write, unless they are to be apart in time or in writes.

    ``error_event`` takes the place of what follows where the fault is ``stream_error``.
    """
    fault = reply.fault
    steps: list[Step] = [Pause(reply.delay_s)] if reply.delay_s else []
    if fault is None:
        return [*steps, *_paced(events, reply.chunk_delay_s)]
    if fault.kind == "hang":
        return [*steps, Pause(fault.hang_s), Close()]
    if fault.kind == "malformed":
        return [*steps, *_paced([*events[:1], MALFORMED_EVENT], reply.chunk_delay_s)]
    if fault.kind == "empty":
        return [*steps, Write(b"")]
    kept = events[: 1 if fault.after_chunks is None else fault.after_chunks]
    if fault.kind == "stream_error":
        return [*steps, *_paced([*kept, error_event or b""], reply.chunk_delay_s)]
    if fault.after_bytes is not None:
        kept = _first_bytes(events, fault.after_bytes)
    return [*steps, *_paced(kept, reply.chunk_delay_s), Close(fault.reset)]


def is_in_reply(fault: Fault | None, *, stream: bool) -> bool:
    """Whether the fault happens inside a reply, rather than being the reply."""
    if fault is None or fault.kind == "status":
        return False
    return stream or fault.kind != "stream_error"


def _paced(events: Sequence[bytes], delay_s: float | None) -> list[Step]:
    if delay_s is None:
        return [Write(b"".join(events))]
    steps: list[Step] = []
    for event in events:
        if steps and delay_s:
            steps.append(Pause(delay_s))
        steps.append(Write(event))
    return steps or [Write(b"")]


def _first_bytes(events: Sequence[bytes], count: int) -> list[bytes]:
    kept: list[bytes] = []
    for event in events:
        if count <= 0:
            break
        kept.append(event[:count])
        count -= len(event)
    return kept
