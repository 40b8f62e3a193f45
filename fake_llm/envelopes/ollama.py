"""Ollama's error envelope: ``{"error": "…"}``, and no headers of its own."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.envelopes import HeaderList
from fake_llm.envelopes.retry import retry_headers
from fake_llm.model import Fault, ProtocolError, Stamp

_ERRORS = {
    400: "invalid request",
    401: "unauthorized",
    403: "forbidden",
    404: "model '{model}' not found",
    408: "request timed out",
    429: "too many requests",
    499: "request canceled",
    500: "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error",
    503: "server busy, please try again.  maximum pending requests exceeded",
}


def headers(stamp: Stamp) -> HeaderList:
    """Nothing beside the content type."""
    return []


def error_headers(status: int, stamp: Stamp, fault: Fault | None = None) -> HeaderList:
    """The retry headers that a fault sets; Ollama itself sends none."""
    return [] if fault is None else retry_headers(fault)


def error_object(error: ProtocolError, stamp: Stamp) -> Mapping[str, object]:
    """The message, and nothing beside: this envelope has no type, code or parameter."""
    return {"error": error.message}


def from_fault(fault: Fault, model: str) -> ProtocolError:
    """The error for the fault's status, in Ollama's words where the fault has none."""
    message = fault.message or _ERRORS.get(fault.status, "internal server error").replace("{model}", model)
    return ProtocolError(message, status=fault.status, type=fault.type, code=fault.code)


def not_found(method: str, path: str) -> ProtocolError:
    """The answer to an unknown path."""
    return ProtocolError("404 page not found", status=404)


def missing_key() -> ProtocolError:
    """What Ollama's own cloud answers; a local server asks for no key."""
    return ProtocolError("unauthorized", status=401)
