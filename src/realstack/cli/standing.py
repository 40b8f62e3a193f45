"""What is up for this project, for the commands that need it."""

from __future__ import annotations

from realstack import registry
from realstack.config import Settings, load_settings
from realstack.errors import NoEnvironment
from realstack.handles.session import up_name


def required() -> tuple[Settings, registry.Record]:
    """The settings, and the record of the environment that is up.

    :raises NoEnvironment: nothing is.
    """
    settings = load_settings()
    record = registry.find(up_name(settings))
    if record is None or not record.ready:
        raise NoEnvironment(f"nothing is up for {settings.root}.", remedy="start it with `realstack up`.")
    return settings, record
