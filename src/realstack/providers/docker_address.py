"""Where the Docker engine is: as the command ``docker`` would find it, from variables and files only."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the engine is, and who says so. ``certificates``: the folder of its TLS files, if it uses TLS."""

    host: str
    named_by: str
    certificates: Path | None = None

    @property
    def address(self) -> str:
        """The host under which published ports are reached."""
        override = os.environ.get("TESTCONTAINERS_HOST_OVERRIDE")
        return override or (urlsplit(self.host).hostname if self.is_remote else None) or "127.0.0.1"

    @property
    def is_remote(self) -> bool:
        """Whether it runs on another machine, as far as its address tells."""
        parts = urlsplit(self.host)
        return parts.scheme not in ("unix", "npipe") and parts.hostname not in ("localhost", "127.0.0.1", "::1")

    @property
    def publish_ip(self) -> str:
        """Where ports are published: on loopback, unless that would be another machine's."""
        return "127.0.0.1" if self.address == "127.0.0.1" and not self.is_remote else "0.0.0.0"  # noqa: S104

    def environment(self) -> dict[str, str]:
        """The variables by which the command ``docker`` and the SDK take this engine and no other."""
        found = {"DOCKER_HOST": self.host}
        if self.certificates is not None:
            found.update(DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(self.certificates))
        return found


def find_engine(environ: Mapping[str, str] | None = None) -> Engine:
    """The engine that the command ``docker`` would use: ``DOCKER_HOST``, a context, or a socket at a usual place.

    Looks at variables and files only.
    """
    environ = os.environ if environ is None else environ
    if host := environ.get("DOCKER_HOST"):
        verify, folder = environ.get("DOCKER_TLS_VERIFY"), environ.get("DOCKER_CERT_PATH")
        return Engine(host, "DOCKER_HOST", Path(folder or Path.home() / ".docker") if verify else None)
    if (engine := _of_context(environ)) is not None:
        return engine
    home, runtime = Path.home(), environ.get("XDG_RUNTIME_DIR")
    places = [Path("/var/run/docker.sock"), *([Path(runtime) / "docker.sock"] if runtime else [])]
    places += [home / ".docker/run/docker.sock", home / ".docker/desktop/docker.sock", home / ".colima/docker.sock"]
    place = next((place for place in places if place.exists()), places[0])
    return Engine(f"unix://{place}", "the default socket")


def _of_context(environ: Mapping[str, str]) -> Engine | None:
    """The current context of the command ``docker``, by its files (docs.docker.com, "Docker contexts")."""
    folder = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = environ.get("DOCKER_CONTEXT")
    try:
        name = name or json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext")
        if not name or name == "default":
            return None
        key = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((folder / "contexts/meta" / key / "meta.json").read_text(encoding="utf-8"))
        certificates = folder / "contexts/tls" / key / "docker"
        host = meta["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return Engine(host, f"the context {name!r}", certificates if certificates.is_dir() else None)


_PROXIES = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "ftpProxy": "FTP_PROXY", "noProxy": "NO_PROXY"}


def proxy_variables(engine: Engine, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The proxies that the user's Docker configuration has for containers of that engine (docs.docker.com, "proxy").

    Empty where it has none, or cannot be read. Each stands in both spellings, as the command ``docker`` sets them.
    """
    environ = os.environ if environ is None else environ
    folder = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        proxies = json.loads((folder / "config.json").read_text(encoding="utf-8"))["proxies"]
        found = proxies.get(engine.host) or proxies["default"]
        named = {name: str(found[key]) for key, name in _PROXIES.items() if found.get(key)}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
    return {**named, **{name.lower(): value for name, value in named.items()}}
