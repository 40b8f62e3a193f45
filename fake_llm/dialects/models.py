"""The models that the fake claims to have, in each provider's form.

A generating request may name any model. Listing needs a list, and a lookup must be able to fail: it finds the
listed ones and any other name of the families below.
"""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects import anthropic_models
from fake_llm.model import Json, ProtocolError

CREATED = 1_767_225_600

LISTED = {
    "openai": ("gpt-6.2-sol", "gpt-6-luna", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-4.1", "gpt-4o", "gpt-4o-mini",
               "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002", "omni-moderation-latest",
               "gpt-3.5-turbo-instruct"),
    "anthropic": ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5", "claude-sonnet-5"),
    "gemini": ("gemini-3-pro", "gemini-3-flash", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite",
               "gemini-embedding-001"),
}  # fmt: skip
FAMILIES = {
    "openai": ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-", "codex-", "omni-", "ft:", "fake-"),
    "anthropic": ("claude-", "fake-"),
    "gemini": ("gemini-", "gemma-", "text-embedding-", "embedding-", "fake-"),
}


def listing(provider: str, query: Mapping[str, str]) -> Json:
    """The list of models: OpenAI's whole, Anthropic's by ``limit``, ``after_id`` and ``before_id``, Gemini's by pages.

    :raises ProtocolError: the page that was asked for cannot be.
    """
    ids = list(LISTED[provider])
    if provider == "openai":
        return {"object": "list", "data": [_openai(one) for one in ids]}
    if provider == "gemini":
        return _gemini_page(ids, query)
    return anthropic_models.page(ids, query)


def model(provider: str, model_id: str) -> Json:
    """One model.

    :raises ProtocolError: the provider has none of that name.
    """
    if model_id not in LISTED[provider] and not model_id.startswith(FAMILIES[provider]):
        raise _unknown(provider, model_id)
    return _FORMS[provider](model_id)


def _unknown(provider: str, model_id: str) -> ProtocolError:
    if provider == "anthropic":
        return ProtocolError(f"model: {model_id}", status=404, type="not_found_error")
    if provider == "gemini":
        return ProtocolError(f"Model is not found: models/{model_id}", status=404, type="NOT_FOUND")
    message = f"The model '{model_id}' does not exist"
    return ProtocolError(message, status=404, param="model", code="model_not_found")


def _openai(model_id: str) -> Json:
    return {"id": model_id, "object": "model", "created": CREATED, "owned_by": "openai"}


def _gemini_page(ids: list[str], query: Mapping[str, str]) -> Json:
    """A page; its token is the place where the next one begins."""
    size, token = query.get("pageSize", ""), query.get("pageToken", "") or "0"
    if not token.isdecimal() or int(token) > len(ids):
        raise ProtocolError("Page token is invalid.", type="INVALID_ARGUMENT")
    start = int(token)
    end = start + (int(size) if size.isdecimal() and int(size) else 50)
    page = {"models": [_gemini(one) for one in ids[start:end]]}
    return {**page, "nextPageToken": str(end)} if end < len(ids) else page


def _gemini(model_id: str) -> Json:
    embeds = "embedding" in model_id
    return {
        "name": f"models/{model_id}",
        "baseModelId": model_id,
        "version": "001",
        "displayName": model_id.replace("-", " ").title(),
        "description": "A model of the fake LLM.",
        "inputTokenLimit": 2_048 if embeds else 1_048_576,
        "outputTokenLimit": 1 if embeds else 65_536,
        "supportedGenerationMethods": ["embedContent", "countTextTokens", "countTokens"]
        if embeds
        else ["generateContent", "countTokens"],
        **({} if embeds else {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": True}),
    }


_FORMS = {"openai": _openai, "anthropic": anthropic_models.model, "gemini": _gemini}
