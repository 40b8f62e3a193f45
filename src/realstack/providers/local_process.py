"""One service as a process of this machine: spawned, recorded for the sweep, watched, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from realstack.model import Address, Run, ServiceSpec
from realstack.providers.base import Data, Launch
from realstack.providers.ports import LOOPBACK, ReservedPort
from realstack.providers.shared_memory import remove_left_by

_KEPT_FROM_OURS = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "SSL_CERT_FILE", "DYLD_FALLBACK_LIBRARY_PATH")
_LOOK_EVERY_S = 0.002
_KILLED_WITHIN_S = 5.0


class LocalProcess:
    """A running service and its log. Made by :func:`spawn`; lives until :meth:`stop`."""

    def __init__(
        self,
        *,
        spec: ServiceSpec,
        launch: Launch,
        popen: subprocess.Popen[bytes],
        port: ReservedPort,
        log: Path,
        record: Path,
    ) -> None:
        self.spec = spec
        self.address = Address(LOOPBACK, port.number, socket_dir=launch.socket_dir)
        self.launch = launch
        self._popen = popen
        self._started = time.time()  # or a moment before
        self._port = port
        self._log = _LogReader(log)
        self._record = record

    @property
    def port_is_held(self) -> bool:
        """Whether nobody else could have taken its port before it did."""
        return self._port.held

    @property
    def data(self) -> Data | None:
        """What can be kept of its data."""
        return self.launch.data

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its session and process group."""
        return self._popen.pid

    def died(self) -> str | None:
        """``exit status 1`` or ``signal 9 (SIGKILL)`` once it has ended, else None."""
        return how_it_ended(self._popen.poll())

    def log_lines(self, since: int = 0) -> list[str]:
        """What it wrote to stdout and stderr, from line number ``since`` on."""
        return self._log.lines(since)

    async def stop(self) -> None:
        """End it: its own signals first, then SIGKILL for all that it started. Returns when it is gone."""
        children = _children(self.pid) if self._popen.poll() is None else _orphans(self.launch.cwd)
        for number, wait_s in self.launch.stop_signals:
            if self._popen.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            await self._gone_within(wait_s)
        self._kill_group()
        await self._gone_within(_KILLED_WITHIN_S)
        await _kill(children)
        remove_left_by(self.pid, self._started)
        self._port.release()
        self._record.unlink(missing_ok=True)

    async def _gone_within(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while self._popen.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - a process's end is no event
            await asyncio.sleep(_LOOK_EVERY_S)

    def _kill_group(self) -> None:
        # The group outlives its leader while a member lives, so this is right even after its end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def __repr__(self) -> str:
        state = self.died() or "runs"
        return f"<LocalProcess {self.spec.name} pid {self.pid} port {self.address.port}: {state}>"


def spawn(spec: ServiceSpec, launch: Launch, run: Run, port: ReservedPort) -> LocalProcess:
    """Start what ``launch`` says, in a session of its own, and record it below ``run.folder``. Blocking."""
    log = run.folder / f"{spec.name}.log"
    try:
        with log.open("ab") as sink:
            popen = subprocess.Popen(
                launch.argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=_environment(spec, launch, run),
                cwd=launch.cwd,
                pass_fds=launch.inherit_fds,
                start_new_session=True,
                user=launch.uid,
                group=launch.gid,
                extra_groups=None if launch.uid is None else (),
            )
    finally:
        for descriptor in launch.inherit_fds:
            os.close(descriptor)
    record = _write_record(spec, launch, run, popen.pid)
    return LocalProcess(spec=spec, launch=launch, popen=popen, port=port, log=log, record=record)


def how_it_ended(code: int | None) -> str | None:
    """A return code of :class:`subprocess.Popen` in words; None for a process that lives."""
    if code is None:
        return None
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def _environment(spec: ServiceSpec, launch: Launch, run: Run) -> dict[str, str]:
    """Little of ours: a ``PGHOST`` or ``PYTHONPATH`` of the user would change what the service is."""
    ours = {name: value for name in _KEPT_FROM_OURS if (value := os.environ.get(name)) is not None}
    return {**ours, **launch.environment, "REALSTACK_RUN": run.run_id, "REALSTACK_SERVICE": spec.name}


def _write_record(spec: ServiceSpec, launch: Launch, run: Run, pid: int) -> Path:
    """What a sweep needs after our own death. Written whole or not at all."""
    folder = run.folder / "processes"
    folder.mkdir(exist_ok=True)
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = 0.0
    record = {
        "name": spec.name,
        "pid": pid,
        "started": started,
        "stop_signal": next((number for number, _ in launch.stop_signals), signal.SIGKILL),
        "owned_folders": [str(path) for path in launch.owned_folders],
    }
    path = folder / f"{spec.name}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(record), encoding="utf-8")
    unfinished.replace(path)
    return path


def _children(pid: int) -> list[psutil.Process]:
    """Its descendants: servers such as PostgreSQL put each of theirs into a session of its own."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _orphans(folder: Path | None) -> list[psutil.Process]:
    """What a server that died before its children left working below ``folder``, the one that is ours alone.

    A busy PostgreSQL backend sees the end of its postmaster only when it next waits for something.
    """
    if folder is None:
        return []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


async def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + _KILLED_WITHIN_S
    while any(_lives(process) for process in processes) and time.monotonic() < deadline:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(_LOOK_EVERY_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class _LogReader:
    """Lines of a growing file; each byte is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []
        self._unfinished = b""
        self._read_to = 0

    def lines(self, since: int) -> list[str]:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as log:
            log.seek(self._read_to)
            new = log.read()
            self._read_to += len(new)
            *whole, self._unfinished = (self._unfinished + new).split(b"\n")
            self._lines.extend(line.decode(errors="replace").rstrip("\r") for line in whole)
        last = [self._unfinished.decode(errors="replace")] if self._unfinished else []
        return (self._lines + last)[since:]
