"""From the model's words to a verdict, and from a verdict to a response. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from netra_backend.app.agents.triage_sub_agent.models import PRIORITIES, TriageResponse, TriageVerdict

EXCERPT_LENGTH = 160


class UnusableReply(ValueError):
    """The model's reply is not a verdict; ``problem`` is one line that the model can mend it by."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class TriageProcessor:
    """Reads the model's replies and words the agent's responses."""

    def parse_reply(self, text: str) -> TriageVerdict:
        """The verdict in ``text``; raises :class:`UnusableReply` if there is none."""
        try:
            return TriageVerdict.model_validate_json(_without_fence(text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the reply"
            raise UnusableReply(f"{where}: {first['msg']}") from error

    def fallback(self, message: str) -> TriageVerdict:
        """The verdict where the model gave none: neither alarming nor dismissing, for a person to judge."""
        return TriageVerdict(severity="medium", category="other", summary=excerpt(message))

    def format_response(
        self,
        verdict: Mapping[str, Any],
        *,
        message: str = "",
        run_id: str | None = None,
        degraded: bool = False,
    ) -> dict[str, Any]:
        """The response for a verdict given as ``severity``, ``category`` and ``summary``.

        Without a summary the response has the message's beginning. Raises ``pydantic.ValidationError`` if
        the verdict is not one.
        """
        checked = TriageVerdict.model_validate(dict(verdict))
        return TriageResponse(
            id=run_id,
            severity=checked.severity,
            category=checked.category,
            priority=PRIORITIES[checked.severity],
            summary=checked.summary or excerpt(message),
            degraded=degraded,
        ).model_dump()


def excerpt(message: str) -> str:
    """The beginning of a message, on one line, with an ellipsis if something was left out."""
    line = " ".join(message.split())
    return line if len(line) <= EXCERPT_LENGTH else line[: EXCERPT_LENGTH - 1].rstrip() + "…"


def _without_fence(text: str) -> str:
    """``text`` without the Markdown fence that some models put around JSON."""
    stripped = text.strip()
    if not (stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped):
        return stripped
    return stripped.split("\n", 1)[1].removesuffix("```").strip()
