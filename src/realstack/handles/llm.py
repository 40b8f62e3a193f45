"""What a test holds of the fake LLM: its own session, the rules it sets there, and the calls that came in.

It speaks to the fake's control API over a plain connection of the standard library: synchronous, so that
``fake_llm.on(user="slow").reply_json({...})`` needs no await, and cheap to import.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import quote

from realstack.errors import FakeLLMError
from realstack.model import Endpoint, Secret
from realstack.services.fake_llm import API_KEY_PREFIX, DEFAULT_SESSION, base_url
from realstack.services.fake_llm_files import ScenarioFile, refused

ANSWER_WITHIN_S = 10.0

MODELS = {"openai": "gpt-5.4", "anthropic": "claude-sonnet-5", "gemini": "gemini-2.5-flash"}
"""The model that :meth:`FakeLLM.config` names for a dialect; the fake answers to any."""


@dataclass(frozen=True, slots=True)
class LLMConfig(Mapping[str, str]):
    """How a client of one provider's SDK reaches the fake: attributes, and the same as a mapping.

    ``AsyncOpenAI(base_url=config.base_url, api_key=config.api_key)``. ``provider`` is ``openai``, ``anthropic``
    or ``gemini``; ``base_url`` is what that SDK's parameter of this name wants.
    """

    provider: str
    base_url: str
    api_key: Secret
    model: str

    def __getitem__(self, name: str) -> str:
        if name not in iter(self):
            raise KeyError(name)
        return str(getattr(self, name))

    def __iter__(self) -> Iterator[str]:
        return (item.name for item in fields(self))

    def __len__(self) -> int:
        return len(fields(self))


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the session's journal has, and what became of it.

    ``request`` is the raw body, ``user`` the text of the last user message, ``scenario`` the rule that
    answered (None: none matched), ``outcome`` one of ``sent``, ``client_left``, ``cut``, ``hung``.
    """

    seq: int
    time: float
    dialect: str
    method: str
    path: str
    model: str | None
    stream: bool
    user: str
    system: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[str, ...]
    request: Any
    headers: Mapping[str, str]
    status: int
    error: str | None
    fault: str | None
    scenario: str | None
    reply: str
    tool_calls: tuple[Mapping[str, Any], ...]
    usage: Mapping[str, int] | None
    outcome: str
    duration_ms: float

    def __str__(self) -> str:
        said = f"{self.user[:60]!r}" if self.user else "-"
        tools = ", ".join(call["name"] for call in self.tool_calls)
        became = self.fault or self.error or self.reply[:60] or tools
        rule = f"{self.scenario or 'no rule'}, {self.outcome}"
        return f"{self.seq}. {self.method} {self.path} {self.model} user={said} → {self.status} {became!r} ({rule})"


@dataclass(slots=True)
class Rule:
    """What the fake answers to requests that match. Several answers on one rule make a sequence.

    After the last answer it is repeated. A rule that was set later is asked earlier.
    """

    llm: FakeLLM
    name: str
    match: Mapping[str, Any]
    times: int | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Rule {self.name} {dict(self.match)} with {len(self.answers)} answers>"

    @property
    def then(self) -> Rule:
        """Itself, for reading: ``on(…).fail(429).then.reply("…")``."""
        return self

    def reply(self, text: str = "", **more: Any) -> Rule:
        """Answer with this text. ``more``: any key of a reply of the scenario form, such as ``delay_s``, ``chunks``."""
        return self._add({"text": text, **more} if "chunks" not in more else more)

    def reply_json(self, value: Any, **more: Any) -> Rule:
        """Answer with this value as JSON text."""
        return self._add({"json": value, **more})

    def reply_tool(self, name: str, arguments: Mapping[str, Any] | str | None = None, **more: Any) -> Rule:
        """Answer with one tool call. ``arguments`` as a string is sent as it stands, be it JSON or not."""
        return self.reply_tools([{"name": name, "arguments": arguments if arguments is not None else {}}], **more)

    def reply_tools(self, calls: Sequence[Mapping[str, Any]], **more: Any) -> Rule:
        """Answer with parallel tool calls: ``[{"name": …, "arguments": {…}}, …]``."""
        return self._add({"tool_calls": [dict(call) for call in calls], **more})

    def refuse(self, text: str, **more: Any) -> Rule:
        """Answer with a refusal, as the provider's models do."""
        return self._add({"refusal": text, **more})

    def fail(
        self, status: int = 500, *, retry_after: float | None = None, message: str = "", code: str | None = None
    ) -> Rule:
        """Answer with an error in the provider's own envelope; ``retry_after`` in seconds, sent in both headers."""
        fault: dict[str, Any] = {"kind": "status", "status": status, "message": message, "code": code}
        if retry_after is not None:
            fault |= {"retry_after_s": retry_after, "retry_after_ms": retry_after * 1000}
        return self._fault(fault)

    def hang(self, seconds: float | None = None) -> Rule:
        """Say nothing for that long, then close the connection; None: until the client gives up."""
        return self._fault({"kind": "hang", "hang_s": seconds})

    def cut(self, text: str | None = None, *, after: int | None = None, reset: bool = False) -> Rule:
        """Break the connection inside the answer, ``after`` so many chunks of the stream."""
        fault = {"kind": "cut", "after_chunks": after, "reset": reset}
        return self._add({"text": text, "fault": fault}) if text is not None else self._fault(fault)

    def malformed(self) -> Rule:
        """Answer with a body that is no JSON."""
        return self._fault({"kind": "malformed"})

    def empty(self) -> Rule:
        """Answer with a body of no bytes."""
        return self._fault({"kind": "empty"})

    def break_stream(self, *, after: int | None = None, message: str = "", status: int = 500) -> Rule:
        """Send the provider's error event inside the stream, ``after`` so many chunks."""
        return self._fault({"kind": "stream_error", "after_chunks": after, "message": message, "status": status})

    def _fault(self, fault: Mapping[str, Any]) -> Rule:
        return self._add({"fault": dict(fault)})

    def _add(self, answer: dict[str, Any]) -> Rule:
        self.answers.append(answer)
        self.llm.set_rule(self)
        return self

    def written(self) -> dict[str, Any]:
        """The rule in the scenario form of the control API."""
        form: dict[str, Any] = {"name": self.name, "match": dict(self.match), "sequence": self.answers}
        if self.times is not None:
            form["times"] = self.times
        return form


class FakeLLM:
    """One session of the fake LLM. Thread-safe. It ends with the test that it was lent to.

    ``files`` are what it starts with, in place of what was handed to the server; None: those.

    :raises FakeLLMError: the fake does not answer, or a file is wrong: the sentence names it and the line.
    """

    def __init__(self, endpoint: Endpoint, session: str, files: Sequence[ScenarioFile] | None = None) -> None:
        self.session = session
        self.endpoint = replace(endpoint, options={**endpoint.options, "session": session})
        self._base = base_url(endpoint)
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._rules = 0
        if session != DEFAULT_SESSION:
            self._ask("POST", "/_fake/sessions", {"id": session} | ({} if files is None else {"files": files}))

    def __repr__(self) -> str:
        return f"<FakeLLM session {self.session} at {self._base}>"

    def on(self, *, times: int | None = None, name: str = "", **match: Any) -> Rule:
        """A rule for requests that pass every test given; none: every request.

        ``user``, ``system``, ``tool_result``: text that is contained, or ``{"regex": …}``, ``{"equals": …}``;
        ``model`` with ``*`` as wildcard; ``dialect``; ``tools`` that are offered; ``turn`` from 1; ``stream``;
        ``header`` and ``json``: tables of header names, or paths in the raw body. ``times`` bounds how often
        the rule answers.

        :raises FakeLLMError: a test of another name was given; raised when the rule is sent.
        """
        self._rules += 1
        return Rule(self, name or f"rule-{self._rules}", match, times)

    def config(self, provider: str = "openai", *, model: str = "") -> LLMConfig:
        """How that provider's SDK reaches this session: ``openai``, ``anthropic`` or ``gemini``.

        :raises FakeLLMError: the provider is not one of those.
        """
        if provider not in MODELS:
            raise FakeLLMError(
                f"the fake LLM has no provider {provider!r}.", remedy=f"use one of {', '.join(sorted(MODELS))}."
            )
        base = f"{self._base}/v1" if provider == "openai" else self._base
        return LLMConfig(provider, base, Secret(API_KEY_PREFIX + self.session), model or MODELS[provider])

    @property
    def calls(self) -> list[Call]:
        """The requests that this session has had, oldest first."""
        return [_call(entry) for entry in self._journal()["entries"]]

    @property
    def unmatched(self) -> int:
        """How many requests no rule has matched; they got an automatic answer."""
        count: int = self._journal()["unmatched"]
        return count

    def strict(self, on: bool = True) -> None:
        """Refuse requests that no rule matches, with the reasons, instead of answering them automatically."""
        self._ask("PATCH", self._path(), {"strict": on})

    def reset(self) -> None:
        """Forget this session's rules and calls."""
        self._ask("POST", self._path("/reset"))

    def set_rule(self, rule: Rule) -> None:
        """Send ``rule``; a rule that was sent before is replaced in its place, with its count of answers kept."""
        self._ask("PUT", self._path(f"/scenarios/{quote(rule.name, safe='')}"), rule.written())

    def close(self) -> None:
        """End the session: its rules and calls are forgotten."""
        try:
            if self.session != DEFAULT_SESSION:
                self._ask("DELETE", self._path(), missing_ok=True)
        except FakeLLMError:
            pass  # the fake is gone already, and its sessions with it
        finally:
            with self._lock:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None

    def _journal(self) -> dict[str, Any]:
        journal: dict[str, Any] = self._ask("GET", self._path("/journal"))
        return journal

    def _path(self, below: str = "") -> str:
        return f"/_fake/sessions/{quote(self.session, safe='')}{below}"

    def _ask(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        status, answer = self._exchange(method, path, None if body is None else json.dumps(body).encode())
        if status == http.client.NOT_FOUND and missing_ok:
            return None
        if status >= http.client.BAD_REQUEST:
            raise refused(f"{method} {path}", answer)
        return json.loads(answer) if answer else None

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """One request and its answer, on a kept connection; once more on a new one if the kept one had died."""
        with self._lock:
            for attempt in (1, 2):
                fresh = self._connection is None
                try:
                    connection = self._connected()
                    connection.request(
                        method, self.endpoint.options.get("path", "") + path, body, {"content-type": "application/json"}
                    )
                    answer = connection.getresponse()
                    return answer.status, answer.read()
                except (http.client.HTTPException, OSError) as problem:
                    if self._connection is not None:
                        self._connection.close()
                        self._connection = None
                    if fresh or attempt == 2:
                        raise FakeLLMError(
                            f"the fake LLM at {self._base} does not answer: {problem!r}",
                            remedy="look at its log; `realstack doctor` shows what runs.",
                        ) from problem
            raise AssertionError("unreachable")

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self.endpoint.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self.endpoint.host, self.endpoint.port, timeout=ANSWER_WITHIN_S)
        return self._connection


def _call(entry: Mapping[str, Any]) -> Call:
    turn, reply = entry["turn"] or {}, entry["reply"] or {}
    return Call(
        seq=entry["seq"],
        time=entry["time"],
        dialect=entry["dialect"],
        method=entry["method"],
        path=entry["path"],
        model=entry["model"],
        stream=entry["stream"],
        user=turn.get("user", ""),
        system=turn.get("system", ""),
        messages=tuple(turn.get("messages", ())),
        tools=tuple(turn.get("tools", ())),
        request=entry["request"],
        headers=entry["headers"],
        status=entry["status"],
        error=entry["error"],
        fault=entry["fault"],
        scenario=entry["scenario"],
        reply=reply.get("text", ""),
        tool_calls=tuple(reply.get("tool_calls", ())),
        usage=entry["usage"],
        outcome=entry["outcome"],
        duration_ms=entry["duration_ms"],
    )
