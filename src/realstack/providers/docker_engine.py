"""The Docker engine that both Docker providers use: finding it, asking it quickly, and removing a run's marks.

Finding and asking need nothing but the standard library, since `auto` asks on every run; the SDK is imported
where something is to be done.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from realstack.errors import ProviderUnavailable
from realstack.model import Run, ServiceSpec

if TYPE_CHECKING:
    import docker

ANSWERS_WITHIN_S = 1.0
SSH_ANSWERS_WITHIN_S = 5.0
CALL_TIMEOUT_S = 60.0

RUN_LABEL, OWNER_LABEL, SERVICE_LABEL = "realstack.run", "realstack.owner", "realstack.service"
COMPOSE_PROJECT_LABEL = "com.docker.compose.project"
_REMEDY = "start Docker, or name the engine in DOCKER_HOST; REALSTACK_PROVIDER=embedded needs no Docker."


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the engine is, and who says so. ``certificates``: the folder of its TLS files, if it uses TLS."""

    host: str
    named_by: str
    certificates: Path | None = None

    @property
    def address(self) -> str:
        """The host under which published ports are reached."""
        override = os.environ.get("TESTCONTAINERS_HOST_OVERRIDE")
        return override or (urlsplit(self.host).hostname if self.is_remote else None) or "127.0.0.1"

    @property
    def is_remote(self) -> bool:
        """Whether it runs on another machine, as far as its address tells."""
        parts = urlsplit(self.host)
        return parts.scheme not in ("unix", "npipe") and parts.hostname not in ("localhost", "127.0.0.1", "::1")

    @property
    def publish_ip(self) -> str:
        """Where ports are published: on loopback, unless that would be another machine's."""
        return "127.0.0.1" if self.address == "127.0.0.1" and not self.is_remote else "0.0.0.0"  # noqa: S104

    def environment(self) -> dict[str, str]:
        """The variables by which the command ``docker`` and the SDK take this engine and no other."""
        found = {"DOCKER_HOST": self.host}
        if self.certificates is not None:
            found.update(DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(self.certificates))
        return found


def find_engine(environ: Mapping[str, str] | None = None) -> Engine:
    """The engine that the command ``docker`` would use: ``DOCKER_HOST``, a context, or a socket at a usual place.

    Looks at variables and files only.
    """
    environ = os.environ if environ is None else environ
    if host := environ.get("DOCKER_HOST"):
        verify, folder = environ.get("DOCKER_TLS_VERIFY"), environ.get("DOCKER_CERT_PATH")
        return Engine(host, "DOCKER_HOST", Path(folder or Path.home() / ".docker") if verify else None)
    if (engine := _of_context(environ)) is not None:
        return engine
    home, runtime = Path.home(), environ.get("XDG_RUNTIME_DIR")
    places = [Path("/var/run/docker.sock"), *([Path(runtime) / "docker.sock"] if runtime else [])]
    places += [home / ".docker/run/docker.sock", home / ".docker/desktop/docker.sock", home / ".colima/docker.sock"]
    place = next((place for place in places if place.exists()), places[0])
    return Engine(f"unix://{place}", "the default socket")


def _of_context(environ: Mapping[str, str]) -> Engine | None:
    """The current context of the command ``docker``, by its files (docs.docker.com, "Docker contexts")."""
    folder = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = environ.get("DOCKER_CONTEXT")
    try:
        name = name or json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext")
        if not name or name == "default":
            return None
        key = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((folder / "contexts/meta" / key / "meta.json").read_text(encoding="utf-8"))
        certificates = folder / "contexts/tls" / key / "docker"
        host = meta["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return Engine(host, f"the context {name!r}", certificates if certificates.is_dir() else None)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(engine: Engine, path: str, *, within_s: float = ANSWERS_WITHIN_S) -> tuple[int, bytes]:
    """GET ``path`` from the engine: status and body.

    :raises OSError: no answer within ``within_s`` seconds, or nobody there.
    """
    connection = _connection(engine, within_s)
    try:
        connection.request("GET", path, headers={"Host": "docker"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as problem:
        raise OSError(f"it does not speak HTTP: {problem!r}") from problem
    finally:
        connection.close()


def _connection(engine: Engine, within_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(engine.host)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path, within_s)
    if parts.scheme not in ("tcp", "http", "https") or not parts.hostname:
        raise OSError(f"no such way to an engine: {engine.host}")
    if engine.certificates is None and parts.scheme != "https":
        return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=within_s)
    context = ssl.create_default_context()
    if engine.certificates is not None:
        context.load_verify_locations(engine.certificates / "ca.pem")
        context.load_cert_chain(engine.certificates / "cert.pem", engine.certificates / "key.pem")
    return http.client.HTTPSConnection(parts.hostname, parts.port or 2376, timeout=within_s, context=context)


def why_silent(engine: Engine) -> str | None:
    """Why the engine is of no use, or None if it answers within a second (over ssh: five)."""
    where = f"at {engine.host} (from {engine.named_by})"
    if engine.host.startswith("ssh://"):
        return _why_silent_by_ssh(engine, where)
    try:
        status, _ = ask(engine, "/_ping")
    except TimeoutError:
        return f"the Docker engine {where} gave no answer within {ANSWERS_WITHIN_S:g} s"
    except PermissionError:
        return f"this user may not use the Docker engine {where}"
    except (OSError, ValueError) as problem:
        return f"no Docker engine answers {where}: {getattr(problem, 'strerror', None) or problem}"
    return None if status == http.client.OK else f"the Docker engine {where} answered with status {status}"


def _why_silent_by_ssh(engine: Engine, where: str) -> str | None:
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            env={**os.environ, **engine.environment()},
            capture_output=True,
            text=True,
            timeout=SSH_ANSWERS_WITHIN_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"no Docker engine answers {where}: {problem}"
    return None if asked.returncode == 0 else f"no Docker engine answers {where}: {asked.stderr.strip()}"


def require_engine() -> Engine:
    """The engine, which answered just now.

    :raises ProviderUnavailable: it does not answer.
    """
    engine = find_engine()
    if (problem := why_silent(engine)) is not None:
        raise ProviderUnavailable(f"Docker cannot be used: {problem}.", remedy=_REMEDY)
    return engine


def can_run(specs: Sequence[ServiceSpec]) -> str | None:
    """Why Docker cannot run these here, or None if it can: the engine answers and has or can get the images.

    Takes a second where an engine hangs, and some more where an image is missing and its registry hangs.
    """
    engine = find_engine()
    if (problem := why_silent(engine)) is not None:
        return problem
    from realstack.providers.docker_images import missing_images

    return missing_images(engine, specs)


@contextlib.contextmanager
def client_of(engine: Engine, *, timeout_s: float = CALL_TIMEOUT_S) -> Iterator[docker.DockerClient]:
    """An SDK client of ``engine``, closed on exit."""
    client = connect(engine, timeout_s=timeout_s)
    try:
        yield client
    finally:
        client.close()


def connect(engine: Engine, *, timeout_s: float = CALL_TIMEOUT_S) -> docker.DockerClient:
    """An SDK client of ``engine``; the caller closes it.

    :raises ProviderUnavailable: the engine does not answer after all.
    """
    import docker

    arguments: dict[str, Any] = {"use_ssh_client": True} if engine.host.startswith("ssh://") else {}
    try:
        return docker.from_env(timeout=int(timeout_s), environment=engine.environment(), **arguments)
    except docker.errors.DockerException as problem:
        raise ProviderUnavailable(
            f"the Docker engine at {engine.host} cannot be used: {problem}", remedy=_REMEDY
        ) from problem


def leave_note(run: Run, engine: Engine) -> None:
    """Tell whoever sweeps this run that an engine holds things of it. To be called before the first is made."""
    note = run.folder / "docker.json"
    note.write_text(json.dumps({"docker_host": engine.host}), encoding="utf-8")


def remove_run(run_id: str, docker_host: str | None = None) -> list[str]:
    """Remove every container, network and volume with the mark of this run; returns what was found, in words.

    Blocking. Safe to call again, and while somebody else removes the same.

    :raises ProviderUnavailable: the engine does not answer.
    """
    engine = find_engine()
    if docker_host and docker_host != engine.host:
        engine = Engine(docker_host, "the run's own note")
    if (problem := why_silent(engine)) is not None:
        raise ProviderUnavailable(f"Docker cannot be used: {problem}.", remedy=_REMEDY)
    with client_of(engine) as client:
        return remove_marked(client, run_id)


def project_of(run_id: str) -> str:
    """The name of a run's compose project."""
    return f"realstack-{run_id}"


def remove_marked(client: docker.DockerClient, run_id: str) -> list[str]:
    """Remove what carries the mark of that run; returns what was found, in words. Blocking."""
    from concurrent.futures import ThreadPoolExecutor

    labels = (f"{RUN_LABEL}={run_id}", f"{COMPOSE_PROJECT_LABEL}={project_of(run_id)}")
    found: dict[str, Any] = {}
    for label in labels:
        for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
            found[f"container {container.name}"] = container
    with ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(remove_container, found.values()))
    for label in labels:
        for network in client.networks.list(filters={"label": label}):
            found[f"network {network.name}"] = network
            with _gone_already():
                network.remove()
        for volume in client.volumes.list(filters={"label": label}):
            found[f"volume {volume.name}"] = volume
            with _gone_already():
                volume.remove(force=True)
    return list(found)


def remove_container(container: Any) -> None:
    """Kill and remove a container with its anonymous volumes; one that is gone is fine."""
    with _gone_already():
        container.remove(force=True, v=True)


@contextlib.contextmanager
def _gone_already() -> Iterator[None]:
    import docker

    try:
        yield
    except docker.errors.NotFound:
        pass
    except docker.errors.APIError as problem:
        if problem.status_code != http.client.CONFLICT:  # "removal is already in progress"
            raise


def runs() -> dict[str, str]:
    """Whose marks the engine holds: run id to its owner (``pid:start``; "" if unknown). Empty if no engine answers."""
    engine = find_engine()
    if why_silent(engine) is not None:
        return {}
    owners: dict[str, str] = {}
    with client_of(engine) as client:
        for label in (RUN_LABEL, COMPOSE_PROJECT_LABEL):
            for labels in _labels_with(client, label):
                run_id = labels.get(RUN_LABEL) or _run_of(labels[COMPOSE_PROJECT_LABEL])
                if run_id:
                    owners[run_id] = owners.get(run_id) or labels.get(OWNER_LABEL, "")
    return owners


def _run_of(project: str) -> str | None:
    found = re.fullmatch(r"realstack-(r[0-9a-f]{10})", project)
    return found[1] if found else None


def _labels_with(client: docker.DockerClient, label: str) -> Iterator[dict[str, str]]:
    """The labels of everything that has ``label``."""
    filters = {"label": label}
    yield from (found.labels for found in client.containers.list(all=True, filters=filters, ignore_removed=True))
    for found in (*client.networks.list(filters=filters), *client.volumes.list(filters=filters)):
        yield found.attrs.get("Labels") or {}


def run_log_lines(run: Run, spec: ServiceSpec, since: int = 0) -> list[str]:
    """The log of a service of a run that another process owns; empty if it is gone."""
    with client_of(find_engine()) as client:
        filters = {"label": [f"{RUN_LABEL}={run.run_id}", f"{SERVICE_LABEL}={spec.name}"]}
        found = client.containers.list(all=True, filters=filters, ignore_removed=True)
        return log_of(found[0])[since:] if found else []


def log_of(container: Any) -> list[str]:
    """All lines that a container wrote, without line ends."""
    with _gone_already():
        text: str = container.logs().decode("utf-8", "replace")
        return text.splitlines()
    return []


_REFUSALS = (
    (
        re.compile(r"port is already allocated|address already in use|failed to bind host port", re.IGNORECASE),
        "port",
        "a host port that it asks for is taken",
        'end what listens there, or declare no fixed host port (ports: ["127.0.0.1::{port}"]) to get a free one.',
    ),
    (
        re.compile(r"no space left on device", re.IGNORECASE),
        "disk",
        "the engine has no room on its disk",
        "`docker system df` shows what takes room, `docker system prune` frees it.",
    ),
    (
        re.compile(r"executable file not found|no such file or directory: unknown|exec format error", re.IGNORECASE),
        "start",
        "its command cannot be run in its image",
        "check `command` and `entrypoint` in the compose file, and the image's platform.",
    ),
)


def refusal(told: str, port: int) -> tuple[str, str, str]:
    """Stage, problem and remedy for what the engine said when it refused to make or start a container."""
    words = told.strip().rstrip(".")
    for pattern, stage, problem, remedy in _REFUSALS:
        if pattern.search(words):
            return stage, f"{problem}: {words}", remedy.replace("{port}", str(port))
    return "start", f"the engine refused: {words}", "see the engine's words; `docker info` and its log may tell more."
