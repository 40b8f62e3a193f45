"""What every provider is to the layers above it. A provider says how a service runs, never what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from realstack.model import Address, Run, ServiceSpec


class Running(Protocol):
    """One started service. It may not be ready, and it may have died."""

    spec: ServiceSpec
    address: Address

    def died(self) -> str | None:
        """How the service ended (``"exit status 1"``), or None while it lives. Cheap; called between probes."""
        ...

    def log_lines(self, since: int = 0) -> list[str]:
        """The service's log from line number ``since`` on, without line ends."""
        ...


KEPT = "kept"
"""In a declaration's ``extra``: a function from :attr:`Data.key` to the file of data that may be taken, or None."""


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a service whose later runs may begin with them.

    ``key`` names what two services must share to begin with the same data. They lie in ``folder``, and were laid out
    from ``kept_in``, where that is set: then they are more than a fresh service has.
    """

    key: str
    folder: Path
    kept_in: Path | None


@dataclass(frozen=True, slots=True)
class Launch:
    """What the embedded provider starts for one service: made by a recipe once a port is known.

    ``uid``/``gid``: whom the process runs as (None: as we do). ``stop_signals``: (signal number, seconds to
    wait after it), in order; SIGKILL follows. ``inherit_fds`` stay open in the child and are closed in ours.
    ``owned_folders`` lie outside of the service's folder and go with it. ``data``: what can be kept of its data.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    uid: int | None = None
    gid: int | None = None
    stop_signals: tuple[tuple[int, float], ...] = ((15, 5.0),)
    inherit_fds: tuple[int, ...] = ()
    socket_dir: Path | None = None
    owned_folders: tuple[Path, ...] = ()
    data: Data | None = None


class Recipe(Protocol):
    """How one kind of service runs as a local process. Services give recipes, the embedded provider runs them."""

    def unavailable(self) -> str | None:
        """Why it cannot run here (no binaries found, and which were looked for), or None. Fast, no side effects."""
        ...

    def source(self) -> str:
        """Where its binaries come from, for a reader: ``PostgreSQL 15.18 from /usr/lib/postgresql/15/bin``."""
        ...

    def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
        """Lay out ``folder`` (exists, empty, ours) and say what to start, listening on 127.0.0.1:``port``.

        Blocking; called in a worker thread, for several services side by side.

        :raises realstack.errors.ServiceStartFailed: the data directory cannot be made (stage ``prepare``).
        """
        ...


class Provider(Protocol):
    """A way of running services."""

    name: ClassVar[str]

    def running(self, specs: Sequence[ServiceSpec], run: Run) -> AbstractAsyncContextManager[Mapping[str, Running]]:
        """Start all ``specs`` concurrently; on exit stop and remove all that was started, whatever failed.

        Yields as soon as every service was started and its address is known: being ready is the caller's
        question. Keys are ``spec.name``.

        :raises realstack.errors.RealstackError: something could not be started; nothing is left behind.
        """
        ...
