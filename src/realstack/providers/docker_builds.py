"""Images that are built: whether they must be and can be, from what, and building them."""

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
from itertools import islice
from pathlib import Path

from realstack.errors import ImageUnavailable, RealstackError, ServiceStartFailed
from realstack.model import Build, Run, ServiceSpec, tail
from realstack.providers.docker_address import Engine
from realstack.providers.docker_api import Api
from realstack.providers.docker_container import inspected, tag_of
from realstack.providers.docker_engine import COMPOSE_PROJECT_LABEL, api_of
from realstack.providers.docker_ignore import files_of, read_rules
from realstack.providers.docker_programs import GET_BUILDX, builder_in_sight, why_no_builder
from realstack.providers.docker_pull import StoppedError

BUILD_LABEL = "realstack.build"
_LOOK_EVERY_S = 0.1
_ENDS_WITHIN_S = 5.0
_MOST_FILES = 3000
"""A build context with more files is not hashed: the builder's own cache is as fast then."""
_FROM = re.compile(r"^FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<name>\S+))?", re.IGNORECASE)
_ARG = re.compile(r"^ARG\s+(?P<name>\w+)(?:=(?P<value>\S*))?", re.IGNORECASE)
_NOT_PULLED = re.compile(r"load metadata for .*\n.*ERROR|pull access denied|failed to resolve source metadata")
NO_BUILDER = re.compile(r"buildx component is missing|requires? (?:the )?buildx")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")


def why_not_buildable(engine: Engine, specs: Sequence[ServiceSpec]) -> str | None:
    """Which image must be built that cannot be, for want of a program, and why; None if none is.

    No program is started where every image is here and a builder in sight.
    """
    if not any(spec.build for spec in specs):
        return None
    in_sight = builder_in_sight()
    with api_of(engine) as api:
        for spec in specs:
            if spec.build is not None and _must_be_built(api, spec, spec.build, or_stale=not in_sight):
                problem = why_no_builder()
                return f"the image {tag_of(spec)} is to be built, and {problem}" if problem else None
    return None


def _must_be_built(api: Api, spec: ServiceSpec, build: Build, *, or_stale: bool) -> bool:
    return needs_build(api, spec, build)[0] if or_stale else inspected(api, spec, tag_of(spec)) is None


def needs_build(api: Api, spec: ServiceSpec, build: Build) -> tuple[bool, str | None]:
    """Whether the service's image is to be built, and the hash of its context that it is to carry.

    What was built carries that hash: it is built again once the hash differs, or where there is none. An image
    of that tag which nobody built from a declaration is taken as it is.
    """
    digest = context_hash(build)
    found = inspected(api, spec, tag_of(spec))
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
        raise _no_builder(spec, "there is no command `docker`") from problem
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
    if NO_BUILDER.search(output):
        return _no_builder(spec, "Docker's buildx component is missing or too old", tail(output.splitlines(), 3))
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


def _no_builder(spec: ServiceSpec, lack: str, log_tail: Sequence[str] = ()) -> ServiceStartFailed:
    return ServiceStartFailed(
        spec.name,
        "build",
        problem=f"the image {tag_of(spec)} is to be built, and {lack}",
        log_tail=log_tail,
        remedy=f"{GET_BUILDX}, or build {tag_of(spec)} elsewhere; REALSTACK_PROVIDER=embedded needs no image.",
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
