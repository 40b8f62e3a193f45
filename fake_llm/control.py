"""The control API under ``/_fake``: sessions, their scenarios, journals and fault switches.

Meant for the test that drives the fake, not for the application under test. All bodies are JSON; an unknown
key is refused with the nearest known one: ``422 {"error": {"message", "problems": [...]}}``.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated, Any, get_type_hints

from fastapi import Body, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from fake_llm import __version__
from fake_llm.complaints import sentences
from fake_llm.dialects import COMPUTED, DIALECTS
from fake_llm.dialects.wire import to_bytes
from fake_llm.docs_page import PAGE, POLICY
from fake_llm.journal import Journal
from fake_llm.model import Json
from fake_llm.rate_limits import Limiter
from fake_llm.scenario import Scenario
from fake_llm.session import KEY_PREFIX, Session, Sessions
from fake_llm.written import Name, ScenarioError, ScenarioForm, scenarios_from
from fake_llm.written_faults import FaultSwitch, Form, fault_from
from fake_llm.written_pacing import AnyLatency, LatencySwitch, LimitsForm, latency_from, limits_from

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
SessionId = Annotated[str, Path(pattern=ID_PATTERN, description="The session's id")]


class SentFile(Form):
    """A scenario file: its name, for complaints, and its text."""

    name: str
    text: str


class SentFiles(Form):
    """Scenario files, the first scenario that matches answers."""

    files: list[SentFile]


class NewSession(Form):
    """What a session starts with. ``strict``: a request that no scenario matches is refused with the reasons."""

    id: str | None = Field(None, pattern=ID_PATTERN, description="None: a random one")
    scenarios: list[ScenarioForm] = Field(default_factory=list)
    files: list[SentFile] | None = Field(None, description="In place of the files that were handed to the server")
    strict: bool = False
    seed: int = Field(0, description="Decides which calls a fault with a rate strikes, and latencies that vary")
    latency: AnyLatency | None = None
    limits: LimitsForm | None = None


class ScenarioList(Form):
    """Scenarios, the first that matches answers."""

    scenarios: list[ScenarioForm]


class AskAnswer(Form):
    """What a function in the test's process said, or why it did not."""

    reply: Json = Field(None, description="A text, a reply of the scenario form, or null for automatic words")
    error: str | None = None


class SessionChange(Form):
    """Settings of a session; what is not given stays."""

    strict: bool | None = None
    seed: int | None = None


def build(sessions: Sessions) -> FastAPI:
    """The control API over ``sessions``. Its endpoints run in the event loop that owns them."""
    api = FastAPI(title="fake LLM: control API", version=__version__, docs_url=None, redoc_url=None,
                  openapi_url="/_fake/openapi.json")  # fmt: skip
    api.add_exception_handler(RequestValidationError, _refuse)
    _add_health(api)
    _add_sessions(api, sessions)
    _add_scenarios(api, sessions)
    _add_journal(api, sessions)
    _add_fault(api, sessions)
    _add_pacing(api, sessions)
    _add_asks(api, sessions)
    return api


def _add_health(api: FastAPI) -> None:
    @api.get("/_fake/docs", include_in_schema=False)
    async def docs() -> Response:
        """This API for a reader, in a browser without the internet."""
        return Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY})

    @api.get("/_fake/health")
    async def health() -> Response:
        """Whether the server answers, and which dialects it speaks."""
        return _json({"status": "ok", "version": __version__, "dialects": [*DIALECTS, *COMPUTED]})


def _add_sessions(api: FastAPI, sessions: Sessions) -> None:
    @api.get("/_fake/sessions")
    async def list_sessions() -> Response:
        """All sessions, the least recently used first."""
        return _json({"sessions": [_summary(session) for session in sessions.all()]})

    @api.post("/_fake/sessions", status_code=201)
    async def create_session(body: Annotated[NewSession, Body(default_factory=NewSession)]) -> Response:
        """Make a session, or make an existing one new: nothing of what it had is left."""
        try:
            handed = None if body.files is None else _loaded(body.files)
        except ScenarioError as error:
            return _wrong(error.problems)
        session = sessions.new(body.id or secrets.token_hex(8), handed)
        session.strict, session.faults.seed = body.strict, body.seed
        session.latency, limits = latency_from(body.latency), limits_from(body.limits)
        session.limiter = None if limits is None else Limiter(limits)
        session.put_in_front(scenarios_from(body.scenarios))
        return _json(_details(session), status=201)

    @api.put("/_fake/files")
    async def hand_over(body: SentFiles) -> Response:
        """Let every session that is made from now on start with these files; they replace those handed over before."""
        try:
            sessions.handed = _loaded(body.files)
        except ScenarioError as error:
            return _wrong(error.problems)
        return _json({"scenarios": [scenario.name for scenario in sessions.handed]})

    @api.get("/_fake/sessions/{session_id}")
    async def show_session(session_id: SessionId) -> Response:
        """A session with its scenarios and how often each has answered."""
        session = sessions.find(session_id)
        return _json(_details(session)) if session else _unknown(session_id)

    @api.patch("/_fake/sessions/{session_id}")
    async def change_session(session_id: SessionId, body: SessionChange) -> Response:
        """Change a session's settings."""
        session = sessions.get(session_id)
        session.strict = session.strict if body.strict is None else body.strict
        session.faults.seed = session.faults.seed if body.seed is None else body.seed
        return _json(_details(session))

    @api.delete("/_fake/sessions/{session_id}")
    async def delete_session(session_id: SessionId) -> Response:
        """Forget a session. A request that names it later makes it anew."""
        return Response(status_code=204) if sessions.drop(session_id) else _unknown(session_id)

    @api.post("/_fake/sessions/{session_id}/reset")
    async def reset_session(session_id: SessionId) -> Response:
        """Back to how a new session is: own scenarios, journal, counts, strictness and fault are gone."""
        session = sessions.get(session_id)
        session.reset()
        return _json(_details(session))


def _add_scenarios(api: FastAPI, sessions: Sessions) -> None:
    path = "/_fake/sessions/{session_id}/scenarios"

    @api.get(path)
    async def list_scenarios(session_id: SessionId) -> Response:
        """The scenarios in the order in which they are asked."""
        return _json({"scenarios": _scenarios(sessions.get(session_id))})

    @api.post(path)
    async def add_scenarios(session_id: SessionId, body: ScenarioList) -> Response:
        """Put scenarios in front of all that the session has. Returns the names of the added ones."""
        session = sessions.get(session_id)
        added = session.put_in_front(scenarios_from(body.scenarios))
        return _json({"added": added, "scenarios": _scenarios(session)})

    @api.put(path)
    async def replace_scenarios(session_id: SessionId, body: ScenarioList) -> Response:
        """Replace the session's own scenarios. The base scenarios of the server stay behind them."""
        session = sessions.get(session_id)
        session.own.clear()
        added = session.put_in_front(scenarios_from(body.scenarios))
        return _json({"added": added, "scenarios": _scenarios(session)})

    @api.put(path + "/{name}")
    async def set_scenario(session_id: SessionId, name: Annotated[Name, Path()], body: ScenarioForm) -> Response:
        """Set one scenario by name: in front of all if it is new, else in its place, its count of answers kept."""
        session = sessions.get(session_id)
        session.set(scenarios_from([body.model_copy(update={"name": name})])[0])
        return _json({"scenarios": _scenarios(session)})

    @api.delete(path, status_code=204)
    async def clear_scenarios(session_id: SessionId) -> Response:
        """Forget the session's own scenarios."""
        sessions.get(session_id).own.clear()
        return Response(status_code=204)


def _add_journal(api: FastAPI, sessions: Sessions) -> None:
    path = "/_fake/sessions/{session_id}/journal"

    @api.get(path)
    async def read_journal(
        session_id: SessionId,
        since: Annotated[int, Query(ge=0, description="Only entries with a higher seq")] = 0,
    ) -> Response:
        """What the session was asked and what it answered, oldest first, keys redacted."""
        session = sessions.find(session_id)
        journal = session.journal if session else Journal()
        entries = journal.since(since)
        return _json(
            {
                "session": session_id,
                "entries": [entry.as_json() for entry in entries],
                "next": entries[-1].seq if entries else since,
                "total": journal.total,
                "unmatched": journal.unmatched,
                "dropped": journal.dropped,
            }
        )

    @api.delete(path, status_code=204)
    async def clear_journal(session_id: SessionId) -> Response:
        """Forget the entries; numbering goes on."""
        sessions.get(session_id).journal.clear()
        return Response(status_code=204)


def _add_fault(api: FastAPI, sessions: Sessions) -> None:
    path = "/_fake/sessions/{session_id}/fault"

    @api.put(path)
    async def switch_fault(session_id: SessionId, body: FaultSwitch) -> Response:
        """Give the session's next requests a fault, whatever its scenarios say."""
        session = sessions.get(session_id)
        session.switch_fault(fault_from(body.fault), body.times)
        return _json(_details(session))

    @api.delete(path, status_code=204)
    async def clear_fault(session_id: SessionId) -> Response:
        """Switch the fault off."""
        sessions.get(session_id).switch_fault(None)
        return Response(status_code=204)


def _add_pacing(api: FastAPI, sessions: Sessions) -> None:
    @api.put("/_fake/sessions/{session_id}/limits")
    async def set_limits(session_id: SessionId, body: LimitsForm) -> Response:
        """Rate limits that hold for each provider by itself, the buckets full. An empty object: none."""
        limits = limits_from(body)
        session = sessions.get(session_id)
        session.limiter = None if limits is None else Limiter(limits)
        return _json(_details(session))

    @api.delete("/_fake/sessions/{session_id}/limits", status_code=204)
    async def clear_limits(session_id: SessionId) -> Response:
        """Take the session's rate limits away."""
        sessions.get(session_id).limiter = None
        return Response(status_code=204)

    @api.put("/_fake/sessions/{session_id}/latency")
    async def set_latency(session_id: SessionId, body: LatencySwitch) -> Response:
        """How long the session's replies take that say nothing of it themselves; null: no time."""
        session = sessions.get(session_id)
        session.latency = latency_from(body.latency)
        return _json(_details(session))


def _add_asks(api: FastAPI, sessions: Sessions) -> None:
    path = "/_fake/sessions/{session_id}/asks"

    @api.get(path)
    async def open_asks(
        session_id: SessionId,
        after: Annotated[int, Query(ge=0, description="Only those with a higher id")] = 0,
        wait_s: Annotated[float, Query(ge=0, le=60, description="How long to wait for one")] = 0,
    ) -> Response:
        """What is asked of the test's functions and not answered yet, as soon as there is any."""
        session = sessions.find(session_id)
        if session is None:
            return _unknown(session_id)
        return _json({"asks": await session.asks.after(after, wait_s)})

    @api.put(path + "/{ask_id}")
    async def answer_ask(session_id: SessionId, ask_id: Annotated[int, Path(ge=1)], body: AskAnswer) -> Response:
        """What the test's function says: a text, a reply of the scenario form, null; or why there is none."""
        session = sessions.find(session_id)
        if session is None:
            return _unknown(session_id)
        asks = session.asks
        settled = asks.answer(ask_id, body.reply) if body.error is None else asks.fail(ask_id, body.error)
        return Response(status_code=204) if settled else _no_ask(ask_id)


def _summary(session: Session) -> dict[str, Json]:
    return {
        "id": session.id,
        "api_key": KEY_PREFIX + session.id,
        "path_prefix": f"/s/{session.id}",
        "strict": session.strict,
        "state": session.state,
        "seed": session.faults.seed,
        "fault": asdict(session.faults.switched) if session.faults.switched else None,
        "latency": asdict(session.latency) if session.latency else None,
        "limits": asdict(session.limiter.limits) if session.limiter else None,
        "calls": session.journal.total,
        "unmatched": session.journal.unmatched,
        "dropped": session.journal.dropped,
    }


def _details(session: Session) -> dict[str, Json]:
    return {**_summary(session), "scenarios": _scenarios(session)}


def _scenarios(session: Session) -> list[dict[str, Json]]:
    return [
        {
            "name": state.scenario.name,
            "used": state.used,
            "exhausted": state.scenario.answer(state.used) is None,
            "base": place >= len(session.own),
            "scenario": state.scenario.form,
        }
        for place, state in enumerate(session.scenarios)
    ]


def _json(value: Json, status: int = 200) -> Response:
    return Response(to_bytes(value), status_code=status, media_type="application/json")


def _loaded(files: list[SentFile]) -> tuple[Scenario, ...]:
    from fake_llm.scenario_file import load_sent  # noqa: PLC0415 - yaml, only where files are sent

    return load_sent((file.name, file.text) for file in files)


def _wrong(problems: list[str]) -> Response:
    return _json({"error": {"message": "; ".join(problems), "problems": problems}}, status=422)


def _unknown(session_id: str) -> Response:
    message = f"there is no session {session_id!r}"
    return _json({"error": {"message": message, "problems": [message]}}, status=404)


def _no_ask(ask_id: int) -> Response:
    message = f"nobody waits for an answer to {ask_id} any more"
    return _json({"error": {"message": message, "problems": [message]}}, status=404)


async def _refuse(request: Request, error: Exception) -> Response:
    """FastAPI's findings as sentences that name the nearest known key."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
    return _wrong(_problems(error, _body_form(request)))


def _problems(error: RequestValidationError, form: type[BaseModel] | None) -> list[str]:
    details = list(error.errors())
    if form is not None and isinstance(error.body, dict):
        try:
            form.model_validate(error.body)
        except ValidationError as again:
            return sentences(again, form)
    return [f"{'.'.join(str(step) for step in detail['loc'])}: {detail['msg']}" for detail in details]


def _body_form(request: Request) -> type[BaseModel] | None:
    endpoint: Any = request.scope.get("endpoint")
    return get_type_hints(endpoint).get("body") if endpoint is not None else None
