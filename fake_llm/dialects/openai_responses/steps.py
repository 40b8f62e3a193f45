"""The form of an item whose work OpenAI does itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from fake_llm.model import Json

Step = tuple[str, dict[str, Json]]
"""An event's name, and its members beside type, number and place."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """An item as it is in the end and as it is when it is added; the events ``between``.

    ``label`` is the MCP server whose tools it lists. ``waits``: it is a question to the client.
    """

    done: dict[str, Json]
    added: dict[str, Json]
    between: list[Step] = field(default_factory=list)
    label: str = ""
    waits: bool = False
