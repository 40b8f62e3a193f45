"""Any other service of the compose file: all that is known of it is a TCP port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from realstack.errors import ProviderUnavailable
from realstack.model import Address, Endpoint, Run, ServiceSpec
from realstack.providers.base import Launch, Recipe


class Generic:
    """A service that is ready when its port accepts a connection."""

    kind: ClassVar[str] = "generic"
    client: ClassVar[str] = ""
    default_port: ClassVar[int] = 0

    def endpoint(self, spec: ServiceSpec, address: Address, provider: str) -> Endpoint:
        """Host and port; the scheme of a given URL, else ``tcp``."""
        scheme = urlsplit(address.url).scheme if address.url else "tcp"
        return Endpoint(spec.name, spec.kind, address.host, address.port, scheme, provider=provider)

    async def probe(self, endpoint: Endpoint) -> Endpoint:
        """Connect once; what it speaks is not known, so nothing is asked."""
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.close()
        await writer.wait_closed()
        return endpoint

    def refuses(self, problem: Exception) -> bool:
        """Never: what it speaks is not known."""
        return False

    def environment(self, endpoint: Endpoint) -> Mapping[str, str]:
        """``<NAME>_HOST`` and ``<NAME>_PORT``."""
        name = endpoint.service.upper().replace("-", "_")
        return {f"{name}_HOST": endpoint.host, f"{name}_PORT": str(endpoint.port)}

    def recipe(self, spec: ServiceSpec) -> Recipe:
        """One that says that there is none."""
        return _NoRecipe(spec)


class _NoRecipe:
    def __init__(self, spec: ServiceSpec) -> None:
        self._spec = spec

    def unavailable(self) -> str | None:
        what = self._spec.image or self._spec.compose_name
        return f"{what} is known as an image only; no recipe says how it runs as a local process"

    def source(self) -> str:
        return "nowhere"

    def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
        raise ProviderUnavailable(
            f"The service {spec.name!r} cannot run as a local process: {self.unavailable()}.",
            remedy="choose a provider that uses Docker, or give its address (REALSTACK_PROVIDER=external).",
        )
