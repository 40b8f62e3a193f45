"""What a session keeps of its turns for a provider that remembers them: OpenAI's stored responses. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from fake_llm.model import Json, Reply, Stamp, Turn

MAX_BYTES = 64 * 1024 * 1024
MAX_CONVERSATION = 16 * 1024 * 1024
"""How large a conversation may grow that goes on from turn to turn; it is held as a whole by its newest turn."""


@dataclass(slots=True)
class KeptTurn:
    """A turn and its reply, from which the answer can be made again. ``earlier``: the turn that it went on from.

    ``items`` is what the client sent with this turn, each item with its id. ``size`` is in bytes and counts the
    earlier turns too. ``ready_at`` is the time in seconds at which work in the background is done, unless it was
    ``cancelled`` before.
    """

    id: str
    turn: Turn
    reply: Reply
    stamp: Stamp
    items: tuple[dict[str, Json], ...] = ()
    earlier: KeptTurn | None = None
    own_size: int = 0
    ready_at: float = 0.0
    cancelled: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.own_size + (self.earlier.size if self.earlier else 0)


class Kept:
    """The turns of one session by their id, the oldest dropped when they are too large together."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._turns: OrderedDict[str, KeptTurn] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._turns)

    def __repr__(self) -> str:
        return f"<Kept {len(self._turns)} turns>"

    def add(self, kept: KeptTurn) -> None:
        """Keep a turn."""
        self._turns[kept.id] = kept
        self._bytes += kept.size
        while self._bytes > self._max_bytes and len(self._turns) > 1:
            _, oldest = self._turns.popitem(last=False)
            self._bytes -= oldest.size

    def find(self, turn_id: str) -> KeptTurn | None:
        """The turn of that id, or None."""
        return self._turns.get(turn_id)

    def drop(self, turn_id: str) -> bool:
        """Forget a turn; those that went on from it still hold it. False if there was none."""
        dropped = self._turns.pop(turn_id, None)
        if dropped is None:
            return False
        self._bytes -= dropped.size
        return True

    def clear(self) -> None:
        """Forget all turns."""
        self._turns.clear()
        self._bytes = 0
