"""How a provider's SDK reaches the fake LLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from realstack.model import Secret

MODELS = {"openai": "gpt-5.4", "anthropic": "claude-sonnet-5", "gemini": "gemini-2.5-flash", "ollama": "llama3.3"}
"""The model that :meth:`FakeLLM.config` names for a dialect; the fake answers to any."""


@dataclass(frozen=True, slots=True)
class LLMConfig(Mapping[str, str]):
    """How a client of one provider's SDK reaches the fake: attributes, and the same as a mapping.

    ``AsyncOpenAI(base_url=config.base_url, api_key=config.api_key)``. ``provider`` is ``openai``, ``anthropic``,
    ``gemini`` or ``ollama``; ``base_url`` is what that SDK's parameter of this name wants. Ollama's client calls it
    ``host``, and takes the key as a header: ``headers={"Authorization": f"Bearer {config.api_key}"}``.
    """

    provider: str
    base_url: str
    api_key: Secret
    model: str

    def __getitem__(self, name: str) -> str:
        if name not in iter(self):
            raise KeyError(name)
        return str(getattr(self, name))

    def __iter__(self) -> Iterator[str]:
        return (item.name for item in fields(self))

    def __len__(self) -> int:
        return len(fields(self))
