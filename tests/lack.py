"""What a machine lacks: a laptop may, CI may not."""

from __future__ import annotations

import os

import pytest


def without(problem: str | None) -> None:
    """Skip the test for that reason, if there is one; with REALSTACK_REQUIRE_DOCKER=1, as in CI, it fails instead."""
    if problem and os.environ.get("REALSTACK_REQUIRE_DOCKER") == "1":
        pytest.fail(f"REALSTACK_REQUIRE_DOCKER=1, and {problem}")
    if problem:
        pytest.skip(problem)
