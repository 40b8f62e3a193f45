"""The first step of a run: an id, and a folder of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from realstack import registry
from realstack.errors import RealstackError
from realstack.model import Run
from realstack.providers.scratch import tmpfs_with_room


def new_run(project: str) -> Run:
    """A run that this process owns, with its folder.

    :raises RealstackError: there is no place for its data.
    """
    run_id = registry.new_run_id()
    try:
        folder = data_folder() / f"realstack-{run_id}"
        folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)
    except OSError as problem:
        raise RealstackError(
            f"the run has no place for its data: {problem}.",
            remedy="let TMPDIR name a folder that can be written and has room.",
        ) from problem
    return registry.run_of_ours(run_id, folder, project)


def data_folder() -> Path:
    """Where runs keep their data: a tmpfs with room, else the folder for temporary files."""
    return tmpfs_with_room() or Path(tempfile.gettempdir())
