"""Settings and the LLM configuration."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from netra_backend.app.errors import NetraError, SettingsMissing
from netra_backend.app.llm.config import LLMConfig
from netra_backend.app.settings import Settings

ENVIRON = {
    "DATABASE_URL": "postgresql://app:s3cret@db/netra",
    "REDIS_URL": "redis://:s3cret@cache/0",
    "OPENAI_API_KEY": "sk-planted",
}


def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_environ(
        {**ENVIRON, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "NETRA_MODEL": "m", "NETRA_LLM_TIMEOUT_S": "1.5"}
    )
    assert settings.database_url == ENVIRON["DATABASE_URL"]
    assert settings.llm == LLMConfig("openai", "m", "http://127.0.0.1:1/v1", "sk-planted", 1.5, 2)


def test_secrets_stay_out_of_reprs() -> None:
    shown = repr(Settings.from_environ(ENVIRON))
    assert "s3cret" not in shown
    assert "sk-planted" not in shown


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(SettingsMissing, match="DATABASE_URL, OPENAI_API_KEY") as caught:
        Settings.from_environ({"REDIS_URL": "redis://cache", "DATABASE_URL": ""})
    assert isinstance(caught.value, NetraError)


def test_any_object_with_address_key_and_model_will_do() -> None:
    @dataclass(frozen=True)
    class Least:
        base_url: str = "http://127.0.0.1:1/v1"
        api_key: str = "k"
        model: str = "m"

    assert LLMConfig.of(Least()) == LLMConfig("openai", "m", "http://127.0.0.1:1/v1", "k")
    complete = LLMConfig("other", "m", "http://127.0.0.1:1/v1", "k", timeout_s=1.0, max_retries=0)
    assert LLMConfig.of(complete) == complete
