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


DESCRIBABLE: tuple[type[Exception], ...] = (NetraError, *UNREACHABLE)
"""The errors that :func:`problem_of` can describe; any other is a mistake of ours, and a plain 500."""


def problem_of(error: Exception) -> ProblemBody:
    """The body that describes ``error``. Of the database's errors only that it is away: their texts hold hosts."""
    if isinstance(error, NetraError):
        return ProblemBody(error=Problem(code=error.code, message=str(error)))
    return ProblemBody(error=Problem(code="database_unavailable", message="the database is not available"))


def install(app: FastAPI) -> None:
    """Register this module's handler with ``app``."""
    for kind in DESCRIBABLE:
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    body = problem_of(error)
    log.warning("%s %s: %s", request.method, request.url.path, body.error.code, exc_info=error)
    headers = {}
    if isinstance(error, LLMRateLimited) and error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    status = STATUS.get(type(error), 500) if isinstance(error, NetraError) else 503
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)
