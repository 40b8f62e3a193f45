"""Fixes chance and time in a process of its own, so that two builds of a seed make the same rows.

Chance: ``random``, ``secrets``, ``uuid4``, ``os.urandom``, and generators that are made without a seed, all follow from
the source's name; numpy's, Faker's, polyfactory's and factory_boy's shared generators where these are imported.
Time: ``datetime.now()``, ``date.today()`` and ``time.time()`` stand still. ``time.monotonic()`` goes on, as event loops
live by it; and what the server makes by itself (``DEFAULT now()``) is out of reach here.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import hashlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


def fix_chance(name: str) -> None:
    """Make all chance of this process follow from ``name``. To be called before the source is imported."""
    made = _bytes_from(name)

    def urandom(size: int) -> bytes:
        return bytes(next(made) for _ in range(size))

    os.urandom = urandom
    random._urandom = urandom  # type: ignore[attr-defined] # what SystemRandom, and so secrets, reads
    seed = random.Random.seed

    def seed_always(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed(self, int.from_bytes(urandom(8), "big") if a is None else a, version)

    random.Random.seed = seed_always  # type: ignore[method-assign]
    random.seed(number_of(name))


def reseed(name: str) -> None:
    """Set the generators that imported libraries share back to where ``name`` puts them."""
    number = number_of(name)
    random.seed(number)
    for module, seeded in _SHARED.items():
        if module in sys.modules:
            seeded(sys.modules[module], number)


def number_of(name: str) -> int:
    """A number of 32 bits that stands for ``name``."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def freeze_time(moment: datetime.datetime) -> None:
    """Stop the clock that Python code reads at ``moment``. To be called before the source is imported."""
    seconds = moment.timestamp()
    nanoseconds = int(seconds) * 1_000_000_000 + moment.microsecond * 1000
    time.time = lambda: seconds
    time.time_ns = lambda: nanoseconds
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, _now_by_default(getattr(time, name), seconds))
    strftime = time.strftime
    time.strftime = lambda form, *when: strftime(form, *(when or (time.localtime(),)))
    _freeze_datetime(moment)


def _now_by_default(convert: Callable[[float], Any], now: float) -> Callable[..., Any]:
    def converted(when: float | None = None) -> Any:
        return convert(now if when is None else when)

    return converted


def _freeze_datetime(moment: datetime.datetime) -> None:
    def now(cls: Any, tz: datetime.tzinfo | None = None) -> Any:
        here = moment.astimezone(tz or datetime.UTC)
        return cls.combine(here.date(), here.time(), here.tzinfo if tz else None)

    def naive(cls: Any) -> Any:
        return now(cls)

    def today(cls: Any) -> Any:
        return cls(moment.year, moment.month, moment.day)

    _replace(datetime.date, today=today)
    _replace(datetime.datetime, now=now, utcnow=naive, today=naive)


def _replace(kind: type, **methods: Any) -> None:
    """Put class methods into a type of C.

    Subclasses in their place would do for most code, but not for libraries that derive from them with a metaclass of
    their own, nor for those that ask for the exact type. CPython lets its types be changed by way of their dict.
    """
    found = gc.get_referents(vars(kind))[0]
    for name, method in methods.items():
        found[name] = classmethod(method)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _bytes_from(name: str) -> Iterator[int]:
    count = 0
    while True:
        yield from hashlib.sha256(f"{name} {count}".encode()).digest()
        count += 1


def _polyfactory(module: Any, number: int) -> None:
    pending = [module.BaseFactory]
    while pending:
        factory = pending.pop()
        pending.extend(factory.__subclasses__())
        if factory is module.BaseFactory or "__random__" in vars(factory) or "__faker__" in vars(factory):
            factory.seed_random(number)


_SHARED: dict[str, Callable[[Any, int], None]] = {
    "numpy.random": lambda module, number: module.seed(number),
    "faker": lambda module, number: module.Faker.seed(number),
    "factory.random": lambda module, number: module.reseed_random(number),
    "polyfactory.factories.base": _polyfactory,
}
