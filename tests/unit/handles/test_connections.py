from __future__ import annotations

import pytest

from realstack.handles.connections import LEAST_POOL_SIZE, OURS, POOL_SIZE, RESERVED, ConnectionBudget


@pytest.mark.parametrize(("limit", "workers"), [(300, 1), (300, 8), (200, 20), (100, 4), (100, 10), (0, 3)])
def test_all_workers_fit_and_none_gets_more_than_it_would_alone(limit: int, workers: int) -> None:
    budget = ConnectionBudget(limit, workers)
    assert LEAST_POOL_SIZE <= budget.pool_size <= POOL_SIZE
    assert not limit or workers * (budget.pool_size + OURS) <= limit - RESERVED


def test_one_worker_has_asyncpgs_own_default() -> None:
    assert ConnectionBudget(100, 1).pool_size == POOL_SIZE
    assert str(ConnectionBudget(100, 1)) == "at most 14 of the server's 100 connections: one process"


def test_too_many_workers_are_told_what_to_do() -> None:
    budget = ConnectionBudget(20, 16)
    assert budget.pool_size == LEAST_POOL_SIZE
    assert "fewer workers" in str(budget)
