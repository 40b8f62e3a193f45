"""The models that a session's Ollama has: any but those that were deleted. Which are loaded, and until when."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fake_llm.model import Json, Message, ProtocolError, Role, Turn

KEEP_ALIVE_S = 300.0
"""How long a model stays loaded after its last request, if that did not say."""
FOREVER_FROM_S = 1e9
MAX_NAMES = 1_000
"""Of models and of blobs; the oldest are forgotten."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAME = re.compile(rf"(?:[A-Za-z0-9_][A-Za-z0-9_.:-]{{0,349}}/)?(?:{_PART}/)?{_PART}(?::{_PART})?")
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class Made:
    """A model that was pulled, copied or created in the session; ``form`` is the request that created it."""

    name: str
    parent: str = ""
    modified: float = 0.0
    form: dict[str, Json] = field(default_factory=dict)


class LocalModels:
    """The models of one session. Names are equal without regard to case, default namespace and default tag."""

    __slots__ = ("_deleted", "_loaded", "_made", "blobs")

    def __init__(self) -> None:
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._loaded: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.blobs: OrderedDict[str, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<LocalModels {len(self._made)} made, {len(self._deleted)} deleted, {len(self._loaded)} loaded>"

    def require(self, name: str) -> None:
        """Nothing, if there is such a model.

        :raises ProtocolError: it was deleted.
        """
        if self._deleted and canonical(name) in self._deleted:
            raise ProtocolError(f"model '{name}' not found", status=404)

    def use(self, turn: Turn, keep_alive: Json, now: float) -> Turn:
        """Load the turn's model, or unload it where it is not to be kept; the turn as that model sees it.

        A model that was created with instructions and messages has them before the conversation, the instructions
        only where that begins with none.

        :raises ProtocolError: the model was deleted.
        """
        self.require(turn.model)
        key = canonical(turn.model)
        self._loaded.pop(key, None)
        if (seconds := keep_alive_s(keep_alive)) > 0:
            _put(self._loaded, key, (tagged(turn.model), now + seconds))
        made = self._made.get(key)
        return turn if made is None or turn.computed else replace(turn, messages=_seen_by(made, turn.messages))

    def loaded(self, now: float) -> list[tuple[str, float]]:
        """Names and expiry times of the models in memory, the last used first."""
        for key in [key for key, (_, until) in self._loaded.items() if until <= now]:
            del self._loaded[key]
        return list(reversed(self._loaded.values()))

    def add(self, made: Made) -> None:
        """Pull, copy or create a model; one that was deleted is there again."""
        key = canonical(made.name)
        self._deleted.pop(key, None)
        self._made.pop(key, None)
        _put(self._made, key, made)

    def restore(self, name: str) -> None:
        """Let a model be there again that was deleted."""
        self._deleted.pop(canonical(name), None)

    def delete(self, name: str) -> None:
        """Delete the model.

        :raises ProtocolError: that was done before.
        """
        self.require(name)
        key = canonical(name)
        self._made.pop(key, None)
        self._loaded.pop(key, None)
        _put(self._deleted, key, None)

    def made(self, name: str) -> Made | None:
        """How the model was made in this session, if it was."""
        return self._made.get(canonical(name))

    def all_made(self) -> list[Made]:
        """The models made in this session, the newest first."""
        return list(reversed(self._made.values()))

    def is_deleted(self, name: str) -> bool:
        """Whether the model was deleted."""
        return canonical(name) in self._deleted

    def keep_blob(self, digest: str) -> None:
        """Remember that a blob was uploaded."""
        _put(self.blobs, digest, None)


def is_name(name: str) -> bool:
    """Whether a model can be called so: ``model``, ``model:tag``, ``namespace/model``, ``host/namespace/model:tag``."""
    return _NAME.fullmatch(name) is not None


def tagged(name: str) -> str:
    """The name with its tag, which is ``latest`` where none is said."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def canonical(name: str) -> str:
    """The name by which models are compared."""
    return tagged(name.lower().removeprefix("library/"))


def keep_alive_s(written: Json) -> float:
    """Seconds, from a number of them or a duration such as ``"1h30m"``; infinite below 0 and for decades.

    :raises ProtocolError: it is neither.
    """
    if written is None:
        return KEEP_ALIVE_S
    if isinstance(written, str):
        written = _duration_s(written)
    elif isinstance(written, bool) or not isinstance(written, int | float):
        raise ProtocolError("Unsupported type: keep_alive must be a number or a string")
    return float(written) if 0 <= written < FOREVER_FROM_S else math.inf


def _seen_by(made: Made, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    said = [_message(one) for one in made.form.get("messages") or () if isinstance(one, Mapping)]
    system = made.form.get("system")
    instructed = not system or (messages and messages[0].role == "system")
    return (*(() if instructed else (Message("system", str(system)),)), *said, *messages)


def _message(written: Mapping[str, Json]) -> Message:
    roles: dict[Json, Role] = {"system": "system", "assistant": "assistant"}
    role = written.get("role")
    return Message(roles.get(role, "user") if isinstance(role, str) else "user", str(written.get("content") or ""))


def _duration_s(written: str) -> float:
    sign, digits = (-1, written[1:]) if written.startswith("-") else (1, written.removeprefix("+"))
    if digits == "0":
        return 0.0
    parts = _DURATION.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        missing_unit = bool(digits) and digits.replace(".", "", 1).isdecimal()
        raise ProtocolError(f'time: {"missing unit in" if missing_unit else "invalid"} duration "{written}"')
    return sign * math.fsum(float(number) * _UNITS[unit] for number, unit in parts)


def _put(into: OrderedDict[str, _Kept], key: str, value: _Kept) -> None:
    into[key] = value
    if len(into) > MAX_NAMES:
        into.popitem(last=False)
