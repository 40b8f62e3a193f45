"""What one template may cost: every operation is charged by the size of what it handles, before or as it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2.runtime import Undefined

UNITS = 200_000
"""About a fifth of a second at worst. A step of a loop costs one, and so do 16 characters."""
CHARACTERS_PER_UNIT = 16
MAX_BITS = 4_096
"""Of a whole number that ``*`` or ``**`` makes."""


class TooMuch(Exception):
    """The template does more than a reply may cost."""

    def __init__(self) -> None:
        super().__init__("it does too much: loops or texts are too long")


class Budget:
    """What is left of one reply's units."""

    def __init__(self, units: int = UNITS) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """Take so many.

        :raises TooMuch: there are not so many.
        """
        self._left -= units
        if self._left < 0:
            raise TooMuch

    def spend_text(self, length: int) -> None:
        """Take what a text of that length costs."""
        self.spend(1 + length // CHARACTERS_PER_UNIT)

    def weigh(self, *values: Any) -> None:
        """Take what everything inside ``values`` costs, however often the same is in there."""
        waiting: list[Any] = list(values)
        while waiting:
            value = waiting.pop()
            if isinstance(value, str):
                self.spend_text(len(value))
                continue
            self.spend(1)
            if isinstance(value, dict):
                self.spend(len(value))
                waiting.extend(value)
                waiting.extend(value.values())
            elif isinstance(value, list | tuple):
                self.spend(len(value))
                waiting.extend(value)


CURRENT: ContextVar[Budget] = ContextVar("budget")
"""That of the reply that is being filled."""


def weighed(value: Any) -> Any:
    """``value``, paid for."""
    CURRENT.get().weigh(value)
    return value


def as_text(value: Any) -> str:
    """``value`` as it is written into a text: containers and constants as JSON, and paid for."""
    CURRENT.get().weigh(value)
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list | tuple | int | float):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Undefined):
        return str(value)  # says what is missing, by an exception
    raise TypeError(f"a {type(value).__name__} is no text")


def steps(values: Iterable[Any]) -> Iterator[Any]:
    """``values``, each a step of a loop."""
    budget = CURRENT.get()
    for value in values:
        budget.spend(1)
        yield value


def operate(operator: str, left: Any, right: Any, plain: Callable[[Any, Any], Any]) -> Any:
    """``left operator right``, of texts and lists only what cannot grow beyond its price.

    :raises TypeError: the operands are none that templates have for it.
    """
    budget = CURRENT.get()
    budget.weigh(left, right)
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if operator == "*" and not numbers:
        many, times = (left, right) if isinstance(right, int) else (right, left)
        if not isinstance(times, int) or not isinstance(many, str | list):
            raise TypeError(f"cannot multiply {type(left).__name__} by {type(right).__name__}")
        budget.spend(len(many) * max(times, 0) // (CHARACTERS_PER_UNIT if isinstance(many, str) else 1))
    elif operator != "+" and not numbers:
        raise TypeError(f"{operator} is for numbers, not {type(left).__name__} and {type(right).__name__}")
    if isinstance(left, int) and isinstance(right, int) and _bits(operator, left, right) > MAX_BITS:
        raise OverflowError("a number is too large")
    return plain(left, right)


def _bits(operator: str, left: int, right: int) -> int:
    """The most bits that the result may have."""
    if operator == "*":
        return left.bit_length() + right.bit_length()
    return left.bit_length() * abs(right) if operator == "**" else 0
