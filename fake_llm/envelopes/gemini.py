"""Google's error envelope (``google.rpc.Status`` as JSON) and headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.envelopes import HeaderList
from fake_llm.envelopes.retry import retry_after_s, retry_headers
from fake_llm.model import Fault, Json, ProtocolError, Stamp
from fake_llm.unread import Unread

_SHOWN = 20
"""Characters on either side of what is wrong in a body."""
INVALID_KEY = "API_KEY_INVALID"

_RPC = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_QUOTAS = "https://ai.google.dev/gemini-api/docs/rate-limits"

_ERRORS: dict[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: (
        "NOT_FOUND",
        "models/{model} is not found, or is not supported for generateContent. "
        "Call ListModels to see the list of available models and their supported methods.",
    ),
    409: ("ABORTED", "The operation was aborted."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    501: ("UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


class DetailedError(ProtocolError):
    """An error with details of its own, each a message of ``google.rpc``."""

    details: Sequence[Mapping[str, Json]] = ()


def headers(stamp: Stamp) -> HeaderList:
    """What Google's front end adds; it names no request id and no rate limits."""
    return [
        (b"vary", b"Origin, X-Origin, Referer"),
        (b"x-content-type-options", b"nosniff"),
        (b"server-timing", b"gfet4t7; dur=%d" % max(stamp.processing_ms, 1)),
    ]


def error_headers(status: int, stamp: Stamp, fault: Fault | None = None) -> HeaderList:
    """As :func:`headers`, with the retry headers that the fault sets."""
    return headers(stamp) if fault is None else [*headers(stamp), *retry_headers(fault)]


def error_object(error: ProtocolError, stamp: Stamp) -> Mapping[str, object]:
    """``{"error": {code, message, status, details?}}``."""
    inner: dict[str, object] = {"code": error.status, "message": error.message, "status": status_name(error)}
    details = [*error.details] if isinstance(error, DetailedError) else []
    if error.code is not None:
        details.append({"@type": _RPC + "ErrorInfo", "reason": error.code, "domain": "googleapis.com",
                        "metadata": {"service": _SERVICE}})  # fmt: skip
        if error.code == INVALID_KEY:
            details.append({"@type": _RPC + "LocalizedMessage", "locale": "en-US", "message": error.message})
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": _RPC + "BadRequest", "fieldViolations": [violation]})
    if details:
        inner["details"] = details
    return {"error": inner}


def from_fault(fault: Fault, model: str) -> ProtocolError:
    """The error for the fault's status, in Google's words where the fault has none; a 429 says when to come back."""
    kind, message = _ERRORS.get(fault.status, (_class_of(fault.status), "Error."))
    if fault.code == INVALID_KEY:
        message = "API key not valid. Please pass a valid API key."
    error = DetailedError(
        fault.message or message.replace("{model}", model),
        status=fault.status,
        type=fault.type or kind,
        code=fault.code,
        param=fault.param,
    )
    if fault.status == 429:
        error.details = _quota_details(fault, model)
    return error


def not_found(method: str, path: str) -> ProtocolError:
    """The answer to an unknown path."""
    return ProtocolError(f"The requested URL {path} was not found for {method}.", status=404)


def missing_key() -> ProtocolError:
    """Google's answer to a request without a key: not a 401."""
    return ProtocolError(
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
        "other form of API consumer identity to call this API.",
        status=403,
    )


def unread(error: Unread) -> ProtocolError:
    """Google's words. A wrong method finds nothing, as its front end has it."""
    match error.why:
        case "no_json":
            before, after = error.text[max(error.at - _SHOWN, 0) : error.at], error.text[error.at :][:_SHOWN]
            shown = f"{before}{after}\n{' ' * len(before)}^"
            return ProtocolError(f"Invalid JSON payload received. {_reason(error)}\n{shown}")
        case "too_large":
            return ProtocolError(f"Request payload size exceeds the limit: {error.limit} bytes.")
        case "method":
            return not_found(error.method, error.path)
        case _:
            found = DetailedError('Invalid JSON payload received. Unknown name "": Root element must be a message.')
            violation = {"description": found.message}
            found.details = [{"@type": _RPC + "BadRequest", "fieldViolations": [violation]}]
            return found


def _reason(error: Unread) -> str:
    """As the JSON parser of protocol buffers says it."""
    if error.reason.startswith("Unterminated string"):
        return "Closing quote expected in string."
    if error.ends_early:
        return "Unexpected end of string."
    if error.reason.startswith("Expecting ',' delimiter"):
        return f"Expected , or {'} after key:value pair' if error.inside == '{' else '] after array value'}."
    if error.reason.startswith("Expecting ':' delimiter"):
        return "Expected : between key:value pair."
    return "Expected an object key or }." if error.reason.startswith("Expecting property name") else "Unexpected token."


def status_name(error: ProtocolError) -> str:
    """The error's type where it is one of Google's upper-case names, else the name of its status."""
    return error.type if error.type.isupper() else _ERRORS.get(error.status, (_class_of(error.status), ""))[0]


def _class_of(status: int) -> str:
    return "INTERNAL" if status >= 500 else "INVALID_ARGUMENT"


def _quota_details(fault: Fault, model: str) -> Sequence[Mapping[str, Json]]:
    quota = {
        "quotaMetric": f"{_SERVICE}/generate_requests_per_model",
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": "10",
    }
    limits = {"description": "Learn more about Gemini API quotas", "url": _QUOTAS}
    details: list[Mapping[str, Json]] = [
        {"@type": _RPC + "QuotaFailure", "violations": [quota]},
        {"@type": _RPC + "Help", "links": [limits]},
    ]
    if (wait_s := retry_after_s(fault)) is not None:
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": _duration(wait_s)})
    return details


def _duration(seconds: float) -> str:
    """A duration as protocol buffers write it in JSON: ``34s``, ``0.02s``."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
