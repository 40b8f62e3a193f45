"""Images: whether they are here, whether they could be had, and getting them by pull or build."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from realstack.errors import ImageUnavailable, RealstackError, ServiceStartFailed
from realstack.model import Build, Run, ServiceSpec, tail
from realstack.providers.docker_address import Engine
from realstack.providers.docker_api import Api
from realstack.providers.docker_engine import COMPOSE_PROJECT_LABEL, api_of, client_of
from realstack.providers.docker_ignore import files_of, read_rules
from realstack.providers.docker_pull import StoppedError, explanation, pull

REGISTRY_ANSWERS_WITHIN_S = 4.0
BUILD_LABEL = "realstack.build"
_LOOK_EVERY_S = 0.1
_ENDS_WITHIN_S = 5.0
_MOST_FILES = 3000
"""A build context with more files is not hashed: the builder's own cache is as fast then."""
_FROM = re.compile(r"^FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<name>\S+))?", re.IGNORECASE)
_ARG = re.compile(r"^ARG\s+(?P<name>\w+)(?:=(?P<value>\S*))?", re.IGNORECASE)
_NOT_PULLED = re.compile(r"load metadata for .*\n.*ERROR|pull access denied|failed to resolve source metadata")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")


def missing_images(engine: Engine, specs: Sequence[ServiceSpec]) -> str | None:
    """Which image is neither here nor to be had from its registry, and why; None if none is.

    For an image that is to be built that asks for the images that it is built from.
    """
    with api_of(engine) as api:
        wanted = [image for spec in specs for image in _wanted(api, spec)]
        absent = [image for image in dict.fromkeys(wanted) if api.inspect_image(image) is None]
    if not absent:
        return None
    with ThreadPoolExecutor(max_workers=8) as threads:
        problems = list(threads.map(lambda image: _why_not_pullable(engine, image), absent))
    return next((problem for problem in problems if problem), None)


def _wanted(api: Api, spec: ServiceSpec) -> list[str]:
    if spec.build is None:
        return [spec.image] if spec.image else []
    if api.inspect_image(tag_of(spec)) is not None:
        return []
    return base_images(spec.build)


def _why_not_pullable(engine: Engine, image: str) -> str | None:
    """Ask the registry through the engine, with the user's own credentials, without pulling."""
    import docker
    import requests

    try:
        with client_of(engine, timeout_s=REGISTRY_ANSWERS_WITHIN_S) as client:
            client.images.get_registry_data(image)
    except docker.errors.APIError as problem:
        return f"the image {image} is not here and cannot be pulled: {explanation(problem)}"
    except requests.exceptions.RequestException:
        return f"the image {image} is not here, and its registry gave no answer within {REGISTRY_ANSWERS_WITHIN_S:g} s"
    return None


def base_images(build: Build) -> list[str]:
    """The images that a Dockerfile builds upon, its ``ARG`` before ``FROM`` filled in. Empty if it is unreadable."""
    try:
        lines = build.dockerfile.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    arguments: dict[str, str] = {}
    stages: set[str] = {"scratch"}
    images: list[str] = []
    for line in lines:
        if (argument := _ARG.match(line)) and not images:
            name = argument["name"]
            arguments[name] = build.args.get(name, (argument["value"] or "").strip("\"'"))
        elif found := _FROM.match(line):
            image = _VARIABLE.sub(lambda name: arguments.get(name[1] or name[3]) or name[2] or "", found["image"])
            if image.lower() not in stages:
                images.append(image)
            stages.add((found["name"] or "").lower())
    return images


def tag_of(spec: ServiceSpec) -> str:
    """The image that the service runs: the declared one, or the tag of what is built for it."""
    return spec.image or f"realstack-{spec.compose_name}"


def ensure_image(
    api: Api,
    spec: ServiceSpec,
    run: Run,
    *,
    pull_within_s: float,
    stop: threading.Event,
) -> dict[str, Any]:
    """Make the service's image be here, by pull or build, and return what the engine knows of it.

    Blocking; ``stop`` ends it early. ``pull_within_s``: for the pull, and for the build.

    :raises ImageUnavailable: it cannot be pulled, or not in time.
    :raises ServiceStartFailed: it cannot be built, or not in time (stage ``build``).
    :raises StoppedError: ``stop`` was set.
    """
    image = tag_of(spec)
    if spec.build is None:
        if (found := api.inspect_image(image)) is not None:
            return found
        pull(api.engine, image, spec, within_s=pull_within_s, stop=stop)
    else:
        is_stale, digest = needs_build(api, spec, spec.build)
        if is_stale:
            build_image(api.engine, spec, spec.build, digest=digest, run=run, within_s=pull_within_s, stop=stop)
    if (found := api.inspect_image(image)) is None:
        raise ImageUnavailable(
            f"Service {spec.name!r} needs the image {image}, which was here a moment ago.",
            remedy="try again; something on this machine removes images.",
        )
    return found


def needs_build(api: Api, spec: ServiceSpec, build: Build) -> tuple[bool, str | None]:
    """Whether the service's image is to be built, and the hash of its context that it is to carry.

    What was built carries that hash: it is built again once the hash differs, or where there is none. An image
    of that tag which nobody built from a declaration is taken as it is.
    """
    digest = context_hash(build)
    found = api.inspect_image(tag_of(spec))
    if found is None:
        return True, digest
    labels = found["Config"].get("Labels") or {}
    is_given = BUILD_LABEL not in labels and COMPOSE_PROJECT_LABEL not in labels
    return not is_given and (digest is None or labels.get(BUILD_LABEL) != digest), digest


def build_image(
    engine: Engine,
    spec: ServiceSpec,
    build: Build,
    *,
    digest: str | None,
    run: Run,
    within_s: float,
    stop: threading.Event,
) -> None:
    """Build by the command ``docker`` with BuildKit, which alone knows secrets and per-file ignore lists.

    :raises ImageUnavailable: an image that it builds upon is not to be had.
    :raises ServiceStartFailed: it failed, took longer than ``within_s`` seconds, or there is no such command.
    :raises StoppedError: ``stop`` was set.
    """
    environment = {**os.environ, **engine.environment(), "DOCKER_BUILDKIT": "1", "REALSTACK_RUN": run.run_id}
    tag, began = tag_of(spec), time.monotonic()
    try:
        status, output = _run(_build_command(build, tag, digest), environment, within_s, stop)
    except FileNotFoundError as problem:
        raise ServiceStartFailed(
            spec.name,
            "build",
            problem="its image is to be built, and there is no command `docker`",
            remedy=f"install Docker's command line with buildx, or build {tag} elsewhere.",
        ) from problem
    if status is None:
        raise ServiceStartFailed(
            spec.name,
            "build",
            problem=f"the image {tag} was not built within {within_s:g} s",
            log_tail=tail(output.splitlines()),
            remedy=f"`docker build --tag {tag}` once by hand, or raise [tool.realstack] pull_within_s.",
        )
    if status:
        raise build_failed(spec, build, output, time.monotonic() - began)


def build_failed(spec: ServiceSpec, build: Build, output: str, after_s: float | None = None) -> RealstackError:
    """The error for a build that failed with that output."""
    tag = tag_of(spec)
    if _NOT_PULLED.search(output):
        bases = ", ".join(base_images(build)) or "an image"
        return ImageUnavailable(
            f"Service {spec.name!r} needs the image {tag}, whose build needs {bases}, which is not to be had.",
            details=tail(output.splitlines(), 3),
            remedy="where nothing can be pulled, `make images` builds the images and prints the variables that "
            "name them; REALSTACK_PROVIDER=embedded needs none.",
        )
    return ServiceStartFailed(
        spec.name,
        "build",
        problem=f"the image {tag} could not be built from {build.dockerfile}",
        after_s=after_s,
        log_tail=tail(output.splitlines()),
        remedy="correct the Dockerfile or its arguments; see the builder's words above.",
    )


def _build_command(build: Build, tag: str, digest: str | None) -> list[str]:
    command = ["docker", "build", "--progress=plain", "--file", str(build.dockerfile), "--tag", tag]
    command += ["--label", f"{BUILD_LABEL}={digest or 'unknown'}"]
    command += [word for name, value in build.args.items() for word in ("--build-arg", f"{name}={value}")]
    command += [word for name, file in build.secrets.items() for word in ("--secret", f"id={name},src={file}")]
    command += ["--target", build.target] if build.target else []
    command += ["--network", build.network] if build.network else []
    return [*command, str(build.context)]


def _run(
    command: Sequence[str], environment: Mapping[str, str], within_s: float, stop: threading.Event
) -> tuple[int | None, str]:
    """Exit status and output; the command is ended after ``within_s`` seconds (None), or once ``stop`` is set."""
    deadline = time.monotonic() + within_s
    with (
        tempfile.TemporaryFile("w+", errors="replace") as output,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        status: int | None = None
        while status is None and time.monotonic() < deadline and not stop.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_LOOK_EVERY_S)
        if status is None:
            _end(process)
        if status is None and stop.is_set():
            raise StoppedError
        output.seek(0)
        return status, output.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Tell the command and what it started to end; kill what did not. The builder gives up with its client."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDS_WITHIN_S)


def context_hash(build: Build) -> str | None:
    """A hash of all that goes into the image, by content; None where the context is too big to read each time."""
    digest = hashlib.sha256(json.dumps([build.target, dict(sorted(build.args.items()))]).encode())
    with contextlib.suppress(OSError):
        digest.update(build.dockerfile.read_bytes())
    for count, file in enumerate(_context_files(build)):
        if count > _MOST_FILES:
            return None
        digest.update(f"{file.relative_to(build.context)}\0".encode())
        with contextlib.suppress(OSError):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _context_files(build: Build) -> Iterator[Path]:
    own = build.dockerfile.with_name(f"{build.dockerfile.name}.dockerignore")
    ignore = own if own.is_file() else build.context / ".dockerignore"
    rules = read_rules(ignore.read_text(encoding="utf-8")) if ignore.is_file() else []
    files = sorted(build.context / name for name in islice(files_of(build.context, rules), _MOST_FILES * 2))
    return (file for file in files if file.is_file() and file.suffix != ".pyc")
