"""Pulling an image, by the SDK: it knows where the user's credentials lie. A registry that stalls is given up."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

from realstack.errors import ImageUnavailable
from realstack.model import ServiceSpec
from realstack.providers.docker_address import Engine
from realstack.providers.docker_engine import client_of

_LOOK_EVERY_S = 0.1


class StoppedError(Exception):
    """The start was given up while an image was being fetched or built."""


def pull(engine: Engine, image: str, spec: ServiceSpec, *, within_s: float, stop: threading.Event) -> None:
    """Pull ``image``. Blocking; ``stop`` ends it early.

    :raises ImageUnavailable: the registry does not give it, or not within ``within_s`` seconds.
    :raises ProviderUnavailable: the engine does not answer.
    :raises StoppedError: ``stop`` was set.
    """
    import docker
    import requests

    needs = f"Service {spec.name!r} needs the image {image}"
    remedy = (
        f"check the name in the compose file and `docker pull {image}`; where nothing can be pulled, "
        "`make images` builds the images, and REALSTACK_PROVIDER=embedded needs none."
    )
    try:
        for event in _events(engine, image, within_s, stop):
            if "error" in event:
                raise ImageUnavailable(f"{needs}, which cannot be pulled: {event['error']}.", remedy=remedy)
    except TimeoutError as problem:
        raise ImageUnavailable(
            f"{needs}, which was not pulled within {within_s:g} s.",
            remedy=f"`docker pull {image}` once by hand, or raise [tool.realstack] pull_within_s.",
        ) from problem
    except (docker.errors.APIError, requests.exceptions.RequestException) as problem:
        raise ImageUnavailable(
            f"{needs}, which is not here and cannot be pulled: {explanation(problem)}.", remedy=remedy
        ) from problem


def explanation(problem: Any) -> str:
    """The engine's own words, without the SDK's wrapping and the address that it asked: the reader has the image."""
    words = str(getattr(problem, "explanation", None) or problem).strip().rstrip(".")
    return re.sub(r'^Get "[^"]*": ', "", words)


def _events(engine: Engine, image: str, within_s: float, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """What the engine tells of the pull. A thread of its own reads it: the SDK waits for the next word for ever.

    :raises TimeoutError: the pull has not come to its end after ``within_s`` seconds.
    :raises StoppedError: ``stop`` was set.
    """
    deadline = time.monotonic() + within_s
    told: SimpleQueue[dict[str, Any] | Exception | None] = SimpleQueue()
    reader = _Reader(engine, image, told)
    reader.start()
    try:
        while True:
            if stop.is_set():
                raise StoppedError
            if time.monotonic() > deadline:
                raise TimeoutError
            with contextlib.suppress(Empty):
                event = told.get(timeout=_LOOK_EVERY_S)
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
    finally:
        reader.cut()


class _Reader(threading.Thread):
    """Reads the events of one pull into ``told``: each of them, then None, or what went wrong.

    A daemon: where the connection cannot be cut, nobody waits for it.
    """

    def __init__(self, engine: Engine, image: str, told: SimpleQueue[dict[str, Any] | Exception | None]) -> None:
        super().__init__(name=f"pull {image}", daemon=True)
        self._engine, self._image, self._told = engine, image, told
        self._answers: list[Any] = []

    def run(self) -> None:
        """Pull; every failure goes to whoever reads ``told``."""
        import docker

        repository, tag = docker.utils.parse_repository_tag(self._image)
        try:
            with client_of(self._engine) as client:
                client.api.hooks["response"].append(lambda answer, **_: self._answers.append(answer))
                for event in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
                    self._told.put(event)
            self._told.put(None)
        except Exception as problem:  # noqa: BLE001 - it is raised where the events are read
            self._told.put(problem)

    def cut(self) -> None:
        """Close the connection if it is still open: the engine gives a pull up once nobody listens."""
        from docker.types import CancellableStream

        for answer in self._answers if self.is_alive() else ():
            with contextlib.suppress(Exception):  # the SDK has no way to cut every kind of connection
                CancellableStream(iter(()), answer).close()
