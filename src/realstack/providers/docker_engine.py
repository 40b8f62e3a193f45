"""The Docker engine that both Docker providers use: finding it, asking it quickly, and removing a run's marks.

All of it needs nothing but the standard library (`docker_api` says why); the SDK is imported for what happens once.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack.errors import LeftBehind, ProviderUnavailable
from realstack.model import Run, ServiceSpec
from realstack.providers.docker_address import Engine, find_engine
from realstack.providers.docker_api import CALL_TIMEOUT_S, Api, Container, RefusedError, exchange

if TYPE_CHECKING:
    import docker

ANSWERS_WITHIN_S = 1.0
SSH_ANSWERS_WITHIN_S = 5.0

RUN_LABEL, OWNER_LABEL, SERVICE_LABEL = "realstack.run", "realstack.owner", "realstack.service"
COMPOSE_PROJECT_LABEL = "com.docker.compose.project"
_REMOVAL_ROUNDS = 3
_LOOK_AGAIN_AFTER_S = 0.3
_REMEDY = "start Docker, or name the engine in DOCKER_HOST; REALSTACK_PROVIDER=embedded needs no Docker."


def why_silent(engine: Engine, *, within_s: float = ANSWERS_WITHIN_S) -> str | None:
    """Why the engine is of no use, or None if it answers within ``within_s`` seconds (over ssh: at least five)."""
    where = f"at {engine.host} (from {engine.named_by})"
    if engine.host.startswith("ssh://"):
        return _why_silent_by_ssh(engine, where, max(within_s, SSH_ANSWERS_WITHIN_S))
    try:
        status, _, _ = exchange(engine, "GET", "/_ping", within_s=within_s)
    except TimeoutError:
        return f"the Docker engine {where} gave no answer within {within_s:g} s"
    except PermissionError:
        return f"this user may not use the Docker engine {where}"
    except (OSError, ValueError) as problem:
        return f"no Docker engine answers {where}: {getattr(problem, 'strerror', None) or problem}"
    return None if status == http.client.OK else f"the Docker engine {where} answered with status {status}"


def _why_silent_by_ssh(engine: Engine, where: str, within_s: float) -> str | None:
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            env={**os.environ, **engine.environment()},
            capture_output=True,
            text=True,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"no Docker engine answers {where}: {problem}"
    return None if asked.returncode == 0 else f"no Docker engine answers {where}: {asked.stderr.strip()}"


def require_engine(engine: Engine | None = None, *, within_s: float = ANSWERS_WITHIN_S) -> Engine:
    """That engine, or the one that is found, which answered just now.

    :raises ProviderUnavailable: it does not answer within ``within_s`` seconds.
    """
    engine = engine or find_engine()
    if (problem := why_silent(engine, within_s=within_s)) is not None:
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

    try:
        return missing_images(engine, specs)
    except ProviderUnavailable as silent:
        return silent.problem.rstrip(".")


def why_not_buildable(specs: Sequence[ServiceSpec]) -> str | None:
    """Why an image of these that must be built cannot be, or None. Asks the engine, and programs only where it must."""
    from realstack.providers.docker_builds import why_not_buildable

    return why_not_buildable(find_engine(), specs)


@contextlib.contextmanager
def api_of(engine: Engine) -> Iterator[Api]:
    """Calls to ``engine``; what they hold is given back on exit."""
    api = Api(engine)
    try:
        yield api
    finally:
        api.close()


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
    note_of(run.folder).write_text(json.dumps({"docker_host": engine.host}), encoding="utf-8")


def remove_noted(api: Api, run: Run, *, looks: int = 1, is_all: bool = True) -> None:
    """Remove all that the engine holds of the run, and then the note of :func:`leave_note`. Blocking.

    ``looks``: how often, where the engine may still do what a killed client had asked for last. Not ``is_all``: it
    may do so even later. The note stays then, and with it the watchdog's task.

    :raises LeftBehind: something could not be removed; the note stays.
    """
    try:
        for look in range(looks):
            time.sleep(_LOOK_AGAIN_AFTER_S if look else 0)
            remove_marked(api, run.run_id)
    except (RefusedError, ProviderUnavailable) as problem:
        raise left_behind(run.run_id, problem) from problem
    if is_all:
        note_of(run.folder).unlink(missing_ok=True)


def left_behind(run_id: str, problem: RefusedError | ProviderUnavailable) -> LeftBehind:
    """The error for what the engine still holds of that run, and why."""
    why = problem.problem if isinstance(problem, ProviderUnavailable) else f"the engine refused: {problem.words}"
    return LeftBehind(
        f"what the Docker engine holds of run {run_id} could not be removed: {why.rstrip('.')}.",
        remedy="the run's watchdog goes on trying; `realstack down` removes what is left, once the engine answers.",
    )


def note_of(folder: Path) -> Path:
    """The note of a run with that folder. While it is there, an engine may hold something of the run."""
    return folder / "docker.json"


def engine_of(folder: Path) -> Engine:
    """The engine that the note of a run names; the usual one where there is none, or half of one."""
    found = find_engine()
    try:
        named = json.loads(note_of(folder).read_text(encoding="utf-8"))["docker_host"]
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return found if named == found.host else Engine(str(named), "the run's own note")


def remove_run(run_id: str, engine: Engine | None = None, *, answers_within_s: float = ANSWERS_WITHIN_S) -> list[str]:
    """Remove every container, network and volume with the mark of this run; returns what was found, in words.

    Blocking. Safe to call again, and while somebody else removes the same.

    :raises ProviderUnavailable: the engine does not answer.
    :raises RefusedError: it would not remove something.
    """
    with api_of(require_engine(engine, within_s=answers_within_s)) as api:
        return remove_marked(api, run_id)


def project_of(run_id: str) -> str:
    """The name of a run's compose project."""
    return f"realstack-{run_id}"


def remove_marked(api: Api, run_id: str) -> list[str]:
    """Remove what carries the mark of that run; returns what was found, in words. Blocking.

    Looks again until nothing is found: a dead client may have asked for something that comes a moment later,
    and a network goes only after its last container.
    """
    found: dict[str, None] = {}
    for attempt in range(1, _REMOVAL_ROUNDS + 1):
        removed = _remove_once(api, run_id, must_succeed=attempt == _REMOVAL_ROUNDS)
        if not removed:
            break
        found.update(dict.fromkeys(removed))
    return list(found)


def _remove_once(api: Api, run_id: str, *, must_succeed: bool) -> list[str]:
    from concurrent.futures import ThreadPoolExecutor

    containers: dict[str, Container] = {}
    others: dict[str, str] = {}
    for label in (f"{RUN_LABEL}={run_id}", f"{COMPOSE_PROJECT_LABEL}={project_of(run_id)}"):
        containers |= {f"container {container.name}": container for container in api.containers(label)}
        others |= {f"network {network['Name']}": f"/networks/{network['Id']}" for network in _networks(api, label)}
        others |= {f"volume {volume['Name']}": f"/volumes/{volume['Name']}" for volume in _volumes(api, label)}
    if containers:
        with ThreadPoolExecutor(max_workers=8) as threads:
            list(threads.map(remove_container, containers.values()))
    for path in others.values():
        with _gone_already(or_in_use=not must_succeed):
            api.call("DELETE", path)
    return [*containers, *others]


def _networks(api: Api, label: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.call("GET", "/networks", filters={"label": [label]})
    return found


def _volumes(api: Api, label: str) -> list[dict[str, Any]]:
    return api.call("GET", "/volumes", filters={"label": [label]})["Volumes"] or []


def remove_container(container: Container) -> None:
    """Kill and remove a container with its anonymous volumes; one that is gone is fine."""
    with _gone_already():
        container.remove()


@contextlib.contextmanager
def _gone_already(*, or_in_use: bool = False) -> Iterator[None]:
    passed_over = {http.client.NOT_FOUND} | ({http.client.CONFLICT, http.client.FORBIDDEN} if or_in_use else set())
    try:
        yield
    except RefusedError as problem:
        if problem.status not in passed_over and "already in progress" not in problem.words:
            raise


def runs() -> dict[str, str]:
    """Whose marks the engine holds: run id to its owner's label ("" if unknown). Empty if no engine answers.

    :raises ProviderUnavailable: one answers at first, and then no more.
    """
    engine = find_engine()
    if why_silent(engine) is not None:
        return {}
    owners: dict[str, str] = {}
    with api_of(engine) as api:
        for label in (RUN_LABEL, COMPOSE_PROJECT_LABEL):
            for labels in _labels_with(api, label):
                run_id = labels.get(RUN_LABEL) or _run_of(labels[COMPOSE_PROJECT_LABEL])
                if run_id:
                    owners[run_id] = owners.get(run_id) or labels.get(OWNER_LABEL, "")
    return owners


def _run_of(project: str) -> str | None:
    found = re.fullmatch(r"realstack-(r[0-9a-f]{10})", project)
    return found[1] if found else None


def _labels_with(api: Api, label: str) -> Iterator[dict[str, str]]:
    """The labels of everything that has ``label``."""
    yield from (container.labels for container in api.containers(label))
    for found in (*_networks(api, label), *_volumes(api, label)):
        yield found.get("Labels") or {}


def run_log_lines(run: Run, spec: ServiceSpec, since: int = 0) -> list[str]:
    """The log of a service of a run that another process owns; empty if it is gone.

    :raises ProviderUnavailable: the engine does not answer.
    """
    with api_of(engine_of(run.folder)) as api:
        found = api.containers(f"{RUN_LABEL}={run.run_id}", f"{SERVICE_LABEL}={spec.name}")
        return log_of(found[0])[since:] if found else []


def log_of(container: Container) -> list[str]:
    """All lines that a container wrote, without line ends."""
    with _gone_already():
        return container.logs().decode("utf-8", "replace").splitlines()
    return []
