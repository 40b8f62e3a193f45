"""How long until a test may begin: each way of starting the services, side by side in one run.

    python -m benchmarks.startup [--rounds N] [--only NAME …]

Every contestant is a process of its own that says `ready` once the services answer and, for realstack, the known
state is there; the clock runs from its spawn to that word, imports included. Rounds are interleaved, so that a noisy
machine is noisy for all. What cannot run here (no Docker engine, say) is named with its reason, not left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pstats
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYCACHE = Path(tempfile.gettempdir()) / "realstack-bench-pycache"

REALSTACK = """
import sys
from realstack.handles.session import Session
session = Session(overrides={"provider": sys.argv[1], "services": sys.argv[2].split(",")})
session.environment
session.lend_database()
print("ready", flush=True)
sys.stdin.read()
session.close()
"""

TESTCONTAINERS = """
import os, sys
from testcontainers.postgres import PostgresContainer
from testcontainers.redis import RedisContainer
postgres = PostgresContainer(os.environ.get("REALSTACK_POSTGRES_IMAGE", "postgres:17"), driver=None)
redis = RedisContainer(os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8"))
with postgres, redis:
    redis.get_client().ping()
    print("ready", flush=True)
    sys.stdin.read()
"""

ATTACH = """
import sys, time
from realstack.handles.session import Session
import asyncpg, realstack.state.template, realstack.services.postgres
session = Session()
began = time.perf_counter()
environment = session.environment
took = time.perf_counter() - began
assert environment.attached
print("ready", took, flush=True)
sys.stdin.read()
session.close()
"""


@dataclass
class Contestant:
    """One way of starting. ``seconds`` collects a figure each round; ``absent`` is why it could not run."""

    name: str
    measure: Callable[[], float]
    seconds: list[float] = field(default_factory=list)
    absent: str = ""


def until_ready(argv: list[str]) -> float:
    """Seconds from the spawn of ``argv`` to its word ``ready`` (or the figure that follows the word)."""
    began = time.perf_counter()
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(),
    ) as process:
        assert process.stdout  # noqa: S101 - pipes were asked for
        assert process.stdin  # noqa: S101
        assert process.stderr  # noqa: S101
        for line in process.stdout:
            if line.startswith("ready"):
                took = time.perf_counter() - began
                process.stdin.close()
                process.wait(60)
                told = line.split()[1:]
                return float(told[0]) if told else took
        raise RuntimeError(process.stderr.read().strip().splitlines()[-1:] or "it ended without being ready")


def realstack(provider: str, services: str = "postgres,redis,fake_llm") -> float:
    """A cold start by ``provider`` to a seeded database in hand."""
    return until_ready([sys.executable, "-c", REALSTACK, provider, services])


def compose_up() -> float:
    """`docker compose up --wait` on the same file; the health checks decide."""
    name = f"bench-{os.getpid()}"
    argv = ["docker", "compose", "-f", "docker-compose.test.yml", "-p", name]
    began = time.perf_counter()
    try:
        subprocess.run([*argv, "up", "--wait", "--quiet-pull"], cwd=ROOT, check=True, capture_output=True)
        return time.perf_counter() - began
    finally:
        subprocess.run([*argv, "down", "-v", "-t", "0"], cwd=ROOT, check=False, capture_output=True)


def attach() -> float:
    """Seconds in which a process that has its imports attaches to what `realstack up` keeps."""
    return until_ready([sys.executable, "-c", ATTACH])


@contextmanager
def environment_up() -> Iterator[None]:
    """`realstack up` for the rounds of `attach`."""
    command = [sys.executable, "-m", "realstack"]
    subprocess.run([*command, "up", "--provider", "embedded"], cwd=ROOT, env=environ(), check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, check=True, capture_output=True)


def plugin_cost(rounds: int) -> tuple[list[float], list[float]]:
    """CPU seconds of pytest runs of one empty test without and with the plugin, interleaved.

    CPU time, since a difference of milliseconds drowns in the waiting times of a shared machine.
    """
    without: list[float] = []
    with_it: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_empty.py").write_text("def test_empty():\n    pass\n")
        base = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
        for _ in range(rounds + 1):
            for extra, seconds in ((["-p", "no:realstack"], without), ([], with_it)):
                seconds.append(cpu_seconds([*base, *extra], folder))
    return without[1:], with_it[1:]


def plugin_own() -> float:
    """Seconds within the plugin's own code in such a run: its imports and its hooks, as a profiler counts them.

    Two runs of the same differ by more than it costs; this does not depend on them. Nested imports count twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_empty.py").write_text("def test_empty():\n    pass\n")
        profile = f"{folder}/profile"
        command = [sys.executable, "-m", "cProfile", "-o", profile, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        for _ in range(2):  # the first compiles
            subprocess.run([*command, folder], cwd=folder, check=True, capture_output=True)
        functions: dict[Any, Any] = vars(pstats.Stats(profile))["stats"]
    own = f"{os.sep}realstack{os.sep}"
    taken: list[float] = [
        cumulative
        for (file, *_), (*_, cumulative, callers) in functions.items()
        if own in file and not any(own in caller for caller, *_ in callers)
    ]
    return sum(taken)


def cpu_seconds(argv: list[str], folder: str) -> float:
    """CPU seconds, of user and system, that ``argv`` took."""
    process = subprocess.Popen(argv, cwd=folder, env=environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def environ() -> dict[str, str]:
    """Ours, but byte code is kept, as on a developer's machine: else every start compiles every module."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(PYCACHE), "TESTCONTAINERS_RYUK_DISABLED": "true"}


def main() -> None:
    """Measure, print a table, and write `benchmarks/out/startup.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    contestants = [
        Contestant("realstack embedded", lambda: realstack("embedded")),
        Contestant("realstack containers", lambda: realstack("containers")),
        Contestant("realstack compose", lambda: realstack("compose")),
        Contestant("realstack embedded, Postgres + Redis", lambda: realstack("embedded", "postgres,redis")),
        Contestant("realstack containers, Postgres + Redis", lambda: realstack("containers", "postgres,redis")),
        Contestant("testcontainers, Postgres then Redis", lambda: until_ready([sys.executable, "-c", TESTCONTAINERS])),
        Contestant("docker compose up --wait", compose_up),
    ]
    if options.only:
        contestants = [one for one in contestants if any(word in one.name for word in options.only)]
    for _ in range(2):  # rounds that do not count: caches, images, byte code, and the second keeps the known state
        for one in contestants:
            run(one, counts=False)
    for _ in range(options.rounds):
        for one in contestants:
            run(one)
    attached = Contestant("attach to `realstack up`", attach)
    with environment_up():
        for _ in range(options.rounds):
            run(attached)
    report(contestants, attached, plugin_cost(max(options.rounds, 40)))


def run(one: Contestant, *, counts: bool = True) -> None:
    """One round of one contestant."""
    if one.absent:
        return
    try:
        took = one.measure()
    except (RuntimeError, subprocess.CalledProcessError) as problem:
        stderr = getattr(problem, "stderr", None) or b""
        one.absent = (stderr.decode() if isinstance(stderr, bytes) else stderr).strip()[-200:] or str(problem)
        return
    if counts:
        one.seconds.append(took)


def report(contestants: list[Contestant], attached: Contestant, plugin: tuple[list[float], list[float]]) -> None:
    """Print what was measured, and write it down for programs."""
    peer = next((one for one in contestants if one.name.startswith("testcontainers") and one.seconds), None)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%F')}")
    print(f"{'what':38} {'median s':>9} {'min':>7} {'max':>7}  times faster than testcontainers")
    for one in [*contestants, attached]:
        if one.absent:
            print(f"{one.name:38} could not run: {one.absent}")
        elif one.seconds:
            median = statistics.median(one.seconds)
            ratio = f"{statistics.median(peer.seconds) / median:.1f}" if peer and one is not attached else ""
            print(f"{one.name:38} {median:9.3f} {min(one.seconds):7.3f} {max(one.seconds):7.3f}  {ratio}")
    without, with_it = plugin
    more = sorted((one - other) * 1000 for one, other in zip(with_it, without, strict=True))
    print(
        f"pytest, one empty test, CPU: {statistics.median(without):.3f} s without the plugin; with it more by ", end=""
    )
    print(f"{statistics.median(more):+.0f} ms (median of {len(more)} pairs; fastest of each ", end="")
    print(f"{(min(with_it) - min(without)) * 1000:+.0f} ms); within its own code {plugin_own() * 1000:.1f} ms")
    out = ROOT / "benchmarks" / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    figures = {one.name: one.seconds or one.absent for one in [*contestants, attached]}
    figures["plugin, CPU"] = [statistics.median(each) for each in plugin]
    (out / "startup.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
