"""Redis seeds: YAML of keys to the commands that write them. Pure but for reading the files.

Short forms: a scalar is a string, a list a list, a map a hash. The long form
``{type: zset, value: {…}, ttl_s: 60}`` says all: see ``docs/known_state.md``. Scalars are taken as they
stand in the file: ``yes`` is the string ``yes``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import yaml

from realstack.errors import SeedFailed
from realstack.model import RedisPlan
from realstack.state.catalog import nearest
from realstack.state.sources import files_below, missing_path, shown_path
from realstack.state.yaml_nodes import At, is_null, jsonable, literal

Command = tuple[bytes | str | int, ...]

_OPTIONS = ("type", "value", "ttl_s", "field_ttl_s", "groups")
_LONGEST_S = 1000 * 365 * 24 * 3600
"""Servers keep instants in 46 to 64 bits of milliseconds, and say so only when the time to live is set."""
_ZSET_PAIR = 2
_RESERVED = "realstack:"


@dataclass(frozen=True, slots=True)
class Write:
    """One command of a seed, and where in which file it stands."""

    command: Command
    key: str
    where: str


@dataclass(frozen=True)
class RedisSeed:
    """A seed as data and times to live apart: a copy that is kept must not expire, and times count from a reset.

    ``writes`` make the keys, ``ttls`` are milliseconds by key, ``field_ttls`` by key and field of a hash.
    """

    writes: list[Write] = field(default_factory=list)
    ttls: dict[bytes, int] = field(default_factory=dict)
    field_ttls: dict[tuple[bytes, bytes], int] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """Hex digits that differ if any key, value or time to live differs."""
        digest = hashlib.sha256(b"realstack redis seed 2")
        for command in (*(write.command for write in self.writes), *self.kept_ttls.items()):
            for part in command:
                data = part if isinstance(part, bytes) else str(part).encode()
                digest.update(len(data).to_bytes(8, "big") + data)
            digest.update(b"|")
        return digest.hexdigest()[:32]

    @cached_property
    def kept_ttls(self) -> dict[bytes, int]:
        """All times to live under one name each, as the scripts take them apart: ``k`` and the key; or ``f``, the
        key's length in bytes, ``:``, the key, and the field.
        """
        kept = {b"k" + key: milliseconds for key, milliseconds in self.ttls.items()}
        for (key, name), milliseconds in self.field_ttls.items():
            kept[b"f%d:%b%b" % (len(key), key, name)] = milliseconds
        return kept

    def below(self, prefix: bytes) -> RedisSeed:
        """The same with ``prefix`` before each key."""
        writes = [replace(write, command=_below(prefix, write.command)) for write in self.writes]
        return RedisSeed(
            writes,
            {prefix + key: milliseconds for key, milliseconds in self.ttls.items()},
            {(prefix + key, name): milliseconds for (key, name), milliseconds in self.field_ttls.items()},
        )

    @cached_property
    def keys(self) -> frozenset[str]:
        """Names of the keys."""
        return frozenset(write.key for write in self.writes)


def seed_of(plan: RedisPlan) -> RedisSeed:
    """What the plan's files say.

    :raises SeedFailed: a file is missing or not understood, or a key has a name of realstack's own.
    """
    seed = RedisSeed()
    for write in read_redis_seed(plan):
        if write.key.startswith(_RESERVED):
            raise SeedFailed(
                f"{write.where}: the key {write.key!r} has a name of realstack's own.",
                remedy=f"choose one that does not begin with {_RESERVED!r}.",
            )
        match write.command:
            case ("PEXPIRE", bytes(key), int(milliseconds)):
                seed.ttls[key] = milliseconds
            case ("HPEXPIRE", bytes(key), int(milliseconds), *_, bytes(name)):
                # Asked once a hash where it is written: a server that knows no such ends refuses it there.
                if seed.writes[-1].command[0] != "HPTTL":
                    seed.writes.append(replace(write, command=("HPTTL", key, "FIELDS", 1, name)))
                seed.field_ttls[key, name] = milliseconds
            case _:
                seed.writes.append(write)
    return seed


def _below(prefix: bytes, command: Command) -> Command:
    """Every command of a seed has its key behind its name, which for groups is two words."""
    place = 2 if command[0] == "XGROUP" else 1
    key = command[place]
    assert isinstance(key, bytes)  # noqa: S101
    return (*command[:place], prefix + key, *command[place + 1 :])


def read_redis_seed(plan: RedisPlan) -> list[Write]:
    """All commands of the plan's files, in order.

    :raises SeedFailed: a file is missing or not understood; the sentence names file, line and key.
    """
    writes: list[Write] = []
    seen: dict[str, str] = {}
    for path in _files(plan):
        at = At(shown_path(path, plan.root), SeedFailed)
        root = at.root(path)
        if root is None:
            continue
        for key, node in at.pairs(root):
            if key.value in seen:
                raise at.failed(key, f"the key {key.value!r} stands in {seen[key.value]} already.", "keep one.")
            seen[key.value] = at.where(key)
            entry = _Entry(at, key, node)
            writes.extend(Write(command, key.value, at.where(key)) for command in entry.commands())
    return writes


def _files(plan: RedisPlan) -> list[Path]:
    paths: list[Path] = []
    for source in plan.seed:
        path = plan.root / source
        if path.is_dir():
            paths.extend(files_below(path, (".yaml", ".yml")))
        elif path.is_file():
            paths.append(path)
        else:
            problem, remedy = missing_path(source, path)
            raise SeedFailed(problem, remedy=remedy)
    return paths


class _Entry:
    """One key of a seed on its way to commands."""

    def __init__(self, at: At, key: yaml.ScalarNode, node: yaml.Node) -> None:
        self.at = at
        self.key = literal(key)
        self.name = key.value
        self.node = node
        self.kind, self.value, self.options = self._form()

    def commands(self) -> list[Command]:
        """The commands that write the key, times to live last."""
        if is_null(self.value):
            raise self._failed(self.value, "there is no value", 'write "" for an empty string.')
        commands = KINDS[self.kind](self, self.value)
        if not commands:
            raise self._failed(self.value, "it is empty, and Redis keeps no empty keys", "take the key out.")
        if (groups := self.options.get("groups")) is not None:
            commands.extend(self._groups(groups))
        if (ttl := self.options.get("ttl_s")) is not None:
            commands.append(("PEXPIRE", self.key, self._milliseconds(ttl)))
        if (ttls := self.options.get("field_ttl_s")) is not None:
            commands.extend(self._field_ttls(ttls))
        return commands

    def _form(self) -> tuple[str, yaml.Node, dict[str, yaml.Node]]:
        node = self.node
        if isinstance(node, yaml.MappingNode):
            options = {key.value: value for key, value in self.at.pairs(node)}
            if "value" in options and set(options) <= set(_OPTIONS):
                declared = options.get("type")
                kind = declared.value if isinstance(declared, yaml.ScalarNode) else _short(options["value"])
                if kind not in KINDS:
                    raise self._failed(node, f"there is no type {kind!r}", nearest(str(kind), tuple(KINDS)))
                return str(kind), options["value"], options
        return _short(node), node, {}

    def as_string(self, node: yaml.Node) -> list[Command]:
        return [("SET", self.key, self._scalar(node))]

    def as_hash(self, node: yaml.Node) -> list[Command]:
        pairs = [part for name, value in self._map(node) for part in (literal(name), self._scalar(value))]
        return [("HSET", self.key, *pairs)] if pairs else []

    def as_list(self, node: yaml.Node) -> list[Command]:
        return self._members("RPUSH", node)

    def as_set(self, node: yaml.Node) -> list[Command]:
        return self._members("SADD", node)

    def as_hyperloglog(self, node: yaml.Node) -> list[Command]:
        return self._members("PFADD", node)

    def as_zset(self, node: yaml.Node) -> list[Command]:
        parts: list[bytes] = []
        for member, score in self._scored(node):
            parts.extend((self._number(score), member))
        return [("ZADD", self.key, *parts)] if parts else []

    def as_bitmap(self, node: yaml.Node) -> list[Command]:
        return [("SETBIT", self.key, self._number(item), 1) for item in self._list(node)]

    def as_geo(self, node: yaml.Node) -> list[Command]:
        parts: list[bytes] = []
        for name, position in self._map(node):
            place = self._list(position)
            if len(place) != _ZSET_PAIR:
                raise self._failed(position, f"{name.value!r} needs a place", "write it as [longitude, latitude].")
            parts.extend((self._number(place[0]), self._number(place[1]), literal(name)))
        return [("GEOADD", self.key, *parts)] if parts else []

    def as_stream(self, node: yaml.Node) -> list[Command]:
        """Entries are maps of fields, or ``{id: 5-1, fields: {…}}``; without an id the n-th is ``n-0``."""
        commands: list[Command] = []
        for number, item in enumerate(self._list(node), start=1):
            parts = {name.value: value for name, value in self._map(item)}
            identity, fields = f"{number}-0".encode(), item
            if set(parts) == {"id", "fields"}:
                identity, fields = self._scalar(parts["id"]), parts["fields"]
            pairs = [part for name, value in self._map(fields) for part in (literal(name), self._scalar(value))]
            commands.append(("XADD", self.key, identity, *pairs))
        return commands

    def as_json(self, node: yaml.Node) -> list[Command]:
        return [("JSON.SET", self.key, "$", json.dumps(jsonable(self.at.plain(node)), ensure_ascii=False))]

    def _groups(self, node: yaml.Node) -> list[Command]:
        if self.kind != "stream":
            raise self._failed(node, "only a stream has groups", "take `groups` out.")
        return [("XGROUP", "CREATE", self.key, literal(name), self._scalar(last)) for name, last in self._map(node)]

    def _field_ttls(self, node: yaml.Node) -> list[Command]:
        if self.kind != "hash":
            raise self._failed(
                node, "only a hash has fields with an end of their own", "use `ttl_s` for the whole key."
            )
        fields = {literal(name) for name, _ in self._map(self.value)}
        commands: list[Command] = []
        for name, ttl in self._map(node):
            if literal(name) not in fields:
                known = tuple(field.decode(errors="replace") for field in fields)
                raise self._failed(name, f"there is no field {name.value!r}", nearest(name.value, known))
            commands.append(("HPEXPIRE", self.key, self._milliseconds(ttl), "FIELDS", 1, literal(name)))
        return commands

    def _members(self, command: str, node: yaml.Node) -> list[Command]:
        members = [self._scalar(item) for item in self._list(node)]
        return [(command, self.key, *members)] if members else []

    def _scored(self, node: yaml.Node) -> list[tuple[bytes, yaml.Node]]:
        """``{member: score}``, or ``[[member, score], …]`` for members that are no plain words."""
        if isinstance(node, yaml.MappingNode):
            return [(literal(name), score) for name, score in self._map(node)]
        pairs = []
        for item in self._list(node):
            pair = self._list(item)
            if len(pair) != _ZSET_PAIR:
                raise self._failed(item, "a member needs a score", "write it as [member, score].")
            pairs.append((self._scalar(pair[0]), pair[1]))
        return pairs

    def _map(self, node: yaml.Node) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._failed(node, f"a {self.kind} is written as a map", "write `name: value` lines.")
        return [*self.at.pairs(node)]

    def _list(self, node: yaml.Node) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._failed(node, f"a {self.kind} is written as a list", "write `- value` lines.")
        return [*node.value]

    def _scalar(self, node: yaml.Node) -> bytes:
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            raise self._failed(
                node,
                f"a {self.kind} holds plain values only",
                "quote it as a string (JSON is one), or use `type: json` where the server has that module.",
            )
        if node.tag.startswith("!"):
            raise self._failed(node, f"there is no tag {node.tag}", nearest(node.tag, ("!time", "!epoch")))
        return literal(node)

    def _number(self, node: yaml.Node) -> bytes:
        value = self._scalar(node).lower().replace(b".inf", b"inf")  # YAML's spelling of infinity
        try:
            float(value)
        except ValueError as problem:
            raise self._failed(node, f"{value.decode()!r} is not a number", "write a number.") from problem
        return value

    def _milliseconds(self, node: yaml.Node) -> int:
        seconds = float(self._number(node))
        if not 0.001 <= seconds <= _LONGEST_S:
            problem = "more than zero" if seconds < 1 else "at most a thousand years" if seconds > 1 else "a number"
            remedy = "write seconds, such as 60 or 0.5; what shall not end has no time to live."
            raise self._failed(node, f"a time to live must be {problem}", remedy)
        return int(seconds * 1000)

    def _failed(self, node: yaml.Node, problem: str, remedy: str) -> Exception:
        return self.at.failed(node, f"the key {self.name!r}: {problem}.", remedy)


KINDS: dict[str, Callable[[_Entry, yaml.Node], list[Command]]] = {
    "string": _Entry.as_string,
    "hash": _Entry.as_hash,
    "list": _Entry.as_list,
    "set": _Entry.as_set,
    "zset": _Entry.as_zset,
    "stream": _Entry.as_stream,
    "bitmap": _Entry.as_bitmap,
    "hyperloglog": _Entry.as_hyperloglog,
    "geo": _Entry.as_geo,
    "json": _Entry.as_json,
}


def _short(node: yaml.Node) -> str:
    """The type that a value without one has."""
    if isinstance(node, yaml.MappingNode):
        return "hash"
    return "list" if isinstance(node, yaml.SequenceNode) else "string"
