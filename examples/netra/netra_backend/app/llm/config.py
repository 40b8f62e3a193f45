"""Which model to ask, where, with what key, and how patiently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self


class LLMSettings(Protocol):
    """The least that an agent must be told about its model."""

    @property
    def base_url(self) -> str:
        """The root of the API, with its version: ``https://api.openai.com/v1``."""

    @property
    def api_key(self) -> str:
        """The key that authorises requests."""

    @property
    def model(self) -> str:
        """The model's name as the server knows it."""


@dataclass(frozen=True)
class LLMConfig:
    """A complete LLM configuration. The key is not part of its repr."""

    provider: str
    model: str
    base_url: str
    api_key: str = field(repr=False)
    timeout_s: float = 30.0
    max_retries: int = 2

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read ``OPENAI_API_KEY``, ``OPENAI_BASE_URL`` and ``NETRA_MODEL``, ``NETRA_LLM_*``."""
        return cls(
            provider="openai",
            model=environ.get("NETRA_MODEL", "gpt-4o-mini"),
            base_url=environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
            api_key=environ.get("OPENAI_API_KEY", ""),
            timeout_s=float(environ.get("NETRA_LLM_TIMEOUT_S", "30")),
            max_retries=int(environ.get("NETRA_LLM_MAX_RETRIES", "2")),
        )

    @classmethod
    def of(cls, settings: LLMSettings) -> Self:
        """A complete configuration from any object that names an address, a key and a model.

        ``provider``, ``timeout_s`` and ``max_retries`` are taken over where the object has them.
        """
        return cls(
            provider=getattr(settings, "provider", "openai"),
            model=settings.model,
            base_url=settings.base_url,
            api_key=settings.api_key,
            timeout_s=getattr(settings, "timeout_s", 30.0),
            max_retries=getattr(settings, "max_retries", 2),
        )
