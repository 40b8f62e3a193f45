"""Initialised data kept in a local image, so that only a first run waits for a server to initialise its data.

A declaration asks for it by ``bake: /path/of/its/data`` in ``x-realstack``, and must have a health check: that
is how a stranger's server tells that its data are ready. The data lie in the image apart from their place and are
laid out there when a container starts, since their place may be a tmpfs or a volume. They lie there as one file:
to open a thousand files of a container's fresh layers takes longer than to write them.
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
from realstack.providers.docker_api import Api, Container, RefusedError
from realstack.providers.docker_engine import client_of, project_of, remove_container

if TYPE_CHECKING:
    import docker

BAKED_LABEL, BAKED_OF_LABEL = "realstack.baked", "realstack.baked.of"
BAKED_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.05
_HEALTH_EVERY_NS = 100_000_000
_REPLACED_AFTER = timedelta(days=1)
_KEPT_AT = "/realstack-baked"
_BY_LABEL = "realstack.baked.by"
_LAY_OUT = {
    "tar": f'tar -xpf {_KEPT_AT} -C "$0" && exec "$@"',
    "cp": f'cp -a {_KEPT_AT}/. "$0" && exec "$@"',  # for an image that has no tar
}
_HAS_TAR = "command -v tar"
_VERSION = "2"


@dataclass(frozen=True, slots=True)
class Baked:
    """An image with initialised data, and how a container of it starts."""

    image: str
    entrypoint: list[str]
    command: list[str]


def ensure_baked(
    api: Api,
    spec: ServiceSpec,
    image: Mapping[str, Any],
    config: Mapping[str, Any],
    run: Run,
    *,
    stop: threading.Event,
) -> Baked | None:
    """The baked image for this declaration, made if it is not here yet; None if it asks for none. Blocking.

    ``image`` is what the engine knows of the declared image, ``config`` the declaration in its words. The baked
    image is found by the hash of what its data come from. Whatever fails in baking leaves the service to start
    the plain way.
    """
    path = str(spec.extra.get("bake") or "")
    if not path or not spec.health_check or not spec.health_check.test or spec.health_check.test == ("NONE",):
        return None
    inner = image["Config"]
    own = [*(config.get("Entrypoint") or inner.get("Entrypoint") or ())]
    command = [*(config.get("Cmd") or (() if "Entrypoint" in config else inner.get("Cmd") or ()))]
    tag = f"realstack-baked/{_hash(_VERSION, image['Id'], path, own, command, sorted(config.get('Env', ())))}"
    if (baked := api.inspect_image(tag)) is not None:
        by = (baked["Config"].get("Labels") or {}).get(_BY_LABEL)
    else:
        with client_of(api.engine) as client:
            oven = _Oven(api, client, image["Id"], path, tag, run, f"{run.project}/{spec.compose_name}", stop)
            by = oven.bake(config)
    return Baked(tag, ["sh", "-c", _LAY_OUT[by], path], [*own, *command]) if by else None


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class _Oven:
    """Makes the baked image ``tag`` of ``image`` with the data at ``path``. ``of`` names whose data they are."""

    api: Api
    client: docker.DockerClient
    image: str
    path: str
    tag: str
    run: Run
    of: str
    stop: threading.Event

    def bake(self, config: Mapping[str, Any]) -> str | None:
        """Initialise once, stop in good order, and keep the data in an image; how they lie there, None if it failed."""
        import docker

        made: list[Container] = []
        try:
            made.append(server := self._made("filled", self._server(config)))
            server.start()
            if not _became_healthy(server, self.stop):
                return None
            filled = self.client.containers.get(server.id)
            by = "tar" if filled.exec_run(["sh", "-c", _HAS_TAR]).exit_code == 0 else "cp"
            filled.stop(timeout=30)
            archive = b"".join(filled.get_archive(self.path)[0])
            made.append(empty := self._made("kept", {"Image": self.image, "Labels": self.run.labels}))
            kept = self.client.containers.get(empty.id)
            kept.put_archive("/", _packed(_renamed(archive, ".")) if by == "tar" else _renamed(archive, _KEPT_AT))
            _forget_older(self.client, self.of)
            # The image must not carry the run's own mark, which its container has.
            marks = {BAKED_LABEL: "1", BAKED_OF_LABEL: self.of, _BY_LABEL: by}
            labels = {**dict.fromkeys(self.run.labels, ""), **marks}
            kept.commit(self.tag, changes=[f'LABEL {name}="{value}"' for name, value in labels.items()])
        except (docker.errors.APIError, RefusedError):
            return None
        finally:
            for container in made:
                remove_container(container)
        return by

    def _made(self, what: str, config: Mapping[str, Any]) -> Container:
        return self.api.create(f"{project_of(self.run.run_id)}-{self.tag.rpartition('/')[2]}-{what}", config)

    def _server(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The service as declared, but for its data: they must survive its stop. No network: nobody may write."""
        host_config = config["HostConfig"]
        tmpfs = {at: how for at, how in host_config.get("Tmpfs", {}).items() if at != self.path}
        mounts = [*host_config.get("Mounts", ()), {"Type": "volume", "Target": self.path}]
        return {
            **config,
            "Image": self.image,
            "Labels": self.run.labels,
            "Healthcheck": {**config["Healthcheck"], "Interval": _HEALTH_EVERY_NS},
            "HostConfig": {**host_config, "Tmpfs": tmpfs, "Mounts": mounts, "NetworkMode": "none"},
        }


def _became_healthy(container: Container, stop: threading.Event) -> bool:
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


def _renamed(archive: bytes, name: str) -> bytes:
    """The archive of one folder with that folder called ``name``, its owners by number only."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=out, mode="w") as target:
        for member in source:
            member.name = "/".join([name.strip("/"), *member.name.split("/")[1:]])
            member.uname = member.gname = ""
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def _packed(archive: bytes) -> bytes:
    """An archive of that archive, as one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as target:
        member = tarfile.TarInfo(_KEPT_AT.strip("/"))
        member.size, member.mode = len(archive), 0o600
        target.addfile(member, io.BytesIO(archive))
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
