"""Faults and delays as a plan of sending. Decided here purely; :mod:`fake_llm.connection` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

from fake_llm.model import Fault, Reply, value

MALFORMED = b'{"id": "truncated", "object": "chat.completion", "choices": [{"index": 0, "mess'
"""What a malformed body is: JSON that stops."""

MALFORMED_EVENT = b'data: {"id": "truncated", "choices": [{"ind\n\n'
NO_UTF8 = b"\xc3\x28\xff"

BLOCKS_IN_REPLY = frozenset({"gemini"})
"""Providers whose answer to a prompt that they block is a 200 which says so."""

OF_THE_WIRE = frozenset({"hang", "malformed", "empty", "disconnect"})
"""Kinds that show nothing of any reply, so that none is used up for them."""


@value()
class Pause:
    """Send nothing for so many seconds; None: until the client leaves."""

    seconds: float | None


@value()
class Write:
    """Send these bytes in one write."""

    data: bytes


@value()
class SlowHead:
    """Send the response's head a byte at a time, with so many seconds between bytes."""

    seconds: float


@value()
class Close:
    """End the connection here, the response unfinished; ``reset``: by a TCP reset."""

    reset: bool = False


Step = Pause | Write | SlowHead | Close


def plan_body(reply: Reply, body: bytes) -> list[Step]:
    """How a whole body is sent. A fault that only a stream can show has been answered before."""
    fault = reply.fault
    steps: list[Step] = [Pause(reply.delay_s)] if reply.delay_s else []
    if fault is None:
        return [*steps, Write(body)]
    planned = _without_reply(fault)
    if planned is None:
        planned = [*_slow_head(fault), Write(_struck_body(fault, body)), *_end(fault)]
    return [*steps, *planned]


def plan_stream(
    reply: Reply, events: Sequence[bytes], error_event: bytes | None, gaps: Sequence[float] | None = None
) -> list[Step]:
    """How a stream's events are sent: in one write, unless they are to be apart in time or in writes.

    ``error_event`` takes the place of what follows where the fault is ``stream_error``. ``gaps``: the seconds before
    each event, in place of the same delay between all.
    """
    fault = reply.fault
    delay = reply.chunk_delay_s if gaps is None else gaps
    steps: list[Step] = [Pause(reply.delay_s)] if reply.delay_s else []
    if fault is None:
        return [*steps, *_paced(events, delay)]
    planned = _without_reply(fault)
    if planned is None:
        kept = _struck_events(fault, events, error_event)
        planned = [*_slow_head(fault), *_paced(kept, delay), *_end(fault)]
    return [*steps, *planned]


def altered(events: list[bytes], fault: Fault | None) -> list[bytes]:
    """The events with one of them twice or missing, if the fault says so."""
    if fault is None or fault.kind not in ("duplicate_events", "missing_events"):
        return events
    if fault.nth is None:
        return [*chain.from_iterable((event, event) for event in events)]
    times = 2 if fault.kind == "duplicate_events" else 0
    return events[: fault.nth - 1] + times * events[fault.nth - 1 : fault.nth] + events[fault.nth :]


def is_in_reply(fault: Fault, *, stream: bool, provider: str = "") -> bool:
    """Whether the fault happens inside a reply of ``provider``'s, rather than being the reply."""
    if fault.kind == "content_filter":
        return not fault.prompt or provider in BLOCKS_IN_REPLY
    if fault.kind == "stream_error":
        return stream
    return fault.kind not in ("status", "context_overflow", "wrong_type")


def uses_reply(fault: Fault, *, stream: bool) -> bool:
    """Whether a reply can be seen behind the fault."""
    return is_in_reply(fault, stream=stream) and fault.kind not in OF_THE_WIRE and not fault.prompt


def is_whole(fault: Fault | None) -> bool:
    """Whether what is written is all that was announced."""
    return fault is None or fault.kind not in ("cut", "stall")


def _without_reply(fault: Fault) -> list[Step] | None:
    """The plan of a fault that shows nothing of the reply, or None."""
    if fault.kind == "hang":
        return [Pause(fault.hang_s), Close()]
    if fault.kind == "disconnect":
        return [Close(fault.reset)]
    return [Write(b"")] if fault.kind == "empty" else None


def _struck_body(fault: Fault, body: bytes) -> bytes:
    half = len(body) // 2
    match fault.kind:
        case "cut" | "stall" if fault.after_chunks == 0:
            return b""
        case "cut" | "stall":
            return body[: half if fault.after_bytes is None else min(fault.after_bytes, len(body) - 1)]
        case "malformed":
            return MALFORMED
        case "truncated":
            return body[:half]
        case _:
            return _spoiled(body) if fault.kind == "invalid_utf8" else body


def _struck_events(fault: Fault, events: Sequence[bytes], error_event: bytes | None) -> Sequence[bytes]:
    place = 1 if fault.after_chunks is None else fault.after_chunks
    kept, following, rest = events[:place], events[place : place + 1], events[place + 1 :]
    found: Sequence[bytes] = events
    match fault.kind:
        case "malformed":
            found = [*events[:1], MALFORMED_EVENT]
        case "stream_error":
            found = [*kept, error_event or b""]
        case "cut" | "stall":
            found = kept if fault.after_bytes is None else _first_bytes(events, fault.after_bytes)
        case "truncated":
            found = [*kept, *(event[: len(event) // 2] for event in following)]
        case "invalid_utf8":
            found = [*kept, *map(_spoiled, following), *rest]
    return found


def _end(fault: Fault) -> list[Step]:
    if fault.kind == "stall":
        return [Pause(fault.hang_s), Close()]
    return [Close(fault.reset)] if fault.kind == "cut" else []


def _slow_head(fault: Fault) -> list[Step]:
    return [SlowHead(fault.chunk_delay_s or 0)] if fault.kind == "slow_headers" else []


def _spoiled(data: bytes) -> bytes:
    """``data`` with bytes that are no UTF-8 inside a word near its middle."""
    middle = len(data) // 2
    place = next((at for at in range(middle, len(data)) if data[at : at + 1].isalpha()), middle)
    return data[:place] + NO_UTF8 + data[place:]


def _paced(events: Sequence[bytes], delay: float | Sequence[float] | None) -> list[Step]:
    if delay is None:
        return [Write(b"".join(events))]
    if not isinstance(delay, int | float):
        return _timed(events, delay)
    steps: list[Step] = []
    for event in events:
        if steps and delay:
            steps.append(Pause(delay))
        steps.append(Write(event))
    return steps or [Write(b"")]


def _timed(events: Sequence[bytes], gaps: Sequence[float]) -> list[Step]:
    """Events between which there is no time leave in one write."""
    steps: list[Step] = []
    together: list[bytes] = []
    for event, gap in zip(events, chain(gaps, repeat(0.0)), strict=False):
        if gap and together:
            steps += [Write(b"".join(together)), Pause(gap)]
            together = []
        together.append(event)
    return [*steps, Write(b"".join(together))]


def _first_bytes(events: Sequence[bytes], count: int) -> list[bytes]:
    kept: list[bytes] = []
    for event in events:
        if count <= 0:
            break
        kept.append(event[:count])
        count -= len(event)
    return kept
