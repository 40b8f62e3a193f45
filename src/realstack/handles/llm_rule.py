"""What the fake LLM answers to requests that match, written one answer after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realstack.errors import FakeLLMError
from realstack.handles.llm_asks import Function


@dataclass(slots=True)
class Rule:
    """What the fake answers to requests that match. Several answers on one rule make a sequence.

    After the last answer it is repeated. A rule that was set later is asked earlier.
    """

    send: Callable[[Rule], None] = field(repr=False)
    name: str
    match: Mapping[str, Any]
    times: int | None = None
    next_state: str = ""
    answers: list[dict[str, Any]] = field(default_factory=list)
    serve: Callable[[str, Function], None] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"<Rule {self.name} {dict(self.match)} with {len(self.answers)} answers>"

    @property
    def then(self) -> Rule:
        """Itself, for reading: ``on(…).fail(429).then.reply("…")``."""
        return self

    def reply(self, text: str = "", **more: Any) -> Rule:
        """Answer with this text. ``more``: any key of a reply of the scenario form, such as ``delay_s``, ``chunks``."""
        return self._add({"text": text, **more} if "chunks" not in more else more)

    def reply_template(self, template: str, **more: Any) -> Rule:
        """Answer with a text in jinja2's language, filled from the request: ``"You said {{ user }}"``.

        For templates in JSON and in arguments of tools: ``reply_json({"name": "{{ user }}"}, template=True)``.
        """
        return self._add({"template": template, **more})

    def handle(self, function: Function, *, within_s: float = 30, **more: Any) -> Rule:
        """Let ``function`` answer: it is given an ``LLMRequest``, here in the test's process.

        It returns a text, a reply of the scenario form (``{"json": …}``, ``{"tool_calls": […]}``, ``{"fault": …}``), or
        None for automatic words. An async one runs in the loop in which this is called. What it raises, and that
        it takes longer than ``within_s``, the application gets as an error 400, and ``fake_llm.handler_errors`` has it.
        """
        if self.serve is None:
            raise FakeLLMError("this rule belongs to no session that could ask a function.")
        name = f"{self.name}-{len(self.answers) + 1}"
        self.serve(name, function)
        return self._add({"ask": name, "answer_within_s": within_s, **more})

    def handler(self, name: str, **more: Any) -> Rule:
        """Let a function of the fake's own answer: ``module:function`` in the folder of its ``--handlers``."""
        return self._add({"handler": name, **more})

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

    def fault(self, kind: str, **more: Any) -> Rule:
        """Answer with a fault of that kind: ``stall``, ``truncated``, ``context_overflow``, …; ``more``: its keys."""
        return self._fault({"kind": kind, **more})

    def _fault(self, fault: Mapping[str, Any]) -> Rule:
        return self._add({"fault": dict(fault)})

    def _add(self, answer: dict[str, Any]) -> Rule:
        self.answers.append(answer)
        self.send(self)
        return self

    def written(self) -> dict[str, Any]:
        """The rule in the scenario form of the control API."""
        form: dict[str, Any] = {"name": self.name, "match": dict(self.match), "sequence": self.answers}
        if self.times is not None:
            form["times"] = self.times
        if self.next_state:
            form["then"] = self.next_state
        return form
