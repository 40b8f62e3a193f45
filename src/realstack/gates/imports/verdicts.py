"""What becomes of each module's import, in the project's interpreter: all at once by forks, or one by one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import psutil

from realstack.errors import RealstackError

Outcome = Literal["imported", "raised", "exit", "crash", "timeout"]
Warm = Sequence[tuple[str, Collection[str]]]

SCRIPT = Path(__file__).with_name("interpreter.py")
STARTS_WITHIN_S = 30.0
"""What an interpreter may take beside the imports themselves."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a module's import. ``frames``: (file, line, function, module) of a traceback, the outermost first.

    ``type`` and ``kinds``: the exception's class by name, and those that it derives from. ``name``: the module, name,
    attribute or key that it speaks of. ``unasked``: modules that were found imported and had not been asked for.
    """

    module: str
    outcome: Outcome
    seconds: float = 0.0
    type: str = ""
    kinds: tuple[str, ...] = ()
    message: str = ""
    frames: tuple[tuple[str, int, str, str], ...] = ()
    name: str | None = None
    cause: str | None = None
    file: str | None = None
    at: int | None = None
    signal: int = 0
    status: int = 0
    imported: int = 0
    unasked: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_fine(self) -> bool:
        """Whether the module can be imported."""
        return self.outcome == "imported"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The project's Python. ``path``: the folders that its packages lie in. ``jobs``: processes at once."""

    python: Path
    path: tuple[Path, ...]
    cwd: Path
    timeout_s: float = 60.0
    jobs: int = os.cpu_count() or 1

    def by_forks(self, modules: Sequence[str], graph: Mapping[str, Collection[str]], warm: Warm) -> dict[str, Verdict]:
        """The verdict of each module, sharing what several import. A module that got none is left out.

        :raises RealstackError: the interpreter cannot run.
        """
        left = list(warm)
        while True:
            try:
                found = self._run(modules, graph, left, within_s=STARTS_WITHIN_S + self.timeout_s * (len(modules) + 1))
            except subprocess.TimeoutExpired as problem:
                raise RealstackError(
                    f"the imports of {len(modules)} modules had come to no end after {problem.timeout:.0f} s.",
                    remedy="give each less time (timeout_s), or look at fewer packages.",
                ) from problem
            cold = {name for each in found for name in each.get("cold", ())}
            if not cold:
                return {verdict.module: verdict for verdict in map(_verdict, found)}
            left = [(name, asked) for name, asked in left if name not in cold]

    def fresh(self, modules: Sequence[str]) -> dict[str, Verdict]:
        """The verdict of each module in an interpreter of its own.

        :raises RealstackError: the interpreter cannot run.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            return {verdict.module: verdict for verdict in pool.map(self._alone, modules)}

    def _alone(self, module: str) -> Verdict:
        try:
            found = self._run([module], None, (), within_s=STARTS_WITHIN_S + self.timeout_s)
        except subprocess.TimeoutExpired:
            return Verdict(module, "timeout", self.timeout_s)
        return _verdict(found[-1])

    def _run(
        self, modules: Sequence[str], graph: Mapping[str, Collection[str]] | None, warm: Warm, *, within_s: float
    ) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix="realstack-check-") as folder:
            plan, results = Path(folder, "plan.json"), Path(folder, "results.jsonl")
            plan.write_text(
                json.dumps(
                    {
                        "path": [str(each) for each in self.path],
                        "modules": list(modules),
                        "graph": {name: sorted(asked) for name, asked in (graph or {}).items()},
                        "warm": [[name, sorted(asked)] for name, asked in warm],
                        "timeout_s": self.timeout_s,
                        "jobs": self.jobs,
                        "host": os.getpid(),
                        "share": graph is not None,
                    }
                )
            )
            results.touch()
            status = self._wait(plan, results, within_s)
            found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
        if not found and graph is None:
            found = [_ended(modules[0], status)]
        elif not found and modules:
            raise RealstackError(
                f"{self.python} ended with status {status} before it had tried a module.",
                remedy="run it by hand, or name the project's interpreter with --python.",
            )
        return found

    def _wait(self, plan: Path, results: Path, within_s: float) -> int:
        """The interpreter's exit status. Nothing that it started outlives it."""
        try:
            process = subprocess.Popen(
                [str(self.python), str(SCRIPT), str(plan), str(results)],
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"} if "PYTHONDONTWRITEBYTECODE" in os.environ else None,
            )
        except OSError as problem:
            raise RealstackError(
                f"{self.python} cannot be run: {problem.strerror or problem}.",
                remedy="name the project's interpreter with --python.",
            ) from problem
        try:
            return process.wait(within_s)
        finally:
            _end_with_all_below(process)


def _end_with_all_below(process: subprocess.Popen[bytes]) -> None:
    """What is below it first, while it can be found; then its group, in which a module may have left processes."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    for each in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait()
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _ended(module: str, status: int) -> dict[str, Any]:
    if status < 0:
        return {"module": module, "outcome": "crash", "signal": -status}
    return {"module": module, "outcome": "exit", "status": status}


def _verdict(told: dict[str, Any]) -> Verdict:
    known = {each.name for each in fields(Verdict)}
    given = {key: value for key, value in told.items() if key in known}
    for key in ("kinds", "unasked"):
        given[key] = tuple(given.get(key) or ())
    given["frames"] = tuple((file, line, name, module) for file, line, name, module in given.get("frames") or ())
    return Verdict(**given)
