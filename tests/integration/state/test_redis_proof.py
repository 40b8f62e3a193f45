"""After a reset nothing of Redis differs from the seed, whatever was done before, or it is told; planted bugs are found.

``REALSTACK_SEQUENCES`` is how many sequences are tried (300 unless set); pytest's ``--hypothesis-seed`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from realstack.model import Endpoint, RedisPlan
from realstack.services.redis import client
from realstack.state.redis_state import RedisState
from tests.integration.state.random_redis import Step, as_yaml, seeds, sequences
from tests.integration.state.redis_proof import Proof

SEQUENCES = int(os.environ.get("REALSTACK_SEQUENCES", "300"))
PER_SEED = 25


@pytest.fixture
def flushed(redis_server: Endpoint) -> Endpoint:
    async def flush() -> None:
        async with client(redis_server, database=0) as control:
            await control.flushall()

    asyncio.run(flush())
    return redis_server


def try_many(server: Endpoint, root: Path, count: int, only: tuple[str, ...] = (), **options: Any) -> None:
    with asyncio.Runner() as runner:

        async def one(seed: dict[str, Any], drawn: list[list[Step]]) -> None:
            (root / "seed.yaml").write_text(as_yaml(seed))  # noqa: ASYNC240
            plan = RedisPlan(root, ("seed.yaml",))
            async with Proof(server, RedisState(server, plan, "gw0", "r1")) as proof:
                await proof.prove(plan, drawn)

        @settings(
            max_examples=max(1, count // PER_SEED),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=[Phase.generate],
        )
        @given(seeds(), st.lists(sequences(only), min_size=PER_SEED, max_size=PER_SEED))
        def holds(seed: dict[str, Any], drawn: list[list[Step]]) -> None:
            runner.run(one(seed, drawn))

        holds()


def test_nothing_differs_after_a_reset_whatever_was_done(flushed: Endpoint, tmp_path: Path) -> None:
    try_many(flushed, tmp_path, SEQUENCES)
