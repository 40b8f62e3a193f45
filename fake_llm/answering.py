"""What is answered to a turn: the scenario's words or automatic ones, under limits, faults and latency, as bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from fake_llm import fault_replies
from fake_llm.automatic import automatic_reply, with_thought, with_words_of
from fake_llm.dialects import KEEPING, Dialect, keeping
from fake_llm.dialects.wire import json_array
from fake_llm.envelopes import DRESSING, Envelope, HeaderList, dressing, envelope
from fake_llm.fault_turns import FAULT_HEADER
from fake_llm.faults import Step, Write, altered, is_in_reply, is_whole, plan_body, plan_stream, uses_reply
from fake_llm.finish import finish
from fake_llm.later import Later
from fake_llm.model import Fault, ProtocolError, Reply, Stamp, Turn
from fake_llm.outcome import JSON_TYPE, Outcome, one_line, refused, sent, with_own
from fake_llm.rate_limits import Limiter, exceeded, spend, standings
from fake_llm.scenario import ScenarioFailed
from fake_llm.session import Selected, Session
from fake_llm.tokens import count_input

_COUNTING = "count_tokens"


class Served(NamedTuple):
    """A dialect, and the provider that serves it: its own, or another one."""

    dialect: Dialect
    provider: str


def answered(turn: Turn, session: Session, headers: Mapping[str, str], served: Served, stamp: Stamp) -> Outcome:
    """The outcome of a turn.

    :raises Later: a function has to be asked for it.
    """
    limiters = session.limiters(turn, headers)
    if not limiters:
        return _unlimited(turn, session, headers, served, stamp)
    answer = partial(_unlimited, turn, session, headers, served, stamp)
    return _limited(limiters, turn, served.provider, stamp, answer)


def _limited(
    limiters: Sequence[Limiter], turn: Turn, provider: str, stamp: Stamp, answer: Callable[[], Outcome]
) -> Outcome:
    """The outcome where rate limits hold: a 429, or ``answer``; with headers that tell the truth in both cases."""
    from fake_llm.envelopes.limits import limit_error  # noqa: PLC0415 - only where there are limits

    now = time.monotonic()
    if over := exceeded(limiters, provider, count_input(turn), now):
        error, fault = limit_error(provider, over, turn)
        outcome = refused(error, envelope(provider), stamp, None if provider == "gemini" else fault)
        outcome.fault = "rate_limit"
        return _with_limits(limiters, provider, outcome, now)
    try:
        outcome = answer()
    except Later as later:
        raise later.then(partial(_charged, limiters, provider)) from None
    return _charged(limiters, provider, outcome)


def counted(session: Session, provider: str, count: Callable[[], bytes], stamp: Stamp) -> Outcome:
    """The outcome of counting tokens; Anthropic limits these requests too, apart from the others and to as many.

    :raises ProtocolError: the request is refused.
    """
    limiters = [] if session.limiter is None or provider != "anthropic" else [session.limiter.of_requests(_COUNTING)]
    now = time.monotonic()
    if over := exceeded(limiters, provider, 0, now):
        from fake_llm.envelopes.limits import limit_error  # noqa: PLC0415 - only where there are limits

        error, fault = limit_error(provider, over, Turn("", "", ()))
        return _with_limits(limiters, provider, refused(error, envelope(provider), stamp, fault), now)
    outcome = sent(count())
    outcome.headers = [*outcome.headers, *envelope(provider).headers(stamp)]
    spend(limiters, provider, 0, now)
    return _with_limits(limiters, provider, outcome, now)


def _charged(limiters: Sequence[Limiter], provider: str, outcome: Outcome) -> Outcome:
    now = time.monotonic()
    usage = outcome.reply.usage if outcome.reply is not None else None
    spend(limiters, provider, usage.input_tokens + usage.output_tokens if usage else 0, now)
    return _with_limits(limiters, provider, outcome, now)


def _with_limits(limiters: Sequence[Limiter], provider: str, outcome: Outcome, now: float) -> Outcome:
    from fake_llm.envelopes.limits import limit_headers  # noqa: PLC0415 - only where there are limits

    told = dict(limit_headers(provider, standings(limiters, provider, now), time.time()))
    outcome.headers = [(name, value) for name, value in outcome.headers if name not in told] + list(told.items())
    return outcome


def _unlimited(turn: Turn, session: Session, headers: Mapping[str, str], served: Served, stamp: Stamp) -> Outcome:
    try:
        chosen = _chosen(turn, session, headers)
    except ProtocolError as error:
        return _unspoken(error, envelope(served.provider), stamp)
    fault = chosen.reply.fault
    if chosen.later is not None and (fault is None or uses_reply(fault, stream=turn.stream)):
        raise Later(chosen.later, partial(_said, chosen, turn, session, served, stamp=stamp))
    return _outcome(chosen, turn, session, served, stamp)


def _said(
    before: Selected, turn: Turn, session: Session, served: Served, said: Selected | ProtocolError, *, stamp: Stamp
) -> Outcome:
    """The outcome of a function's words; the fault of ``before`` holds, if they have none themselves."""
    if isinstance(said, ProtocolError):
        return _unspoken(said, envelope(served.provider), stamp)
    reply = said.reply if said.reply.fault is not None else replace(said.reply, fault=before.reply.fault)
    return _outcome(replace(said, reply=reply), turn, session, served, stamp)


def _unspoken(error: ProtocolError, envelopes: Envelope, stamp: Stamp) -> Outcome:
    outcome = refused(error, envelopes, stamp)
    if isinstance(error, ScenarioFailed):
        outcome.scenario, outcome.fault = error.scenario, error.code
    return outcome


def _outcome(chosen: Selected, turn: Turn, session: Session, served: Served, stamp: Stamp) -> Outcome:
    fault = chosen.reply.fault
    if fault is None or is_in_reply(fault, stream=turn.stream, provider=served.provider):
        outcome = _spoken(turn, chosen, session, served, stamp)
    else:
        outcome = _instead(fault, turn, served.provider, stamp)
        if chosen.reply.delay_s:
            outcome.steps = plan_body(replace(chosen.reply, fault=None), outcome.raw)
    outcome.scenario, outcome.fault = chosen.name, fault.kind if fault else None
    return outcome


def _chosen(turn: Turn, session: Session, headers: Mapping[str, str]) -> Selected:
    """What answers, with the fault that the session or the request itself puts upon it.

    :raises ProtocolError: the session is strict and nothing matches, or the request's fault is malformed.
    """
    taken = session.take_fault(headers)
    if taken is not None and not uses_reply(taken[1], stream=turn.stream):
        return Selected(taken[0], Reply(fault=taken[1]))
    chosen = session.select(turn, headers)
    if taken is not None:
        return replace(chosen, name=chosen.name or taken[0], reply=replace(chosen.reply, fault=taken[1]))
    if chosen.name is None and not turn.computed:
        session.journal.unmatched += 1
        if session.strict:
            raise _unmatched(turn, session, headers)
    fault = chosen.reply.fault
    if fault is not None and not session.faults.strikes(fault, f"scenario {chosen.name}"):
        return replace(chosen, reply=replace(chosen.reply, fault=None))
    return chosen


def with_asked_fault(
    outcome: Outcome, session: Session, headers: Mapping[str, str], provider: str, stamp: Stamp
) -> Outcome:
    """``outcome`` of a request that no model answers, with the fault that the request asks for in its header."""
    envelopes = envelope(provider)
    try:
        fault = session.faults.asked_for(headers[FAULT_HEADER])
    except ProtocolError as error:
        return refused(error, envelopes, stamp)
    if fault is None:
        return outcome
    if is_in_reply(fault, stream=False, provider=provider):
        raw = b"".join(step.data for step in outcome.steps if isinstance(step, Write))
        reply = fault_replies.with_slowness(Reply(fault=fault))
        steps = plan_body(reply, raw)
        sized = [(name, value) for name, value in outcome.headers if name != b"content-length"]
        sized.append((b"content-length", b"%d" % _announced(reply, raw, steps)))
        outcome = replace(outcome, steps=steps, headers=sized)
    else:
        outcome = _instead(fault, Turn("", "", ()), provider, stamp)
    outcome.fault = fault.kind
    return outcome


def _instead(fault: Fault, turn: Turn, provider: str, stamp: Stamp) -> Outcome:
    """What is sent where the fault leaves nothing of a reply."""
    envelopes = envelope(provider)
    if fault.kind == "wrong_type":
        return _page(fault, envelopes, stamp)
    error = fault_replies.instead(fault, turn, provider, envelopes, lambda: count_input(turn))
    return refused(error, envelopes, stamp, fault if error.status == fault.status else None)


def _page(fault: Fault, envelopes: Envelope, stamp: Stamp) -> Outcome:
    """A proxy's page in the place of an answer."""
    raw = fault_replies.page(fault)
    sized = [(b"content-type", one_line(fault.content_type)), (b"content-length", b"%d" % len(raw))]
    return Outcome(fault.status, sized, [Write(raw)], raw=raw, error=f"a page of {fault.content_type}")


def _spoken(turn: Turn, chosen: Selected, session: Session, served: Served, stamp: Stamp) -> Outcome:
    speaks, provider = served
    envelopes = envelope(provider)
    input_tokens = count_input(turn)
    fault = chosen.reply.fault
    if fault is not None:
        chosen = replace(chosen, reply=fault_replies.with_slowness(chosen.reply))
    replies = [finish(with_thought(_words(turn, chosen, n), turn), turn, input_tokens) for n in range(turn.choices)]
    if turn.breakpoints:
        cached = session.prompts.look_up(turn.breakpoints, time.time())
        if chosen.reply.usage is None:
            replies = [reply.with_usage(cached.in_usage(reply.usage)) for reply in replies if reply.usage]
    reply, gaps = _timed(replies[0], session)
    headers: HeaderList = envelopes.headers(stamp)
    if turn.stream:
        stream = partial(_streamed, served, turn, stamp)
        events = stream(replies)
        if fault is not None and fault.after_tokens is not None:
            others, more = fault_replies.otherwise_after(replies, fault.after_tokens)
            same = fault_replies.common_start(events, stream(others))
            fault = replace(fault, after_chunks=same + more)
            reply = replace(reply, fault=fault)
        error_event = None
        if fault is not None and fault.kind == "stream_error":
            error_event = _error_event(turn, fault, served, stamp, len(events))
        before = None if gaps is None else _before_events(stream, events, replies, gaps)
        events = altered(events, fault)
        stream_type = speaks.STREAM_TYPE
        if not turn.sse:
            events, stream_type = json_array(events), JSON_TYPE[1]
            error_event = error_event and _last_of_array(error_event, reply)
        raw = b"".join(events)
        at_once = fault is None and before is None and reply.chunk_delay_s is None
        steps = plan_stream(reply, [raw] if at_once else events, error_event, before)
        headers = [(b"content-type", stream_type), (b"cache-control", b"no-cache"), *headers]
    else:
        raw = speaks.render(turn, replies, stamp)
        if provider in DRESSING:
            raw = dressing(provider).dressed(turn, raw)
        delay_s = 0.0 if is_background(turn) else reply.delay_s + sum(gaps or ())
        steps = plan_body(reply if reply.delay_s == delay_s else replace(reply, delay_s=delay_s), raw)
        headers = [JSON_TYPE, (b"content-length", b"%d" % _announced(reply, raw, steps)), *headers]
    return Outcome(200, with_own(headers, reply.headers), steps, reply=reply, replies=replies, raw=raw)


def _streamed(served: Served, turn: Turn, stamp: Stamp, replies: Sequence[Reply]) -> list[bytes]:
    events = served.dialect.stream(turn, replies, stamp)
    provider = served.provider
    return dressing(provider).dressed_events(turn, events) if provider in DRESSING else events


def _timed(reply: Reply, session: Session) -> tuple[Reply, list[float] | None]:
    """``reply`` with its delay, and the seconds before each of its tokens, where a latency is set."""
    latency = reply.latency or session.latency
    if latency is None:
        return reply, None
    from fake_llm.latency import timed  # noqa: PLC0415 - only where it is asked for

    seed = f"{session.faults.seed} latency {session.journal.total}"
    return timed(reply, latency, seed, reply.usage.output_tokens if reply.usage else 1)


def _before_events(
    stream: Callable[[Sequence[Reply]], list[bytes]],
    events: Sequence[bytes],
    replies: Sequence[Reply],
    gaps: Sequence[float],
) -> list[float]:
    from fake_llm.latency import before_events, spoken_otherwise  # noqa: PLC0415 - as above

    others, tokens = spoken_otherwise(replies)
    return before_events(events, stream(others), tokens, gaps)


def _last_of_array(error_event: bytes, reply: Reply) -> bytes:
    begun = reply.fault is None or reply.fault.after_chunks != 0
    return b"".join(json_array([error_event], begun=begun))


def is_background(turn: Turn) -> bool:
    """Whether the client is answered at once, and looks for the reply later."""
    return turn.dialect in KEEPING and keeping(turn.dialect).is_background(turn)


def _error_event(turn: Turn, fault: Fault, served: Served, stamp: Stamp, events: int) -> bytes:
    error = envelope(served.provider).from_fault(fault, turn.model)
    if turn.dialect not in KEEPING:
        return served.dialect.stream_error(error, stamp)
    sent = 1 if fault.after_chunks is None else min(fault.after_chunks, events)
    return keeping(turn.dialect).stream_failure(error, turn, stamp, sent)


def _words(turn: Turn, chosen: Selected, choice: int) -> Reply:
    fault = chosen.reply.fault
    if not chosen.automatic:
        return chosen.reply if fault is None else fault_replies.struck(chosen.reply, turn, fault)
    words = Reply() if turn.computed else automatic_reply(turn, choice)
    if chosen.name is None:
        return words
    reply = with_words_of(chosen.reply, words)
    return reply if fault is None else fault_replies.struck(reply, turn, fault)


def _announced(reply: Reply, raw: bytes, steps: Sequence[Step]) -> int:
    """The content length: a body that is cut was to be whole, any other is as long as what is written."""
    if reply.fault is None or not is_whole(reply.fault):
        return len(raw)
    return sum(len(step.data) for step in steps if isinstance(step, Write))


def _unmatched(turn: Turn, session: Session, headers: Mapping[str, str]) -> ProtocolError:
    reasons = session.why_not(turn, headers)
    told = [f"({place}) {reason}" for place, reason in enumerate(reasons, 1)] or ["it has none"]
    return ProtocolError(
        f"No scenario of the strict session {session.id!r} matches this request (user text: {turn.user[:200]!r}). "
        f"The nearest of {len(session.scenarios)}: {'; '.join(told)}.",
        code="no_scenario_matched",
    )
