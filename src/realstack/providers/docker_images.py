"""Images: whether they are here, whether they could be had, and getting them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from realstack.errors import ImageUnavailable
from realstack.model import Run, ServiceSpec
from realstack.providers.docker_address import Engine
from realstack.providers.docker_api import Api
from realstack.providers.docker_builds import base_images, build_image, needs_build
from realstack.providers.docker_container import inspected, tag_of
from realstack.providers.docker_engine import api_of, client_of
from realstack.providers.docker_pull import explanation, pull

REGISTRY_ANSWERS_WITHIN_S = 4.0


def missing_images(engine: Engine, specs: Sequence[ServiceSpec]) -> str | None:
    """Which image is neither here nor to be had from its registry, and why; None if none is.

    For an image that is to be built that asks for the images that it is built from.

    :raises ComposeFileError: what is declared as an image cannot be one.
    """
    with api_of(engine) as api:
        wanted = {image: spec for spec in specs for image in _wanted(api, spec)}
        absent = [image for image, spec in wanted.items() if inspected(api, spec, image) is None]
    if not absent:
        return None
    with ThreadPoolExecutor(max_workers=8) as threads:
        problems = list(threads.map(lambda image: _why_not_pullable(engine, image), absent))
    return next((problem for problem in problems if problem), None)


def _wanted(api: Api, spec: ServiceSpec) -> list[str]:
    if spec.build is None:
        return [spec.image] if spec.image else []
    if inspected(api, spec, tag_of(spec)) is not None:
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

    :raises ComposeFileError: what is declared as an image cannot be one.
    :raises ImageUnavailable: it cannot be pulled, or not in time.
    :raises ServiceStartFailed: it cannot be built, or not in time (stage ``build``).
    :raises StoppedError: ``stop`` was set.
    """
    image = tag_of(spec)
    if spec.build is None:
        if (found := inspected(api, spec, image)) is not None:
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
