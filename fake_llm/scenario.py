"""Scenarios: rules that say what the fake answers to which request. Decided here purely; nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING, Literal

from fake_llm.asked import Asked
from fake_llm.model import Json, ProtocolError, Reply, Turn
from fake_llm.rate_limits import Limits

if TYPE_CHECKING:
    from fake_llm.session import Session

MISSING = object()
"""What :func:`at_path` finds where there is nothing; unlike None it is no JSON value."""

_PATH_STEP = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A test of a text: that it contains, equals or (by search) matches a regular expression, or all of them."""

    contains: str | None = None
    equals: str | None = None
    regex: re.Pattern[str] | None = None

    def __call__(self, text: str) -> bool:
        """Whether ``text`` passes."""
        return (
            (self.contains is None or self.contains in text)
            and (self.equals is None or self.equals == text)
            and (self.regex is None or self.regex.search(text) is not None)
        )


@dataclass(frozen=True, slots=True)
class JsonMatch:
    """A test of the value at a path of the raw request body: equal to ``value``, or a text that passes ``text``."""

    path: str
    value: Json = MISSING
    text: TextMatch | None = None

    def __call__(self, body: Json) -> bool:
        """Whether the value in ``body`` passes."""
        found = at_path(body, self.path)
        if self.text is not None:
            return isinstance(found, str) and self.text(found)
        return found is not MISSING and bool(found == self.value) and type(found) is type(self.value)


Test = Callable[[Turn, Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a scenario answers: those that pass every test that is set.

    ``states`` are the session's, who tests them. ``attachments`` True: any number but none.
    """

    user: TextMatch | None = None
    system: TextMatch | None = None
    model: str | None = None
    dialects: tuple[str, ...] = ()
    tool_result: TextMatch | None = None
    tools: tuple[str, ...] = ()
    turn: int | None = None
    stream: bool | None = None
    headers: Mapping[str, TextMatch] = field(default_factory=dict)
    json: tuple[JsonMatch, ...] = ()
    conversation: TextMatch | None = None
    attachments: int | bool | None = None
    states: tuple[str, ...] = ()
    _set: tuple[tuple[str, Test], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_set", tuple(self._tests()))

    def mismatch(self, turn: Turn, headers: Mapping[str, str]) -> str | None:
        """The name of the first test that fails, or None where all pass. Costs what is set, cheap tests first."""
        if turn.computed and turn.dialect not in self.dialects:
            return "dialect"
        for name, passes in self._set:
            if not passes(turn, headers):
                return name
        return None

    def _tests(self) -> Iterator[tuple[str, Test]]:
        """The tests that are set, in the order in which they are made."""
        if (user := self.user) is not None:
            yield "user", lambda turn, _: user(turn.user)
        if self.model is not None:
            model = re.compile(translate(self.model))
            yield "model", lambda turn, _: model.match(turn.model) is not None
        if self.turn is not None:
            yield "turn", lambda turn, _: turn.number == self.turn
        if self.dialects:
            yield "dialect", lambda turn, _: turn.dialect in self.dialects
        if self.stream is not None:
            yield "stream", lambda turn, _: turn.stream == self.stream
        if (system := self.system) is not None:
            yield "system", lambda turn, _: system(turn.system)
        if self.tools:
            yield "tools", lambda turn, _: {tool.name for tool in turn.tools}.issuperset(self.tools)
        if (tool_result := self.tool_result) is not None:
            yield "tool_result", lambda turn, _: any(tool_result(result.text) for result in turn.tool_results)
        if self.headers:
            wanted = self.headers.items()
            yield "header", lambda _, headers: all(name in headers and test(headers[name]) for name, test in wanted)
        if self.json:
            yield "json", lambda turn, _: all(test(turn.raw) for test in self.json)
        if (conversation := self.conversation) is not None:
            yield "conversation", lambda turn, _: conversation(turn.conversation)
        if self.attachments is not None:
            yield "attachments", lambda turn, _: self.has_attachments_of(turn)

    def has_attachments_of(self, turn: Turn) -> bool:
        """Whether the conversation has as many images, sounds and files as are asked for."""
        if isinstance(self.attachments, bool):
            return (turn.attachments > 0) is self.attachments
        return self.attachments in (None, turn.attachments)


class ScenarioFailed(ProtocolError):
    """A scenario matched, and its words could not be had. Clients do not try again."""

    def __init__(self, scenario: str, why: str) -> None:
        self.scenario = scenario
        super().__init__(f"The scenario {scenario!r} failed: {why}.", code="scenario_failed")


Asking = Callable[[Asked, "Session"], Awaitable["Answer"]]
"""Asks a function for an answer.

:raises AnswerFault: it has none.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer. ``automatic``: its words are left to the automatic reply (it is all fault or delay).

    ``fill`` makes the reply for one request, where it has templates. ``asks`` gets the words from a function; ``reply``
    then has the rest.
    """

    reply: Reply
    automatic: bool = False
    fill: Callable[[Asked], Reply] | None = None
    asks: Asking | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A rule: requests that match get ``answers`` one after the other.

    After the last answer it is repeated, or (``after_last``) the scenario no longer matches. ``times`` bounds
    how often the scenario answers at all. ``form`` is the scenario as it was written. ``limits`` hold for the requests
    that match; a scenario without answers has nothing but them, and the next ones are asked. ``then`` is the session's
    state after an answer, "" for the same as before.
    """

    name: str
    match: Match
    answers: tuple[Answer, ...]
    times: int | None = None
    after_last: Literal["repeat", "fall_through"] = "repeat"
    form: Mapping[str, Json] = field(default_factory=dict)
    limits: Limits | None = None
    then: str = ""

    def answer(self, used: int) -> Answer | None:
        """The answer for the call after ``used`` calls, or None where the scenario has answered its last."""
        if not self.answers or (self.times is not None and used >= self.times):
            return None
        if used < len(self.answers):
            return self.answers[used]
        return self.answers[-1] if self.after_last == "repeat" else None


def at_path(body: Json, path: str) -> Json:
    """The value at ``path`` (``metadata.user``, ``messages[0].content``, ``messages[-1].role``), or MISSING."""
    value = body
    for step in _PATH_STEP.findall(path):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and _is_index(step, value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def _is_index(step: str, value: list[Json]) -> bool:
    return step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value)
