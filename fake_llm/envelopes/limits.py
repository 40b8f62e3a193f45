"""Rate limits in each provider's own words and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil

from fake_llm.envelopes import HeaderList, envelope
from fake_llm.model import Fault, Json, ProtocolError
from fake_llm.rate_limits import Exceeded, Standing

_WORDS = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}
_ANTHROPICS = {"requests": ("requests",), "tokens": ("tokens", "input-tokens", "output-tokens")}
_GOOGLES = {
    "requests": ("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel"),
    "tokens": ("generate_content_input_token_count", "GenerateContentInputTokensPerModelPerMinute"),
}


def limit_headers(provider: str, standings: Mapping[str, Standing], now: float) -> HeaderList:
    """The headers that tell how the limits stand at ``now`` (seconds since 1970); Google has none."""
    found: HeaderList = []
    for what, stands in standings.items():
        if provider == "openai":
            found += [
                (f"x-ratelimit-limit-{what}".encode(), b"%d" % stands.limit),
                (f"x-ratelimit-remaining-{what}".encode(), b"%d" % stands.remaining),
                (f"x-ratelimit-reset-{what}".encode(), _go_duration(stands.reset_s)),
            ]
        elif provider == "anthropic":
            full = datetime.fromtimestamp(now, UTC) + timedelta(seconds=ceil(stands.reset_s))
            for name in _ANTHROPICS[what]:
                found += [
                    (f"anthropic-ratelimit-{name}-limit".encode(), b"%d" % stands.limit),
                    (f"anthropic-ratelimit-{name}-remaining".encode(), b"%d" % stands.remaining),
                    (f"anthropic-ratelimit-{name}-reset".encode(), full.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
                ]
    return found


def limit_error(provider: str, over: Exceeded, model: str) -> tuple[ProtocolError, Fault]:
    """The provider's 429, and the fault by which its headers say when to come back."""
    fault = Fault("status", 429, message=_message(provider, over, model))
    if provider == "openai":
        fault = replace(fault, type=over.what, code="rate_limit_exceeded")
    if over.wait_s is not None:
        wait_s = max(over.wait_s, 0.001)
        exact = wait_s * 1_000 if provider == "openai" else None
        fault = replace(fault, retry_after_s=ceil(wait_s), retry_after_ms=None if exact is None else ceil(exact))
    error = envelope(provider).from_fault(fault, model)
    if provider == "gemini":
        _name_quota(error, over)
    return error, fault


def _message(provider: str, over: Exceeded, model: str) -> str:
    if provider == "openai":
        head = f"Rate limit reached for {model}" if over.wait_s is not None else f"Request too large for {model}"
        tail = "" if over.wait_s is None else f" Please try again in {_go_duration(over.wait_s).decode()}."
        used = f" Used {over.used}," if over.wait_s is not None else ""
        words = f"Limit {over.limit},{used} Requested {over.requested}.{tail}"
        return f"{head} in organization org-fake on {_WORDS[over.what]}: {words}"
    if provider == "anthropic":
        per = "requests" if over.what == "requests" else "input tokens"
        return f"This request would exceed your organization's rate limit of {over.limit:,} {per} per minute."
    return ""


def _name_quota(error: ProtocolError, over: Exceeded) -> None:
    metric, quota = _GOOGLES[over.what]
    details: Json = getattr(error, "details", ())
    for violation in [found for detail in details for found in detail.get("violations", ())]:
        service = violation["quotaMetric"].partition("/")[0]
        violation |= {"quotaMetric": f"{service}/{metric}", "quotaId": quota, "quotaValue": str(over.limit)}


def _go_duration(seconds: float) -> bytes:
    """As Go prints a duration, to the millisecond."""
    from fake_llm.envelopes.openai import go_duration  # noqa: PLC0415 - as all providers, when first asked

    return go_duration(ceil(seconds * 1_000) / 1_000).encode()
