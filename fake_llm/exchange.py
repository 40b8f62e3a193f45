"""One exchange with a model, from the request's bytes to the plan of what to send. The server's main path.

``read → session → key → parse → choose → finish → render → plan``: all of it pure but for what the session counts and
keeps. From the choice on it is :mod:`fake_llm.answering`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from fake_llm.answering import Served, answered, is_background
from fake_llm.dialects import KEEPING, LOCAL, NOTHING, STORING, dialect, keeping, storing
from fake_llm.envelopes import envelope
from fake_llm.later import Later
from fake_llm.model import Json, ProtocolError, Stamp, Turn
from fake_llm.outcome import Outcome, decode, refused
from fake_llm.session import Session
from fake_llm.unread import Unread


def generate(
    dialect_name: str,
    session: Session,
    headers: Mapping[str, str],
    body: bytes,
    stamp: Stamp,
    *,
    bound: Mapping[str, Json] = NOTHING,
    path_model: str | None = None,
    provider: str = "",
) -> Outcome:
    """The outcome of a request to a model. Raises for nothing that a client or a scenario may do, but for ``Later``.

    ``bound`` is what the URL says of the request; it stands above the body. ``path_model``: the model that the path
    names, for a body that names none. ``provider``: the one that serves the dialect, if it is not the dialect's own.

    :raises Later: a function has to be asked for the words.
    """
    speaks = dialect(dialect_name)
    provider = provider or speaks.PROVIDER
    envelopes = envelope(provider)
    keeps = dialect_name in KEEPING
    decoded: Json = None
    try:
        decoded = decode(body or b"{}" if keeps else body)
        asked = {**decoded, **bound} if bound else decoded
        if path_model is not None and not asked.get("model"):
            asked = {**asked, "model": path_model}
        turn = keeping(dialect_name).resume(asked, headers, session.kept) if keeps else speaks.parse(asked, headers)
        if dialect_name in LOCAL:
            turn = session.local.use(turn, asked.get("keep_alive"), stamp.created)
    except ProtocolError as error:
        if isinstance(error, Unread):
            error.dialect = dialect_name
        outcome = refused(error, envelopes, stamp)
        outcome.body = decoded if decoded is not None else body.decode("utf-8", "replace")
        return outcome
    note = partial(_noted, turn, session, stamp, decoded, asked_bytes=len(body))
    try:
        outcome = answered(turn, session, headers, Served(speaks, provider), stamp)
    except Later as later:
        raise later.then(note) from None
    return note(outcome)


def _noted(turn: Turn, session: Session, stamp: Stamp, decoded: Json, outcome: Outcome, *, asked_bytes: int) -> Outcome:
    """``outcome`` with what was asked; what the client wants to find again is kept."""
    dialect_name = turn.dialect
    outcome.turn, outcome.body = turn, decoded
    size = 1_000 + 3 * asked_bytes + len(outcome.raw)
    if outcome.replies and dialect_name in STORING:
        chat = storing(dialect_name).kept_chat(turn, outcome.replies, stamp, size)
        if chat is not None:
            session.kept.chats.add(chat)
    if dialect_name in KEEPING and outcome.reply is not None:
        kept = keeping(dialect_name).kept_turn(turn, outcome.reply, stamp, session.kept, size)
        if kept is not None:
            kept.ready_at = time.time() + outcome.reply.delay_s if is_background(turn) else 0.0
            session.kept.add(kept)
    return outcome
