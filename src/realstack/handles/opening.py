"""Which environment a process uses: what is up, one that is shared or kept, or one of its own; and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realstack import registry
from realstack.attaching import up_name, what_is_up, why_not_attach
from realstack.config import Settings, load_settings, named_for_run
from realstack.environment import attach, running_environment
from realstack.errors import RealstackError
from realstack.handles.background import BackgroundLoop
from realstack.keeper import end, ensure_kept
from realstack.running import Environment, Listener


@dataclass(frozen=True, slots=True)
class Shared:
    """Set for a worker of a pytest-xdist run: its workers share servers, which end with ``controller_pid``."""

    run: str
    controller_pid: int


@dataclass(slots=True)
class Opening:
    """One process's way to its environment. ``name`` is its record's, ``inherited`` whether another process owns that.

    Afterwards ``started_up`` names the environment that this call put up to keep databases of failed tests, and
    ``why_not_up`` says why what is up is not used; empty where nothing is up, or where it is used.
    """

    name: str
    start: Path | None
    overrides: Mapping[str, Any]
    listen: Listener
    shared: Shared | None = None
    inherited: bool = False
    keep_failed: bool = False
    started_up: str = field(default="", init=False)
    why_not_up: str = field(default="", init=False)

    def open(self, loop: BackgroundLoop) -> Environment:
        """Attach or start, in ``loop``. It blocks until the environment is ready.

        :raises RealstackError: it cannot be had.
        """
        if self.inherited and (inherited := registry.find(self.name)) is not None:
            return loop.run(attach(load_settings(self.start, overrides=self.overrides), inherited))
        record = what_is_up(self.start)
        if record is not None and (settings := self._settings_served_by(record)) is not None:
            return loop.run(attach(settings, record))
        settings = load_settings(self.start, overrides=self.overrides)
        if self.keep_failed:
            return loop.run(attach(settings, self._put_up(settings)))
        if self.shared is not None:
            kept = self._kept(settings, self.name, self.shared.controller_pid)[0]
            return loop.run(attach(settings, kept))
        return loop.enter(running_environment(settings, name=self.name, listen=self.listen))

    def _settings_served_by(self, record: registry.Record) -> Settings | None:
        """The settings with which to attach to what is up, or None, and then why not.

        Where nothing names a compose file for this run, the one counts with which the environment was put up.
        """
        overrides, other = dict(self.overrides), record.overrides.get("compose_file")
        if other and "compose_file" not in named_for_run(self.overrides):
            overrides["compose_file"] = other
        try:
            settings = load_settings(self.start, overrides=overrides)
        except RealstackError as problem:
            if "compose_file" in self.overrides or not other:
                raise
            self.why_not_up = f"it was put up with {other}, which is of no use now: {problem.problem}"
            return None
        self.why_not_up = why_not_attach(settings, record) or ""
        return None if self.why_not_up else settings

    def _put_up(self, settings: Settings) -> registry.Record:
        if self.why_not_up:
            raise RealstackError(
                f"databases of failed tests are to be kept, and what is up is of no use for that: {self.why_not_up}.",
                remedy="`realstack down`, then run the tests again.",
            )
        record, started = self._kept(settings, up_name(settings.project), None)
        self.started_up = record.name if started else ""
        return record

    def _kept(self, settings: Settings, name: str, serves_pid: int | None) -> tuple[registry.Record, bool]:
        return ensure_kept(name, settings, overrides=self.overrides, serves_pid=serves_pid, listen=self.listen)


def end_up(name: str) -> None:
    """End the environment of that name, which was started to keep databases of tests that failed, and keeps none."""
    record = registry.find(name)
    if record is not None:
        end(record)


def shared_name(run: str) -> str:
    """The record's name of the environment that the workers of one pytest-xdist run share."""
    return f"xdist-{run}"
