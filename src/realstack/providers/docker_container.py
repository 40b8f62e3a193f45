"""A running container as both Docker providers see it, and what the engine means when it refuses to make one."""

from __future__ import annotations

import http.client
import re
import time
from typing import Any

from realstack.errors import ComposeFileError, ProviderUnavailable
from realstack.model import Address, ServiceSpec
from realstack.providers.docker_api import Api, Container, RefusedError
from realstack.providers.docker_engine import log_of

LOOK_EVERY_S = 0.1


class Contained:
    """A service in a container of ours. ``address`` is known from the start on."""

    def __init__(self, spec: ServiceSpec, address: Address, container: Container) -> None:
        self.spec = spec
        self.address = address
        self.container = container
        self._looked_at = time.monotonic()  # it was just started: the first probe need not wait for the engine's word
        self._end: str | None = None

    def __repr__(self) -> str:
        return f"<Contained {self.spec.name} {self.container.short_id} at {self.address.host}:{self.address.port}>"

    def died(self) -> str | None:
        """How it ended. The engine is asked ten times a second at most."""
        now = time.monotonic()
        if self._end is None and now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._end = end_of(self.container)
        return self._end

    def log_lines(self, since: int = 0) -> list[str]:
        """The container's log from that line on."""
        return log_of(self.container)[since:]


def tag_of(spec: ServiceSpec) -> str:
    """The image that the service runs: the declared one, or the tag of what is built for it."""
    return spec.image or f"realstack-{spec.compose_name.lower()}"


def inspected(api: Api, spec: ServiceSpec, image: str) -> dict[str, Any] | None:
    """What the engine knows of an image that the service needs; None if it has none of that name.

    :raises ComposeFileError: that is no name of an image; the key that gives it is named.
    """
    try:
        return api.inspect_image(image)
    except RefusedError as problem:
        if problem.status != http.client.BAD_REQUEST:
            raise
        own = image == tag_of(spec) or spec.build is None
        key = "image" if own else f"build.dockerfile ({spec.build.dockerfile if spec.build else ''})"
        raise ComposeFileError(
            f"services.{spec.compose_name}.{key} names the image {image!r}, which cannot be one: {problem.words}",
            remedy="write it as name:tag, the name in small letters; a variable in it may be without a value.",
        ) from problem


def host_port_of(container: Container, port: int) -> int | None:
    """The host port under which that port of the container is published, by what was last read of it."""
    bound = (container.attrs["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or ()
    return next((int(entry["HostPort"]) for entry in bound), None)


def end_of(container: Container) -> str | None:
    """How the container ended, asked just now; None while it lives."""
    try:
        container.reload()
    except RefusedError as problem:
        return "its container removed" if problem.status == http.client.NOT_FOUND else None
    except ProviderUnavailable:
        return None  # the engine is busy, or gone: the probe will tell
    state = container.attrs["State"]
    if state["Status"] not in ("exited", "dead"):
        return None
    killed = " (killed for want of memory)" if state.get("OOMKilled") else ""
    return f"exit status {state['ExitCode']}{killed}"


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
