"""What calls would have cost: tokens times prices. The prices that come along are examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from realstack.errors import FakeLLMError
from realstack.handles.llm_call import Call

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of a million tokens. ``cached``: of input that was read from a cache; None: as other input."""

    input: float
    output: float = 0.0
    cached: float | None = None


Prices = Mapping[str, Price]
"""By model, with ``*`` and ``?`` as wildcards; the first that fits counts."""

EXAMPLES_OF = "2025-11"
EXAMPLE_PRICES: Prices = {
    "gpt-*-nano*": Price(0.05, 0.40, 0.005),
    "gpt-*-mini*": Price(0.25, 2.00, 0.025),
    "gpt-*": Price(1.25, 10.00, 0.125),
    "claude-*haiku*": Price(1.00, 5.00, 0.10),
    "claude-*sonnet*": Price(3.00, 15.00, 0.30),
    "claude-*opus*": Price(5.00, 25.00, 0.50),
    "gemini-*flash-lite*": Price(0.10, 0.40, 0.025),
    "gemini-*flash*": Price(0.30, 2.50, 0.075),
    "gemini-*pro*": Price(1.25, 10.00, 0.31),
    "text-embedding-3-small*": Price(0.02),
    "text-embedding-3-large*": Price(0.13),
    "*moderation*": Price(0.0),
}
"""Examples in US dollars, of ``EXAMPLES_OF``: prices change, and differ by tier. Give your own where they matter."""


def cost_of(calls: Sequence[Call], prices: Prices = EXAMPLE_PRICES) -> float:
    """The sum over ``calls``; those that were answered without usage, such as errors, cost nothing.

    :raises FakeLLMError: a model has no price.
    """
    return sum(_cost(call, prices) for call in calls if call.usage is not None and call.model is not None)


def _cost(call: Call, prices: Prices) -> float:
    used = call.usage or {}
    price = next((price for model, price in prices.items() if fnmatchcase(call.model or "", model)), None)
    if price is None:
        raise FakeLLMError(
            f"there is no price for the model {call.model!r} (known: {', '.join(prices)}).",
            remedy='give one: cost({"my-model*": Price(input=1.0, output=2.0), **EXAMPLE_PRICES}).',
        )
    cached = min(used.get("cached_tokens", 0), used["input_tokens"])
    cached_price = price.input if price.cached is None else price.cached
    spent = (used["input_tokens"] - cached) * price.input + cached * cached_price + used["output_tokens"] * price.output
    return spent / MILLION
