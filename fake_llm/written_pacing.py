"""Latencies and rate limits as people write them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fake_llm.latency import PROFILES
from fake_llm.model import Latency, Spread
from fake_llm.rate_limits import Limits
from fake_llm.written_faults import Form


class SpreadForm(Form):
    """Seconds that vary, lognormally. A plain number in its place is fixed."""

    median_s: float = Field(ge=0)
    p95_s: float | None = Field(None, ge=0, description="95 of 100 are up to this")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.p95_s is not None and self.p95_s < self.median_s:
            raise ValueError("p95_s is below median_s")
        return self


Seconds = Annotated[float, Field(ge=0)] | SpreadForm


class LatencyForm(Form):
    """How long a model takes. The name of a profile in its place: ``fast``, ``typical``, ``slow``."""

    ttft: Seconds | None = Field(None, description="To the first token")
    inter_token: Seconds | None = Field(None, description="From one token to the next")


AnyLatency = Literal["fast", "typical", "slow"] | LatencyForm


class LimitsForm(Form):
    """Token buckets, one for each provider; they are full at first, and fill evenly."""

    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)


class LatencySwitch(Form):
    """A session's latency; null: none."""

    latency: AnyLatency | None


def latency_from(form: AnyLatency | None) -> Latency | None:
    """The plain latency."""
    if form is None:
        return None
    return PROFILES[form] if isinstance(form, str) else Latency(_spread(form.ttft), _spread(form.inter_token))


def limits_from(form: LimitsForm | None) -> Limits | None:
    """The plain limits; None where there is none."""
    if form is None or (form.requests_per_minute is None and form.tokens_per_minute is None):
        return None
    return Limits(form.requests_per_minute, form.tokens_per_minute)


def _spread(written: Seconds | None) -> Spread | None:
    if written is None:
        return None
    return Spread(written) if isinstance(written, int | float) else Spread(written.median_s, written.p95_s)
