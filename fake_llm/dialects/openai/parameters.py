"""Simple parameters that several of OpenAI's dialects share."""

from __future__ import annotations

from fake_llm.dialects.openai.refusals import Range

SAMPLING = {
    "temperature": Range("decimal", 0, 2),
    "top_p": Range("decimal", 0, 1),
    "frequency_penalty": Range("decimal", -2, 2),
    "presence_penalty": Range("decimal", -2, 2),
    "n": Range("integer", 1, 128),
    "seed": Range("integer", -(2**63), 2**63),
}
"""The numbers of a chat and of a legacy completion."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
VERBOSITIES = ("low", "medium", "high")
TIERS = ("auto", "default", "flex", "scale", "priority", "fast")

_SERVED_BY = {"flex": "flex", "scale": "scale", "priority": "priority", "fast": "priority", "ultrafast": "ultrafast"}


def served_by(tier: object) -> str:
    """The ``service_tier`` that an answer names for the one that was asked for; ``fast`` is ``priority``."""
    return _SERVED_BY.get(tier, "default") if isinstance(tier, str) else "default"
