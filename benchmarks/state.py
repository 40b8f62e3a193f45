"""How long it takes to have the known state again: reset in place beside the other ways, in one run, at three sizes.

    python -m benchmarks.state [--rounds N] [--sizes S M L]

One embedded server, data on tmpfs where there is one. Rounds are interleaved, so that a noisy machine is noisy for
all; figures are medians in milliseconds. What matters are the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import psutil

from realstack.model import Endpoint, Run, ServiceSpec
from realstack.providers.embedded import Embedded, tmpfs_with_room
from realstack.readiness import until_ready
from realstack.registry import new_run_id
from realstack.services import service
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.pool import WarmPool
from realstack.state.reset import InPlace, install
from realstack.state.template import Template
from realstack.watchdog import Watchdog

PLAIN, WATCHED, CLONE, PLAIN_CLONE = "bench_plain", "bench_watched", "bench_clone", "bench_plain_clone"
WRITTEN = 3
TEST_TAKES_S = 0.05
"""What the pool has to make the next one ready."""


@dataclass(frozen=True)
class Size:
    """How many tables, rows in each, and bytes of text in each row."""

    tables: int
    rows: int
    bytes_a_row: int


SIZES = {"S": Size(10, 20, 40), "M": Size(50, 200, 60), "L": Size(50, 20_000, 200)}


@asynccontextmanager
async def server() -> AsyncIterator[Endpoint]:
    """A Postgres of this run's own."""
    folder = Path(tempfile.mkdtemp(prefix="realstack-bench-", dir=tmpfs_with_room(2 << 30)))
    folder.chmod(0o711)  # noqa: ASYNC240 - nothing else runs in this loop
    own = psutil.Process()
    spec = ServiceSpec("postgres", "postgres", "postgres", 5432, environment={"POSTGRES_PASSWORD": "bench"})
    run = Run(new_run_id(), folder, os.getpid(), own.create_time(), "benchmark")
    kind = service("postgres")
    watchdog = Watchdog(run)  # for the case that the benchmark is killed
    try:
        async with Embedded({"postgres": kind.recipe(spec)}).running([spec], run) as running:
            process = running["postgres"]
            endpoint = kind.endpoint(spec, process.address, "embedded")
            yield await until_ready(
                "postgres", lambda: kind.probe(endpoint), within_s=30, died=process.died, log=process.log_lines
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        watchdog.done()


class Bench:
    """The databases of one size, and what is measured on them."""

    def __init__(self, endpoint: Endpoint, size: Size) -> None:
        self.endpoint = endpoint
        self.size = size

    async def connect(self, database: str) -> asyncpg.Connection:
        """A session in one of them."""
        return await asyncpg.connect(**connect_arguments(self.endpoint, database=database))

    async def prepare(self, maintenance: asyncpg.Connection) -> None:
        """Both templates and a copy of each: one with, one without what reset in place needs."""
        for name in (CLONE, PLAIN_CLONE, WATCHED, PLAIN):
            await maintenance.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await maintenance.execute(f"CREATE DATABASE {PLAIN} TEMPLATE template0")
        connection = await self.connect(PLAIN)
        for number in range(self.size.tables):
            await connection.execute(
                f"CREATE TABLE t{number} (id serial PRIMARY KEY, name text, n int, made timestamptz DEFAULT now());"
                f"CREATE INDEX ON t{number} (n);"
                f"INSERT INTO t{number} (name, n) SELECT repeat('x', {self.size.bytes_a_row}), i "
                f"FROM generate_series(1, {self.size.rows}) i;"
            )
        await connection.execute("VACUUM (FREEZE, ANALYZE)")
        await connection.close()
        await clone(maintenance, WATCHED, PLAIN)
        connection = await self.connect(WATCHED)
        await install(connection)
        await connection.execute("VACUUM (FREEZE, ANALYZE)")
        await connection.close()
        await clone(maintenance, CLONE, WATCHED)
        await clone(maintenance, PLAIN_CLONE, PLAIN)


async def clone(maintenance: asyncpg.Connection, name: str, template: str) -> None:
    """A copy, the quick way."""
    await maintenance.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


async def write(connection: asyncpg.Connection) -> None:
    """What a test does: a few rows in each of three tables."""
    for number in range(WRITTEN):
        await connection.execute(f"INSERT INTO t{number} (name, n) VALUES ('a', 1), ('b', 2)")
        await connection.execute(f"UPDATE t{number} SET n = n + 1 WHERE id IN (3, 4, 5)")
        await connection.execute(f"DELETE FROM t{number} WHERE id = 7")


async def undo(connection: asyncpg.Connection, size: Size) -> None:
    """Take :func:`write` back by hand where no reset does it: what is compared has to do the same work each time."""
    for number in range(WRITTEN):
        await connection.execute(f"DELETE FROM t{number} WHERE id IN (3, 4, 5) OR id > {size.rows}")
        await connection.execute(
            f"INSERT INTO t{number} (id, name, n) SELECT i, repeat('x', {size.bytes_a_row}), i "
            f"FROM unnest(array[3, 4, 5, 7]) i"
        )


async def took(action: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await action()
    return (time.perf_counter() - began) * 1000


async def measure(endpoint: Endpoint, size: Size, rounds: int) -> dict[str, float]:
    """Medians by name."""
    bench = Bench(endpoint, size)
    maintenance = await bench.connect("postgres")
    await bench.prepare(maintenance)
    watched, plain = await bench.connect(CLONE), await bench.connect(PLAIN_CLONE)
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    try:
        async with InPlace(replace(endpoint, database=CLONE)) as in_place:
            for connection in (watched, plain):
                await write(connection)
            await in_place.reset()
            await undo(plain, size)
            for number in range(rounds):
                await in_place.reset()
                note("reset, untouched", await took(in_place.reset))
                await maintenance.execute("SELECT txid_current(), pg_logical_emit_message(false, 'x', 'x')")
                note("reset, untouched, but a neighbour wrote", await took(in_place.reset))
                note("writes, watched", await took(lambda: write(watched)))
                note(f"reset, {WRITTEN} tables written", await took(in_place.reset))
                note("first query after it", await took(lambda: watched.fetch("SELECT * FROM t0 WHERE id < 5")))
                note("a query before it", await took(lambda: watched.fetch("SELECT * FROM t0 WHERE id < 5")))
                note("writes, not watched", await took(lambda: write(plain)))
                await undo(plain, size)
                await many(watched, plain, note)
                await in_place.reset()
                if number < max(3, rounds // 10):
                    await slow_ways(bench, maintenance, plain, note)
    finally:
        await watched.close()
        await plain.close()
        await maintenance.close()
    return {name: statistics.median(values) for name, values in found.items()}


async def many(watched: asyncpg.Connection, plain: asyncpg.Connection, note: Callable[[str, float], None]) -> None:
    """Two hundred rows by one statement."""
    for name, connection in (("watched", watched), ("not watched", plain)):
        for verb, statement in (
            ("insert", "INSERT INTO t4 (id, name, n) SELECT 1000000 + i, 'x', i FROM generate_series(1, 200) i"),
            ("update", "UPDATE t4 SET n = n + 1 WHERE id > 1000000"),
            ("delete", "DELETE FROM t4 WHERE id > 1000000"),
        ):
            note(f"{verb} of 200 rows, {name}", await took(lambda: connection.execute(statement)))  # noqa: B023


async def slow_ways(
    bench: Bench, maintenance: asyncpg.Connection, plain: asyncpg.Connection, note: Callable[[str, float], None]
) -> None:
    """A fresh copy for each test; truncating all and filling again."""
    note("clone, FILE_COPY", await took(lambda: clone(maintenance, "bench_more", PLAIN)))
    note("clone with a shadow, FILE_COPY", await took(lambda: clone(maintenance, "bench_more_watched", WATCHED)))

    async def first_query() -> None:
        connection = await bench.connect("bench_more")
        await connection.fetch("SELECT * FROM t0 WHERE id < 5")
        await connection.close()

    note("connect and first query in a clone", await took(first_query))
    for name in ("bench_more", "bench_more_watched"):
        await maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def reseed() -> None:
        tables = ", ".join(f"t{number}" for number in range(bench.size.tables))
        await plain.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        for number in range(bench.size.tables):
            await plain.execute(
                f"INSERT INTO t{number} (name, n) SELECT repeat('x', {bench.size.bytes_a_row}), i "
                f"FROM generate_series(1, {bench.size.rows}) i"
            )

    note("truncate + reseed", await took(reseed))


async def handed_out(endpoint: Endpoint, rounds: int) -> dict[str, float]:
    """What a test waits for a database of its own from the pool, and for its first query there."""
    databases = Databases(endpoint, Template(PLAIN, "bench", False, 0.0), "bench", new_run_id())
    pool = WarmPool(databases)
    waits: list[float] = []
    queries: list[float] = []
    try:
        pool.give_back(await pool.lend())
        for _ in range(rounds):
            await asyncio.sleep(TEST_TAKES_S)
            began = time.perf_counter()
            lent = await pool.lend()
            waits.append((time.perf_counter() - began) * 1000)
            queries.append(await took(lambda: _first_query(lent)))  # noqa: B023
            pool.give_back(lent)
    finally:
        await pool.close()
        await databases.close()
    return {
        "handed out by the pool": statistics.median(waits),
        "connect and first query in it": statistics.median(queries),
    }


async def _first_query(lent: Endpoint) -> None:
    connection = await asyncpg.connect(**connect_arguments(lent))
    await connection.fetch("SELECT * FROM t0 WHERE id < 5")
    await connection.close()


async def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=list(SIZES))
    chosen = parser.parse_args()
    async with server() as endpoint:
        print(f"PostgreSQL {endpoint.version}, medians of {chosen.rounds} rounds, ms")
        found = {}
        for name in chosen.sizes:
            found[name] = await measure(endpoint, SIZES[name], chosen.rounds)
            found[name].update(await handed_out(endpoint, max(5, chosen.rounds // 4)))
    width = max(len(name) for figures in found.values() for name in figures)
    print(" " * width, *(f"{name:>9}" for name in found))
    for name in next(iter(found.values())):
        print(f"{name:{width}}", *(f"{figures[name]:9.2f}" for figures in found.values()))


if __name__ == "__main__":
    asyncio.run(main())
