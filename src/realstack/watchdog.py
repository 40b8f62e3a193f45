"""Nothing outlives its run: a small process that waits for its run's owner to end, then sweeps what is left.

It holds the reading end of a pipe. The owner holds the writing end and never writes but for the word
``done``, after it removed everything itself. End of file without that word means that the owner died, by
whatever signal, or could not remove all: the watchdog then ends the run's processes, removes its containers,
networks and volumes, its folder and its record. While an engine does not let it, it tries again for some minutes.

It starts while the services do, and they need the processor more, as do the first tests after them: it begins with next
to no imports. What a sweep needs is imported some seconds later, or when the owner has died before.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from realstack.model import Run
    from realstack.registry import Record

DONE = b"done"
FIRST_LOOK_AFTER_S = 5.0
LOOKS_EVERY_S = 1.0
ROUNDS = 3
"""Looks in a row: an engine may still be creating what a dead client had asked it for."""
TRIES_AGAIN_AFTER_S = (1, 2, 5, 10, 20, 30, 60, 120)
"""Where something was not removed: an engine may be busy, or be started again. Then it is left to `realstack down`."""


class Watchdog:
    """The owner's end. Start it before the first thing that could outlive the run; :meth:`done` after the last.

    It sees its owner die since only the owner holds the pipe's writing end (it is not inheritable).
    """

    def __init__(self, run: Run) -> None:
        import subprocess  # the watchdog itself needs none

        reading, self._writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "realstack.watchdog",
                    run.run_id,
                    str(run.folder),
                    str(run.owner_pid),
                    str(run.owner_started),
                ],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """The watchdog's process."""
        return self._process.pid

    def done(self) -> None:
        """All was removed in good order: the watchdog ends without a sweep. Waits for it, at most 10 s."""
        if self._writing < 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writing, DONE)
        self._close()
        import subprocess

        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def hand_over(self) -> None:
        """Not all was removed: the watchdog sweeps from now on, also after our own end. Does not wait for it."""
        if self._writing >= 0:
            self._close()
            self._process.returncode = 0  # it may outlive us; keep subprocess from warning about it

    def _close(self) -> None:
        os.close(self._writing)
        self._writing = -1


@contextlib.contextmanager
def watched(record: Record) -> Iterator[None]:
    """A run, written down and watched; where either fails, nothing is left of it.

    On exit its folder and record are gone, unless something is left: that is the watchdog's then. Providers leave a
    note in the folder of what they make, and take it back when that is gone.

    :raises HomeUnusable: it cannot be written down.
    """
    import shutil

    from realstack import registry
    from realstack.errors import RealstackError

    run = record.run
    try:
        registry.write(record)
        watchdog = Watchdog(run)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        with contextlib.suppress(RealstackError, OSError):
            registry.forget(run.run_id)
        raise
    is_cut_short = False
    try:
        yield
    except OSError:
        is_cut_short = True  # whatever step it is of, a clean-up may not have come to its end
        raise
    finally:
        if is_cut_short or left_in(run.folder):
            watchdog.hand_over()
        else:
            shutil.rmtree(run.folder, ignore_errors=True)
            registry.forget(run.run_id)
            watchdog.done()


def left_in(folder: Path) -> list[str]:
    """The notes of what a run has made and not taken back: it may be there still."""
    return [str(note) for note in (*folder.glob("docker.json"), *folder.glob("processes/*.json"))]


def _environment() -> dict[str, str]:
    """The owner's environment without the run's mark, so that the watchdog never sweeps itself."""
    environment = {key: value for key, value in os.environ.items() if key != "REALSTACK_RUN"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _owner_is_done(owner_pid: int, owner_started: float) -> bool:
    """Wait for the owner's end; whether it said that all is done.

    A child that the owner forked without exec may hold the pipe open after the owner's death: hence the
    look at the process itself, in the end every second.
    """
    heard = b""
    patience = FIRST_LOOK_AFTER_S
    while True:
        if select.select([0], [], [], patience)[0]:
            chunk = os.read(0, 64)
            heard += chunk
            if not chunk or heard.endswith(DONE):
                return heard.endswith(DONE)
        elif not _lives(owner_pid, owner_started):
            return False
        else:
            patience = LOOKS_EVERY_S


def _lives(pid: int, started: float) -> bool:
    # The sweep too: what it is made of may be gone when it is needed, with the environment that holds it.
    from realstack import registry, sweep  # noqa: F401

    return registry.process_lives(pid, started)


def main(argv: list[str]) -> int:
    """Wait for the pipe on standard input to close; sweep unless it said that all is done."""
    run_id, folder, owner_pid, owner_started = argv[1], argv[2], int(argv[3]), float(argv[4])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    if _owner_is_done(owner_pid, owner_started):
        return 0
    from pathlib import Path

    from realstack.sweep import sweep

    swept = sweep(run_id, Path(folder), rounds=ROUNDS)
    for pause_s in TRIES_AGAIN_AFTER_S:
        if not swept.not_removed:
            break
        time.sleep(pause_s)
        swept = sweep(run_id, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
