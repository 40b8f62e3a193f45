"""Random seeds of Redis, and random sequences of what an application may do to the server that it is lent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

KEYS = (
    "string", "number", "bytes", "list", "hash", "set", "ints", "zset", "stream", "bitmap", "unique", "places",
    "long list", "big set", "big hash", "big zset", "timed", "new", "other",
)  # fmt: skip
WORDS = ("a", "b", "f", "1", "-7", "", "ü", "x" * 100)
NO_SUCH_QUEUE = "no such queue"
ELSEWHERE = "7"

_DATA = """
SET k w|SET k w PX 1|SET k w PX 90000|SET k w KEEPTTL|APPEND k w|SETRANGE k 3 w|SETBIT k 9 1|INCR k|DEL k|DEL k k
UNLINK k|GETDEL k|GETEX k PERSIST|RENAME k k|RENAMENX k k|COPY k k REPLACE|EXPIRE k 100|PEXPIRE k 1|PEXPIREAT k 1
PERSIST k|LPUSH k w w|RPUSH k w|RPOP k|LSET k 0 w|LTRIM k 1 1|LREM k 0 w|LMOVE k k LEFT RIGHT|LINSERT k BEFORE a w
HSET k w w|HDEL k w|HINCRBY k w 2|HPEXPIRE k 1 FIELDS 1 f|HPEXPIRE k 90000 FIELDS 2 f w|HPERSIST k FIELDS 1 f
SADD k w w|SREM k w|SPOP k|SMOVE k k w|SUNIONSTORE k k k|SINTERSTORE k k k|SORT k ALPHA STORE k
ZADD k 5 w|ZREM k w|ZINCRBY k 2 w|ZPOPMIN k|ZUNIONSTORE k 2 k k|ZREMRANGEBYRANK k 0 0|GEOADD k 1 1 w
PFADD k w|PFMERGE k k|BITOP NOT k k|BITFIELD k SET u8 0 9
XADD k * w w|XADD k 999-9 w w|XDEL k 1-0|XTRIM k MAXLEN 1|XSETID k 9999-1|XGROUP CREATE k w 0 MKSTREAM
XGROUP DESTROY k readers|XGROUP SETID k readers 0|XREADGROUP GROUP readers w COUNT 1 STREAMS k >|XACK k readers 1-0
XGROUP CREATECONSUMER k readers w|XGROUP DELCONSUMER k readers w|XAUTOCLAIM k readers w 0 0
XCLAIM k readers w 0 1-0 FORCE|FLUSHDB|FLUSHDB ASYNC|MOVE k 7|COPY k k DB 7
"""
_TRANSACTION = "MULTI|EXEC|DISCARD|WATCH k|SELECT 7|SELECT own"
_SCRIPTS = (
    ("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", "1", "k", "w"),
    ("EVAL", "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[2], ARGV[1])", "2", "k", "k", "w"),
    ("EVAL", "redis.call('SELECT', '7') redis.call('SET', KEYS[1], ARGV[1])", "1", "k", "w"),
    ("EVAL", "redis.call('SET', KEYS[1], ARGV[1]) error('half done')", "1", "k", "w"),
    ("SCRIPT", "LOAD", "return 1"),
    ("FCALL", "put", "1", "k", "w"),
)
_LIBRARY = "#!lua name=mine\nredis.register_function('put', function(k, a) return redis.call('SET', k[1], a[1]) end)"
_OTHERS = _LIBRARY.replace("mine", "yours").replace("'put'", "'lay'")
_SERVER = (
    ("FUNCTION", "LOAD", "REPLACE", _LIBRARY),
    ("FUNCTION", "LOAD", _OTHERS),
    ("FUNCTION", "DELETE", "mine"),
    ("FUNCTION", "FLUSH"),
    ("SCRIPT", "FLUSH"),
    ("CONFIG", "SET", "hz", "17"),
    ("CONFIG", "SET", "hz", "10"),
    ("CONFIG", "SET", "set-max-intset-entries", "1"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory-samples", "3"),
    ("CONFIG", "SET", "notify-keyspace-events", "KEA"),
    ("CONFIG", "RESETSTAT"),
    ("ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all"),
    ("ACL", "SETUSER", "eve", "off", "resetkeys"),
    ("ACL", "SETUSER", "default", "-debug"),
    ("ACL", "DELUSER", "eve"),
)
_REFUSING = (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "min-replicas-to-write", "3"))
_WHOLE = (
    ("FLUSHALL",),
    ("FLUSHALL", "ASYNC"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
    ("SWAPDB", "own", "7"),
    ("SWAPDB", "own", "sealed"),
    ("SWAPDB", "own", "clone"),
    ("SWAPDB", "sealed", "clone"),
    ("SWAPDB", "0", "own"),
    ("SWAPDB", "0", "7"),
)
_CONNECTION = (
    ("SUBSCRIBE", "news"),
    ("PSUBSCRIBE", "n*"),
    ("PUBLISH", "news", "w"),
    ("CLIENT", "SETNAME", "app"),
    ("CLIENT", "TRACKING", "ON"),
    ("BLPOP", NO_SUCH_QUEUE, "0"),
    ("BRPOP", "k", "0"),
    ("BLMOVE", "k", "k", "LEFT", "RIGHT", "0"),
    ("BZPOPMIN", "k", "0"),
    ("XREADGROUP", "GROUP", "readers", "a", "BLOCK", "0", "STREAMS", "k", ">"),
    ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    ("close",),
)
_INTO_OTHERS = tuple(
    ("into", where, *what) for where in ("sealed", "clone", ELSEWHERE) for what in (("SET", "stray", "1"), ("FLUSHDB",))
)


def _split(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(each.split(" ")) for line in text.strip().splitlines() for each in line.split("|"))


TEMPLATES: dict[str, tuple[tuple[str, ...], ...]] = {
    "data": _split(_DATA),
    "keys": tuple(each for each in _split(_DATA) if each[0] not in ("FLUSHDB", "MOVE") and "DB" not in each),
    "transaction": _split(_TRANSACTION),
    "watched": _split("WATCH string|APPEND string w|WATCH k"),
    "script": _SCRIPTS,
    "server": _SERVER,
    "refusing": _REFUSING,
    "whole": _WHOLE,
    "sealed": (("SWAPDB", "own", "sealed"),),
    "connection": _CONNECTION,
    "others": _INTO_OTHERS,
}
"""Kinds of steps. In their words ``k`` stands for a key and ``w`` for a value; ``own``, ``sealed`` and ``clone`` for
the number of a database."""
_OFTEN = ("data",) * 8 + ("transaction", "script") * 2 + ("connection",)
_SELDOM = (*_OFTEN, "server", "server", "refusing", "whole", "others")
BLOCKING = frozenset({"BLPOP", "BRPOP", "BLMOVE", "BZPOPMIN"})


@dataclass(frozen=True, slots=True)
class Step:
    """A command that one of three connections of an application sends."""

    session: int
    kind: str
    words: tuple[str, ...]

    @property
    def blocks(self) -> bool:
        """Whether it waits, unless there is something already."""
        return self.words[0] in BLOCKING or "BLOCK" in self.words


_KEYS, _WORDS, _SESSIONS = st.sampled_from(KEYS), st.sampled_from(WORDS), st.integers(0, 2)


@st.composite
def steps(draw: st.DrawFn, kinds: tuple[str, ...]) -> Step:
    """One step of one of those kinds."""
    kind = draw(st.sampled_from(kinds))
    drawn = {"k": _KEYS, "w": _WORDS}
    words = draw(st.sampled_from(TEMPLATES[kind]))
    return Step(draw(_SESSIONS), kind, tuple(draw(drawn[word]) if word in drawn else word for word in words))


def sequences(only: tuple[str, ...] = ()) -> st.SearchStrategy[list[Step]]:
    """Of one to eight steps. One sequence in eight may do what reaches beyond the lent database: it takes longer."""
    if only:
        return st.lists(steps(only), min_size=1, max_size=8)
    often, seldom = (st.lists(steps(kinds), min_size=1, max_size=8) for kinds in (_OFTEN, _SELDOM))
    return st.integers(0, 7).flatmap(lambda number: often if number else seldom)


@st.composite
def seeds(draw: st.DrawFn) -> dict[str, Any]:
    """Keys of every type, any of which may be left out or have a time to live; for :func:`as_yaml`."""
    word = st.sampled_from(("", "a", "text", "ü", "12", "y" * 70))
    words = st.lists(word, min_size=1, max_size=4)
    names = st.lists(st.sampled_from(("a", "b", "f", "1")), min_size=1, max_size=4, unique=True)
    number = st.integers(-9, 9)
    stream = [{"id": f"{n}-0", "fields": {"f": draw(word)}} for n in range(1, draw(st.integers(2, 4)))]
    groups = draw(st.sampled_from(({}, {"readers": "0"}, {"readers": "1-0", "a": "$"})))
    drawn: dict[str, tuple[str, Any]] = {
        "string": ("string", draw(word)),
        "number": ("string", draw(st.integers(-(2**40), 2**40))),
        "list": ("list", draw(words)),
        "hash": ("hash", {name: draw(word) for name in draw(names)}),
        "set": ("set", draw(words)),
        "ints": ("set", draw(st.lists(number, min_size=1, max_size=5))),
        "zset": ("zset", {name: draw(number) / 2 for name in draw(names)}),
        "stream": ("stream", stream),
        "bitmap": ("bitmap", draw(st.lists(st.integers(0, 70), min_size=1, max_size=3))),
        "unique": ("hyperloglog", draw(words)),
        "places": ("geo", {name: [draw(number), 40] for name in draw(names)}),
        "timed": ("string", draw(word)),
    }
    seed: dict[str, Any] = {}
    for key, (kind, value) in drawn.items():
        if not value or draw(st.integers(0, 9)) == 0:
            continue
        entry = {"type": kind, "value": value}
        if key == "timed" or draw(st.integers(0, 4)) == 0:
            entry["ttl_s"] = draw(st.integers(30_000, 900_000)) / 1000
        if kind == "stream" and groups:
            entry["groups"] = groups
        if kind == "hash" and draw(st.booleans()):
            some = draw(st.lists(st.sampled_from(sorted(value)), min_size=1, unique=True))
            entry["field_ttl_s"] = {name: draw(st.integers(30_000, 900_000)) / 1000 for name in some}
        seed[key] = entry
    if many := draw(st.sampled_from((0, 0, 150, 600))):
        seed["many"] = many
    return seed


def as_yaml(seed: Mapping[str, Any]) -> str:
    """The seed's file. ``many`` of it is four keys of so many members, each too long for a server's short form."""
    entries = dict(seed)
    if many := range(entries.pop("many", 0)):
        entries |= {
            "long list": [f"{n}" * 40 for n in many],
            "big hash": {f"f{n}": n for n in many},
            "big set": {"type": "set", "value": [f"m{n}" for n in many]},
            "big zset": {"type": "zset", "value": {f"m{n}": n % 50 for n in many}},
        }
    return json.dumps(entries)  # which is YAML
