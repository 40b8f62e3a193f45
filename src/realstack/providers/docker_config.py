"""A declaration in the words of the Engine's API: the body of "create a container"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from realstack.errors import UnsupportedByProvider
from realstack.model import HealthCheck, Run, ServiceSpec, Volume
from realstack.providers.docker_address import Engine, proxy_variables
from realstack.providers.docker_engine import project_of

_NANOSECONDS = 1_000_000_000
_BYTES = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def container_config(spec: ServiceSpec, run: Run, engine: Engine) -> dict[str, Any]:
    """What the declaration says, without image, ports, labels and network.

    As the command ``docker`` does, it passes on the proxies of the user's Docker configuration.

    :raises UnsupportedByProvider: ``shm_size`` is no size.
    """
    environment = {**proxy_variables(engine), **spec.environment}
    config = {
        "Cmd": list(spec.command) if spec.command is not None else None,
        "Entrypoint": list(spec.entrypoint) if spec.entrypoint is not None else None,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Healthcheck": _health_check(spec.health_check) if spec.health_check else None,
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "StopSignal": spec.stop_signal,
    }
    host_config = {
        "Tmpfs": dict(entry.partition(":")[::2] for entry in spec.tmpfs),
        "Mounts": [_mount(volume, run) for volume in spec.volumes],
        "ShmSize": in_bytes(spec, spec.shm_size) if spec.shm_size else None,
        "Init": spec.init,
    }
    return {**_given(config), "HostConfig": _given(host_config)}


def published(config: Mapping[str, Any], spec: ServiceSpec, engine: Engine) -> dict[str, Any]:
    """``config`` with the ports of the declaration published, the clients' one always."""
    bindings = {
        f"{port}/tcp": [{"HostIp": engine.publish_ip, "HostPort": str(host or "")}]
        for port, host in published_ports(spec)
    }
    host_config = {**config["HostConfig"], "PortBindings": bindings}
    return {**config, "ExposedPorts": {port: {} for port in bindings}, "HostConfig": host_config}


def published_ports(spec: ServiceSpec) -> list[tuple[int, int | None]]:
    """Each port of the container that is published, with the host port that was asked for; the clients' one always."""
    asked = {port.container: port.host for port in spec.ports}
    return list({**({spec.port: None} if spec.port else {}), **asked}.items())


def in_bytes(spec: ServiceSpec, size: str) -> int:
    """``256mb`` in bytes, with Docker's units: powers of 1024.

    :raises UnsupportedByProvider: it is no size.
    """
    found = _BYTES.fullmatch(size.strip())
    if found is None:
        raise UnsupportedByProvider(
            f"services.{spec.compose_name}.shm_size: {size!r} is no size.", remedy="write it as 256mb or 1g."
        )
    return int(float(found["number"]) * _UNITS[found["unit"].lower()])


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value not in (None, {}, [])}


def _mount(volume: Volume, run: Run) -> dict[str, Any]:
    """A mount. A named volume is the run's own, as Compose's are the project's own, and goes with the run."""
    mount = {"Target": volume.target, "ReadOnly": volume.read_only}
    if volume.bind:
        return {**mount, "Type": "bind", "Source": volume.source}
    named = f"{project_of(run.run_id)}_{volume.source}" if volume.source else ""
    return {**mount, "Type": "volume", "Source": named, "VolumeOptions": {"Labels": run.labels}}


def _health_check(check: HealthCheck) -> dict[str, Any]:
    times = {"Interval": check.interval_s, "Timeout": check.timeout_s, "StartPeriod": check.start_period_s}
    found: dict[str, Any] = {name: int(value * _NANOSECONDS) for name, value in times.items() if value is not None}
    if check.test:
        found["Test"] = list(check.test)
    if check.retries is not None:
        found["Retries"] = check.retries
    return found
