"""The command line of the backend."""

from __future__ import annotations

import runpy
import sys
from typing import Any

import pytest
import uvicorn

from netra_backend.__main__ import main


def test_the_command_line_serves_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.append((app, options)))
    main(["--port", "8123"])
    assert served == [("netra_backend.app.main:app", {"host": "127.0.0.1", "port": 8123, "log_level": "info"})]


def test_the_package_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[str] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **_: served.append(app))
    monkeypatch.setattr(sys, "argv", ["netra_backend"])
    monkeypatch.delitem(sys.modules, "netra_backend.__main__")
    runpy.run_module("netra_backend", run_name="__main__")
    assert served == ["netra_backend.app.main:app"]
