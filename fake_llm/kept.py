"""What a session keeps for a provider that remembers: OpenAI's responses, conversations and stored chats. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from fake_llm.model import Json, Reply, Stamp, Turn

MAX_BYTES = 64 * 1024 * 1024
MAX_CONVERSATION = 16 * 1024 * 1024
"""How large a conversation may grow that goes on from turn to turn; it is held as a whole by its newest turn."""


class Sized(Protocol):
    """What a shelf holds; ``size`` is in bytes."""

    id: str
    size: int


T = TypeVar("T", bound=Sized)


class Shelf(Generic[T]):
    """Things by their id, in the order in which they came; the oldest are dropped when all are too large together."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._held: OrderedDict[str, T] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, thing: T) -> None:
        """Hold a thing."""
        self._held[thing.id] = thing
        self._bytes += thing.size
        self._shrink()

    def find(self, thing_id: str) -> T | None:
        """The thing of that id, or None."""
        return self._held.get(thing_id)

    def all(self) -> list[T]:
        """Everything, the oldest first."""
        return list(self._held.values())

    def grow(self, thing: T, by: int) -> None:
        """Count a thing as larger, and as new; one that is held no more is left alone."""
        if self._held.get(thing.id) is not thing:
            return
        self._held.move_to_end(thing.id)
        thing.size += by
        self._bytes += by
        self._shrink()

    def drop(self, thing_id: str) -> bool:
        """Forget a thing; False if there was none."""
        dropped = self._held.pop(thing_id, None)
        if dropped is None:
            return False
        self._bytes -= dropped.size
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._bytes = 0

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.size


@dataclass(slots=True)
class KeptConversation:
    """A conversation that has an id of its own: its items, as the API lists them."""

    id: str
    created: int
    metadata: dict[str, str]
    items: list[dict[str, Json]] = field(default_factory=list)
    size: int = 1_000


@dataclass(slots=True)
class KeptChat:
    """A chat completion that the client wanted stored, from which it can be shown again."""

    id: str
    turn: Turn
    replies: Sequence[Reply]
    stamp: Stamp
    metadata: dict[str, str]
    size: int


@dataclass(slots=True)
class KeptTurn:
    """A turn and its reply, from which the answer can be made again. ``earlier``: the turn that it went on from.

    ``items`` is what the client sent with this turn, each item with its id. ``size`` is in bytes and counts the
    earlier turns too. ``ready_at`` is the time in seconds at which work in the background is done, unless it was
    ``cancelled`` before. ``conversation`` gets the items, and with them those ``written`` by the model; a turn that is
    not ``stored`` is kept for that only.
    """

    id: str
    turn: Turn
    reply: Reply
    stamp: Stamp
    items: tuple[dict[str, Json], ...] = ()
    earlier: KeptTurn | None = None
    own_size: int = 0
    conversation: KeptConversation | None = None
    written: tuple[dict[str, Json], ...] = ()
    stored: bool = True
    ready_at: float = 0.0
    cancelled: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.own_size + (self.earlier.size if self.earlier else 0)


class Kept:
    """What one session keeps: turns, which are looked up here, conversations and chats beside them."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._turns: Shelf[KeptTurn] = Shelf(max_bytes)
        self.conversations: Shelf[KeptConversation] = Shelf(max_bytes)
        self.chats: Shelf[KeptChat] = Shelf(max_bytes)

    def __len__(self) -> int:
        return len(self._turns)

    def __repr__(self) -> str:
        return f"<Kept {len(self._turns)} turns, {len(self.conversations)} conversations, {len(self.chats)} chats>"

    def add(self, kept: KeptTurn) -> None:
        """Keep a turn, and go on with its conversation."""
        if kept.stored:
            self._turns.add(kept)
        if kept.conversation is not None:
            self.put_into(kept.conversation, (*kept.items, *kept.written), kept.own_size)

    def put_into(self, conversation: KeptConversation, items: Iterable[dict[str, Json]], size: int) -> None:
        """Add items of ``size`` bytes to a conversation."""
        conversation.items.extend(items)
        self.conversations.grow(conversation, size)

    def find(self, turn_id: str) -> KeptTurn | None:
        """The turn of that id, or None."""
        return self._turns.find(turn_id)

    def drop(self, turn_id: str) -> bool:
        """Forget a turn; those that went on from it still hold it. False if there was none."""
        return self._turns.drop(turn_id)

    def clear(self) -> None:
        """Forget everything."""
        self._turns.clear()
        self.conversations.clear()
        self.chats.clear()
