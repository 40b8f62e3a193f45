"""The local target: the reference application's backend, on the services of this run."""

from __future__ import annotations

from tests.e2e.conftest import serve_backend

__all__ = ["serve_backend"]
