"""Real Postgres, real Redis and a fake LLM that speaks the providers' wire protocols, at a known state for every test.

What is public stands in ``__all__``; each name is imported when it is first used, so that ``import realstack``
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realstack.config import Settings as Settings
    from realstack.config import load_settings as load_settings
    from realstack.environment import running_environment as running_environment
    from realstack.errors import RealstackError as RealstackError
    from realstack.handles.database import Database as Database
    from realstack.handles.llm import FakeLLM as FakeLLM
    from realstack.handles.llm import LLMConfig as LLMConfig
    from realstack.handles.plain import get_test_db as get_test_db
    from realstack.handles.plain import get_test_llm_config as get_test_llm_config
    from realstack.handles.plain import get_test_redis as get_test_redis
    from realstack.handles.redis import RedisDatabase as RedisDatabase
    from realstack.running import Environment as Environment

from realstack.version import __version__

_HOME = {
    "Database": "realstack.handles.database",
    "Environment": "realstack.running",
    "FakeLLM": "realstack.handles.llm",
    "LLMConfig": "realstack.handles.llm",
    "RealstackError": "realstack.errors",
    "RedisDatabase": "realstack.handles.redis",
    "Settings": "realstack.config",
    "get_test_db": "realstack.handles.plain",
    "get_test_llm_config": "realstack.handles.plain",
    "get_test_redis": "realstack.handles.plain",
    "load_settings": "realstack.config",
    "running_environment": "realstack.environment",
}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 - the names of the table are strings


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'realstack' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
