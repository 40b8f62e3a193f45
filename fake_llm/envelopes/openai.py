"""OpenAI's error envelope and headers."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.envelopes import HeaderList
from fake_llm.envelopes.retry import retry_after_s, retry_headers
from fake_llm.model import Fault, ProtocolError, Stamp
from fake_llm.unread import Unread

REQUEST_LIMIT = 10_000
TOKEN_LIMIT = 2_000_000

_CONSTANT: HeaderList = [
    (b"openai-organization", b"org-fake"),
    (b"openai-project", b"proj_fake"),
    (b"openai-version", b"2020-10-01"),
]
_LIMITS: HeaderList = [
    (b"x-ratelimit-limit-requests", b"%d" % REQUEST_LIMIT),
    (b"x-ratelimit-limit-tokens", b"%d" % TOKEN_LIMIT),
    (b"x-ratelimit-remaining-requests", b"%d" % (REQUEST_LIMIT - 1)),
    (b"x-ratelimit-remaining-tokens", b"%d" % (TOKEN_LIMIT - 1)),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"0s"),
]

_ERRORS: dict[int, tuple[str, str | None, str]] = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    408: ("server_error", None, "The request timed out."),
    409: ("invalid_request_error", None, "The resource is being changed by another request."),
    413: ("invalid_request_error", None, "The request is too large."),
    422: ("invalid_request_error", None, "The request could not be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for {model} on requests per min (RPM)."),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    502: ("server_error", None, "Bad gateway."),
    503: ("service_unavailable_error", None, "The engine is currently overloaded, please try again later."),
    504: ("server_error", None, "The request timed out."),
}


def headers(stamp: Stamp) -> HeaderList:
    """Request id, processing time, version, rate limits."""
    return [
        (b"x-request-id", b"req_" + stamp.id.encode()),
        (b"openai-processing-ms", b"%d" % max(stamp.processing_ms, 1)),
        *_CONSTANT,
        *_LIMITS,
    ]


def error_headers(status: int, stamp: Stamp, fault: Fault | None = None) -> HeaderList:
    """As :func:`headers`; a 429 has used up its limit and says when to come back."""
    if fault is None:
        return headers(stamp)
    found = headers(stamp)[:-6]
    if status != 429:
        return [*found, *retry_headers(fault), *_LIMITS]
    if fault.code == "insufficient_quota":  # the live service tells clients that asking again is no use
        return [*found, (b"x-should-retry", b"false")]
    wait_s = retry_after_s(fault) or 0.0
    limits: Mapping[bytes, bytes] = dict(_LIMITS) | {
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": go_duration(wait_s).encode(),
    }
    return [*found, *retry_headers(fault), *limits.items()]


def error_object(error: ProtocolError, stamp: Stamp) -> Mapping[str, object]:
    """``{"error": {message, type, param, code}}``."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def from_fault(fault: Fault, model: str) -> ProtocolError:
    """The error for the fault's status, in OpenAI's words where the fault has none."""
    default = ("server_error", None, "Error.") if fault.status >= 500 else ("invalid_request_error", None, "Error.")
    kind, code, message = _ERRORS.get(fault.status, default)
    return ProtocolError(
        fault.message or message.replace("{model}", model),
        status=fault.status,
        type=fault.type or ("insufficient_quota" if fault.code == "insufficient_quota" else kind),
        code=fault.code if fault.code is not None else code,
        param=fault.param,
    )


def not_found(method: str, path: str) -> ProtocolError:
    """OpenAI's answer to an unknown path."""
    return ProtocolError(f"Invalid URL ({method} {path})", status=404)


def missing_key() -> ProtocolError:
    """OpenAI's answer to a request without a key; unlike a wrong key it has no code."""
    return ProtocolError(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        status=401,
    )


def unread(error: Unread) -> ProtocolError:
    """OpenAI's words. Those for a body that is no object and for one that is too large are ours."""
    match error.why:
        case "no_json":
            return ProtocolError(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your "
                "HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. "
                "If you have trouble figuring out how to fix this, please contact us through our help center at "
                "help.openai.com.)"
            )
        case "content_type" if error.content_type.startswith("application/x-www-form-urlencoded"):
            return ProtocolError("you must provide a model parameter")
        case "content_type":
            return ProtocolError(
                f"Unsupported content type: '{error.content_type}'. This API method only accepts 'application/json' "
                f"requests, but you specified the header 'Content-Type: {error.content_type}'. Please try again with "
                "a supported content type.",
                code="unsupported_content_type",
            )
        case "too_large":
            return ProtocolError("The request is too large.", status=413)
        case "method":
            hint = "(HINT: Perhaps you meant to use a different HTTP method?)"
            return ProtocolError(f"Not allowed to {error.method} on {error.path}. {hint}", status=405)
        case _:
            return ProtocolError("The body of the request must be a JSON object.", code="invalid_type")


def go_duration(seconds: float) -> str:
    """A duration as Go prints it: ``12ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
