"""Sentences for a step that failed: file, line, the offending text, and what to do."""

from __future__ import annotations

import re
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
MOST_SHOWN = 200
_COPY_COLUMN = re.compile(r"^COPY .*?, line \d+, column (.+?): ")
_KEY = re.compile(r"^Key \((.+?)\)=\((.*)\) ")
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


def column_of(problem: BaseException) -> str:
    """The column at which the server found fault; empty where it does not tell, or tells several."""
    if named := getattr(problem, "column_name", None):
        return str(named)
    for name, form in (("context", _COPY_COLUMN), ("detail", _KEY)):
        if found := form.search(str(getattr(problem, name, None) or "")):
            return "" if "," in found[1] else found[1]
    return ""


def missing_key(problem: BaseException) -> dict[str, str]:
    """The key, by column, that a foreign key did not find; empty for any other problem."""
    found = _KEY.search(str(getattr(problem, "detail", None) or ""))
    if found is None or getattr(problem, "sqlstate", "") != "23503":
        return {}
    columns, values = found[1].split(", "), found[2].split(", ")
    return dict(zip(columns, values, strict=True)) if len(columns) == len(values) else {}


def at_column(column: str) -> str:
    """For the end of a sentence: which column it was."""
    return f" (column {column!r})" if column else ""


def shortened(text: str) -> str:
    """``text`` cut to what a reader takes in."""
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


def remedy_for(problem: BaseException) -> str:
    """What to do about it, where the server's error code tells."""
    code = str(getattr(problem, "sqlstate", "") or "")
    if code in ("0A000", "58P01") and "extension" in one_line(problem):
        return _NO_EXTENSION
    return _REMEDIES.get(code, "correct the file; the state is built anew at the next run.")
