"""Where the keys stand in a command, by what the server itself says of it, and in a reply that names keys.

The server describes each of its commands (``COMMAND INFO``): where to begin to look for keys, and how to go on. So
commands of modules and of newer servers are understood as well. Pure.

https://valkey.io/topics/key-specs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_KEY_SPECS, _SUBCOMMANDS = 8, 9
_NO_KEY = "not_key"


class CommandKeys:
    """What a server's answer to ``COMMAND INFO name`` says of the keys of ``name`` and of its subcommands."""

    def __init__(self, info: Sequence[Any]) -> None:
        self.name = text_of(info[0]).lower()
        self._first, self._last, self._step = (int(number) for number in info[3:6])
        self._specs = [_spec(each) for each in info[_KEY_SPECS]] if len(info) > _KEY_SPECS else None
        below = [CommandKeys(each) for each in info[_SUBCOMMANDS]] if len(info) > _SUBCOMMANDS else []
        self._subcommands = {each.name.rpartition("|")[2]: each for each in below}

    def positions(self, words: Sequence[Any]) -> list[int]:
        """Which of ``words`` are keys; the command's name is word 0. None of them, where the words are wrong."""
        if self._subcommands and len(words) > 1:
            below = self._subcommands.get(text_of(words[1]).lower())
            return below.positions(words) if below else []
        if self._specs is None:
            last = self._last - self._first if self._last >= 0 else self._last  # a place, not a distance
            return _range(self._first, last, self._step, 0, words) if self._first else []
        found: set[int] = set()
        for spec in self._specs:
            if _NO_KEY not in {text_of(flag).lower() for flag in spec.get("flags", ())}:
                found.update(_found(spec, words))
        return sorted(found)


def split_name(arguments: Sequence[Any]) -> list[Any]:
    """The words of a command whose name may be several in one, as redis-py has ``XGROUP CREATE``."""
    return [*text_of(arguments[0]).split(" "), *arguments[1:]]


def text_of(word: Any) -> str:
    """A word of a command or a name of a server's as text."""
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


def pattern_positions(words: Sequence[Any]) -> list[int]:
    """Which words are patterns of keys, of which no server tells: in KEYS, SCAN, and SORT with BY, GET and STORE."""
    name = text_of(words[0]).upper()
    if name == "KEYS":
        return [1] if len(words) > 1 else []
    if name == "SCAN":
        return [place + 1 for place in range(2, len(words) - 1, 2) if text_of(words[place]).upper() == "MATCH"]
    if name not in ("SORT", "SORT_RO"):
        return []
    found, place = [], 2
    while place < len(words) - 1:
        word = text_of(words[place]).upper()
        if word == "STORE" or (word in ("BY", "GET") and "*" in text_of(words[place + 1])):
            found.append(place + 1)
        place += {"BY": 2, "GET": 2, "STORE": 2, "LIMIT": 3}.get(word, 1)
    return found


def stripped_replies(prefix: bytes) -> dict[str, Callable[[Any], Any]]:
    """By the command's name, what takes the prefix from the keys that its reply names; replies as they arrive."""

    def one(key: Any) -> Any:
        if isinstance(key, str):
            return key.removeprefix(prefix.decode())
        return key.removeprefix(prefix) if isinstance(key, bytes) else key

    def every(reply: Any) -> Any:
        return [one(key) for key in reply] if reply is not None else None

    def first(reply: Any) -> Any:
        return [one(reply[0]), *reply[1:]] if reply else reply

    def scanned(reply: Any) -> Any:
        return [reply[0], every(reply[1])]

    def streams(reply: Any) -> Any:
        if isinstance(reply, Mapping):
            return {one(key): entries for key, entries in reply.items()}
        return [first(each) for each in reply] if reply else reply

    return {
        "KEYS": every,
        "SCAN": scanned,
        **dict.fromkeys(("XREAD", "XREADGROUP"), streams),
        **dict.fromkeys(("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX", "LMPOP", "BLMPOP", "ZMPOP", "BZMPOP"), first),
    }


def _found(spec: Mapping[str, Any], words: Sequence[Any]) -> list[int]:
    begin, find = spec["begin_search"], spec["find_keys"]
    start = _begin(begin["type"], begin["spec"], words)
    if start is None:
        return []
    how = find["spec"]
    if find["type"] == "range":
        return _range(start, int(how["lastkey"]), int(how["keystep"]), int(how["limit"]), words)
    if find["type"] == "keynum":
        place = start + int(how["keynumidx"])
        try:
            count = int(words[place])
        except (IndexError, ValueError, TypeError):
            return []
        first, step = start + int(how["firstkey"]), int(how["keystep"])
        return [at for at in range(first, first + count * step, step) if at < len(words)]
    return []


def _begin(kind: str, how: Mapping[str, Any], words: Sequence[Any]) -> int | None:
    if kind == "index":
        return int(how["index"]) if int(how["index"]) < len(words) else None
    if kind != "keyword":
        return None
    start, wanted = int(how["startfrom"]), text_of(how["keyword"]).upper()
    places = range(start, len(words)) if start > 0 else range(len(words) + start, 0, -1)
    found = next((place for place in places if text_of(words[place]).upper() == wanted), None)
    return found + 1 if found is not None and found + 1 < len(words) else None


def _range(start: int, last: int, step: int, limit: int, words: Sequence[Any]) -> list[int]:
    """``last`` counts from ``start``, or below 0 from the end; ``limit`` is the part of the rest that may be keys."""
    if last >= 0:
        end = start + last
    elif limit > 1:
        end = start + (len(words) - start) // limit - 1
    else:
        end = len(words) + last
    return [place for place in range(start, end + 1, max(step, 1)) if place < len(words)]


def _spec(raw: Any) -> dict[str, Any]:
    """Maps of a server, which older protocols have as lists of names and values in turn."""
    if isinstance(raw, Mapping):
        found = {text_of(name): value for name, value in raw.items()}
    else:
        found = {text_of(name): value for name, value in zip(raw[::2], raw[1::2], strict=True)}
    for name in ("begin_search", "find_keys", "spec"):
        if name in found:
            found[name] = _spec(found[name])
    if "type" in found:
        found["type"] = text_of(found["type"])
    return found
