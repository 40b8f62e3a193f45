"""When a reset is proven: rarely, of what had something to undo, and never for long."""

from __future__ import annotations

import pytest

from realstack.handles import isolation
from realstack.handles.isolation import AT_MOST_OF_THE_RUN, _Sampling
from realstack.state.reset import ResetReport

RESTORED, UNTOUCHED = ResetReport("restored"), ResetReport("untouched")


class Clock:
    """A run's time, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(isolation, "time", made)
    return made


def due(sampling: _Sampling, clock: Clock, tests: int, *, proof_s: float = 0.0, test_s: float = 0.01) -> list[int]:
    """After which of so many tests that wrote a proof was made."""
    found = []
    for number in range(1, tests + 1):
        clock.now += test_s
        if sampling.is_due_after(RESTORED):
            found.append(number)
            clock.now += proof_s
            sampling.took(proof_s)
    return found


def test_the_8th_64th_and_512th_reset_that_had_something_to_undo_are_proven(clock: Clock) -> None:
    assert due(_Sampling(always=False), clock, 4000) == [8, 64, 512]


def test_resets_with_nothing_to_undo_do_not_count(clock: Clock) -> None:
    sampling = _Sampling(always=False)
    assert not any(sampling.is_due_after(UNTOUCHED) for _ in range(100))
    assert not sampling.is_due_at_end()
    assert due(sampling, clock, 8) == [8]


def test_with_verify_every_reset_is_proven_whatever_it_takes(clock: Clock) -> None:
    sampling = _Sampling(always=True)
    assert due(sampling, clock, 5, proof_s=60.0) == [1, 2, 3, 4, 5]
    assert sampling.is_due_after(UNTOUCHED)


@pytest.mark.parametrize("proof_s", [0.01, 0.1, 1.0, 10.0])
def test_after_the_first_no_proof_is_made_that_would_take_more_than_its_share_of_the_run(
    clock: Clock, proof_s: float
) -> None:
    sampling, began = _Sampling(always=False), clock.now
    proofs = due(sampling, clock, 4000, proof_s=proof_s)
    assert proofs[0] == 8  # nobody knows before how long one takes
    spent, run_s = len(proofs) * proof_s, clock.now - began
    assert len(proofs) == 1 or spent <= AT_MOST_OF_THE_RUN * run_s
    assert len(proofs) == {0.01: 3, 0.1: 2, 1.0: 1, 10.0: 1}[proof_s]


def test_the_end_is_proven_unless_the_last_proof_says_all_or_one_takes_too_long(clock: Clock) -> None:
    sampling = _Sampling(always=False)
    due(sampling, clock, 7)
    assert sampling.is_due_at_end()
    assert due(sampling, clock, 1, proof_s=0.5) == [1]  # the 8th
    assert not sampling.is_due_at_end()
    due(sampling, clock, 1)
    assert sampling.is_due_at_end()  # half a second is little at any end
    sampling.took(3.0)
    due(sampling, clock, 1)
    assert not sampling.is_due_at_end()
    clock.now += 3.0 / AT_MOST_OF_THE_RUN
    assert sampling.is_due_at_end()
