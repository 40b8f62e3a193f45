"""The fields of a service that have a short and a long form, each read into the model's value."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realstack.compose_file.document import as_list, first_line, shown
from realstack.compose_file.interpolate import read_env_file
from realstack.errors import ComposeFileError
from realstack.model import Build, Dependency, HealthCheck, Port, Volume

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
_SHORT_PORT = re.compile(
    r"(?:(?:(?P<ip>\[[0-9a-fA-F:.]+\]|\d+\.\d+\.\d+\.\d+):)?(?P<host>\d*):)?(?P<container>\d+)(?:/(?P<protocol>\w+))?"
)
_PORT_RANGE = re.compile(r"(?:\S+:)?(?:\d+(?:-\d+)?:)?\d+-\d+(?:/\w+)?")
_BUILD_KEYS = {"context", "dockerfile", "target", "args", "secrets", "network"}


@dataclass(slots=True)
class Reader:
    """Reads the fields of one service. ``unsupported`` gathers what only Docker Compose itself can honour."""

    path: Path
    service: str
    variables: Mapping[str, str]
    secret_files: Mapping[str, Path] = field(default_factory=dict)
    special_volumes: frozenset[str] = frozenset()
    unsupported: list[str] = field(default_factory=list)

    def wrong(self, key: str, value: Any, wanted: str) -> ComposeFileError:
        """The error for a field that is not what Compose takes."""
        line = first_line(value)
        where = f"{self.path}:{line}" if line else str(self.path)
        named = f"services.{self.service}.{key}".rstrip(".")
        return ComposeFileError(
            f"{where}: {named} must be {wanted}, not {shown(value)}.",
            remedy="correct it; `docker compose config` checks the file too.",
        )

    def text(self, key: str, value: Any) -> str | None:
        """A string, or None if nothing is given."""
        if value is None or isinstance(value, str):
            return str(value) if value else None
        raise self.wrong(key, value, "a string")

    def truth(self, key: str, value: Any) -> bool:
        """``true`` or ``false``."""
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise self.wrong(key, value, "true or false")

    def words(self, key: str, value: Any) -> tuple[str, ...] | None:
        """A command: a list, or a string split as a shell would."""
        if value is None:
            return None
        if isinstance(value, str):
            try:
                return tuple(shlex.split(value))
            except ValueError as problem:
                raise self.wrong(key, value, f"a command line ({problem})") from problem
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(str(word) for word in value)
        raise self.wrong(key, value, "a string or a list of strings")

    def strings(self, key: str, value: Any) -> tuple[str, ...]:
        """A string or a list of strings."""
        if value is None:
            return ()
        if isinstance(value, str):
            return (str(value),)
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(str(word) for word in value)
        raise self.wrong(key, value, "a string or a list of strings")

    def pairs(self, key: str, value: Any) -> dict[str, str | None]:
        """A mapping, or a list of ``NAME=value``; None where a name has no value."""
        if value is None:
            return {}
        if isinstance(value, dict):
            if any(isinstance(item, dict | list) for item in value.values()):
                raise self.wrong(key, value, "a mapping of strings")
            return {str(name): None if item is None else str(item) for name, item in value.items()}
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            split = [str(item).partition("=") for item in value]
            return {name: item if equals else None for name, equals, item in split}
        raise self.wrong(key, value, "a mapping or a list of NAME=value")

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """``env_file`` and above it ``environment``; a name without a value is passed on if it is set here."""
        found: dict[str, str] = {}
        for entry in as_list(service.get("env_file")):
            found.update(self._env_file(entry))
        for name, value in self.pairs("environment", service.get("environment")).items():
            if value is not None:
                found[name] = value
            elif name in self.variables:
                found[name] = self.variables[name]
        return found

    def _env_file(self, entry: Any) -> dict[str, str]:
        required, named = True, entry
        if isinstance(entry, dict):
            named, required = entry.get("path"), str(entry.get("required", "true")).lower() == "true"
            if set(map(str, entry)) - {"path", "required"}:
                self.unsupported.append("env_file.format")
        if not isinstance(named, str) or not named:
            raise self.wrong("env_file", entry, "a path or a list of paths")
        file = self.place(named)
        if not required and not file.is_file():
            return {}
        try:
            return read_env_file(file, self.variables)
        except OSError as problem:
            raise ComposeFileError(
                f"{self.path}:{first_line(named) or 1}: the env_file {file} cannot be read: {problem.strerror}.",
                remedy="make the file, or take the line out.",
            ) from problem

    def place(self, named: str) -> Path:
        """A path as written in the file, absolute: it starts at the file's folder."""
        return Path(self.path.parent, Path(str(named)).expanduser()).resolve()

    def ports(self, value: Any) -> tuple[Port, ...]:
        """The published TCP ports."""
        if value is not None and not isinstance(value, list):
            raise self.wrong("ports", value, "a list")
        read = (self._long_port(item) if isinstance(item, dict) else self._short_port(item) for item in value or ())
        return tuple(port for port in read if port is not None)

    def _short_port(self, item: Any) -> Port | None:
        parts = _SHORT_PORT.fullmatch(str(item or ""))
        if parts is None:
            if not _PORT_RANGE.fullmatch(str(item or "")):
                raise self.wrong("ports", item, "such as 5432, 15432:5432 or 127.0.0.1:15432:5432")
            self.unsupported.append(f"ports ({item})")
            return None
        if parts["protocol"] not in (None, "tcp"):
            self.unsupported.append(f"ports ({item})")
            return None
        return self._port(item, parts["container"], parts["host"])

    def _long_port(self, item: Mapping[Any, Any]) -> Port | None:
        if str(item.get("protocol", "tcp")) != "tcp" or str(item.get("mode", "ingress")) not in ("host", "ingress"):
            self.unsupported.append("ports.protocol")
            return None
        published = str(item.get("published") or "")
        if "-" in published:
            self.unsupported.append(f"ports.published ({published})")
            return None
        return self._port(item, item.get("target"), published)

    def _port(self, item: Any, container: Any, host: str | None) -> Port:
        try:
            numbers = int(container), int(host) if host else 0
        except (TypeError, ValueError) as problem:
            raise self.wrong("ports", item, "numbers from 1 to 65535") from problem
        if not 0 < numbers[0] < 65536 or not 0 <= numbers[1] < 65536:
            raise self.wrong("ports", item, "numbers from 1 to 65535")
        return Port(numbers[0], numbers[1] or None)

    def volumes(self, value: Any) -> tuple[tuple[Volume, ...], tuple[str, ...]]:
        """The mounts, and the tmpfs among them."""
        if value is not None and not isinstance(value, list):
            raise self.wrong("volumes", value, "a list")
        mounts: list[Volume] = []
        tmpfs: list[str] = []
        for item in value or ():
            if isinstance(item, dict):
                self._long_volume(item, mounts, tmpfs)
            elif isinstance(item, str) and item:
                mounts.append(self._short_volume(item))
            else:
                raise self.wrong("volumes", item, "SOURCE:TARGET or a mapping")
        self.unsupported += [f"volumes ({one.source})" for one in mounts if one.source in self.special_volumes]
        return tuple(mounts), tuple(tmpfs)

    def _short_volume(self, item: str) -> Volume:
        parts = str(item).split(":")
        if len(parts) == 1:
            return Volume(parts[0])
        source, target, *rest = parts
        modes = set(",".join(rest).split(",")) - {""}
        self.unsupported += [f"volumes ({item})"] if modes - {"ro", "rw", "z", "Z"} else []
        is_bind = source.startswith((".", "/", "~"))
        return Volume(target, str(self.place(source)) if is_bind else source, "ro" in modes, is_bind)

    def _long_volume(self, item: Mapping[Any, Any], mounts: list[Volume], tmpfs: list[str]) -> None:
        kind, target, source = str(item.get("type", "volume")), item.get("target"), item.get("source")
        if not target:
            raise self.wrong("volumes", item, "a mapping with a target")
        if kind == "tmpfs":
            options = item.get("tmpfs") or {}
            if not isinstance(options, dict):
                raise self.wrong("volumes.tmpfs", options, "a mapping")
            size = options.get("size")
            tmpfs.append(f"{target}:size={size}" if size else str(target))
        elif kind in ("bind", "volume"):
            bind = kind == "bind"
            read_only = self.truth("volumes.read_only", item.get("read_only", "false"))
            named = (str(self.place(source)) if bind else str(source)) if source else None
            mounts.append(Volume(str(target), named, read_only, bind))
            extra = {str(key) for key in item} - {"type", "target", "source", "read_only", "consistency"}
            self.unsupported += [f"volumes.{key}" for key in sorted(extra)]
        else:
            self.unsupported.append(f"volumes.type ({kind})")

    def health_check(self, value: Any) -> HealthCheck | None:
        """The health check; ``("NONE",)`` as its test turns the image's own off."""
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong("healthcheck", value, "a mapping")
        if "disable" in value and self.truth("healthcheck.disable", value["disable"]):
            return HealthCheck(("NONE",))
        self.unsupported += ["healthcheck.start_interval"] if "start_interval" in value else []
        test = value.get("test")
        retries = self.text("healthcheck.retries", value.get("retries"))
        if retries is not None and not retries.isdigit():
            raise self.wrong("healthcheck.retries", value["retries"], "a number")
        return HealthCheck(
            ("CMD-SHELL", str(test)) if isinstance(test, str) else self.words("healthcheck.test", test) or (),
            interval_s=self.seconds("healthcheck.interval", value.get("interval")),
            timeout_s=self.seconds("healthcheck.timeout", value.get("timeout")),
            start_period_s=self.seconds("healthcheck.start_period", value.get("start_period")),
            retries=int(retries) if retries else None,
        )

    def seconds(self, key: str, value: Any) -> float | None:
        """A duration such as ``1m30s``, in seconds."""
        if value is None:
            return None
        parts = _DURATION.findall(str(value))
        if not parts or "".join(number + unit for number, unit in parts) != str(value):
            raise self.wrong(key, value, "a duration such as 500ms, 5s or 1m30s")
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)

    def depends_on(self, value: Any) -> tuple[Dependency, ...]:
        """What must run before."""
        if isinstance(value, list):
            return tuple(Dependency(name) for name in self.strings("depends_on", value))
        if value is None:
            return ()
        if not isinstance(value, dict):
            raise self.wrong("depends_on", value, "a list or a mapping")
        found = []
        for name, details in value.items():
            if not isinstance(details or {}, dict):
                raise self.wrong(f"depends_on.{name}", details, "a mapping with a condition")
            condition = str((details or {}).get("condition", "service_started"))
            if condition not in _CONDITIONS:
                raise self.wrong(f"depends_on.{name}.condition", details, f"one of {', '.join(_CONDITIONS)}")
            found.append(Dependency(str(name), condition))
        return tuple(found)

    def build(self, value: Any) -> Build | None:
        """How its image is built."""
        if value is None:
            return None
        if isinstance(value, str):
            value = {"context": value}
        if not isinstance(value, dict):
            raise self.wrong("build", value, "a path or a mapping")
        self.unsupported += [f"build.{key}" for key in value if key not in _BUILD_KEYS and not key.startswith("x-")]
        context = str(value.get("context", "."))
        if "://" in context or context.startswith("git@"):
            self.unsupported.append("build.context (an address)")
        folder = self.place(context)
        args = self.pairs("build.args", value.get("args"))
        return Build(
            context=folder,
            dockerfile=folder / str(value.get("dockerfile", "Dockerfile")),
            target=self.text("build.target", value.get("target")),
            args={name: found for name, item in args.items() if (found := self._value(name, item)) is not None},
            secrets=self._build_secrets(value.get("secrets")),
            network=self.text("build.network", value.get("network")),
        )

    def _value(self, name: str, value: str | None) -> str | None:
        return self.variables.get(name) if value is None else value

    def _build_secrets(self, value: Any) -> dict[str, Path]:
        found = {}
        for item in as_list(value):
            source = str(item.get("source", "")) if isinstance(item, dict) else str(item)
            name = str(item.get("target") or source) if isinstance(item, dict) else source
            if source in self.secret_files:
                found[name] = self.secret_files[source]
            else:
                self.unsupported.append(f"build.secrets.{source}")
        return found
