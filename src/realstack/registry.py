"""Where runs are written down, so that other processes can attach to them, and a sweep can find dead ones.

One JSON file a run, mode 0600 (it holds passwords), below :func:`home`. A record is written whole or not at
all, and removed when its run has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from realstack.errors import HomeUnusable
from realstack.model import Choice, Endpoint, Run, Secret
from realstack.place import here, host, is_here, is_of_an_earlier_start


def home() -> Path:
    """The folder of realstack's own records: ``REALSTACK_HOME``, or the user's state folder, or a temporary one.

    :raises HomeUnusable: it cannot be made.
    """
    if named := os.environ.get("REALSTACK_HOME"):
        return _made(Path(named))
    import platformdirs

    with contextlib.suppress(HomeUnusable):
        return _made(platformdirs.user_state_path("realstack"))
    return _made(Path(tempfile.gettempdir()) / f"realstack-{os.getuid()}")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as problem:
        raise unusable(folder, problem) from problem
    return folder


def unusable(folder: Path, problem: OSError) -> HomeUnusable:
    """What to say where records cannot be kept in ``folder``."""
    by = " (REALSTACK_HOME names it)" if os.environ.get("REALSTACK_HOME") else ""
    return HomeUnusable(
        f"realstack cannot keep its records in {folder}{by}: {problem.strerror or problem}.",
        remedy="let REALSTACK_HOME name a folder that can be written and has room.",
    )


def new_run_id() -> str:
    """Eleven characters that name a run: letters and digits that fit container and database names."""
    return "r" + secrets.token_hex(5)


def run_of_ours(run_id: str, folder: Path, project: str) -> Run:
    """A run that this process owns."""
    own = psutil.Process()
    return Run(run_id, folder, own.pid, own.create_time(), project, owner_place=here(), owner_host=host())


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a run. ``name`` is set where others may attach; ``ready`` once they may, ``error`` if never.

    ``timings`` are seconds from the start of the run. ``standing`` are the database and the Redis that
    `realstack up` lends for as long as it is up, for applications and commands; tests get their own. ``overrides`` is
    what was named for that run alone: with them others read its declaration as it did.
    """

    run: Run
    name: str = ""
    ready: bool = False
    error: str = ""
    exit_code: int = 0
    choices: Mapping[str, Choice] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    standing: Mapping[str, Endpoint] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Its file."""
        return runs_folder() / f"{self.run.run_id}.json"

    def owner_lives(self) -> bool:
        """Whether the process that owns the run lives here, and is still the one that began it."""
        return self.is_from_here() and process_lives(self.run.owner_pid, self.run.owner_started)

    def owner_ended(self) -> bool:
        """Whether it is certain that the owner lives no more. Of one elsewhere it is not: homes are shared, too."""
        if self.is_from_here():
            return not self.owner_lives()
        return is_of_an_earlier_start(self.run.owner_place, self.run.owner_host)

    def is_from_here(self) -> bool:
        """Whether the owner is a process that can be seen from here. A record that does not say is taken as such."""
        return is_here(self.run.owner_place or here())


def process_lives(pid: int, started: float) -> bool:
    """Whether ``pid`` is alive and is the process that started at ``started`` (seconds since the epoch)."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def runs_folder() -> Path:
    """The folder of all records.

    :raises HomeUnusable: it cannot be made.
    """
    return _made(home() / "runs")


def write(record: Record) -> None:
    """Write ``record`` whole: readers see the old one or the new one.

    :raises HomeUnusable: there is no leave or no room to write it.
    """
    content = json.dumps(asdict(record), default=str, indent=1)
    path, temporary = record.path, ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError as problem:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise unusable(path.parent, problem) from problem


def forget(run_id: str) -> None:
    """Remove the record of a run that has ended."""
    (runs_folder() / f"{run_id}.json").unlink(missing_ok=True)


def records() -> Iterator[Record]:
    """All readable records, oldest first. One that another process just removed is passed over."""
    paths = []
    for path in runs_folder().glob("*.json"):
        try:
            paths.append((path.stat().st_mtime, path))
        except FileNotFoundError:
            continue
    for _, path in sorted(paths):
        if (record := _read(path)) is not None:
            yield record


def find(name: str) -> Record | None:
    """The newest living record of that name, ready or failed or still starting."""
    found = [record for record in records() if record.name == name and record.owner_lives()]
    return found[-1] if found else None


def _read(path: Path) -> Record | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        run = raw.pop("run")
        return Record(
            run=Run(**{**run, "folder": Path(run["folder"])}),
            choices={name: Choice(**choice) for name, choice in raw.pop("choices").items()},
            endpoints={name: _endpoint(value) for name, value in raw.pop("endpoints").items()},
            standing={name: _endpoint(value) for name, value in raw.pop("standing").items()},
            **raw,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None  # unfinished, or of another version: not ours to read


def _endpoint(raw: dict[str, Any]) -> Endpoint:
    if raw.get("password") is not None:
        raw["password"] = Secret(raw["password"])
    if raw.get("socket_dir") is not None:
        raw["socket_dir"] = Path(raw["socket_dir"])
    return Endpoint(**raw)
