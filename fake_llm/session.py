"""Sessions: the part of the fake that one test sees, its own scenarios and its own journal."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from fake_llm.asked import AnswerFault, Asked
from fake_llm.fault_turns import FAULT_HEADER, FaultTurns
from fake_llm.journal import Journal
from fake_llm.kept import Kept
from fake_llm.model import Fault, Latency, Reply, Turn, value
from fake_llm.rate_limits import Limiter
from fake_llm.scenario import Answer, Asking, Scenario, ScenarioFailed

if TYPE_CHECKING:
    from fake_llm.asking import Asks
    from fake_llm.local_models import LocalModels
    from fake_llm.prompt_cache import PromptCache

KEY_PREFIX = "sk-realstack-"
DEFAULT_SESSION = "default"
FIRST_STATE = "start"
SESSION_HEADER = "x-fake-llm-session"
MAX_SESSIONS = 4_000

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


class ScenarioState:
    """A scenario together with how often it has answered in this session."""

    __slots__ = ("limiter", "scenario", "used")

    def __init__(self, scenario: Scenario, used: int = 0) -> None:
        self.scenario = scenario
        self.used = used
        self.limiter = None if scenario.limits is None else Limiter(scenario.limits)

    def __repr__(self) -> str:
        return f"<ScenarioState {self.scenario.name} used {self.used}x>"


SILENT = Reply()


@value()
class Selected:
    """What a session chose for a turn. ``name`` None: no scenario matched.

    ``automatic``: the words are left to the automatic reply; ``reply`` has the delays, headers and the fault.
    ``later``: a function has to be asked for the words, and gives what is chosen in place of this.
    """

    name: str | None = None
    reply: Reply = SILENT
    automatic: bool = True
    later: Callable[[], Awaitable[Selected]] | None = None


class Session:
    """One test's scenarios, journal, kept turns, cached prompts and models.

    Not thread-safe: it belongs to the server's event loop.
    """

    def __init__(self, session_id: str, base: Sequence[Scenario] = ()) -> None:
        self.id = session_id
        self.own: list[ScenarioState] = []
        self.base = [ScenarioState(scenario) for scenario in base]
        self.journal = Journal()
        self.kept = Kept()
        self.strict = False
        self.faults = FaultTurns()
        self.latency: Latency | None = None
        self.limiter: Limiter | None = None
        self.state = FIRST_STATE
        self._named = 0

    def __repr__(self) -> str:
        return f"<Session {self.id} {len(self.own)}+{len(self.base)} scenarios, {self.journal!r}>"

    @cached_property
    def prompts(self) -> PromptCache:
        """What the session's clients have had cached of their prompts."""
        from fake_llm.prompt_cache import PromptCache  # noqa: PLC0415 - only some requests need it

        return PromptCache()

    @cached_property
    def local(self) -> LocalModels:
        """The models of this session's Ollama."""
        from fake_llm.local_models import LocalModels  # noqa: PLC0415 - few sessions need them

        return LocalModels()

    @cached_property
    def asks(self) -> Asks:
        """The questions to functions in a test's process that are open."""
        from fake_llm.asking import Asks  # noqa: PLC0415 - as above

        return Asks()

    @property
    def scenarios(self) -> list[ScenarioState]:
        """All scenarios in the order in which they are asked: the newest own ones first, the base last."""
        return [*self.own, *self.base]

    def put_in_front(self, scenarios: Sequence[Scenario]) -> list[str]:
        """Add ``scenarios``, in their order, before all others; returns their names, made unique."""
        states = [ScenarioState(self._uniquely_named(scenario)) for scenario in scenarios]
        self.own[:0] = states
        return [state.scenario.name for state in states]

    def set(self, scenario: Scenario) -> None:
        """Replace the own scenario of that name, keeping its place and count; put it in front if there is none."""
        for state in self.own:
            if state.scenario.name == scenario.name:
                if state.scenario.limits != scenario.limits:
                    state.limiter = None if scenario.limits is None else Limiter(scenario.limits)
                state.scenario = scenario
                return
        self.own.insert(0, ScenarioState(scenario))

    def reset(self) -> None:
        """Back to how a new session is: no own scenario, no fault, nothing noted or kept, no base scenario used."""
        self.own.clear()
        for state in self.base:
            state.used = 0
            state.limiter = None if state.scenario.limits is None else Limiter(state.scenario.limits)
        self.strict = False
        self.faults.reset()
        self.latency = self.limiter = None
        self.state = FIRST_STATE
        self.journal.clear()
        self.kept.clear()
        self.__dict__.pop("local", None)
        self.__dict__.pop("prompts", None)
        self.end_asks()

    def end_asks(self) -> None:
        """Leave no question open, and let nobody wait for one."""
        if "asks" in self.__dict__:
            self.__dict__.pop("asks").close()

    def switch_fault(self, fault: Fault | None, times: int | None = None) -> None:
        """Give the next ``times`` requests (None: all) this fault before any scenario is asked."""
        self.faults.switch(fault, times)

    def take_fault(self, headers: Mapping[str, str]) -> tuple[str, Fault] | None:
        """The fault that one request asks for or the session was switched to, counted down, and whence it comes.

        :raises ProtocolError: the request asks for it in a malformed header.
        """
        header = headers.get(FAULT_HEADER)
        if header is not None and (asked := self.faults.asked_for(header)) is not None:
            return "fault header", asked
        switched = self.faults.switched_for_this_call()
        return None if switched is None else ("fault switch", switched)

    def limiters(self, turn: Turn, headers: Mapping[str, str]) -> list[Limiter]:
        """The rate limits that hold for a turn: the session's, and those of the scenarios that match it."""
        found = [] if self.limiter is None else [self.limiter]
        for state in (*self.own, *self.base):
            if state.limiter is not None and self._matches(state.scenario, turn, headers):
                found.append(state.limiter)
                state.used += not state.scenario.answers
        return found

    def select(self, turn: Turn, headers: Mapping[str, str]) -> Selected:
        """The reply of the first scenario that matches and still answers, and count that scenario as used.

        :raises ScenarioFailed: its template did.
        """
        for state in (*self.own, *self.base):
            answer = state.scenario.answer(state.used)
            if answer is not None and self._matches(state.scenario, turn, headers):
                state.used += 1
                before, self.state = self.state, state.scenario.then or self.state
                name = state.scenario.name
                if answer.fill is None and answer.asks is None:
                    return Selected(name, answer.reply, answer.automatic)
                return self._worded(name, answer, Asked(turn, headers, self.id, before, state.used))
        return Selected()

    def _worded(self, name: str, answer: Answer, asked: Asked) -> Selected:
        """What is chosen where the words depend on the request, or a function has them."""
        if answer.asks is not None:
            return Selected(name, answer.reply, answer.automatic, partial(self._ask, name, answer.asks, asked))
        assert answer.fill is not None  # noqa: S101 - for the type checker
        try:
            return Selected(name, answer.fill(asked), answer.automatic)
        except AnswerFault as error:
            raise ScenarioFailed(name, str(error)) from error

    async def _ask(self, name: str, asks: Asking, asked: Asked) -> Selected:
        try:
            answer = await asks(asked, self)
        except AnswerFault as error:
            raise ScenarioFailed(name, str(error)) from error
        return Selected(name, answer.reply, answer.automatic)

    def why_not(self, turn: Turn, headers: Mapping[str, str]) -> list[str]:
        """Why the scenarios that are nearest to a match did not, a sentence each."""
        from fake_llm.mismatch import nearest  # noqa: PLC0415 - only for a request that is refused

        return nearest(
            [(state.scenario, state.used) for state in self.scenarios if state.scenario.answers],
            turn,
            headers,
            self.state,
        )

    def _matches(self, scenario: Scenario, turn: Turn, headers: Mapping[str, str]) -> bool:
        match = scenario.match
        return (not match.states or self.state in match.states) and match.mismatch(turn, headers) is None

    def _uniquely_named(self, scenario: Scenario) -> Scenario:
        taken = {state.scenario.name for state in self.scenarios}
        name = scenario.name
        while name in taken:
            self._named += 1
            name = f"{scenario.name}-{self._named}"
        return scenario if name == scenario.name else replace(scenario, name=name)


class Sessions:
    """All sessions, the least recently used dropped first. An unknown one is made when it is first named.

    A session starts with ``handed``, which may change while the server runs, and behind it ``base``, the server's own.
    """

    def __init__(self, base: Sequence[Scenario] = (), max_sessions: int = MAX_SESSIONS) -> None:
        self.base = tuple(base)
        self.handed: tuple[Scenario, ...] = ()
        self._max = max_sessions
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: str) -> Session:
        """The session of that id, made if there is none."""
        session = self._sessions.get(session_id)
        if session is None:
            return self.new(session_id)
        self._sessions.move_to_end(session_id)
        return session

    def new(self, session_id: str, handed: Sequence[Scenario] | None = None) -> Session:
        """A session of that id as new; ``handed`` in place of what all others start with."""
        self.drop(session_id)
        session = Session(session_id, (*(self.handed if handed is None else handed), *self.base))
        self._sessions[session_id] = session
        if len(self._sessions) > self._max:
            self._sessions.popitem(last=False)[1].end_asks()
        return session

    def replace_base(self, base: Sequence[Scenario]) -> None:
        """Other scenarios in the place of the server's own, in every session; counts stay with the names."""
        before, self.base = self.base, tuple(base)
        for session in self._sessions.values():
            handed = session.base[: len(session.base) - len(before)]
            used = {state.scenario.name: state.used for state in session.base[len(handed) :]}
            session.base = [*handed, *(ScenarioState(one, used.get(one.name, 0)) for one in self.base)]

    def find(self, session_id: str) -> Session | None:
        """The session of that id if there is one."""
        return self._sessions.get(session_id)

    def drop(self, session_id: str) -> bool:
        """Forget the session; False if there was none."""
        dropped = self._sessions.pop(session_id, None)
        if dropped is not None:
            dropped.end_asks()
        return dropped is not None

    def all(self) -> list[Session]:
        """Every session, the least recently used first."""
        return list(self._sessions.values())


def split_path(path: str) -> tuple[str | None, str]:
    """``/s/<session>/v1/x`` as ``("<session>", "/v1/x")``; any other path as ``(None, path)``."""
    if not path.startswith("/s/"):
        return None, path
    session_id, slash, rest = path[3:].partition("/")
    session_id = unquote(session_id)
    return (session_id, slash + rest or "/") if SESSION_ID.fullmatch(session_id) else (None, path)


def api_key(headers: Mapping[str, str]) -> str | None:
    """The key that a request carries, wherever its SDK puts it; None for none."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None
    return next((headers[name] for name in KEY_HEADERS if headers.get(name)), None)


def key_in_query(query: str) -> str | None:
    """The key that a request carries in its URL, as one of Google's may."""
    return dict(parse_qsl(query)).get("key")


def session_of(headers: Mapping[str, str], from_path: str | None, key: str | None) -> str:
    """Which session a request belongs to: by its path, else its header, else its key, else the default one."""
    named = from_path or headers.get(SESSION_HEADER)
    if named is None and key is not None and key.startswith(KEY_PREFIX):
        named = key[len(KEY_PREFIX) :]
    return named if named and SESSION_ID.fullmatch(named) else DEFAULT_SESSION
