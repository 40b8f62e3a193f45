"""What a service is. Adding a kind is one module here and one line in :data:`SERVICES`."""

from __future__ import annotations

from importlib import import_module

from realstack.services.base import Service

SERVICES = {
    "postgres": "realstack.services.postgres:Postgres",
    "redis": "realstack.services.redis:Redis",
    "fake_llm": "realstack.services.fake_llm:FakeLLM",
    "generic": "realstack.services.generic:Generic",
}


def service(kind: str) -> Service:
    """The service of that kind; its module is imported only now."""
    module, _, name = SERVICES[kind].partition(":")
    made: Service = getattr(import_module(module), name)()
    return made
