"""What trying every module's import costs, beside an interpreter for each; and whether the verdicts are the same.

    python -m benchmarks.gates PYTHON PACKAGE [PACKAGE …] [--sample N] [--timeout S]

PYTHON is an interpreter that has the packages installed. CPU of all processes, user and system. ``--sample``: as many
modules, evenly spread over the package, are tried in interpreters of their own; 0: all.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from realstack.config import EXCLUDED
from realstack.gates.imports.sources import Sources
from realstack.gates.imports.verdicts import Interpreter
from realstack.gates.project import find_project

Found = TypeVar("Found")


def measured(action: Callable[[], Found]) -> tuple[Found, float, float]:
    """What it gives, its CPU and its time in seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    found = action()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found, used, time.monotonic() - began


def measure(python: Path, package: str, sample: int, timeout_s: float) -> None:
    """One package, in a line and what differs."""
    place = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]).submodule_search_locations[0])"
    folder = Path(subprocess.check_output([str(python), "-c", place, package], text=True).strip())
    project = find_project(folder.parent, [package], EXCLUDED)
    sources = Sources(project)
    names = [module.name for module in project.modules if not module.is_program]
    interpreter = Interpreter(python, project.roots, folder.parent, timeout_s)
    warm = sorted(sources.others().items())
    verdicts, cpu_s, took_s = measured(lambda: interpreter.by_forks(names, sources.graph(), warm))
    failed = sum(not verdict.is_fine for verdict in verdicts.values())
    print(f"{package}: {len(names)} modules, {failed} fail; forks {cpu_s:.1f} s of CPU, {took_s:.1f} s")
    some = names if not sample else names[:: max(len(names) // sample, 1)]
    fresh, fresh_s, _ = measured(lambda: interpreter.fresh(some))
    each_s = fresh_s / len(some)
    differ = [name for name in some if name not in verdicts or verdicts[name].is_fine != fresh[name].is_fine]
    print(
        f"  fresh interpreters, {len(some)} of them: {each_s:.2f} s each, {each_s * len(names):.0f} s for all: "
        f"{each_s * len(names) / cpu_s:.0f} times as much; {len(differ)} other verdicts"
    )
    for name in differ:
        print(f"    {name}: {fresh[name].outcome} {fresh[name].message[:100]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path)
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--timeout", type=float, default=60)
    options = parser.parse_args()
    for named in options.packages:
        measure(options.python, named, options.sample, options.timeout)
