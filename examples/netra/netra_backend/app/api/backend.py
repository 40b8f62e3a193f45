"""What the routes work with: opened by the lifespan in ``app.main``, given to routes by dependency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis

from netra_backend.app.agents.data_sub_agent import DataSubAgent
from netra_backend.app.agents.triage_sub_agent import TriageSubAgent
from netra_backend.app.database import Database


@dataclass(frozen=True)
class Backend:
    """The open connections and the agents of one running process."""

    db: Database
    redis: Redis
    triage: TriageSubAgent
    data: DataSubAgent


def current_backend(request: Request) -> Backend:
    """The backend of the application that serves ``request``."""
    backend: Backend = request.app.state.backend
    return backend


CurrentBackend = Annotated[Backend, Depends(current_backend)]
