from __future__ import annotations

import pytest

from realstack.handles.connections import LEAST_POOL_SIZE, MOST_SEEDED, OURS, POOL_SIZE, RESERVED, ConnectionBudget


@pytest.mark.parametrize(("limit", "workers"), [(300, 1), (300, 8), (200, 20), (100, 4), (100, 10), (40, 3), (0, 3)])
def test_all_workers_fit_and_none_gets_more_than_it_would_alone(limit: int, workers: int) -> None:
    budget = ConnectionBudget(limit, workers)
    assert LEAST_POOL_SIZE <= budget.pool_size <= POOL_SIZE
    assert 1 <= budget.seeded <= MOST_SEEDED
    assert not limit or workers * (budget.pool_size + budget.seeded + OURS) <= limit - RESERVED


def test_one_worker_has_asyncpgs_own_default() -> None:
    assert ConnectionBudget(100, 1).pool_size == POOL_SIZE
    assert str(ConnectionBudget(100, 1)) == "at most 20 of the server's 100 connections: one process"


def test_where_there_are_few_a_tests_pool_comes_before_databases_that_are_held_ready() -> None:
    assert (ConnectionBudget(100, 1).seeded, ConnectionBudget(40, 3).seeded, ConnectionBudget(40, 3).pool_size) == (
        6,
        2,
        4,
    )


def test_too_many_workers_are_told_what_to_do() -> None:
    budget = ConnectionBudget(20, 16)
    assert budget.pool_size == LEAST_POOL_SIZE
    assert "fewer workers" in str(budget)
