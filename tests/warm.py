"""Python with other people's packages imported once: each program is forked from it, a process of its own.

Hundreds of tests run pytest or the command as their users do, and most of what such a process takes is the import of
pytest and of the clients, the same each time. Here that is done once for all tests of a worker. realstack's own modules
are imported anew by each program. What is imported, and what signals do, is for tests that start a real interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGES = (
    "asyncpg",
    "email.message",
    "http.client",
    "httpx",
    "multiprocessing",
    "psutil",
    "pydantic",
    "pytest",
    "redis.asyncio",
    "rich.console",
    "typer.main",
    "yaml",
)
_HEADER = 8
"""Bytes that say how long the message after them is; the descriptors come with them."""


class Program(NamedTuple):
    """What is to be run."""

    module: str
    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]


class Warm:
    """Runs programs, from any thread, until it is closed or the process that made it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asks, asked = socket.socketpair()
        with asked:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(asked.fileno())],
                cwd=Path(__file__).parent.parent,
                pass_fds=[asked.fileno()],
                start_new_session=True,
            )

    def run(
        self, module: str, *arguments: str, cwd: Path, env: Mapping[str, str], within_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """``python -m module`` in a session of its own, to its end and that of its output.

        Raises:
            subprocess.TimeoutExpired: that took longer; the program is killed then.
        """
        message = json.dumps(Program(module, arguments, str(cwd), dict(env))).encode()
        pipes = [os.pipe() for _ in range(3)]
        try:
            with self._lock:
                header = len(message).to_bytes(_HEADER)
                socket.send_fds(self._asks, [header], [writing for _, writing in pipes])
                self._asks.sendall(message)
        finally:
            for _, writing in pipes:
                os.close(writing)
        readers = [_Reader(reading) for reading, _ in pipes]
        until = time.monotonic() + within_s
        for reader in readers:
            reader.join(max(until - time.monotonic(), 0))
        if any(reader.is_alive() for reader in readers):
            with contextlib.suppress(ProcessLookupError):  # it ended, and something else holds its output
                os.killpg(int(readers[0].text.split()[0]), signal.SIGKILL)
            raise subprocess.TimeoutExpired([module, *arguments], within_s, readers[1].text, readers[2].text)
        end, out, err = (reader.text for reader in readers)
        return subprocess.CompletedProcess([module, *arguments], int(end.split()[1]), out, err)

    def close(self) -> None:
        """No more programs; those that run go on."""
        self._asks.close()
        self._process.wait(timeout=30)


class _Reader(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self._descriptor = descriptor
        self.start()

    def run(self) -> None:
        with os.fdopen(self._descriptor, encoding="utf-8") as file:
            for line in file:
                self.text += line


def _asked(descriptor: int) -> Program | None:
    """Fork for each program that is asked for. Returns in each, with what it shall be; None when no more is asked."""
    asks = socket.socket(fileno=descriptor)
    while True:
        header, descriptors, *_ = socket.recv_fds(asks, _HEADER, 3)
        if not header:
            return None
        with asks.makefile("rb", buffering=0) as rest:
            message = b""
            while len(message) < int.from_bytes(header):
                message += rest.read(int.from_bytes(header) - len(message))
        if os.fork() == 0:
            asks.close()
            end, out, err = descriptors
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            program = os.fork()
            if program:
                os.close(out)
                os.close(err)
                _tell_the_end(program, end)
            os.close(end)
            _stand_alone(out, err)
            return Program(*json.loads(message))
        for each in descriptors:
            os.close(each)


def _tell_the_end(program: int, end: int) -> None:
    """In a process between: the program's id, and in the next line its exit status."""
    os.write(end, f"{program}\n".encode())
    _, status = os.waitpid(program, 0)
    os.write(end, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _stand_alone(out: int, err: int) -> None:
    """As a new process has it: a session, nothing to read, its own two outputs."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)


def _become(program: Program) -> None:
    """Run it as ``python -m`` does, in its folder, with its environment and path."""
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    named = (path for path in program.environment.get("PYTHONPATH", "").split(os.pathsep) if path)
    sys.path[:1] = [program.folder, *(path for path in named if path not in sys.path[1:])]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.argv = ["-m", *program.arguments]
    status: object = None
    try:
        runpy.run_module(program.module, run_name="__main__", alter_sys=True)
    except SystemExit as asked:
        status = asked.code
    except BaseException:  # noqa: BLE001 - as the interpreter does at its top
        sys.excepthook(*sys.exc_info())
        status = 1
    _end(status)


def _end(status: object) -> None:
    """As the interpreter ends, but for taking every object apart: here each lies in a page shared with the others.

    That would take 0.3 s, ten times what the fork takes.
    """
    if not isinstance(status, int | None):
        sys.stderr.write(f"{status}\n")
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    for package in PACKAGES:
        importlib.import_module(package)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes between
    if to_run := _asked(int(sys.argv[1])):
        _become(to_run)
