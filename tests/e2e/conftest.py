"""The reference application as a process of its own, found by its address like any deployment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from realstack.readiness import until_ready

NETRA = Path(__file__).parents[2] / "examples" / "netra"

Serve = Callable[[Mapping[str, str]], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve_backend(tmp_path: Path) -> Serve:
    """``async with serve_backend(environ) as client``: the backend runs, and is ready, until the block ends."""

    @asynccontextmanager
    async def serve(environ: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
        port, log = _free_port(), tmp_path / "backend.log"
        process = _started(port, environ, log)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:

                async def ready() -> None:
                    (await client.get("/health/ready")).raise_for_status()

                await until_ready(
                    "netra_backend",
                    ready,
                    within_s=30,
                    died=lambda: None if process.poll() is None else f"exit code {process.returncode}",
                    log=lambda: log.read_text().splitlines(),
                )
                yield client
        finally:
            await asyncio.to_thread(_stop, process)

    return serve


def _started(port: int, environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The process knows its services by ``environ`` alone; the shell's own settings stay outside."""
    command = [sys.executable, "-m", "netra_backend", "--port", str(port)]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(NETRA), **environ},
            cwd=NETRA,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
