"""What it costs to bring a Redis database back to its seed: this way beside FLUSHDB and a pipeline.

    python -m benchmarks.redis_state [--rounds N]

One server, one run, rounds interleaved. A round is a test that writes some keys, then the reset; the clock runs over
the reset alone, and in the column "at once" over one that comes before its clone is ready. Bounded to a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from realstack.model import Endpoint, RedisPlan, Run, ServiceSpec
from realstack.providers.embedded import Embedded
from realstack.readiness import until_ready
from realstack.registry import new_run_id
from realstack.services import service
from realstack.services.redis import client
from realstack.state.redis_databases import DatabaseLender
from realstack.state.redis_sealed import write_all, write_ttls
from realstack.state.redis_seed import RedisSeed, seed_of

CASES = ((10, False), (1000, False), (10_000, False), (10_000, True))
"""Keys of the seed, and whether one in ten has a time to live."""
BOUND_S = 55.0


def seed_text(keys: int, *, volatile: bool) -> str:
    """A seed of mixed types; one key in ten with a time to live, if ``volatile``."""
    lines = []
    for n in range(keys):
        value = ("word", "{name: Ann, age: 30}", "[a, b, c]", "{type: zset, value: {ann: 1, bob: 2}}")[n % 4]
        if volatile and n % 10 == 0:
            value = "{value: token, ttl_s: 600}"
        lines.append(f"key:{n}: {value}")
    return "\n".join(lines)


async def test_writes(redis: Any) -> None:
    """What a test does between two resets."""
    await redis.set("key:0", "changed")
    await redis.delete("key:1")
    await redis.rpush("new", "x")


async def as_usual(redis: Any, seed: RedisSeed) -> None:
    """The usual way: empty the database and send the seed again."""
    await redis.flushdb()
    await write_all(redis, seed.writes)
    await write_ttls(redis, seed)


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds that ``work`` takes."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


async def measure(endpoint: Endpoint, root: Path, text: str, rounds: int, until: float) -> list[list[float]]:
    """Each column's figures: swapped, swapped at once, flush and pipeline."""
    await asyncio.to_thread((root / "seed.yaml").write_text, text)
    plan = RedisPlan(root, ("seed.yaml",))
    seed = seed_of(plan)
    state = DatabaseLender(endpoint, plan, "bench", "bench")
    lent = await state.lend()
    beside = await state.lend()
    found: list[list[float]] = [[], [], []]
    async with client(lent) as redis, client(beside) as other:
        for _ in range(rounds):
            await test_writes(redis)
            await asyncio.gather(*(clone.task for clone in state._clones.values() if clone.task))
            found[0].append(await timed(lambda: state.reset(lent)))
            assert await redis.get("key:4") == b"word"  # noqa: S101 - a benchmark of nothing is worth nothing
            await test_writes(redis)
            found[1].append(await timed(lambda: state.reset(lent)))
            await test_writes(other)
            found[2].append(await timed(lambda: as_usual(other, seed)))
            if time.monotonic() > until:
                break
    await state.close()
    return found


async def main(rounds: int) -> None:
    """Start a server, measure all sizes, print the table."""
    spec = ServiceSpec("redis", "redis", "redis", 6379)
    kind = service("redis")
    folder = Path(tempfile.mkdtemp(prefix="realstack-bench-redis-"))
    await asyncio.to_thread(folder.chmod, 0o711)
    run = Run(new_run_id(), folder, os.getpid(), psutil.Process().create_time(), "bench")
    until = time.monotonic() + BOUND_S
    try:
        async with Embedded({"redis": kind.recipe(spec)}).running([spec], run) as running:
            process = running["redis"]
            started = kind.endpoint(spec, process.address, "embedded")
            endpoint = await until_ready(
                "redis", lambda: kind.probe(started), within_s=30, died=process.died, log=process.log_lines
            )
            name, python = endpoint.options.get("implementation"), platform.python_version()
            print(f"{name} {endpoint.version}, {platform.system()}, Python {python}, {os.cpu_count()} cores")
            print("median (worst tenth) in ms\n\n| keys | rounds | swapped | swapped at once ", end="")
            print("| FLUSHDB + pipeline | times faster |\n|---|---|---|---|---|---|")
            for index, (keys, volatile) in enumerate(CASES):
                left = until - time.monotonic()
                by = time.monotonic() + left / (len(CASES) - index)
                found = await measure(endpoint, folder, seed_text(keys, volatile=volatile), rounds, by)
                cells = [f"{statistics.median(each):.2f} ({tenth(each):.2f})" for each in found]
                faster = statistics.median(found[2]) / statistics.median(found[0])
                what = f"{keys}, {keys // 10} with TTL" if volatile else str(keys)
                print(f"| {what} | {len(found[0])} | {' | '.join(cells)} | {faster:.0f} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tenth(figures: list[float]) -> float:
    """Nine of ten are below it."""
    return sorted(figures)[int(len(figures) * 0.9)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    asyncio.run(main(parser.parse_args().rounds))
