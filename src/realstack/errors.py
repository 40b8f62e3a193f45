"""Every failure that realstack reports: one base class, one class per failure.

A class builds its sentence from typed fields: what happened, how long it took, what was last seen, and
what to do. Its ``slug`` names its section in ``docs/errors.md`` and never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class RealstackError(Exception):
    """Base of all errors that realstack raises on purpose.

    ``str(error)`` is complete for a reader: the problem, its details, a line ``To mend it: …`` with the remedy.
    ``context`` may be set by who passes the error on: what had been chosen by then, and why.
    """

    slug: ClassVar[str] = "error"

    def __init__(self, problem: str, *, remedy: str = "", details: Sequence[str] = ()) -> None:
        self.problem = problem
        self.remedy = remedy
        self.details = tuple(details)
        self.context: tuple[str, ...] = ()
        super().__init__(problem)

    def __str__(self) -> str:
        return self._sentence()

    def _sentence(self) -> str:
        lines = [self.problem]
        lines.extend(f"    {line}" for line in (*self.details, *self.context))
        if self.remedy:
            lines.append(f"To mend it: {self.remedy}")
        lines.append(f"[{self.slug}]")
        return "\n".join(lines)


class SettingsError(RealstackError):
    """A setting in pyproject.toml, the environment or the command line is not usable."""

    slug = "settings"


class ComposeFileError(RealstackError):
    """The compose file cannot be read, or says something impossible."""

    slug = "compose-file"


class BaselineUnusable(RealstackError):
    """The file of the findings that a code base already had cannot be read or written, or is none."""

    slug = "baseline"


class UnsupportedByProvider(RealstackError):
    """The compose file asks for something that the chosen provider cannot do."""

    slug = "unsupported-by-provider"


class ProviderUnavailable(RealstackError):
    """The provider cannot run here: no engine, no binaries, no addresses."""

    slug = "provider-unavailable"


class ImageUnavailable(RealstackError):
    """An image is neither here nor can it be pulled or built."""

    slug = "image-unavailable"


class ServiceStartFailed(RealstackError):
    """A service could not be started, or died before it was ready."""

    slug = "service-start"

    def __init__(
        self,
        service: str,
        stage: str,
        *,
        problem: str,
        after_s: float | None = None,
        last_answer: str | None = None,
        log_tail: Sequence[str] = (),
        remedy: str = "",
    ) -> None:
        self.service = service
        self.stage = stage
        self.after_s = after_s
        self.last_answer = last_answer
        self.log_tail = tuple(log_tail)
        took = f" after {after_s:.1f} s" if after_s is not None else ""
        details = []
        if last_answer:
            details.append(f"last answer of its probe: {last_answer}")
        if log_tail:
            details.append("last lines of its log:")
            details.extend(f"  {line}" for line in log_tail)
        super().__init__(
            f"Service {service!r} failed at stage {stage!r}{took}: {problem}", remedy=remedy, details=details
        )


class NotReadyInTime(ServiceStartFailed):
    """A service lives, but its probe found no way in before the deadline."""

    slug = "not-ready"


class LeftBehind(RealstackError):
    """Something of a run could not be removed at its end; its watchdog goes on trying."""

    slug = "left-behind"


class MigrationFailed(RealstackError):
    """A migration failed; ``where`` is ``file:line`` where it is known."""

    slug = "migration"


class SeedFailed(RealstackError):
    """A seed could not be applied; the sentence names file, and line or row."""

    slug = "seed"


class NotOurs(RealstackError):
    """A database or server would have been written that realstack neither made nor was given for throwing away."""

    slug = "not-ours"


class WroteInReadOnly(RealstackError):
    """A test that is marked as reading only has written."""

    slug = "wrote-in-read-only"


class NotAtKnownState(RealstackError):
    """A database that should be at the known state is not; the details say in what."""

    slug = "not-at-known-state"


class HomeUnusable(RealstackError):
    """The folder of realstack's own records cannot be made or written."""

    slug = "home"


class NoEnvironment(RealstackError):
    """A command needs a running environment, and there is none."""

    slug = "no-environment"


class FakeLLMError(RealstackError):
    """The fake LLM refused what a test told it over its control API."""

    slug = "fake-llm"
