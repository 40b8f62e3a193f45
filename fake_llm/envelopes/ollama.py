"""Ollama's error envelope: ``{"error": "…"}``, and no headers of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fake_llm.envelopes import HeaderList
from fake_llm.envelopes.retry import retry_headers
from fake_llm.model import Fault, ProtocolError, Stamp
from fake_llm.unread import Unread

_GO_TYPES = {"ollama_generate": "api.GenerateRequest", "ollama_embeddings": "api.EmbedRequest"}
_GO_WORDS = {
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "{after}",
    "Invalid control character": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Extra data": "after top-level value",
}
"""Python's reasons, and Go's."""
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


def unread(error: Unread) -> ProtocolError:
    """The words of Go's decoder, which Ollama passes on; those for a body that is too large are Go's as well."""
    match error.why:
        case "no_json" if not error.text.strip():
            return ProtocolError("missing request body")
        case "no_json":
            return ProtocolError(_reason(error))
        case "too_large":
            return ProtocolError("http: request body too large", status=413)
        case "method":
            return ProtocolError("405 method not allowed", status=405)
        case _:
            target = _GO_TYPES.get(error.dialect, "api.ChatRequest")
            return ProtocolError(f"json: cannot unmarshal {error.kind} into Go value of type {target}")


def _reason(error: Unread) -> str:
    if error.ends_early:
        return "unexpected EOF"
    char = error.text[error.at]
    shown = {"'": r"'\''", '"': "'\"'"}.get(char) or "'" + json.dumps(char, ensure_ascii=False)[1:-1] + "'"
    inside = "object key:value pair" if error.inside == "{" else "array element"
    where = next((words for reason, words in _GO_WORDS.items() if error.reason.startswith(reason)), "{value}")
    return f"invalid character {shown} " + where.format(value="looking for beginning of value", after=f"after {inside}")


def missing_key() -> ProtocolError:
    """What Ollama's own cloud answers; a local server asks for no key."""
    return ProtocolError("unauthorized", status=401)
