"""What of a running environment is written down for others, and whether it serves their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from realstack import registry
from realstack.config import Settings, find_root, project_id
from realstack.model import Endpoint
from realstack.running import Environment


def up_name(project: str) -> str:
    """The record's name of the environment that `realstack up` keeps for that project."""
    return f"up-{project}"


def what_is_up(start: Path | None = None) -> registry.Record | None:
    """The environment that `realstack up` keeps for the project of the folder ``start``, if it is ready."""
    record = registry.find(up_name(project_id(find_root(start or Path.cwd()))))
    return record if record is not None and record.ready else None


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
        overrides=environment.settings.overrides,
    )


def fingerprint(settings: Settings) -> str:
    """Tells whether a running environment is the one that these settings declare."""
    import hashlib

    return hashlib.sha256(repr([asdict(spec) for spec in settings.specs]).encode()).hexdigest()[:16]


def why_not_attach(settings: Settings, record: registry.Record) -> str | None:
    """Why the environment of ``record`` does not serve these settings, or None if it does."""
    if record.fingerprint != fingerprint(settings):
        other = record.overrides.get("compose_file")
        put_up = f" (it was put up with {other})" if other and other != str(settings.compose.path) else ""
        return f"its declaration differs from what {settings.compose.path} says now{put_up}; `realstack down` ends it"
    if settings.addresses:
        return "addresses are given by REALSTACK_*_URL"
    wanted = settings.provider
    others = sorted({choice.value for choice in record.choices.values()} - {wanted})
    if wanted != "auto" and others and wanted not in {choice.value for choice in record.choices.values()}:
        return f"it runs on {', '.join(others)}, and {settings.provider_set_by} asks for {wanted}"
    return None
