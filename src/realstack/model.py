"""The words of the design as frozen values. No I/O, and nothing imported but the standard library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

POSTGRES, REDIS, FAKE_LLM, GENERIC = "postgres", "redis", "fake_llm", "generic"
KINDS = (POSTGRES, REDIS, FAKE_LLM, GENERIC)

PROVIDER_NAMES = ("auto", "embedded", "containers", "compose", "external")

Isolation = Literal["database", "reset", "transaction", "readonly"]
ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)


class Secret(str):
    """A string that never shows itself in a repr. ``str()`` of it, and using it, give the real value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class Port:
    """One published port of a service: ``container`` inside, ``host`` outside (None: any free one)."""

    container: int
    host: int | None = None
    host_ip: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is built. Paths are absolute. ``secrets`` are files that no layer keeps, by their id."""

    context: Path
    dockerfile: Path
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    network: str | None = None


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A compose health check. ``test`` is in exec form (``CMD-SHELL`` kept as first word); times in seconds."""

    test: tuple[str, ...]
    interval_s: float | None = None
    timeout_s: float | None = None
    start_period_s: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """A bind mount (absolute ``source``) or a named volume (plain name), or an anonymous one (None)."""

    target: str
    source: str | None = None
    read_only: bool = False
    bind: bool = False


@dataclass(frozen=True, slots=True)
class Dependency:
    """An entry of ``depends_on``; ``condition`` as Compose names it."""

    service: str
    condition: str = "service_started"


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What is declared about one service, whoever will run it.

    ``name`` is realstack's word (``fake_llm``), ``compose_name`` the compose file's (``fake-llm``).
    ``kind`` picks the entry of ``realstack.services.SERVICES``. ``port`` is the container port that clients
    use. ``unsupported`` lists compose keys (dotted) that only Docker Compose itself can honour.
    ``extra`` is the service's part of the ``x-realstack`` block, unread. The repr leaves out what may hold a
    password: the command and the environment.
    """

    name: str
    kind: str
    compose_name: str
    port: int
    image: str | None = None
    build: Build | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = field(default=None, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[Port, ...] = ()
    tmpfs: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    health_check: HealthCheck | None = None
    depends_on: tuple[Dependency, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    working_dir: str | None = None
    shm_size: str | None = None
    stop_signal: str | None = None
    stop_grace_period_s: float | None = None
    init: bool | None = None
    unsupported: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision and its reason, kept for headers, ``realstack doctor`` and errors."""

    value: str
    because: str

    def __str__(self) -> str:
        return f"{self.value}, because {self.because}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a provider made a service reachable. ``socket_dir`` is set where a unix socket lies there.

    ``url`` is set where the whole address was given (the external provider): its credentials and database
    count then, not the declared ones.
    """

    host: str
    port: int
    socket_dir: Path | None = None
    url: Secret | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address, credentials and version of a running service.

    ``options`` holds what belongs to the kind: for Postgres ``maintenance_db``. ``version`` is known after
    the first answered probe. ``provider`` says who runs it.
    """

    service: str
    kind: str
    host: str
    port: int
    scheme: str
    username: str | None = None
    password: Secret | None = None
    database: str | None = None
    socket_dir: Path | None = None
    version: str | None = None
    provider: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> Secret:
        """The address with its credentials, as clients take it. Never print it: print :attr:`safe_url`."""
        return Secret(self._url(self.password))

    @property
    def safe_url(self) -> str:
        """The address with ``***`` in place of the password."""
        return self._url("***" if self.password else None)

    def _url(self, password: str | None) -> str:
        auth = ""
        if self.username or password:
            shown = password if password in (None, "***") else quote(password, safe="")
            auth = quote(self.username or "", safe="") + (f":{shown}" if shown else "") + "@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = f"/{quote(self.database, safe='')}" if self.database is not None else ""
        return f"{self.scheme}://{auth}{host}:{self.port}{path}"

    def __repr__(self) -> str:
        return f"<Endpoint {self.service} {self.safe_url} by {self.provider or '?'}>"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an environment: its mark on everything it owns, and its own folder.

    ``run_id`` stands in container labels (``realstack.run``), compose project names, process environments
    (``REALSTACK_RUN``) and folder names, so that a sweep can find all of it. ``folder`` exists and belongs
    to this run alone; it lies on tmpfs where there is one with room. ``owner_place`` and ``owner_host`` say where the
    owner's process id means something (:mod:`realstack.place`); empty where nobody noted it.
    """

    run_id: str
    folder: Path
    owner_pid: int
    owner_started: float
    project: str
    owner_place: str = ""
    owner_host: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """Labels for everything that a Docker engine makes for this run."""
        return {
            "realstack.run": self.run_id,
            "realstack.owner": str(Owner(self.owner_pid, self.owner_started, self.owner_place)),
            "realstack.project": self.project,
        }


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a run, as the label says it: ``PID:STARTED@PLACE``; ``place`` is empty where unknown."""

    pid: int
    started: float
    place: str = ""

    def __str__(self) -> str:
        return f"{self.pid}:{self.started:.2f}" + (f"@{self.place}" if self.place else "")

    @classmethod
    def of_label(cls, label: str) -> Owner | None:
        """The owner that such a label names; None if it names none."""
        process, _, place = label.partition("@")
        pid, _, started = process.partition(":")
        try:
            return cls(int(pid), float(started), place)
        except ValueError:
            return None


def tail(lines: Sequence[str], count: int = 20) -> tuple[str, ...]:
    """The last ``count`` lines without trailing white space."""
    return tuple(line.rstrip() for line in lines[-count:])


@dataclass(frozen=True, slots=True)
class PostgresPlan:
    """What makes the known state of Postgres: sources in the order in which they apply.

    A source is a folder or file below ``root`` (``db/migrations``, ``db/seed.sql``, ``*.csv``, ``*.yaml``),
    ``alembic:path/to/alembic.ini``, ``python:package.module:function``, or ``factory:package.module:name``.
    ``now`` is the instant from which relative times and factories' clocks count, as ISO text; empty if none is set.
    """

    root: Path
    migrations: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    now: str = ""


@dataclass(frozen=True, slots=True)
class RedisPlan:
    """What makes the known state of a Redis database: YAML files below ``root``.

    ``key_prefix`` tells whether keys get a prefix instead of a database of their own; None lets the server decide.
    """

    root: Path
    seed: tuple[str, ...] = ()
    key_prefix: bool | None = None
