"""What is up for this project, for the commands that need it."""

from __future__ import annotations

from pathlib import Path

from realstack import registry
from realstack.attaching import what_is_up
from realstack.config import Settings, find_root, load_settings
from realstack.errors import NoEnvironment


def required() -> tuple[Settings, registry.Record]:
    """The settings with which the environment that is up was started, and its record.

    :raises NoEnvironment: nothing is.
    """
    record = what_is_up()
    if record is None:
        raise NoEnvironment(f"nothing is up for {find_root(Path.cwd())}.", remedy="start it with `realstack up`.")
    return load_settings(overrides=record.overrides), record
