"""A request as scenarios' templates and handlers see it: plain values by name, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fake_llm.model import Json, Turn
from fake_llm.redaction import is_secret, redacted_body


class AnswerFault(ValueError):
    """Words of a scenario that cannot be had: a template or a function is wrong, or failed for one request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for which a scenario was chosen. ``call``: the how manieth of this scenario, from 1."""

    turn: Turn
    headers: Mapping[str, str]
    session: str
    state: str
    call: int

    def value(self, name: str) -> Json:
        """What ``name``, one of ``NAMES``, is for this request; containers are the caller's own."""
        return NAMES[name](self)

    def values(self) -> dict[str, Json]:
        """All of them."""
        return {name: value(self) for name, value in NAMES.items()}


def _messages(asked: Asked) -> Json:
    return [
        {
            "role": message.role,
            "text": message.text,
            "tool_calls": [
                {"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls
            ],
            "tool_results": [{"call_id": result.call_id, "text": result.text} for result in message.tool_results],
            "attachments": message.attachments,
        }
        for message in asked.turn.messages
    ]


def _metadata(asked: Asked) -> Json:
    found = asked.turn.raw.get("metadata")
    return redacted_body(found) if isinstance(found, dict) else {}


def _tool_result(asked: Asked) -> str:
    results = asked.turn.tool_results
    return results[-1].text if results else ""


NAMES: Mapping[str, Callable[[Asked], Any]] = {
    "user": lambda asked: asked.turn.user,
    "system": lambda asked: asked.turn.system,
    "model": lambda asked: asked.turn.model,
    "dialect": lambda asked: asked.turn.dialect,
    "turn": lambda asked: asked.turn.number,
    "tool_result": _tool_result,
    "tool_results": lambda asked: [{"call_id": each.call_id, "text": each.text} for each in asked.turn.tool_results],
    "tools": lambda asked: [tool.name for tool in asked.turn.tools],
    "messages": _messages,
    "conversation": lambda asked: asked.turn.conversation,
    "attachments": lambda asked: asked.turn.attachments,
    "metadata": _metadata,
    "headers": lambda asked: {name: value for name, value in asked.headers.items() if not is_secret(name)},
    "stream": lambda asked: asked.turn.stream,
    "seed": lambda asked: asked.turn.seed,
    "session": lambda asked: asked.session,
    "state": lambda asked: asked.state,
    "call": lambda asked: asked.call,
    "request": lambda asked: redacted_body(dict(asked.turn.raw)),
}
"""``tool_result`` is the last one, or "". ``headers`` leave out those that hold secrets; in ``request``, the raw body,
keys for servers of tools are hashed."""
