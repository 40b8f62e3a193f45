"""A process that keeps an environment for others: for `realstack up`, and for the workers of one pytest-xdist run.

It owns the services (its own watchdog sweeps after it), writes a record to which others attach, and ends
on SIGTERM or SIGINT, or once the process that it serves has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from realstack import registry
from realstack.config import Settings, load_settings
from realstack.environment import first_cause, running_environment
from realstack.errors import HomeUnusable, NoEnvironment, RealstackError
from realstack.model import tail
from realstack.running import Event, Listener

LOOK_EVERY_S = 0.2
FAILED = "failed"


def ensure_kept(
    name: str,
    settings: Settings,
    *,
    overrides: Mapping[str, Any] | None = None,
    serves_pid: int | None = None,
    listen: Listener = lambda event: None,
) -> tuple[registry.Record, bool]:
    """The ready record of that name, and whether this call started it.

    One process starts it, under a lock; the others wait. ``serves_pid``: the environment ends with that
    process; None: it stays until it is told to end. ``listen`` hears what happens.

    :raises RealstackError: it could not start; every caller gets the same error, and none tries again.
    """
    with _alone(name):
        record = registry.find(name)
        started = record is None
        if record is None:
            error = _spawn(name, settings, overrides or {}, serves_pid, listen)
            if error:
                raise KeptError(error)
            record = registry.find(name)
    if record is None:
        raise NoEnvironment("the environment's keeper ended before it was ready.", remedy="`realstack doctor`.")
    if record.error:
        raise KeptError(record.error)
    return record, started


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time."""
    from filelock import FileLock

    folder = registry.runs_folder()
    place = folder / f"{name}.lock"
    lock = FileLock(place)
    try:
        place.touch(mode=0o600)  # the lock's own first step, but it tries again for ever where that cannot be
        lock.acquire()
    except OSError as problem:
        raise registry.unusable(folder, problem) from problem
    try:
        yield
    finally:
        lock.release()


class KeptError(RealstackError):
    """The keeper could not start the environment; the sentence is the keeper's own."""

    slug = "kept"

    def _sentence(self) -> str:
        return self.problem


def _spawn(
    name: str,
    settings: Settings,
    overrides: Mapping[str, Any],
    serves_pid: int | None,
    listen: Listener,
) -> str:
    """Start a keeper, wait until its record is ready, and return ``""``, or the error that it told."""
    order = {
        "name": name,
        "root": str(settings.root),
        "overrides": dict(overrides),
        "serves_pid": serves_pid,
        "serves_started": psutil.Process(serves_pid).create_time() if serves_pid else None,
    }
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "realstack.keeper", json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
            cwd=settings.root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            text=True,
        )
        try:
            error = _heard(keeper, listen)
        except BaseException:
            keeper.terminate()
            keeper.wait(30)
            raise
        if not error and registry.find(name) is None:
            error = _last_words(keeper, said)
    keeper.returncode = 0  # it lives on; keep subprocess from warning about it
    return error


def _heard(keeper: subprocess.Popen[str], listen: Listener) -> str:
    """Pass on what the keeper tells until it is ready, has failed or is dead; its error, or ``""``."""
    assert keeper.stdout is not None  # noqa: S101 - PIPE was asked for
    error = ""
    with keeper.stdout:
        for line in keeper.stdout:
            event = Event(*json.loads(line))
            if event.stage == FAILED:
                error = event.text
            else:
                listen(event)
    return error


def _last_words(keeper: subprocess.Popen[str], said: IO[str]) -> str:
    """The error for a keeper that ended without one: killed, or broken before it could tell."""
    try:
        code = keeper.wait(5)
    except subprocess.TimeoutExpired:
        how = "went silent"
    else:
        how = f"ended with signal {-code}" if code < 0 else f"ended with exit status {code}"
    said.seek(0)
    lines = tail(said.read().splitlines(), 8)
    return str(
        NoEnvironment(
            f"the environment's keeper {how} before it was ready.",
            details=lines,
            remedy="read its last words above." if lines else "`realstack doctor` looks at what it needs.",
        )
    )


def end(record: registry.Record, *, within_s: float = 20.0) -> bool:
    """Tell the owner of that record to end, and wait until its run is gone. Whether it ended by itself."""
    if record.owner_lives():
        os.kill(record.run.owner_pid, signal.SIGTERM)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not record.owner_lives() and not record.path.exists() and not record.run.folder.is_dir():
            return True
        time.sleep(0.02)
    return False


async def _keep(order: Mapping[str, Any]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine run by asyncio.run has a task
    started = False

    def end_now() -> None:
        if started:
            stop.set()
        else:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end_now)
    try:
        settings = load_settings(Path(order["root"]), overrides=order["overrides"])
        stands = order["serves_pid"] is None
        async with running_environment(settings, name=order["name"], stands=stands, listen=_tell):
            started = True
            _close_stdout()
            await _until_useless(stop, order)
    except asyncio.CancelledError:
        return 0
    except RealstackError as problem:
        await _leave_error(order, str(problem))
        return 2
    except Exception as problem:  # noqa: BLE001 - nobody else would hear of it: this process has no terminal
        await _leave_error(order, str(UnexpectedError(first_cause(problem))))
        return 2
    return 0


class UnexpectedError(RealstackError):
    """Something that realstack does not know to fail has failed, where nobody would see its traceback."""

    slug = "unexpected"

    def __init__(self, cause: BaseException) -> None:
        frames = traceback.extract_tb(cause.__traceback__)
        where = [f"at {frame.filename}:{frame.lineno}, in {frame.name}" for frame in frames[-1:]]
        super().__init__(
            f"the environment's keeper failed: {type(cause).__name__}: {cause}",
            details=where,
            remedy="if the place is in code of yours, there; else it is a fault of realstack's, worth a report.",
        )


def _tell(event: Event) -> None:
    print(json.dumps([event.stage, event.service, event.text, round(event.after_s, 3)]), flush=True)  # noqa: T201


def _close_stdout() -> None:
    """Whoever waits on the other end reads end of file: that is the sign that the record tells the outcome.

    What is said on standard error from now on, nobody would read.
    """
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


async def _until_useless(stop: asyncio.Event, order: Mapping[str, Any]) -> None:
    """Until a signal, or until the process that is served has ended."""
    pid, started = order["serves_pid"], order["serves_started"]
    while not stop.is_set():
        if pid is not None and not registry.process_lives(pid, started):
            return
        try:
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S if pid is not None else None)
        except TimeoutError:
            continue


async def _leave_error(order: Mapping[str, Any], text: str) -> None:
    """Tell the starter, and leave the error where the run's other workers find it, as long as the run lasts."""
    run_id = registry.new_run_id()
    if order["serves_pid"] is not None:
        run = registry.run_of_ours(run_id, Path(os.devnull), "")
        with suppress(HomeUnusable):  # which is then what it has to tell
            registry.write(registry.Record(run, name=order["name"], error=text))
    _tell(Event(FAILED, None, text, 0.0))
    _close_stdout()
    if order["serves_pid"] is not None:
        try:
            await _until_useless(asyncio.Event(), order)
        except asyncio.CancelledError:
            pass
        finally:
            registry.forget(run_id)


def main() -> int:
    """Entry of ``python -m realstack.keeper ORDER``."""
    return asyncio.run(_keep(json.loads(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
