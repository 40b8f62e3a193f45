"""Anthropic's error envelope and headers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from fake_llm.envelopes import HeaderList
from fake_llm.envelopes.retry import retry_after_s, retry_headers
from fake_llm.model import Fault, ProtocolError, Stamp
from fake_llm.unread import Unread

_LIMITS = {"requests": 4_000, "tokens": 2_400_000, "input-tokens": 2_000_000, "output-tokens": 400_000}

_ERRORS: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: {model}"),
    408: ("timeout_error", "Request timed out"),
    409: ("conflict_error", "The resource is being changed by another request."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}


_PASSING = frozenset({408, 409, 429})
_ALWAYS = frozenset({404, 413})
"""Statuses that have their own type, whoever raised them."""


def headers(stamp: Stamp) -> HeaderList:
    """Request id, organization, rate limits (whose resets are instants, not durations)."""
    return _headers(stamp, exhausted=False, wait_s=0)


def error_headers(status: int, stamp: Stamp, fault: Fault | None = None) -> HeaderList:
    """As :func:`headers`, and whether to ask again; a 429 has used up its limit and says when to come back."""
    should_retry = (b"x-should-retry", b"true" if status >= 500 or status in _PASSING else b"false")
    if fault is None:
        return [*headers(stamp), should_retry]
    found = _headers(stamp, exhausted=status == 429, wait_s=retry_after_s(fault) or 0)
    return [*found, should_retry, *retry_headers(fault)]


def error_object(error: ProtocolError, stamp: Stamp) -> Mapping[str, object]:
    """``{"type": "error", "error": {type, message}, "request_id"}``; a code becomes ``details.error_code``."""
    kind = error.type
    if error.status in _ALWAYS and kind == "invalid_request_error":
        kind = _ERRORS[error.status][0]
    inner: dict[str, object] = {"type": kind, "message": error.message}
    if error.code is not None:
        inner["details"] = {"error_code": error.code}
    return {"type": "error", "error": inner, "request_id": f"req_{stamp.id}"}


def from_fault(fault: Fault, model: str) -> ProtocolError:
    """The error for the fault's status, in Anthropic's words where the fault has none."""
    kind, message = _ERRORS.get(
        fault.status, ("api_error" if fault.status >= 500 else "invalid_request_error", "Error")
    )
    return ProtocolError(
        fault.message or message.replace("{model}", model),
        status=fault.status,
        type=fault.type or kind,
        code=fault.code,
    )


def not_found(method: str, path: str) -> ProtocolError:
    """Anthropic's answer to an unknown path."""
    return ProtocolError("Not found", status=404, type="not_found_error")


def missing_key() -> ProtocolError:
    """Anthropic's answer to a request without a key."""
    return ProtocolError("x-api-key header is required", status=401, type="authentication_error")


def unread(error: Unread) -> ProtocolError:
    """Anthropic's words. Those for a wrong method and for a body that is no object are likely, not seen."""
    match error.why:
        case "no_json":
            line = error.text.count("\n", 0, error.at) + 1
            column = error.at - error.text.rfind("\n", 0, error.at)
            at = f"line {line} column {column} (char {error.at})"
            return ProtocolError(f"The request body is not valid JSON: {_reason(error)}: {at}")
        case "too_large":
            kind, message = _ERRORS[413]
            return ProtocolError(message, status=413, type=kind)
        case "method":
            return ProtocolError("Method Not Allowed", status=405)
        case _:
            return ProtocolError("Input should be a valid dictionary")


def _reason(error: Unread) -> str:
    """As the parser that Anthropic uses says it, by the reports of its users."""
    if not error.text:
        return "Input is a zero-length, empty document"
    if error.reason.startswith("Invalid control character"):
        return "unexpected control character in string"
    return "unexpected end of data" if error.ends_early else "unexpected character"


def _headers(stamp: Stamp, *, exhausted: bool, wait_s: float) -> HeaderList:
    return [
        (b"request-id", b"req_" + stamp.id.encode()),
        (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
        *_limits(stamp.created + wait_s, exhausted=exhausted),
    ]


@lru_cache(maxsize=16)
def _limits(full_at: float, *, exhausted: bool) -> HeaderList:
    """How the limits stand that are ``full_at`` some second, which many answers share."""
    reset = datetime.fromtimestamp(full_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    found: HeaderList = []
    for name, limit in _LIMITS.items():
        left = 0 if exhausted and name == "requests" else limit - 1
        found.append((f"anthropic-ratelimit-{name}-limit".encode(), b"%d" % limit))
        found.append((f"anthropic-ratelimit-{name}-remaining".encode(), b"%d" % left))
        found.append((f"anthropic-ratelimit-{name}-reset".encode(), reset))
    return found
