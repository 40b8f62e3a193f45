"""The data agent's words: the arguments of its tools, the events of its stream, its response."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

LONGEST_PERIOD_DAYS = 92


class Period(BaseModel):
    """Days from ``since`` to ``until``, both included, in UTC; at most a quarter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: date
    until: date

    @model_validator(mode="after")
    def _in_order_and_not_too_long(self) -> Self:
        if self.until < self.since:
            raise ValueError("until is before since")
        if (self.until - self.since).days >= LONGEST_PERIOD_DAYS:
            raise ValueError(f"the period is longer than {LONGEST_PERIOD_DAYS} days")
        return self


class UsageByDay(Period):
    """Arguments of ``usage_by_day``; without a feature, all features are counted."""

    feature: str | None = None


class UsageByFeature(Period):
    """Arguments of ``usage_by_feature``."""


@dataclass(frozen=True)
class ToolRun:
    """One tool as it was run: what the model asked for and what it got."""

    name: str
    arguments: str
    result: dict[str, Any]


class DataResponse(BaseModel):
    """What the caller gets. ``degraded`` means that the model never came to an answer."""

    id: str
    answer: str
    rows: list[dict[str, Any]]
    tools_used: list[str]
    degraded: bool = False


@dataclass(frozen=True)
class AnswerDelta:
    """A piece of the answer, as the model writes it."""

    text: str


@dataclass(frozen=True)
class AnswerDone:
    """The whole response, stored; always the last event of a stream."""

    response: DataResponse
