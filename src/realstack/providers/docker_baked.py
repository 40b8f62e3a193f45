"""Initialised data kept in a local image, so that only a first run waits for a server to initialise its data.

A declaration asks for it by ``bake: /path/of/its/data`` in ``x-realstack``, and must have a health check: that
is how a stranger's server tells that its data are ready. The data lie beside their place in the image and are
copied there when a container starts, since their place may be a tmpfs or a volume.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from realstack.model import Run, ServiceSpec
from realstack.providers.docker_engine import remove_container

if TYPE_CHECKING:
    import docker

BAKED_LABEL, BAKED_OF_LABEL = "realstack.baked", "realstack.baked.of"
BAKED_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.05
_HEALTH_EVERY_NS = 100_000_000
_REPLACED_AFTER = timedelta(days=1)
_KEPT_AT = "/realstack-baked"
_COPY = f'cp -a {_KEPT_AT}/. "$0" && exec "$@"'
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Baked:
    """An image with initialised data, and how a container of it starts."""

    image: str
    entrypoint: list[str]
    command: list[str]


def ensure_baked(
    client: docker.DockerClient,
    spec: ServiceSpec,
    image: str,
    settings: Mapping[str, Any],
    run: Run,
    *,
    stop: threading.Event,
) -> Baked | None:
    """The baked image for this declaration, made if it is not here yet; None if it asks for none. Blocking.

    The image is found by the hash of what its data come from. Whatever fails in baking leaves the service to
    start the plain way.
    """
    path = str(spec.extra.get("bake") or "")
    if not path or not spec.health_check or not spec.health_check.test or spec.health_check.test == ("NONE",):
        return None
    source = client.images.get(image)
    inner = source.attrs["Config"]
    own = [*(settings.get("entrypoint") or inner.get("Entrypoint") or ())]
    command = [*(settings.get("command") or (() if "entrypoint" in settings else inner.get("Cmd") or ()))]
    tag = f"realstack-baked/{_hash(_VERSION, source.id, path, own, command, dict(settings.get('environment', {})))}"
    oven = _Oven(client, source.id, path, tag, run, f"{run.project}/{spec.compose_name}", stop)
    if not _is_here(client, tag) and not oven.bake(settings):
        return None
    return Baked(tag, ["sh", "-c", _COPY, path], [*own, *command])


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def _is_here(client: docker.DockerClient, tag: str) -> bool:
    import docker

    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Oven:
    """Makes the baked image ``tag`` of ``image`` with the data at ``path``. ``of`` names whose data they are."""

    client: docker.DockerClient
    image: str
    path: str
    tag: str
    run: Run
    of: str
    stop: threading.Event

    def bake(self, settings: Mapping[str, Any]) -> bool:
        """Initialise once, stop in good order, and keep the data in an image; whether that succeeded."""
        import docker

        made: list[Any] = []
        try:
            made.append(filled := self._server(settings))
            filled.start()
            if not _became_healthy(filled, self.stop):
                return False
            filled.stop(timeout=30)
            made.append(kept := self.client.containers.create(self.image, labels=self.run.labels))
            kept.put_archive("/", _renamed(b"".join(filled.get_archive(self.path)[0]), self.path))
            _forget_older(self.client, self.of)
            # The image must not carry the run's own mark, which its container has.
            labels = {**dict.fromkeys(self.run.labels, ""), BAKED_LABEL: "1", BAKED_OF_LABEL: self.of}
            kept.commit(self.tag, changes=[f'LABEL {name}="{value}"' for name, value in labels.items()])
        except docker.errors.APIError:
            return False
        finally:
            for container in made:
                remove_container(container)
        return True

    def _server(self, settings: Mapping[str, Any]) -> Any:
        """The service as declared, but for its data: they must survive its stop. No network: nobody may write."""
        data = dict(settings)
        data["tmpfs"] = {at: how for at, how in settings.get("tmpfs", {}).items() if at != self.path}
        data["mounts"] = [*settings.get("mounts", ()), _volume(self.path)]
        data["healthcheck"] = {**settings["healthcheck"], "interval": _HEALTH_EVERY_NS}
        return self.client.containers.create(self.image, labels=self.run.labels, network_mode="none", **data)


def _volume(path: str) -> Any:
    from docker.types import Mount

    return Mount(path, None, type="volume")


def _became_healthy(container: Any, stop: threading.Event) -> bool:
    deadline = time.monotonic() + BAKED_WITHIN_S
    while time.monotonic() < deadline and not stop.is_set():
        container.reload()
        state = container.attrs["State"]
        if (state.get("Health") or {}).get("Status") == "healthy":
            return True
        if state["Status"] in ("exited", "dead"):
            return False
        time.sleep(_LOOK_EVERY_S)
    return False


def _renamed(archive: bytes, path: str) -> bytes:
    """The archive of the folder ``path`` with that folder renamed, so that it unpacks beside its old place."""
    old, new = path.rstrip("/").rpartition("/")[2], _KEPT_AT.strip("/")
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=out, mode="w") as target:
        for member in source:
            member.name = new + member.name.removeprefix(old)
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def _forget_older(client: docker.DockerClient, of: str) -> None:
    """Baked images of the same service that are a day old are replaced by now; one in use stays."""
    import docker

    for image in client.images.list(filters={"label": f"{BAKED_OF_LABEL}={of}"}):
        made = datetime.fromisoformat(image.attrs["Created"][:19]).replace(tzinfo=UTC)
        if datetime.now(UTC) - made < _REPLACED_AFTER:
            continue  # another run with another declaration may be about to start from it
        try:
            client.images.remove(image.id)
        except docker.errors.APIError as problem:
            if problem.status_code not in (http.client.CONFLICT, http.client.NOT_FOUND):
                raise
