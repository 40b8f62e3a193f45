"""What the process is told by its environment, read once at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from netra_backend.app.errors import SettingsMissing
from netra_backend.app.llm.config import LLMConfig


@dataclass(frozen=True)
class Settings:
    """Addresses and credentials of what the backend stands on; secrets stay out of its repr."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    llm: LLMConfig
    triage_cache_ttl_s: int = 300

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read ``DATABASE_URL``, ``REDIS_URL`` and the LLM's variables.

        Raises :class:`SettingsMissing` naming every variable that is absent, not only the first.
        """
        required = ("DATABASE_URL", "REDIS_URL", "OPENAI_API_KEY")
        missing = [name for name in required if not environ.get(name)]
        if missing:
            raise SettingsMissing(missing)
        return cls(
            database_url=environ["DATABASE_URL"],
            redis_url=environ["REDIS_URL"],
            llm=LLMConfig.from_environ(environ),
            triage_cache_ttl_s=int(environ.get("NETRA_TRIAGE_CACHE_TTL_S", "300")),
        )
