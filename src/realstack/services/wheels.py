"""Server programs inside of installed Python packages, found without importing those packages."""

from __future__ import annotations

import os
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path


def program_of_wheel(wheel: str, program: str) -> Path | None:
    """The executable ``program`` that the distribution ``wheel`` brought, or None.

    Its record of files is read; none of its code runs.
    """
    try:
        installed = distribution(wheel)
    except PackageNotFoundError:
        return None
    return next((path for path in _files_named(installed, program) if os.access(path, os.X_OK)), None)


def _files_named(installed: Distribution, program: str) -> list[Path]:
    # Distribution.files parses each of thousands of lines; a look for the name in the text takes 1 ms.
    record = installed.read_text("RECORD") or ""
    rows = (line.rsplit(",", 2)[0].strip('"') for line in record.splitlines() if f"/{program}," in line)
    places = (Path(str(installed.locate_file(row))) for row in rows)
    return [path for path in places if path.is_file()]
