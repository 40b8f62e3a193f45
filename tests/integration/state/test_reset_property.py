"""After a reset nothing differs from the known state, whatever was done before; and this proof finds planted bugs.

``REALSTACK_SEQUENCES``: how many sequences are tried on each version (300 unless set). ``REALSTACK_PROOF_ON``: on which
versions (``"15 17 18"``). ``REALSTACK_SHARDS``: in how many tests, for pytest-xdist. ``REALSTACK_SEED``: a number that
repeats a run; a failure names it. ``make proof`` sets them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from realstack.model import Endpoint
from realstack.state.reset import in_place
from tests.integration.state.proof_servers import server_of, versions
from tests.integration.state.random_state import EVERYTHING, Schema, schemas
from tests.integration.state.random_steps import Step, steps
from tests.integration.state.reset_bugs import BUGS, Bug
from tests.integration.state.reset_proof import proving

SEQUENCES = int(os.environ.get("REALSTACK_SEQUENCES", "300"))
SHARDS = int(os.environ.get("REALSTACK_SHARDS", "1"))
SEED = int(os.environ.get("REALSTACK_SEED") or secrets.randbelow(1_000_000))
PER_SCHEMA = 60
AT_ONCE = 5
"""Sequences in one example: Hypothesis takes as long for an example as a sequence takes to run."""

ENGINE = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""What is drawn is not kept, and is not to be quick."""


def sequences(schema: Schema) -> st.SearchStrategy[list[Step]]:
    """Most without DDL: after it nothing but a fresh clone is asked for."""
    plain = st.lists(steps(schema, ddl=False), min_size=1, max_size=10)
    with_ddl = st.lists(steps(schema), min_size=1, max_size=6)
    # one_of() would take equal ones for one.
    return st.integers(1, 16).flatmap(lambda number: with_ddl if number == 16 else plain)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "WAITS_FOR_S", 0.0)


@pytest.fixture(scope="module", params=versions())
def server(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    with server_of(request.param) as endpoint:
        yield endpoint


@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_differs_after_a_reset_whatever_was_done(server: Endpoint, shard: int) -> None:
    wanted = -(-SEQUENCES // SHARDS)
    per_schema = min(PER_SCHEMA, wanted)
    loop = asyncio.new_event_loop()

    @seed(f"{SEED} {server.version} {shard}")
    @settings(ENGINE, max_examples=-(-wanted // per_schema))
    @given(schema=schemas(), number=st.integers(0, 2**32))
    def prove(schema: Schema, number: int) -> None:
        world = proving(server, schema)
        proof = loop.run_until_complete(world.__aenter__())

        @seed(number)
        @settings(ENGINE, max_examples=-(-per_schema // AT_ONCE), phases=[Phase.generate, Phase.shrink])
        @given(several=st.lists(sequences(schema), min_size=AT_ONCE, max_size=AT_ONCE))
        def prove_some(several: list[list[Step]]) -> None:
            for sequence in several:
                loop.run_until_complete(proof.run(sequence))

        try:
            prove_some()
        except AssertionError:
            note(schema.sql)
            raise
        finally:
            loop.run_until_complete(world.__aexit__(None, None, None))

    try:
        prove()
    except BaseException as problem:
        problem.add_note(
            f"To repeat it: REALSTACK_SEED={SEED} REALSTACK_SHARDS={SHARDS} "
            f"REALSTACK_SEQUENCES={SEQUENCES}, PostgreSQL {server.version}, shard {shard}."
        )
        raise
    finally:
        loop.close()


class FoundError(BaseException):
    """Ends Hypothesis where a bug was found, as no other exception does: it would draw all the other examples."""


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_a_planted_bug_is_found(server: Endpoint, bug: Bug) -> None:
    loop = asyncio.new_event_loop()
    world = proving(server, EVERYTHING, bug)
    proof = loop.run_until_complete(world.__aenter__())

    @settings(
        ENGINE,
        max_examples=1_000,
        derandomize=True,
    )
    @given(sequence=st.lists(steps(EVERYTHING, only=bug.shown_by), min_size=1, max_size=4))
    def prove(sequence: list[Step]) -> None:
        try:
            loop.run_until_complete(proof.run(sequence))
        except AssertionError as problem:
            raise FoundError from problem

    try:
        with pytest.raises(FoundError):
            prove()
    finally:
        loop.run_until_complete(world.__aexit__(None, None, None))
        loop.close()
