"""Runs alembic, Python and factory sources in a process of their own.

Their imports, settings and event loops stay out of ours, and a changed module is never an old one in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from realstack.model import Endpoint
from realstack.state.sources import DEFAULT_NOW, Step, shown_path

MOST_OUTPUT_LINES = 15


async def run_source(step: Step, endpoint: Endpoint, root: Path, *, rows_to: Path | None = None) -> None:
    """Run the alembic, Python or factory source of ``step`` on the database of ``endpoint``.

    ``DATABASE_URL`` and libpq's variables name that database in the child, whatever they name here.
    ``rows_to`` is the file into which a factory's rows go.

    :raises RealstackError: of the step's phase, with the source's own last line and error.
    """
    order = {
        "kind": step.kind,
        "target": str(step.path),
        "argument": step.argument,
        "now": step.now or DEFAULT_NOW,
        "rows_to": str(rows_to) if rows_to else "",
        "endpoint": {
            "url": str(endpoint.url),
            "host": str(endpoint.socket_dir) if endpoint.socket_dir else endpoint.host,
            "tcp_host": endpoint.host,
            "port": endpoint.port,
            "user": endpoint.username,
            "password": str(endpoint.password) if endpoint.password else None,
            "database": endpoint.database,
            "ssl": endpoint.options.get("sslmode", False),
        },
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "realstack.state.source_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=step.path.parent if step.kind == "alembic" else root,
        env=_environment(step, endpoint, root),
    )
    try:
        output = await _conversation(process, json.dumps(order))
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        raise _failed(step, root, output.decode(errors="replace"), process.returncode)


async def _conversation(process: asyncio.subprocess.Process, order: str) -> bytes:
    """All that the child says. Its stdin stays open meanwhile: the child ends with us when it closes."""
    assert process.stdin is not None  # noqa: S101 - asked for above
    assert process.stdout is not None  # noqa: S101 - asked for above
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended early: its output says why
        process.stdin.write(order.encode() + b"\n")
        await process.stdin.drain()
    output = await process.stdout.read()
    process.stdin.close()
    await process.wait()
    return output


def _environment(step: Step, endpoint: Endpoint, root: Path) -> dict[str, str]:
    from realstack.services.postgres import Postgres

    own = str(Path(__file__).parents[2])  # where the child finds this package
    paths = [str(root), str(root / "src"), os.environ.get("PYTHONPATH", ""), own]
    fixed = {"PYTHONHASHSEED": "0", **({"TZ": "UTC"} if step.kind == "factory" else {})}
    return {
        **os.environ,
        **fixed,
        **Postgres().environment(endpoint),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def _failed(step: Step, root: Path, output: str, code: int | None) -> Exception:
    """The child's last line is its report, if it came to write one."""
    lines = output.rstrip().splitlines()
    try:
        report = json.loads(lines[-1])
        problem, places = str(report["problem"]), list(report["places"])
        details = [str(each) for each in report.get("details", ())]
        lines = lines[:-1]
    except (IndexError, ValueError, KeyError, TypeError):
        problem, places = f"its process ended with exit status {code}", []
        details = []
    where = ""
    for file, line in places:
        if Path(file).is_relative_to(root) and "site-packages" not in file:
            where = f"{shown_path(Path(file), root)}:{line}: "
    shown = [line for line in lines if line.strip()][-MOST_OUTPUT_LINES:]
    return step.phase.error(
        f"{step.shown}: {where}{problem}",
        details=[*details, *shown],
        remedy="correct the source; the state is built anew at the next run.",
    )
