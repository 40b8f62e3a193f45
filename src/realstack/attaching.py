"""What of a running environment is written down for others, and whether it serves their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from realstack import registry
from realstack.config import Settings
from realstack.model import Endpoint
from realstack.running import Environment


def recorded(environment: Environment, record: registry.Record, standing: Mapping[str, Endpoint]) -> registry.Record:
    """The record of an environment that is ready."""
    return replace(
        record,
        ready=True,
        standing=standing,
        choices=environment.choices,
        endpoints=environment.endpoints,
        timings=environment.timings,
        fingerprint=fingerprint(environment.settings),
    )


def fingerprint(settings: Settings) -> str:
    """Tells whether a running environment is the one that these settings declare."""
    import hashlib

    return hashlib.sha256(repr([asdict(spec) for spec in settings.specs]).encode()).hexdigest()[:16]


def why_not_attach(settings: Settings, record: registry.Record) -> str | None:
    """Why the environment of ``record`` does not serve these settings, or None if it does."""
    if record.fingerprint != fingerprint(settings):
        return "its declaration differs from today's compose file; `realstack down` ends it"
    if settings.addresses:
        return "addresses are given by REALSTACK_*_URL"
    wanted = settings.provider
    others = sorted({choice.value for choice in record.choices.values()} - {wanted})
    if wanted != "auto" and others and wanted not in {choice.value for choice in record.choices.values()}:
        return f"it runs on {', '.join(others)}, and {settings.provider_set_by} asks for {wanted}"
    return None
