"""Ending and removing all that carries the mark of a run: processes, containers, networks, volumes, folders.

What may be touched carries that mark; nothing else is looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from realstack import registry
from realstack.errors import RealstackError
from realstack.model import Owner
from realstack.place import is_here

STOP_WITHIN_S = 3.0
ENGINE_ANSWERS_WITHIN_S = 10.0
_ROUND_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found, in words: what is gone now, what is not and why, and what was left to somebody else."""

    removed: tuple[str, ...] = ()
    not_removed: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()

    def __add__(self, other: Swept) -> Swept:
        return Swept(
            self.removed + other.removed, self.not_removed + other.not_removed, self.left_alone + other.left_alone
        )


def sweep(run_id: str, folder: Path, *, rounds: int = 1) -> Swept:
    """End and remove all that carries the mark of this run; what its engine does not give up keeps folder and record.

    ``rounds``: how often to look, half a second apart: an engine may still be creating what a dead client had asked it
    for. Safe to call again, and while somebody else sweeps the same run.
    """
    removed: dict[str, None] = {}
    problem = ""
    for round_number in range(rounds):
        time.sleep(_ROUND_EVERY_S if round_number else 0)
        removed.update(dict.fromkeys(_end_processes(run_id, folder)))
        by_engine, problem = _remove_from_engine(run_id, folder)
        removed.update(dict.fromkeys(by_engine + _end_processes(run_id, folder)))
    removed.update(dict.fromkeys(_remove_shared_memory(folder) + _remove_owned_folders(folder)))
    if problem:
        return Swept(tuple(removed), (f"what the engine holds of run {run_id}: {problem}",))
    if folder.is_dir() and is_run_folder(folder, run_id):
        removed[f"folder {folder}"] = None
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        registry.forget(run_id)
    return Swept(tuple(removed))


def sweep_ended_runs() -> Swept:
    """Sweep every recorded run whose owner has ended, and what an engine still holds of such runs.

    An owner of another machine, container or PID namespace cannot be seen from here: its runs are left alone.
    """
    swept = Swept()
    ended = set()
    for record in registry.records():
        run = record.run
        if record.owner_ended():
            ended.add(run.run_id)
            swept += sweep(run.run_id, run.folder)
        elif not record.is_from_here():
            swept += Swept(left_alone=(f"run {run.run_id}: it belongs to {run.owner_host or 'another machine'}",))
    return swept + _sweep_engine(ended)


def is_run_folder(folder: Path, run_id: str) -> bool:
    """Whether ``folder`` was made for this run: a folder is removed only if its name says so."""
    return folder.name == f"realstack-{run_id}"


def _sweep_engine(ended: set[str]) -> Swept:
    """Remove what the usual engine holds of these runs, and of others whose owner was from here and has ended."""
    from realstack.providers import docker_engine

    recorded = {record.run.run_id for record in registry.records()}
    swept = Swept()
    try:
        for run_id, label in docker_engine.runs().items():
            owner = Owner.of_label(label)
            if run_id in recorded:  # its owner lives, or it was said above why it is still there
                continue
            if run_id in ended or (owner and is_here(owner.place) and not _lives(owner)):
                swept += Swept(tuple(docker_engine.remove_run(run_id)))
            elif owner and not is_here(owner.place):
                swept += Swept(left_alone=(_elsewhere(run_id),))
    except Exception as problem:  # noqa: BLE001 - as in _remove_from_engine
        swept += Swept(not_removed=(f"what the engine holds of runs without a record: {_reason(problem)}",))
    return swept


def _lives(owner: Owner) -> bool:
    return registry.process_lives(owner.pid, owner.started)


def _elsewhere(run_id: str) -> str:
    listed = f"docker ps --all --quiet --filter label=realstack.run={run_id}"
    return (
        f"run {run_id}, of which the engine holds something: its owner is of another machine, another container or "
        f"another start of this machine. If it has ended, `docker rm --force --volumes $({listed})` removes it"
    )


def _end_processes(run_id: str, folder: Path) -> list[str]:
    """End them by their own signal first, so that a server removes its shared memory; then kill what lives."""
    ended = []
    found = list(_marked(run_id, folder))
    processes = [process for process, _ in found]
    for process, stop_signal in found:
        with contextlib.suppress(psutil.Error, OSError):
            processes += process.children(recursive=True)
            ended.append(f"process {process.pid} {process.name()}")
            process.send_signal(stop_signal)
    _, alive = psutil.wait_procs(processes, timeout=STOP_WITHIN_S)
    for process in alive:
        with contextlib.suppress(psutil.Error, OSError):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_WITHIN_S)
    return ended


def _marked(run_id: str, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The run's living processes, each with its stop signal.

    Those that are noted in its folder, those that carry its mark, and those that work below its folder.
    """
    seen = {os.getpid()}
    for noted in _noted(folder):
        pid, started = int(noted["pid"]), float(noted["started"])
        if pid not in seen and registry.process_lives(pid, started):
            seen.add(pid)
            with contextlib.suppress(psutil.Error):
                yield psutil.Process(pid), int(noted.get("stop_signal", signal.SIGTERM))
    for process in psutil.process_iter():
        if process.pid not in seen and (_has_mark(process, run_id) or _works_in(process, folder)):
            yield process, signal.SIGTERM


def _has_mark(process: psutil.Process, run_id: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get("REALSTACK_RUN") == run_id
    return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    """PostgreSQL overwrites its environment to show its state there; but its data directory is where it works."""
    with contextlib.suppress(psutil.Error, OSError):
        return Path(process.cwd()).is_relative_to(folder)
    return False


def _remove_shared_memory(folder: Path) -> list[str]:
    """What the run's servers had to leave because they were killed."""
    from realstack.providers.shared_memory import remove_left_by

    return [
        f"shared memory {segment}"
        for noted in _noted(folder)
        if float(noted["started"]) > 0  # not known: it ended before anybody could look
        for segment in remove_left_by(int(noted["pid"]), float(noted["started"]))
    ]


def _remove_owned_folders(folder: Path) -> list[str]:
    """Folders of the run's processes that lie elsewhere, such as a short path for a unix socket."""
    removed = []
    for noted in _noted(folder):
        for name in noted.get("owned_folders", ()):
            if Path(name).is_dir():
                shutil.rmtree(name, ignore_errors=True)
                removed.append(f"folder {name}")
    return removed


def _noted(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / "processes").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            noted = json.loads(path.read_text(encoding="utf-8"))
            if "pid" in noted and "started" in noted:
                yield noted


def _remove_from_engine(run_id: str, folder: Path) -> tuple[list[str], str]:
    """What was removed, and why not all of it was; "" if it was."""
    if not (folder / "docker.json").is_file():
        return [], ""
    from realstack.providers.docker_engine import engine_of, remove_run

    try:
        return remove_run(run_id, engine_of(folder), answers_within_s=ENGINE_ANSWERS_WITHIN_S), ""
    except Exception as problem:  # noqa: BLE001 - an engine that is gone must not keep the rest from being swept
        return [], _reason(problem)


def _reason(problem: Exception) -> str:
    """In the engine's own words where it refused: what it was asked for the reader knows."""
    told = getattr(problem, "words", "") or (problem.problem if isinstance(problem, RealstackError) else str(problem))
    return told.rstrip(".") or repr(problem)
