"""What a test holds of the fake LLM: its own session, the rules it sets there, and the calls that came in.

It speaks to the fake's control API over a plain connection: synchronous, so that
``fake_llm.on(user="slow").reply_json({...})`` needs no await.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from realstack.errors import FakeLLMError
from realstack.handles.llm_asks import Asks, LLMRequest
from realstack.handles.llm_call import Call, call_from, listed, matching
from realstack.handles.llm_config import MODELS, LLMConfig
from realstack.handles.llm_control import Control
from realstack.handles.llm_cost import EXAMPLE_PRICES, Prices, cost_of
from realstack.handles.llm_rule import Rule
from realstack.model import Endpoint, Secret
from realstack.services.fake_llm import API_KEY_PREFIX, DEFAULT_SESSION
from realstack.services.fake_llm_files import ScenarioFile

__all__ = ["Call", "FakeLLM", "LLMConfig", "LLMRequest", "Rule"]


class FakeLLM:
    """One session of the fake LLM. Thread-safe. It ends with the test that it was lent to.

    ``files`` are what it starts with, in place of what was handed to the server; None: those.

    :raises FakeLLMError: the fake does not answer, or a file is wrong: the sentence names it and the line.
    """

    def __init__(self, endpoint: Endpoint, session: str, files: Sequence[ScenarioFile] | None = None) -> None:
        self.session = session
        self.endpoint = replace(endpoint, options={**endpoint.options, "session": session})
        self._control = Control(endpoint)
        self._asks = Asks(endpoint, self._path("/asks"))
        self._rules = 0
        self._shut: socket.socket | None = None
        if session != DEFAULT_SESSION:
            self._control.ask("POST", "/_fake/sessions", {"id": session} | ({} if files is None else {"files": files}))

    def __repr__(self) -> str:
        return f"<FakeLLM session {self.session} at {self._control.base}>"

    def on(self, *, times: int | None = None, name: str = "", then: str = "", **match: Any) -> Rule:
        """A rule for requests that pass every test given; none: every request.

        ``user``, ``system``, ``tool_result``: text that is contained, or ``{"regex": …}``, ``{"equals": …}``;
        ``conversation`` the same of all that was said; ``attachments``: how many, or whether any; ``model`` with ``*``
        as wildcard; ``dialect``; ``tools`` that are offered; ``turn`` from 1; ``stream``; ``header`` and ``json``:
        tables of header names, or paths in the raw body; ``state``: the session's, which is ``start`` or what the
        ``then`` of the rule that answered last has named. ``times`` bounds how often the rule answers.

        :raises FakeLLMError: a test of another name was given; raised when the rule is sent.
        """
        self._rules += 1
        return Rule(self.set_rule, name or f"rule-{self._rules}", match, times, then, serve=self._asks.add)

    def config(self, provider: str = "openai", *, model: str = "", refused: bool = False) -> LLMConfig:
        """How that provider's SDK reaches this session: ``openai``, ``anthropic``, ``gemini`` or ``ollama``.

        ``refused``: an address of this machine at which connections are refused, as long as the session lasts.

        :raises FakeLLMError: the provider is not one of those.
        """
        if provider not in MODELS:
            raise FakeLLMError(
                f"the fake LLM has no provider {provider!r}.", remedy=f"use one of {', '.join(sorted(MODELS))}."
            )
        root = self._shut_address() if refused else self._control.base
        base = f"{root}/v1" if provider == "openai" else root
        return LLMConfig(provider, base, Secret(API_KEY_PREFIX + self.session), model or MODELS[provider])

    @property
    def calls(self) -> list[Call]:
        """The requests that this session has had, oldest first."""
        return [call_from(entry) for entry in self._journal()["entries"]]

    def requests(self, **wanted: Any) -> list[Call]:
        """The calls that pass every test given, oldest first; none given: all.

        ``user``, ``system``, ``reply``, ``error``: a text that is contained; ``model`` with ``*`` as wildcard; any
        other field of :class:`Call`: its value. In place of a text a compiled pattern, of any value a function.

        :raises FakeLLMError: a call has no such field.
        """
        return matching(self.calls, wanted)

    def assert_called(self, times: int | None = None, **wanted: Any) -> list[Call]:
        """That there were calls as :meth:`requests` finds them: ``times`` of them, or any number from 1. Returns them.

        :raises AssertionError: there were not; it shows the calls that there were.
        """
        calls = self.calls
        found = matching(calls, wanted)
        if len(found) == times or (times is None and found):
            return found
        tests = ", ".join(f"{name}={_shown(value)}" for name, value in wanted.items())
        expected = "at least 1 call" if times is None else f"{times} call{'s' * (times != 1)}"
        raise AssertionError(
            f"expected {expected}{f' with {tests}' if tests else ''}, and there were {len(found)}."
            f" All calls of the session:\n{listed(calls)}"
        )

    def assert_all_scenarios_used(self, *, files: bool = False) -> None:
        """That every rule of this session has answered at least once; with ``files`` also those of scenario files.

        :raises AssertionError: some have not; it names them with their match, and shows the calls that there were.
        """
        states = self._control.ask("GET", self._path("/scenarios"))["scenarios"]
        unused = [state for state in states if not state["used"] and (files or not state["base"])]
        if unused:
            rules = "\n".join(f"  {state['name']} {json.dumps(state['scenario'].get('match', {}))}" for state in unused)
            raise AssertionError(
                f"{len(unused)} of the session's scenarios never answered:\n{rules}\n"
                f"All calls of the session:\n{listed(self.calls)}"
            )

    def cost(self, prices: Prices = EXAMPLE_PRICES) -> float:
        """What the session's calls would have cost, in the currency of ``prices``: by default examples in US dollars.

        :raises FakeLLMError: a model has no price; it names the model.
        """
        return cost_of(self.calls, prices)

    @property
    def unmatched(self) -> int:
        """How many requests no rule has matched; they got an automatic answer."""
        count: int = self._journal()["unmatched"]
        return count

    def strict(self, on: bool = True) -> None:
        """Refuse requests that no rule matches, with the reasons, instead of answering them automatically."""
        self._control.ask("PATCH", self._path(), {"strict": on})

    def fault(self, kind: str, *, times: int | None = None, **more: Any) -> None:
        """Give the session's next calls a fault, whatever its rules say; ``times`` None: until :meth:`clear_fault`.

        ``kind`` and ``more`` are those of the scenarios' faults: ``fault("status", times=1, status=429)``.
        """
        self._control.ask("PUT", self._path("/fault"), {"fault": {"kind": kind, **more}, "times": times})

    def clear_fault(self) -> None:
        """Switch the fault off."""
        self._control.ask("DELETE", self._path("/fault"))

    def limits(self, *, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        """Rate limits of this session for each provider by itself, the buckets full; neither given: none."""
        limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
        self._control.ask("PUT", self._path("/limits"), limits)

    def latency(self, latency: str | Mapping[str, Any] | None) -> None:
        """How long replies take: ``fast``, ``typical``, ``slow``, or ``{"ttft": …, "inter_token": …}``; None: no time.

        Each is a number of seconds, or ``{"median_s": …, "p95_s": …}``.
        """
        self._control.ask("PUT", self._path("/latency"), {"latency": latency})

    def reset(self) -> None:
        """Forget this session's rules and calls."""
        self._control.ask("POST", self._path("/reset"))

    def set_rule(self, rule: Rule) -> None:
        """Send ``rule``; a rule that was sent before is replaced in its place, with its count of answers kept."""
        self._control.ask("PUT", self._path(f"/scenarios/{quote(rule.name, safe='')}"), rule.written())

    @property
    def handler_errors(self) -> list[BaseException]:
        """What functions of :meth:`Rule.handle` have raised, oldest first."""
        return list(self._asks.errors)

    def close(self) -> None:
        """End the session: its rules and calls are forgotten, and no function is asked any more."""
        self._asks.close()
        if self._shut is not None:
            self._shut.close()
        try:
            if self.session != DEFAULT_SESSION:
                self._control.ask("DELETE", self._path(), missing_ok=True)
        except FakeLLMError:
            pass  # the fake is gone already, and its sessions with it
        finally:
            self._control.close()

    def _shut_address(self) -> str:
        """A port that is bound, so that nobody else takes it, and does not listen."""
        if self._shut is None:
            self._shut = socket.socket()
            self._shut.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._shut.getsockname()[1]}"

    def _journal(self) -> dict[str, Any]:
        journal: dict[str, Any] = self._control.ask("GET", self._path("/journal"))
        return journal

    def _path(self, below: str = "") -> str:
        return f"/_fake/sessions/{quote(self.session, safe='')}{below}"


def _shown(value: Any) -> str:
    return f"/{value.pattern}/" if isinstance(value, re.Pattern) else repr(value)
