"""Sentences for a step that failed: file, line, the offending text, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.state.sources import Step

if TYPE_CHECKING:
    import asyncpg

    from realstack.state.sql_script import Script

_NO_EXTENSION = (
    "this server's build lacks it; the containers provider or other binaries "
    "([tool.realstack.postgres] bin) may have it."
)
_REMEDIES = {
    "42710": "roles and tablespaces belong to the whole server: create them only where they are missing "
    "(DO $$ … IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = …) … $$).",
    "53100": "make room on the server's disk; for embedded servers that is the tmpfs or the temporary folder.",
    "42501": "the declared user may not do this; declare one that may, or take it out of the test state.",
    "55P04": "a new enum value can be used after a commit only: put `-- realstack: no-transaction` at the top.",
    "23503": "sources apply in the order of their names: number the files so that parents come first.",
}


def sql_failed(step: Step, script: Script, offset: int, problem: asyncpg.PostgresError) -> RealstackError:
    """The error for a statement of ``script`` that begins, or went wrong, at ``offset``."""
    return step.phase.error(
        f"{step.shown}:{script.line_of(offset)}: {one_line(problem)}",
        details=[*script.shown(offset), *notes_of(problem)],
        remedy=remedy_for(problem),
    )


def one_line(problem: BaseException) -> str:
    """The server's own sentence."""
    message = getattr(problem, "message", None)
    text = str(message if message else problem).strip() or type(problem).__name__
    return " ".join(text.split())


def notes_of(problem: BaseException) -> list[str]:
    """The server's detail, hint and context, each on its line."""
    found = ((name, getattr(problem, name, None)) for name in ("detail", "hint", "context"))
    return [f"{name}: {' '.join(str(text).split())}" for name, text in found if text]


def remedy_for(problem: BaseException) -> str:
    """What to do about it, where the server's error code tells."""
    code = str(getattr(problem, "sqlstate", "") or "")
    if code in ("0A000", "58P01") and "extension" in one_line(problem):
        return _NO_EXTENSION
    return _REMEDIES.get(code, "correct the file; the state is built anew at the next run.")
