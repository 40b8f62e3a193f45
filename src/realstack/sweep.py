"""Ending and removing all that carries the mark of a run: processes, containers, networks, volumes, folders.

What may be touched carries that mark; nothing else is looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from realstack import registry

STOP_WITHIN_S = 3.0


def sweep(run_id: str, folder: Path) -> list[str]:
    """End and remove all that carries the mark of this run; returns what was found, in words.

    Safe to call again, and while somebody else sweeps the same run.
    """
    found = _end_processes(run_id, folder)
    found += _remove_from_engine(run_id, folder)
    found += _end_processes(run_id, folder)
    found += _remove_owned_folders(folder)
    if folder.is_dir() and is_run_folder(folder, run_id):
        found.append(f"folder {folder}")
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        registry.forget(run_id)
    return found


def is_run_folder(folder: Path, run_id: str) -> bool:
    """Whether ``folder`` was made for this run: a folder is removed only if its name says so."""
    return folder.name == f"realstack-{run_id}"


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


def _remove_from_engine(run_id: str, folder: Path) -> list[str]:
    note = folder / "docker.json"
    if not note.is_file():
        return []
    from realstack.providers.docker_engine import remove_run

    try:
        docker_host = json.loads(note.read_text(encoding="utf-8")).get("docker_host")
        return remove_run(run_id, docker_host)
    except Exception as problem:  # noqa: BLE001 - an engine that is gone must not keep the rest from being swept
        return [f"engine not swept: {problem}"]
