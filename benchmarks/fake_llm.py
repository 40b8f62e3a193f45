"""What the fake LLM costs: beside a bare application on the same server, and beside peers, in one run.

    python -m benchmarks.fake_llm [--seconds N] [--rounds N] [--only PART …]
                                  [--peers --llmock-python PATH --aimock PATH] [--most REQUESTS]

Parts: ``requests`` (CPU of the server process for a whole reply of about 1 KB and for a stream of 50 events),
``streams`` (1,000 at once, paced), ``start`` (spawn to first answer) and ``memory`` (resident size after a tenth, a
half and all of ``--most`` requests). Rounds are interleaved, so that a noisy machine is noisy for all; the server is
kept to one core, the load to another. Load is by `wrk` where it is installed, else by
:mod:`benchmarks.fake_llm_load`. Peers are the PyPI package
`llmock` and npm's `@copilotkit/aimock`; one that is not there is said to be missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fake_llm_load import MODEL, PATH, PIECES, TEXT, request
from benchmarks.startup import ROOT, environ

PARTS = ("requests", "streams", "start", "memory")
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]
SESSION = "bench"
KEY = f"sk-realstack-{SESSION}"
FAKE = [sys.executable, "-m", "fake_llm", "--port", "0", "--log-level", "warning"]
IMPORTS = [sys.executable, "-c", "import fastapi, uvicorn"]
CONNECTIONS = 8
STREAMS = 1_000
DELAY_S = 0.1
MOST = 100_000

CPU_TARGET, P99_TARGET_MS, START_TARGET, MEMORY_TARGET = 2.0, 10.0, 1.3, 1.05


@dataclass
class Server:
    """A server that runs, kept to one core."""

    port: int
    process: subprocess.Popen[str]

    @property
    def cpu_s(self) -> float:
        """Seconds of user and system that it has taken."""
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    @property
    def resident_mb(self) -> float:
        """Its resident size."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / (1 << 20)


@dataclass
class Contestant:
    """A server, and of each kind of reply the figures of the rounds. ``absent``: why it could not run."""

    name: str
    server: Server | None = None
    absent: str = ""
    cpu_us: dict[str, list[float]] = field(default_factory=lambda: {"whole": [], "stream": []})
    per_s: dict[str, list[float]] = field(default_factory=lambda: {"whole": [], "stream": []})
    sizes: dict[str, str] = field(default_factory=dict)


@contextmanager
def running(argv: Sequence[str], *, port: int = 0, extra: dict[str, str] | None = None) -> Iterator[Server]:
    """The server ``argv``; where no ``port`` is given it prints a line with its own."""
    with subprocess.Popen(
        ["taskset", "-c", str(SERVER_CPU), *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE if not port else subprocess.DEVNULL,
        stderr=subprocess.PIPE if not port else subprocess.DEVNULL,
        text=True,
        env={**environ(), **(extra or {})},
    ) as process:
        try:
            if not port:
                assert process.stdout  # noqa: S101 - a pipe was asked for
                assert process.stderr  # noqa: S101
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(process.stderr.read().strip()[-200:])
                port = json.loads(line)["port"]
            until_answered(port, process)
            yield Server(port, process)
        finally:
            process.kill()


def until_answered(port: int, process: subprocess.Popen[str], within_s: float = 20) -> None:
    """Wait for the first 200.

    :raises RuntimeError: there is none.
    """
    ends = time.monotonic() + within_s
    seen = "nothing"
    while time.monotonic() < ends and process.poll() is None:
        try:
            asked(port, stream=False)
        except (OSError, urllib.error.HTTPError) as problem:
            seen = str(problem)
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"no answer of {process.args!r}: {seen}")


def call(port: int, path: str, body: Any, key: str = KEY) -> tuple[list[tuple[str, str]], bytes]:
    """POST ``body``: headers and body of a good answer."""
    asking = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asking, timeout=10) as got:
        return [(name.lower(), value) for name, value in got.getheaders()], got.read()


def asked(port: int, *, stream: bool) -> tuple[list[tuple[str, str]], bytes]:
    """One chat completion."""
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": TEXT}]}
    return call(port, PATH, {**body, "stream": True} if stream else body)


def set_reply(port: int, **more: Any) -> None:
    """Let the fake's session, made anew, give the fixed reply."""
    scenario = {"name": "fixed", "reply": {"chunks": PIECES, **more}}
    call(port, "/_fake/sessions", {"id": SESSION, "scenarios": [scenario]})


def load(port: int, seconds: float, *, stream: bool, folder: Path) -> tuple[int, float, int]:
    """Requests that were answered, in how many seconds, and how many not with 200."""
    if shutil.which("wrk"):
        script = folder / f"{'stream' if stream else 'whole'}.lua"
        script.write_text(wrk_script(stream=stream))
        argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(round(seconds), 1)}s", "-s", str(script)]
        said = pinned([*argv, f"http://127.0.0.1:{port}{PATH}"])
        found = re.search(r"(\d+) requests in ([\d.]+)s", said)
        assert found, said  # noqa: S101 - wrk always says so
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        torn = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
        failed = int(bad[1]) if bad else 0
        return int(found[1]), float(found[2]), failed + (sum(map(int, torn.groups())) if torn else 0)
    told = flood(port, "--seconds", str(seconds), *(["--stream"] if stream else []))
    return told["requests"], told["seconds"], told["failed"]


def wrk_script(*, stream: bool) -> str:
    """The request, as wrk takes it; each has a number of its own in its text, so that no two are the same."""
    head, _, body = request(KEY, stream=stream, prompt=f"PLACE {TEXT}").decode().partition("\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
    kept = [(name, value) for name, value in fields if name not in {"host", "content-length"}]
    before, _, after = body.partition("PLACE")
    return "\n".join(
        [
            'wrk.method = "POST"',
            *(f'wrk.headers["{name}"] = "{value}"' for name, value in kept),
            "local place = 0",
            "request = function()",
            "  place = place + 1",
            f"  return wrk.format(nil, nil, nil, [[{before}]] .. place .. [[{after}]])",
            "end",
        ]
    )


def flood(port: int, *arguments: str) -> dict[str, Any]:
    """What our own client did."""
    return client("flood", port, "--connections", str(CONNECTIONS), *arguments)


def client(what: str, port: int, *arguments: str) -> dict[str, Any]:
    """Run our own client in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.fake_llm_load", what, str(port), KEY, *arguments]
    told: dict[str, Any] = json.loads(pinned(argv))
    return told


def pinned(argv: Sequence[str]) -> str:
    """What ``argv`` printed, kept to the core of the load."""
    command = ["taskset", "-c", str(LOAD_CPU), *argv]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environ()).stdout


# --- requests ---------------------------------------------------------------------------------------------------------


def requests(options: argparse.Namespace) -> None:
    """CPU of a request and requests a second, of all contestants."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        fake = Contestant("our fake", stack.enter_context(running(FAKE)))
        assert fake.server  # noqa: S101 - it was just set
        set_reply(fake.server.port)
        (folder / "answers.json").write_text(json.dumps(answers(fake.server.port)))
        bare = [sys.executable, "-m", "benchmarks.fake_llm_bare", str(folder / "answers.json")]
        contestants = [Contestant("bare application", stack.enter_context(running(bare))), fake]
        if options.peers:
            contestants += [peer(stack, one) for one in peers(options, folder)]
        for one in contestants:
            measure(one, 1, folder, counts=False)
        for _ in range(options.rounds):
            for one in contestants:
                measure(one, options.seconds, folder)
        report_requests(contestants)


def answers(port: int) -> dict[str, Any]:
    """What the fake sends, for the bare application to send the same."""
    found: dict[str, Any] = {}
    for name, stream in (("whole", False), ("stream", True)):
        headers, body = asked(port, stream=stream)
        own = [pair for pair in headers if pair[0] not in {"date", "transfer-encoding", "connection"}]
        found[name] = {"headers": own, "body": body.decode()}
    return found


def peers(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str | None, list[str], int, str]]:
    """Each peer: its name, its program, the arguments, the port, and what is to be installed."""
    port = free_port()
    argv = ["-m", "llmock.cli", "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    yield "llmock (PyPI)", options.llmock_python, [*argv, "--response-style", "echo"], port, "--llmock-python"
    fixture = folder / "aimock-fixtures.json"
    fixture.write_text(json.dumps({"fixtures": [{"match": {"userMessage": PIECES[0]}, "response": {"content": TEXT}}]}))
    settings = folder / "aimock.json"
    size = len(PIECES[0])
    settings.write_text(json.dumps({"llm": {"fixtures": str(fixture), "chunkSize": size, "logLevel": "silent"}}))
    port = free_port()
    yield "aimock (npm)", options.aimock, ["--config", str(settings), "--port", str(port)], port, "--aimock"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def peer(stack: contextlib.ExitStack, told: tuple[str, str | None, list[str], int, str]) -> Contestant:
    """A peer that runs, or why it does not."""
    name, program, arguments, port, option = told
    if program is None or shutil.which(program) is None:
        return Contestant(name, absent=f"missing ({option} {program or 'not given'})")
    try:
        return Contestant(name, stack.enter_context(running([program, *arguments], port=port)))
    except RuntimeError as problem:
        return Contestant(name, absent=f"did not start: {str(problem)[-160:]}")


def measure(one: Contestant, seconds: float, folder: Path, *, counts: bool = True) -> None:
    """One round of both kinds of reply."""
    if one.server is None:
        return
    for kind in ("whole", "stream"):
        stream = kind == "stream"
        if not counts:
            body = asked(one.server.port, stream=stream)[1]
            one.sizes[kind] = f"{body.count(b'data: ')} events" if stream else f"{len(body)} B"
        before = one.server.cpu_s
        count, took, failed = load(one.server.port, seconds, stream=stream, folder=folder)
        used = one.server.cpu_s - before
        if failed:
            one.absent, one.server = f"{failed} of {count} requests failed", None
            return
        if counts:
            one.cpu_us[kind].append(used / count * 1e6)
            one.per_s[kind].append(count / took)


def report_requests(contestants: Sequence[Contestant]) -> None:
    """A table of both kinds of reply, with the ratio against the bare application."""
    for kind, title in (("whole", "A whole chat completion"), ("stream", "A stream of 50 events")):
        base = statistics.median(contestants[0].cpu_us[kind])
        print(f"\n{title}, {CONNECTIONS} connections, journal on (target: CPU <= {CPU_TARGET:g} x bare)")
        print(f"{'what':20} {'reply':>10} {'CPU us':>8} {'min':>6} {'max':>6} {'req/s':>8}  CPU x bare")
        for one in contestants:
            cpu, per_s = one.cpu_us[kind], one.per_s[kind]
            if one.absent or not cpu:
                print(f"{one.name:20} {one.absent}")
                continue
            ratio = statistics.median(cpu) / base
            verdict = f"  {kept(ratio <= CPU_TARGET)}" if one.name == "our fake" else ""
            print(
                f"{one.name:20} {one.sizes[kind]:>10} {statistics.median(cpu):8.0f} {min(cpu):6.0f} {max(cpu):6.0f} "
                f"{statistics.median(per_s):8.0f}  {ratio:.2f}{verdict}"
            )


def kept(held: bool) -> str:
    """The word for a target."""
    return "kept" if held else "MISSED"


# --- streams ----------------------------------------------------------------------------------------------------------


def streams(options: argparse.Namespace) -> None:
    """A thousand streams at once."""
    with running(FAKE) as server:
        set_reply(server.port, chunk_delay_s=DELAY_S)
        before = server.cpu_s
        told = client("paced", server.port, "--streams", str(STREAMS), "--delay", str(DELAY_S), "--within", "1")
        used = server.cpu_s - before
    print(f"\n{STREAMS} streams at once, an event each {DELAY_S * 1_000:g} ms (targets: none lost, p99 <= 10 ms)")
    print(f"whole {told['whole']} of {STREAMS}: {kept(told['whole'] == STREAMS)}", end="; ")
    print(f"lasted {told['lasted_s']:.2f} s, begun within {told['begun_in_s']:.2f} s, {told['events']} events")
    print(f"error of the inter-token time: p50 {told['p50_ms']:.2f} ms, p99 {told['p99_ms']:.2f} ms", end="")
    print(f" ({kept(told['p99_ms'] <= P99_TARGET_MS)}), worst {told['worst_ms']:.1f} ms; ", end="")
    print(f"CPU of the server {used:.2f} s, {used / max(told['events'], 1) * 1e6:.0f} us an event")


# --- start ------------------------------------------------------------------------------------------------------------


def first_answer() -> float:
    """Seconds from the spawn of the fake to its first answer."""
    began = time.perf_counter()
    with subprocess.Popen(FAKE, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environ()) as process:
        assert process.stdout  # noqa: S101 - a pipe was asked for
        port = json.loads(process.stdout.readline())["port"]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request(KEY, stream=False))
            status = connection.recv(1 << 16)[:12]
        took = time.perf_counter() - began
        process.terminate()
    if status != b"HTTP/1.1 200":
        raise RuntimeError(f"the fake answered {status!r}")
    return took


def imports() -> float:
    """Seconds of a process that imports the web framework and its server."""
    began = time.perf_counter()
    subprocess.run(IMPORTS, cwd=ROOT, check=True, env=environ())
    return time.perf_counter() - began


def start(options: argparse.Namespace) -> None:
    """Start to first answer, beside what an import of FastAPI takes."""
    contestants = {"our fake, spawn to first 200": first_answer, "import fastapi, uvicorn": imports}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for place in range(options.starts + 1):
        for name, way in contestants.items():
            took = way()
            if place:  # the first round compiles byte code
                seconds[name].append(took)
    ours, theirs = (statistics.median(one) for one in seconds.values())
    print(f"\nStart to the first answer, {options.starts} rounds (target: <= {START_TARGET:g} x the import)")
    for name, found in seconds.items():
        print(f"{name:30} median {statistics.median(found):.3f} s, min {min(found):.3f}, max {max(found):.3f}")
    print(f"ratio {ours / theirs:.2f}: {kept(ours / theirs <= START_TARGET)}")


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(options: argparse.Namespace) -> None:
    """Resident size as requests go on, no two the same, every other a stream."""
    marks = (options.most // 10, options.most // 2, options.most)
    with running(FAKE) as server:
        set_reply(server.port)
        found = [server.resident_mb]
        sent = 0
        for mark in marks:
            told = flood(server.port, "--requests", str(mark - sent), "--mixed")
            if told["failed"]:
                raise RuntimeError(f"{told['failed']} requests failed")
            sent = mark
            found.append(server.resident_mb)
    growth = found[-1] / found[1]
    print(f"\nResident size, one session, every request another text (target: flat, taken as <= x {MEMORY_TARGET:g})")
    print(f"before any {found[0]:.1f} MB", end="")
    for mark, size in zip(marks, found[1:], strict=True):
        print(f"; after {mark:,} {size:.1f} MB", end="")
    print(f"; last to first mark x {growth:.3f}: {kept(growth <= MEMORY_TARGET)}")


def main() -> None:
    """Measure, and print a table of each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of load, for each figure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--most", type=int, default=MOST, help="requests after which memory is looked at last")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--llmock-python", metavar="PATH", help="a Python that has llmock")
    parser.add_argument("--aimock", metavar="PATH", help="the program of @copilotkit/aimock")
    options = parser.parse_args()
    print(
        f"{platform.platform()}, {len(CPUS)} cores, Python {platform.python_version()}, {time.strftime('%F')}", end=""
    )
    print(f", load {os.getloadavg()[0]:.1f}, by {'wrk' if shutil.which('wrk') else 'our own client'}")
    ways = {"requests": requests, "streams": streams, "start": start, "memory": memory}
    for part in options.only:
        ways[part](options)


if __name__ == "__main__":
    main()
