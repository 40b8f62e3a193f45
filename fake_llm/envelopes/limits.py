"""Rate limits in each provider's own words and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil

from fake_llm.envelopes import HeaderList, envelope
from fake_llm.model import Fault, Json, ProtocolError, Turn
from fake_llm.rate_limits import Exceeded, Standing

_WORDS = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}
_AZURES = {"requests": "call", "tokens": "token"}
_OPERATIONS = {
    "openai_chat": "ChatCompletions_Create",
    "openai_responses": "Responses_Create",
    "openai_completions": "Completions_Create",
    "openai_embeddings": "Embeddings_Create",
}
API_VERSION = "2024-10-21"
"""What Azure's message names; the one that the client asked for is not known here."""
NEVER_S = 86_400
"""What Azure says where no waiting helps: a day."""
_IN_MILLISECONDS = frozenset({"openai", "azure"})
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
        elif provider == "azure":
            found += [
                (f"x-ratelimit-limit-{what}".encode(), b"%d" % stands.limit),
                (f"x-ratelimit-remaining-{what}".encode(), b"%d" % stands.remaining),
                (f"x-ratelimit-reset-{what}".encode(), b"%d" % ceil(stands.reset_s)),
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


def limit_error(provider: str, over: Exceeded, turn: Turn) -> tuple[ProtocolError, Fault]:
    """The provider's 429, and the fault by which its headers say when to come back."""
    model = turn.model
    fault = Fault("status", 429, message=_message(provider, over, turn))
    if provider == "openai":
        fault = replace(fault, type=over.what, code="rate_limit_exceeded")
    if over.wait_s is not None:
        wait_s = max(over.wait_s, 0.001)
        exact = wait_s * 1_000 if provider in _IN_MILLISECONDS else None
        fault = replace(fault, retry_after_s=ceil(wait_s), retry_after_ms=None if exact is None else ceil(exact))
    error = envelope(provider).from_fault(fault, model)
    if provider == "gemini":
        _name_quota(error, over)
    return error, fault


def _message(provider: str, over: Exceeded, turn: Turn) -> str:
    model = turn.model
    if provider == "azure":
        wait_s = NEVER_S if over.wait_s is None else max(ceil(over.wait_s), 1)
        return (
            f"Requests to the {_OPERATIONS.get(turn.dialect, 'ChatCompletions_Create')} Operation under Azure OpenAI "
            f"API version {API_VERSION} have exceeded {_AZURES[over.what]} rate limit of your current OpenAI S0 "
            f"pricing tier. Please retry after {wait_s} seconds. Please go here: https://aka.ms/oai/quotaincrease if "
            "you would like to further increase the default rate limit."
        )
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
