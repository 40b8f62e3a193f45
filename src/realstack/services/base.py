"""What every kind of service is to the layers above it. A service says what it is, never how it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from realstack.model import Address, Endpoint, ServiceSpec
from realstack.providers.base import Recipe


class Service(Protocol):
    """One kind of service: its clients' view of it. ``client`` is the module that the probe imports, or ``""``."""

    kind: ClassVar[str]
    client: ClassVar[str]
    default_port: ClassVar[int]

    def endpoint(self, spec: ServiceSpec, address: Address, provider: str) -> Endpoint:
        """The endpoint with the credentials that ``spec.environment`` declares."""
        ...

    async def probe(self, endpoint: Endpoint) -> Endpoint:
        """Connect and ask by this service's own client, once, within a second or so.

        Returns the endpoint with its version filled in.

        :raises Exception: any; its text is the problem shown if the deadline passes.
        """
        ...

    def refuses(self, problem: Exception) -> bool:
        """Whether that problem of its probe says that user or password are not what the service knows."""
        ...

    def environment(self, endpoint: Endpoint) -> Mapping[str, str]:
        """The variables by which an application finds this service, such as ``DATABASE_URL``."""
        ...

    def recipe(self, spec: ServiceSpec) -> Recipe:
        """How it runs as a local process."""
        ...
