"""Which files of tests workers take first: a long one that begins last would be waited for by all the others."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG_FIRST = ("plugin", "cli", "state", "test_keeping.py", "gates", "providers", "services", "handles", "fake_llm")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--no-loadscope-reorder`, files are handed out in the order of the collection."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _turn(item.path))


def _turn(path: Path) -> int:
    try:
        kind, folder, *_ = path.relative_to(HERE).parts
    except ValueError:
        return len(LONG_FIRST)
    return LONG_FIRST.index(folder) if kind == "integration" and folder in LONG_FIRST else len(LONG_FIRST)
