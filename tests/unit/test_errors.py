"""Errors are complete sentences, and each has a page section."""

from __future__ import annotations

import inspect
from pathlib import Path

import realstack.errors
from realstack.errors import RealstackError, ServiceStartFailed

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"


def classes() -> list[type[RealstackError]]:
    found = [value for _, value in inspect.getmembers(realstack.errors, inspect.isclass)]
    return [cls for cls in found if issubclass(cls, RealstackError)]


def test_a_failed_start_says_service_stage_time_last_answer_log_and_remedy() -> None:
    error = ServiceStartFailed(
        "postgres",
        "ready",
        problem="it ended with exit status 1",
        after_s=1.234,
        last_answer="ConnectionRefusedError",
        log_tail=("FATAL: no room", "bye"),
        remedy="free some room.",
    )
    assert str(error).splitlines() == [
        "Service 'postgres' failed at stage 'ready' after 1.2 s: it ended with exit status 1",
        "    last answer of its probe: ConnectionRefusedError",
        "    last lines of its log:",
        "      FATAL: no room",
        "      bye",
        "To mend it: free some room.",
        "[service-start]",
    ]


def test_no_two_errors_share_a_slug() -> None:
    slugs = [cls.slug for cls in classes()]
    assert len(slugs) == len(set(slugs))


def test_every_slug_has_its_section_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [cls.slug for cls in classes() if f"## `{cls.slug}`" not in text] == []
