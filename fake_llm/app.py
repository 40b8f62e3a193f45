"""The application: an ASGI callable that serves the providers' paths itself and the control API through FastAPI.

FastAPI and pydantic take longer to import than everything else together, and no answer to a provider's path
needs them. So the control API is imported in the background once the server runs, or when it is first asked.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from fake_llm import __version__
from fake_llm.answering import counted, with_asked_fault
from fake_llm.connection import (
    MAX_BODY,
    MAX_CONTROL_BODY,
    BodyTooLarge,
    ClientLeft,
    Connection,
    Receive,
    Scope,
    Send,
    bounded,
)
from fake_llm.dialects import (
    COMPUTED,
    DIALECTS,
    NOTHING,
    Route,
    counting_dialect,
    dialect,
    has_path,
)
from fake_llm.dialects.wire import to_bytes
from fake_llm.envelopes import Envelope, envelope, provider_of
from fake_llm.exchange import generate
from fake_llm.fault_turns import FAULT_HEADER
from fake_llm.faults import Write
from fake_llm.journal import Entry
from fake_llm.later import Later
from fake_llm.metrics import CONTENT_TYPE, Metrics
from fake_llm.model import Json, ProtocolError, Stamp
from fake_llm.outcome import JSON_TYPE, Outcome, decode, new_stamp, refused
from fake_llm.scenario import Scenario
from fake_llm.session import Session, Sessions, api_key, key_in_query, session_of
from fake_llm.target import Target, target
from fake_llm.unread import Unread

if TYPE_CHECKING:
    from fake_llm.access import Access, From
    from fake_llm.scenario_watch import WatchedFiles

CONTROL = "/_fake"
HEALTH = "/_fake/health"
METRICS = "/metrics"
WARM_UP_AFTER_S = 0.05
VLLM_VERSION = "0.11.2"
"""Of the vLLM that is played where OpenAI's API has no such path."""
MAX_BODIES = {"anthropic": 32 * 1024 * 1024}
"""Where a provider takes less than this server."""
MAX_UNKNOWN_BODY = 1024 * 1024
"""Bytes of a body at a path that is not served."""

_HEALTH_BODY = to_bytes({"status": "ok", "version": __version__, "dialects": [*DIALECTS, *COMPUTED]})
_UP = (JSON_TYPE, b'{"status":"ok"}')
_LIVE_PATHS = {
    "/": ((b"content-type", b"text/plain; charset=utf-8"), b"Ollama is running"),
    "/health": _UP,
    "/healthz": _UP,
    "/ping": _UP,
    "/version": (JSON_TYPE, to_bytes({"version": VLLM_VERSION})),
}
"""What clients look at to see whether a server is there, or which one: Ollama's root, vLLM's others."""

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class App:
    """The fake LLM as an ASGI application. One event loop; all state is in ``sessions``."""

    def __init__(
        self,
        scenarios: Sequence[Scenario] = (),
        *,
        log_calls: bool = False,
        control_from: str = "loopback",
        control_token: str = "",
        watched: WatchedFiles | None = None,
    ) -> None:
        self.sessions = Sessions(scenarios)
        self._watched = watched
        self._control_from, self._control_token = control_from, control_token
        self._log_calls = log_calls
        self._control: AsgiApp | None = None
        self._loading: asyncio.Future[None] | None = None
        self.metrics = Metrics()
        self._may: Access | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if self._watched is not None:
            self._watched.look(self.sessions)
        if path.startswith(CONTROL) or path == METRICS:
            await self._serve_control(path, scope, receive, send)
            return
        connection = Connection(scope, receive, send)
        try:
            await self._serve(connection, path)
        except ClientLeft:
            return
        except Exception:  # noqa: BLE001 - a fault of ours must reach the client as an answer, and the log
            traceback.print_exc()
            await _send(connection, _bug(connection))

    def warm_up(self) -> asyncio.Future[None]:
        """Begin importing the control API in the background, once; done when it is. Call in the event loop."""
        if self._loading is None:
            loop = asyncio.get_running_loop()
            self._loading = loop.create_future()
            threading.Thread(target=self._load_control, args=(loop, self._loading), daemon=True).start()
        return self._loading

    def _load_control(self, loop: asyncio.AbstractEventLoop, loaded: asyncio.Future[None]) -> None:
        try:
            from fake_llm.control import build  # noqa: PLC0415 - this is the late import

            self._control = build(self.sessions)
            for name in (*DIALECTS, *COMPUTED):
                dialect(name)
        except BaseException:  # noqa: BLE001 - a thread's exception would go unseen, and leave requests waiting
            traceback.print_exc()
        if not loop.is_closed():
            loop.call_soon_threadsafe(loaded.set_result, None)

    async def _serve_control(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == HEALTH:
            await Connection(scope, receive, send).answer(200, [JSON_TYPE], _HEALTH_BODY)
            return
        if refusal := self._access().refusal((scope.get("client") or (None,))[0], scope["headers"]):
            await _refuse_control(scope, receive, send, 403, refusal)
            return
        if path == METRICS:
            await Connection(scope, receive, send).answer(200, [(b"content-type", CONTENT_TYPE)], self.metrics.text())
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > MAX_CONTROL_BODY:
            await _refuse_control(scope, receive, send, 413, f"The body may have {MAX_CONTROL_BODY} bytes.")
            return
        receive = bounded(receive)
        if self._control is None:
            await asyncio.shield(self.warm_up())
        if self._control is None:
            connection = Connection(scope, receive, send)
            await _send(connection, _bug(connection))
        else:
            await self._control(scope, receive, send)

    def _access(self) -> Access:
        if self._may is None:
            from fake_llm.access import Access  # noqa: PLC0415 - no provider's path needs it

            self._may = Access(cast("From", self._control_from), self._control_token)
        return self._may

    async def _serve(self, connection: Connection, path: str) -> None:
        started = time.perf_counter()
        to = target(connection.method, path)
        if to.path in _LIVE_PATHS and (connection.method in {"GET", "HEAD"} or to.path == "/ping"):
            content_type, live = _LIVE_PATHS[to.path]
            await connection.answer(200, [content_type], live)
            return
        found, headers = to.route, connection.headers
        generates = found is not None and found.operation == "generate"
        key = api_key(headers) or _key_in_query(connection, found)
        session = self.sessions.get(session_of(headers, to.session, key))
        entry = Entry(connection.method, path, time.time(), headers=headers)
        outcome, body = await _outcome(connection, to, key, session)
        if FAULT_HEADER in headers and not generates:
            provider = to.provider or _provider(connection, found)
            outcome = with_asked_fault(outcome, session, headers, provider, new_stamp())
        entry.dialect = _dialect_name(connection, found)
        outcome.note(entry, seen=len(body))
        entry.asked(body)
        if generates:
            session.journal.add(entry)
        entry.duration_ms = (time.perf_counter() - started) * 1_000
        try:
            entry.outcome = "pending"
            entry.outcome = await connection.carry_out(outcome.status, outcome.headers, outcome.steps)
        finally:
            entry.duration_ms = (time.perf_counter() - started) * 1_000
            entry.bytes_sent = connection.bytes_sent
            if connection.first_byte_at:
                entry.first_byte_ms = (connection.first_byte_at - started) * 1_000
            if generates:
                self.metrics.record(entry, _provider(connection, found))
            if self._log_calls:
                _log(entry, session)


async def _outcome(connection: Connection, to: Target, key: str | None, session: Session) -> tuple[Outcome, bytes]:
    """What is answered, and what the request had as its body."""
    found, path, provider = to.route, to.path, to.provider
    stamp = new_stamp()
    envelopes = envelope(provider or _provider(connection, found))
    room = MAX_UNKNOWN_BODY if found is None else MAX_BODIES.get(found.dialect, MAX_BODY)
    try:
        body = await connection.body(room)
        if found is None:
            raise _unserved(connection.method, path, envelopes)
        if key is None and not found.keyless:
            raise envelopes.missing_key()
        if to.model is not None and "api-version" not in dict(parse_qsl(connection.query)):
            raise envelopes.not_found(connection.method, path)
        if body and found.dialect.startswith("openai_") and not found.keyless and not provider:
            _check_content_type(connection.headers)
        if found.operation == "generate":
            bound, sent = _bound(connection, found), connection.headers
            try:
                answered = generate(
                    found.dialect, session, sent, body, stamp, bound=bound, path_model=to.model, provider=provider
                )
            except Later as later:
                answered = await _waited_for(later, connection)
            return answered, body
        if found.operation == "kept":
            return _about_kept(session, path, connection, body, stamp, envelopes=envelopes), body
        if found.operation == "local" or (found.operation == "count_tokens" and session.limiter is not None):
            return _of_session(session, found, path, connection, body, stamp=stamp), body
        raw = _looked_up(found, path, _provider(connection, found), connection, body)
    except BodyTooLarge:
        outcome = refused(Unread("too_large", status=413, limit=room), envelopes, stamp)
        outcome.headers = [*outcome.headers, (b"connection", b"close")]
        return outcome, b""
    except ProtocolError as error:
        return refused(error, envelopes, stamp), body
    headers = [JSON_TYPE, (b"content-length", b"%d" % len(raw)), *envelopes.headers(stamp)]
    return Outcome(200, headers, [Write(raw)], raw=raw), body


async def _waited_for(later: Later, connection: Connection) -> Outcome:
    try:
        return await connection.unless_left(later.outcome())
    except ClientLeft:
        return later.go_on(ProtocolError("The client left before a function had answered.", status=499))


def _about_kept(
    session: Session, path: str, connection: Connection, body: bytes, stamp: Stamp, *, envelopes: Envelope
) -> Outcome:
    from fake_llm.stored import answer  # noqa: PLC0415 - as all dialects, when first asked

    query = dict(parse_qsl(connection.query))
    common = envelopes.headers(stamp)
    return answer(session.kept, connection.method, path, query, body=body, stamp=stamp, common=common)


def _of_session(
    session: Session, found: Route, path: str, connection: Connection, body: bytes, *, stamp: Stamp
) -> Outcome:
    """What hangs on the session's models, or on its limits."""
    if found.operation == "count_tokens":
        provider = _provider(connection, found)
        return counted(session, provider, partial(_looked_up, found, path, provider, connection, body), stamp)
    from fake_llm.ollama_models import answer  # noqa: PLC0415 - as all dialects, when first asked

    return answer(session.local, connection.method, path, body)


async def _refuse_control(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    said = to_bytes({"error": {"message": why, "problems": [why]}})
    await Connection(scope, receive, send).answer(status, [JSON_TYPE, (b"connection", b"close")], said)


def _unserved(method: str, path: str, envelopes: Envelope) -> ProtocolError:
    return (
        Unread("method", status=405, method=method, path=path) if has_path(path) else envelopes.not_found(method, path)
    )


def _check_content_type(headers: Mapping[str, str]) -> None:
    """OpenAI takes JSON only; without the header a body is taken for it.

    :raises Unread: the header says something else.
    """
    content_type = headers.get("content-type", "application/json")
    if not content_type.lower().startswith("application/json"):
        raise Unread("content_type", content_type=content_type)


def _looked_up(found: Route, path: str, provider: str, connection: Connection, body: bytes) -> bytes:
    """The answers that no scenario has a say in."""
    if found.operation == "count_tokens":
        return counting_dialect(found.dialect).count_tokens(decode(body), connection.headers)
    if found.operation == "tokens":
        from fake_llm import tokenizing  # noqa: PLC0415 - few clients ask for tokens

        return tokenizing.answer(path, decode(body), connection.headers)
    from fake_llm.dialects import models  # noqa: PLC0415 - as all dialects, when first asked

    if model_id := found.bound.get("model"):
        return to_bytes(models.model(provider, model_id))
    return to_bytes(models.listing(provider, dict(parse_qsl(connection.query))))


def _bound(connection: Connection, found: Route) -> Mapping[str, Json]:
    """What the URL says of a request whose path says a part of it. The key is left out."""
    return {"alt": dict(parse_qsl(connection.query)).get("alt", ""), **found.bound} if found.bound else NOTHING


def _key_in_query(connection: Connection, found: Route | None) -> str | None:
    return key_in_query(connection.query) if connection.query and _provider(connection, found) == "gemini" else None


async def _send(connection: Connection, outcome: Outcome) -> str:
    return await connection.carry_out(outcome.status, outcome.headers, outcome.steps)


def _provider(connection: Connection, found: Route | None) -> str:
    if found and found.dialect:
        return dialect(found.dialect).PROVIDER
    return provider_of(connection.headers, connection.query)


def _dialect_name(connection: Connection, found: Route | None) -> str:
    return found.dialect if found and found.dialect else _provider(connection, found)


def _bug(connection: Connection) -> Outcome:
    envelopes = envelope(provider_of(connection.headers, connection.query))
    error = ProtocolError(
        "The fake LLM itself failed, see its log.", status=500, type="server_error", code="fake_llm_bug"
    )
    return refused(error, envelopes, new_stamp())


def _log(entry: Entry, session: Session) -> None:
    """One line for one call, on standard error."""
    model = f" {entry.turn.model}" if entry.turn else ""
    scenario = f" scenario={entry.scenario}" if entry.scenario else ""
    fault = f" fault={entry.fault}" if entry.fault else ""
    outcome = f" {entry.outcome}" if entry.outcome != "sent" else ""
    why = f" ({entry.error})" if entry.error and not entry.fault else ""
    line = (
        f"{entry.method} {entry.path}{model} session={session.id} {entry.status}{scenario}{fault}{outcome}"
        f" {entry.duration_ms:.0f} ms{why}"
    )
    sys.stderr.write("".join(char if char.isprintable() else "?" for char in line) + "\n")
