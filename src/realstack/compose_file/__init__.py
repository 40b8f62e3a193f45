"""The compose file, read as Docker Compose reads it: the one declaration of the services.

What Compose alone can honour is not an error here: it stands in ``ServiceSpec.unsupported`` by its key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from realstack.compose_file.document import first_line, natural, read_document
from realstack.compose_file.interpolate import interpolated, read_env_file
from realstack.compose_file.own_block import BLOCK, nearest, read_part, read_top_block
from realstack.compose_file.values import Reader
from realstack.errors import ComposeFileError
from realstack.model import FAKE_LLM, POSTGRES, REDIS, ServiceSpec

__all__ = ["ComposeProject", "read_compose_file"]

_DEFAULT_PORTS = {POSTGRES: 5432, REDIS: 6379, FAKE_LLM: 8080}
_IMAGES = (
    (re.compile(r"(postgres|postgresql|pgvector|postgis|timescaledb)\b"), POSTGRES),
    (re.compile(r"(redis|valkey)\b"), REDIS),
)
_SERVICE_NAME = re.compile(r"[a-zA-Z0-9._-]*[a-zA-Z0-9][a-zA-Z0-9._-]*")
_CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")

_TOP_KEYS = {"name", "version", "services", "networks", "volumes", "secrets", "configs", "include"}
_READ_KEYS = {
    "image", "build", "entrypoint", "command", "environment", "env_file", "ports", "expose", "tmpfs", "volumes",
    "healthcheck", "depends_on", "labels", "user", "working_dir", "shm_size", "stop_signal", "stop_grace_period",
    "init", "profiles",
}  # fmt: skip
_COMPOSE_ONLY_KEYS = {
    "annotations", "attach", "blkio_config", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "configs",
    "container_name", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime",
    "cpu_shares", "cpus", "cpuset", "credential_spec", "deploy", "develop", "device_cgroup_rules", "devices", "dns",
    "dns_opt", "dns_search", "domainname", "extends", "external_links", "extra_hosts", "gpus", "group_add",
    "hostname", "ipc", "isolation", "label_file", "links", "logging", "mac_address", "mem_limit",
    "mem_reservation", "mem_swappiness", "memswap_limit", "models", "network_mode", "networks",
    "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform", "post_start", "pre_stop", "privileged",
    "provider", "pull_policy", "read_only", "restart", "runtime", "scale", "secrets", "security_opt", "stdin_open",
    "storage_opt", "sysctls", "tty", "ulimits", "use_api_socket", "userns_mode", "uts", "volumes_from",
}  # fmt: skip
_HARMLESS = {"restart": {"no"}, "pull_policy": {"missing", "if_not_present"}, "scale": {"1"}, "networks": {"default"}}


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A compose file that was read. ``extra`` is its top-level ``x-realstack``.

    ``variables`` are values that this reader gave to variables nobody had set; whoever starts Docker Compose
    on the file must set them, too.
    """

    path: Path
    name: str
    services: tuple[ServiceSpec, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_dependencies(self, specs: Iterable[ServiceSpec]) -> list[ServiceSpec]:
        """``specs`` and the services that they depend on, directly or not."""
        by_name = {spec.compose_name: spec for spec in self.services}
        found: dict[str, ServiceSpec] = {}
        waiting = [spec.compose_name for spec in specs]
        while waiting:
            name = waiting.pop()
            if name in by_name and name not in found:
                found[name] = by_name[name]
                waiting += [dependency.service for dependency in by_name[name].depends_on]
        return list(found.values())


def read_compose_file(path: Path, environ: Mapping[str, str] | None = None) -> ComposeProject:
    """Read ``path`` with the variables of ``environ`` (default: the process's own), above a ``.env`` beside it.

    :raises ComposeFileError: the file cannot be read, has an error, or needs a variable that is not set.
    """
    path = path.absolute()
    given = dict(os.environ if environ is None else environ)
    variables = {**_dot_env(path, given), **given}
    own = _own_variables(variables)
    variables = {**own, **variables}
    document = read_document(path)
    _check_keys(path, document, _TOP_KEYS, "top level")
    if "include" in document:
        raise ComposeFileError(
            f"{path}:{first_line(document['include']) or 1}: `include` is not read.",
            remedy="write the included services into this file: `docker compose config` prints them all.",
        )
    document = interpolated(document, variables, path)
    services = _named_by_kind(_services(path, document, variables))
    _refuse_one_name_for_two(path, services)
    name = str(document.get("name") or variables.get("COMPOSE_PROJECT_NAME") or path.parent.name)
    return ComposeProject(path, name, services, natural(document.get(BLOCK) or {}), own)


def _dot_env(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    file = path.with_name(".env")
    try:
        return read_env_file(file, environ)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as problem:
        raise ComposeFileError(
            f"{file} cannot be read: {problem}.", remedy="correct the file or its mode."
        ) from problem


def _own_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Values for variables of realstack's own declaration, as far as nobody has set them.

    A machine that was told by one of the usual variables which certificates to trust tells the same to builds.
    """
    own: dict[str, str] = {}
    bundle = next((variables[name] for name in _CA_VARIABLES if variables.get(name)), None)
    if not variables.get("REALSTACK_CA_BUNDLE") and bundle and Path(bundle).is_file():
        own["REALSTACK_CA_BUNDLE"] = bundle
    found = find_spec("fake_llm")  # looks for it without importing it
    if not variables.get("REALSTACK_FAKE_LLM_CONTEXT") and found and found.submodule_search_locations:
        own["REALSTACK_FAKE_LLM_CONTEXT"] = str(Path(next(iter(found.submodule_search_locations))).parent)
    return own


def _services(path: Path, document: Mapping[Any, Any], variables: Mapping[str, str]) -> list[ServiceSpec]:
    declared = document.get("services")
    if not isinstance(declared, dict) or not declared:
        raise ComposeFileError(f"{path} declares no services.", remedy="add a `services:` mapping to it.")
    about = read_top_block(path, document.get(BLOCK))
    for name in about:
        _require_known(path, name, declared, f"{BLOCK}.services")
    secrets, special = _secret_files(path, document.get("secrets")), _special_volumes(document.get("volumes"))
    specs = []
    for name, service in declared.items():
        reader = Reader(path, str(name), variables, secrets, special)
        if not isinstance(service, dict):
            raise reader.wrong("", service or name, "a mapping")
        if not _SERVICE_NAME.fullmatch(name):
            raise reader.wrong("", name, "named by letters, digits, . _ and -")
        of_top = read_part(path, about.get(name), f"{BLOCK}.services.{name}")
        of_service = read_part(path, service.get(BLOCK), f"services.{name}.{BLOCK}")
        specs.append(_spec(reader, service, {**of_top, **of_service}))
        for dependency in service.get("depends_on") or ():
            _require_known(path, dependency, declared, f"services.{name}.depends_on")
    _refuse_circles(path, specs)
    return specs


def _spec(reader: Reader, service: Mapping[Any, Any], extra: Mapping[str, Any]) -> ServiceSpec:
    _check_keys(reader.path, service, _READ_KEYS | _COMPOSE_ONLY_KEYS, f"services.{reader.service}")
    reader.unsupported += [str(key) for key in service if key in _COMPOSE_ONLY_KEYS and not _is_harmless(key, service)]
    image = reader.text("image", service.get("image"))
    build = reader.build(service.get("build"))
    if image is None and build is None and "extends" not in service and "provider" not in service:
        raise reader.wrong("image", next(iter(service), reader.service), "given, or build")
    volumes, more_tmpfs = reader.volumes(service.get("volumes"))
    ports = reader.ports(service.get("ports"))
    expose = [str(port).partition("/")[0] for port in reader.strings("expose", service.get("expose"))]
    kind = extra.get("kind") or _kind(reader.service, image)
    port = extra.get("port") or _DEFAULT_PORTS.get(kind) or next((port.container for port in ports), None)
    labels = reader.pairs("labels", service.get("labels"))
    return ServiceSpec(
        name=extra.get("name") or reader.service.replace("-", "_"),
        kind=kind,
        compose_name=reader.service,
        port=int(port or next((number for number in expose if number.isdigit()), 0)),
        image=image,
        build=build,
        entrypoint=reader.words("entrypoint", service.get("entrypoint")),
        command=reader.words("command", service.get("command")),
        environment=reader.environment(service),
        ports=ports,
        tmpfs=(*reader.strings("tmpfs", service.get("tmpfs")), *more_tmpfs),
        volumes=volumes,
        health_check=reader.health_check(service.get("healthcheck")),
        depends_on=reader.depends_on(service.get("depends_on")),
        labels={label: value or "" for label, value in labels.items()},
        user=reader.text("user", service.get("user")),
        working_dir=reader.text("working_dir", service.get("working_dir")),
        shm_size=reader.text("shm_size", service.get("shm_size")),
        stop_signal=reader.text("stop_signal", service.get("stop_signal")),
        stop_grace_period_s=reader.seconds("stop_grace_period", service.get("stop_grace_period")),
        init=reader.truth("init", service["init"]) if "init" in service else None,
        unsupported=tuple(dict.fromkeys(reader.unsupported)),
        extra=extra,
    )


def _is_harmless(key: str, service: Mapping[Any, Any]) -> bool:
    value = service[key]
    words = set(map(str, value)) if isinstance(value, list | dict) else {str(value)}
    return words <= _HARMLESS.get(str(key), set())


def _kind(name: str, image: str | None) -> str:
    if name.replace("-", "_") == FAKE_LLM:
        return FAKE_LLM
    own_name = (image or "").rpartition("/")[2]
    return next((kind for pattern, kind in _IMAGES if pattern.match(own_name) or pattern.fullmatch(name)), "generic")


def _named_by_kind(specs: list[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    """The only Postgres of a file is ``postgres`` to realstack, whatever the file calls it; so with the others."""
    kinds = [spec.kind for spec in specs]
    taken = {spec.name for spec in specs}
    named = []
    for spec in specs:
        alone = kinds.count(spec.kind) == 1 and spec.kind in _DEFAULT_PORTS
        free = spec.kind not in taken and "name" not in spec.extra
        named.append(replace(spec, name=spec.kind) if alone and free else spec)
    return tuple(named)


def _refuse_one_name_for_two(path: Path, specs: Iterable[ServiceSpec]) -> None:
    seen: dict[str, str] = {}
    for spec in specs:
        if spec.name in seen:
            raise ComposeFileError(
                f"{path}: the services {seen[spec.name]!r} and {spec.compose_name!r} are both {spec.name!r} here.",
                remedy=f"give one of them another name: {BLOCK}: {{name: …}}.",
            )
        seen[spec.name] = spec.compose_name


def _secret_files(path: Path, value: Any) -> dict[str, Path]:
    """Secrets that are files. Others are Compose's own business."""
    if not isinstance(value, dict):
        return {}
    return {
        str(name): Path(path.parent, Path(str(about["file"])).expanduser())
        for name, about in value.items()
        if isinstance(about, dict) and about.get("file")
    }


def _special_volumes(value: Any) -> frozenset[str]:
    """Named volumes that are more than a name: external ones, or with a driver of their own."""
    declared = value if isinstance(value, dict) else {}
    return frozenset(str(name) for name, about in declared.items() if about and set(map(str, about)) - {"labels"})


def _refuse_circles(path: Path, specs: list[ServiceSpec]) -> None:
    by_name = {spec.compose_name: spec for spec in specs}

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " → ".join((*way[way.index(name) :], name))
            raise ComposeFileError(f"{path}: depends_on goes in a circle: {circle}.", remedy="take one of them out.")
        for dependency in by_name[name].depends_on:
            visit(dependency.service, (*way, name))

    for name in by_name:
        visit(name, ())


def _check_keys(path: Path, mapping: Mapping[Any, Any], known: set[str], where: str) -> None:
    for key in mapping:
        if key not in known and not str(key).startswith("x-"):
            raise ComposeFileError(
                f"{path}:{first_line(key) or 1}: {where} has the key {str(key)!r}, which Compose does not know.",
                remedy=nearest(str(key), known) or "take it out, or begin it with x-.",
            )


def _require_known(path: Path, name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise ComposeFileError(
            f"{path}:{first_line(name) or 1}: {where} names the service {str(name)!r}, which is not declared.",
            remedy=nearest(str(name), known) or f"declared are {', '.join(known)}.",
        )
