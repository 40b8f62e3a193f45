"""The filters, tests, functions and methods that templates have. Each costs what it handles; none reaches outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import Namespace

from fake_llm.template_budget import CURRENT, as_text, steps, weighed

MAX_DIGITS = 20
_MISSING: Any = Undefined()


class Function:
    """Something that a template may call; nothing else can be."""

    __slots__ = ("_does", "_on")

    def __init__(self, does: Callable[..., Any], *on: Any) -> None:
        self._does = does
        self._on = on

    def __call__(self, *values: Any, **named: Any) -> Any:
        """What it gives; what goes in and comes out is paid for."""
        CURRENT.get().weigh(*self._on, *values, *named.values())
        return weighed(self._does(*self._on, *values, **named))


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    text, old, new = str(text), str(old), str(new)
    found = text.count(old) if count < 0 else min(text.count(old), count)
    CURRENT.get().spend_text(found * len(new))
    return text.replace(old, new, count)


def _join(values: Any, by: str = "", attribute: Any = None) -> str:
    texts = [as_text(each if attribute is None else _part(each, attribute)) for each in steps(values)]
    CURRENT.get().spend_text(len(texts) * len(str(by)))
    return str(by).join(texts)


def _split(text: str, by: str | None = None, most: int = -1) -> list[str]:
    CURRENT.get().spend(len(text) // 4)
    return text.split(by, most)


def _lines(text: str) -> list[str]:
    CURRENT.get().spend(len(text) // 4)
    return text.splitlines()


def _list(values: Any) -> list[Any]:
    return list(steps(values))


def _range(*bounds: int) -> list[int]:
    found = range(*bounds)
    CURRENT.get().spend(len(found))
    return list(found)


def _part(value: Any, name: Any) -> Any:
    if isinstance(value, dict):
        return value[name]
    return value[int(name)]


def _map(values: Any, attribute: Any) -> list[Any]:
    return [_part(value, attribute) for value in steps(values)]


def _sort(values: Any, reverse: bool = False, attribute: Any = None) -> list[Any]:
    key = None if attribute is None else lambda value: _part(value, attribute)
    found = _list(values)
    CURRENT.get().spend(len(found) * len(found).bit_length())
    return sorted(found, key=key, reverse=reverse)


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(steps(values)))


def _round(number: float, digits: int = 0) -> float:
    if abs(digits) > MAX_DIGITS:
        raise ValueError("too many digits")
    return round(number, digits)


def _default(value: Any, other: Any = "", falsy: bool = False) -> Any:
    return other if isinstance(value, Undefined) or (falsy and not value) else value


def _truncate(text: str, length: int = 255, end: str = "...") -> str:
    return text if len(text) <= length else text[: max(length - len(end), 0)] + end


def _int(value: Any, other: int = 0) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return other


def _float(value: Any, other: float = 0.0) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return other


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "capitalize": lambda text: str(text).capitalize(),
    "count": len,
    "default": _default,
    "first": lambda values: next(iter(values), _MISSING),
    "float": _float,
    "int": _int,
    "items": lambda values: [list(pair) for pair in values.items()],
    "join": _join,
    "last": lambda values: values[-1],
    "length": len,
    "list": _list,
    "lower": lambda text: str(text).lower(),
    "map": _map,
    "max": lambda values: max(steps(values)),
    "min": lambda values: min(steps(values)),
    "replace": _replace,
    "reverse": lambda values: values[::-1],
    "round": _round,
    "sort": _sort,
    "string": as_text,
    "sum": lambda values: sum(steps(values)),
    "title": lambda text: str(text).title(),
    "tojson": _tojson,
    "trim": lambda text: str(text).strip(),
    "truncate": _truncate,
    "unique": _unique,
    "upper": lambda text: str(text).upper(),
    "wordcount": lambda text: len(_split(str(text))),
}
TESTS: Mapping[str, Callable[..., Any]] = {
    "defined": lambda value: not isinstance(value, Undefined),
    "undefined": lambda value: isinstance(value, Undefined),
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float),
    "boolean": lambda value: isinstance(value, bool),
    "mapping": lambda value: isinstance(value, dict),
    "sequence": lambda value: isinstance(value, list | str),
    "in": lambda value, values: value in values,
    "odd": lambda number: number % 2 == 1,
    "even": lambda number: number % 2 == 0,
    "divisibleby": lambda number, by: number % by == 0,
}
FUNCTIONS = {"range": Function(_range), "namespace": Function(Namespace)}
METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = {
    str: {
        "capitalize": str.capitalize,
        "count": str.count,
        "endswith": str.endswith,
        "find": str.find,
        "isdigit": str.isdigit,
        "join": lambda by, values: _join(values, by),
        "lower": str.lower,
        "lstrip": str.lstrip,
        "removeprefix": str.removeprefix,
        "removesuffix": str.removesuffix,
        "replace": _replace,
        "rstrip": str.rstrip,
        "split": _split,
        "splitlines": _lines,
        "startswith": str.startswith,
        "strip": str.strip,
        "title": str.title,
        "upper": str.upper,
    },
    dict: {
        "get": dict.get,
        "items": lambda values: [list(pair) for pair in values.items()],
        "keys": list,
        "values": lambda values: list(values.values()),
    },
    list: {"count": list.count, "index": list.index},
}
_OF_LOOP = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "depth", "depth0"}
)


def attribute(value: Any, name: str) -> Any:
    """``value.name``: an object's key, one of the methods above, or what loops and namespaces have; else undefined."""
    if isinstance(value, dict) and name in value:
        return value[name]
    if isinstance(value, Namespace) or (isinstance(value, LoopContext) and name in _OF_LOOP):
        try:
            return getattr(value, name) if not name.startswith("_") else _MISSING
        except AttributeError:
            return _MISSING
    method = METHODS.get(type(value), {}).get(name)
    return _MISSING if method is None else Function(method, value)


def is_missing(value: Any) -> bool:
    """Whether :func:`attribute` found nothing."""
    return value is _MISSING
