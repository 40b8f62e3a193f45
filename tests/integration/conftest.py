"""Runs of the embedded provider, below folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from realstack.model import Run, ServiceSpec
from realstack.providers.scratch import tmpfs_with_room
from tests.warm import Warm

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would everything that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with closing(Warm()) as made:
        yield made


@pytest.fixture
def run() -> Iterator[Run]:
    """A run whose folder other users may enter: pytest's own ``tmp_path`` is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="realstack-test-", dir=tmpfs_with_room(512 * 1024 * 1024)))
    folder.chmod(0o711)
    yield run_in(folder)
    shutil.rmtree(folder)


def run_in(folder: Path) -> Run:
    return Run(folder.name, folder, os.getpid(), psutil.Process().create_time(), "tests")


@pytest.fixture
def postgres_spec() -> ServiceSpec:
    return ServiceSpec(
        "postgres",
        "postgres",
        "postgres",
        5432,
        environment={"POSTGRES_USER": "app", "POSTGRES_PASSWORD": "p'ä ss", "POSTGRES_DB": "orders"},
    )


@pytest.fixture
def redis_spec() -> ServiceSpec:
    return ServiceSpec("redis", "redis", "redis", 6379)


@pytest.fixture
def fake_llm_spec() -> ServiceSpec:
    return ServiceSpec("fake_llm", "fake_llm", "fake-llm", 8080)
