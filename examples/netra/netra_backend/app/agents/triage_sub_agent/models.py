"""The words of triage, validated: what the model may say, and what the caller gets."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Severity = Literal["low", "medium", "high", "critical"]
Category = Literal["performance", "availability", "security", "billing", "data", "other"]
Priority = Literal["P1", "P2", "P3", "P4"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CATEGORIES: tuple[Category, ...] = get_args(Category)

PRIORITIES: dict[Severity, Priority] = {"critical": "P1", "high": "P2", "medium": "P3", "low": "P4"}


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class TriageVerdict(BaseModel):
    """What the model concluded. Other letter case is accepted, other words are not."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)

    severity: Annotated[Severity, BeforeValidator(_lower)]
    category: Annotated[Category, BeforeValidator(_lower)]
    summary: str = Field(default="", max_length=1000)


class TriageResponse(BaseModel):
    """What the caller gets.

    ``degraded`` means that the model gave no usable answer and a person should look; ``cached`` that the
    answer was given before to the same user for the same message.
    """

    id: str | None = None
    severity: Severity
    category: Category
    priority: Priority
    summary: str
    degraded: bool = False
    cached: bool = False
