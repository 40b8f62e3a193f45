"""Which HTTP answer each error becomes. Bodies say what happened, never how the inside looks."""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from netra_backend.app.database import UNREACHABLE
from netra_backend.app.errors import (
    AgentSwitchedOff,
    LLMInterrupted,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    NetraError,
    UnknownUser,
    UserSuspended,
)

log = logging.getLogger(__name__)

STATUS: dict[type[NetraError], int] = {
    UnknownUser: 404,
    UserSuspended: 403,
    AgentSwitchedOff: 503,
    LLMUnavailable: 503,
    LLMRateLimited: 503,
    LLMTimeout: 504,
    LLMInterrupted: 502,
    LLMRejected: 502,
}


class Problem(BaseModel):
    """What went wrong: a stable code for programs, a sentence for people."""

    code: str
    message: str


class ProblemBody(BaseModel):
    """The body of every error answer except validation errors, which are FastAPI's own."""

    error: Problem


def problem_of(error: NetraError) -> ProblemBody:
    """The body that describes ``error``."""
    return ProblemBody(error=Problem(code=error.code, message=str(error)))


def install(app: FastAPI) -> None:
    """Register the handlers of this module with ``app``."""
    app.add_exception_handler(NetraError, _netra_error)
    for unreachable in UNREACHABLE:
        app.add_exception_handler(unreachable, _database_unreachable)


async def _netra_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, NetraError):  # pragma: no cover - the handler is registered for NetraError only
        raise error
    log.warning("%s %s: %s: %s", request.method, request.url.path, error.code, error, exc_info=error)
    headers = {}
    if isinstance(error, LLMRateLimited) and error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return JSONResponse(problem_of(error).model_dump(), status_code=STATUS.get(type(error), 500), headers=headers)


async def _database_unreachable(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s: the database is away: %s", request.method, request.url.path, error)
    body = ProblemBody(error=Problem(code="database_unavailable", message="the database is not available"))
    return JSONResponse(body.model_dump(), status_code=503)
