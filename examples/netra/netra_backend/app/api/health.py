"""``/health/live``: the process answers. ``/health/ready``: it can do its work."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from netra_backend.app.api.backend import Backend, CurrentBackend

log = logging.getLogger(__name__)
router = APIRouter(prefix="/health", tags=["health"])

PROBE_TIMEOUT_S = 2.0


class Liveness(BaseModel):
    """The process runs."""

    status: Literal["live"] = "live"


class Readiness(BaseModel):
    """Whether requests can be served, and what is missing if not.

    The language model is left out on purpose: when it is away, no other instance would fare better.
    """

    status: Literal["ready", "unready"]
    missing: list[str]


@router.get("/live")
async def live() -> Liveness:
    """Answer as long as the process can."""
    return Liveness()


@router.get("/ready", responses={503: {"model": Readiness}})
async def ready(backend: CurrentBackend, response: Response) -> Readiness:
    """Ask Postgres and Redis a question each, at the same time; 503 names those that do not answer."""
    probes = {"database": _database_answers(backend), "redis": _redis_answers(backend)}
    answers = await asyncio.gather(*probes.values())
    missing = [name for name, answered in zip(probes, answers, strict=True) if not answered]
    if missing:
        response.status_code = 503
        return Readiness(status="unready", missing=missing)
    return Readiness(status="ready", missing=[])


async def _database_answers(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            # A table of the newest migration: a database that was never migrated is not ready.
            await backend.db.fetchval("SELECT count(*) FROM data_answers WHERE false")
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the answer is "not ready"
        log.warning("the database is not ready: %s: %s", type(error).__name__, error)
        return False
    return True


async def _redis_answers(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await backend.redis.get("netra:ready")
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("Redis is not ready: %s: %s", type(error).__name__, error)
        return False
    return True
