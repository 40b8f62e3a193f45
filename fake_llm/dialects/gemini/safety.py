"""Safety settings, ratings, and the words for why a candidate or a prompt was stopped."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.google.fields import as_message, get, invalid, repeated, text, wrong
from fake_llm.model import Json, ProtocolError

BLOCK_REASONS = frozenset(
    {"SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK", "MODEL_ARMOR"}
)
SILENCING = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "LANGUAGE", "MODEL_ARMOR"})
"""Finish reasons whose candidate has no content at all where nothing was said before."""
DANGER = "HARM_CATEGORY_DANGEROUS_CONTENT"

_TEXT_HARMS = (
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    DANGER,
)
_SETTABLE = (*_TEXT_HARMS, "HARM_CATEGORY_CIVIC_INTEGRITY")
_KNOWN = frozenset({
    "HARM_CATEGORY_UNSPECIFIED", "HARM_CATEGORY_DEROGATORY", "HARM_CATEGORY_TOXICITY", "HARM_CATEGORY_VIOLENCE",
    "HARM_CATEGORY_SEXUAL", "HARM_CATEGORY_MEDICAL", "HARM_CATEGORY_DANGEROUS", "HARM_CATEGORY_JAILBREAK",
    "HARM_CATEGORY_IMAGE_HATE", "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT", "HARM_CATEGORY_IMAGE_HARASSMENT",
    "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT", *_SETTABLE,
})  # fmt: skip
_THRESHOLDS = frozenset({"HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE",
                         "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"})  # fmt: skip


def check_safety_settings(body: Mapping[str, Json]) -> None:
    """Refuse settings that Gemini does not know, or that set one category twice.

    :raises ProtocolError: Gemini refuses them.
    """
    seen: set[str] = set()
    for place, written in enumerate(repeated(body, "safetySettings")):
        at = f"safety_settings[{place}]"
        setting = as_message(written, at, "SafetySetting")
        category, threshold = text(setting, "category", at) or "", text(setting, "threshold", at)
        if category and category not in _KNOWN:
            wrong(f"{at}.category", "HarmCategory", category)
        if threshold is not None and threshold not in _THRESHOLDS:
            wrong(f"{at}.threshold", "SafetySetting.HarmBlockThreshold", threshold)
        if category not in _SETTABLE:
            allowed = ", ".join(f"HarmCategory.{one}" for one in _SETTABLE)
            invalid(at, f"element predicate failed: $.category in ({allowed})")
        if category in seen:
            raise ProtocolError(f"Duplicate safety setting found for category: {category}")
        seen.add(category)


def wants_ratings(body: Mapping[str, Json]) -> bool:
    """Whether ratings are shown where nothing was blocked: to those who set something."""
    return bool(get(body, "safetySettings"))


def ratings(*, blocked: bool) -> list[Json]:
    """One for each harm; ``blocked``: one of them was the reason to stop."""
    found: list[Json] = [{"category": DANGER, "probability": "HIGH", "blocked": True}] if blocked else []
    harms = [harm for harm in _TEXT_HARMS if not blocked or harm != DANGER]
    return [*found, *({"category": harm, "probability": "NEGLIGIBLE"} for harm in harms)]
