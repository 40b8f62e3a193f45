"""One test of the standard suite replays a recording, which the fixtures' own requests would need too."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    recorded = [item for item in items if item.get_closest_marker("vcr")]
    config.hook.pytest_deselected(items=recorded)
    items[:] = [item for item in items if item not in recorded]
