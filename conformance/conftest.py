"""A session of the fake LLM for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from conformance_session import Session


@pytest.fixture
def llm() -> Iterator[Session]:
    """What no other test sees."""
    session = Session(os.environ["FAKE_LLM_URL"])
    yield session
    session.end()
