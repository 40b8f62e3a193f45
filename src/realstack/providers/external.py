"""Services that somebody else runs: CI ``services:``, a staging stack. Nothing is started or stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar
from urllib.parse import SplitResult, urlsplit

from realstack.errors import ProviderUnavailable, ServiceStartFailed, SettingsError
from realstack.model import Address, Run, Secret, ServiceSpec

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Given:
    """A service at a given address. It is not ours: it has no log here and its end is not seen."""

    def __init__(self, spec: ServiceSpec, address: Address) -> None:
        self.spec = spec
        self.address = address

    def died(self) -> str | None:
        """Always None: only its probe can tell."""
        return None

    def log_lines(self, since: int = 0) -> list[str]:
        """Always empty: whoever runs it has its log."""
        return []

    def __repr__(self) -> str:
        return f"<Given {self.spec.name} at {self.address.host}:{self.address.port}>"


class External:
    """Takes addresses (keyed by ``spec.name``, whole URLs) as they are given."""

    name: ClassVar[str] = "external"

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = {name: Secret(url) for name, url in addresses.items()}

    def unavailable(self, specs: Sequence[ServiceSpec]) -> dict[str, str]:
        """Which of ``specs`` have no address, and which variable would give it. Empty: all have one."""
        return {
            spec.name: f"{variable_for(spec.name)} is not set" for spec in specs if not self._addresses.get(spec.name)
        }

    @asynccontextmanager
    async def running(self, specs: Sequence[ServiceSpec], run: Run) -> AsyncIterator[Mapping[str, Given]]:
        """Yield the given addresses; nothing is started, and nothing is stopped on exit.

        :raises ProviderUnavailable: a service has no address.
        :raises SettingsError: an address is not a URL with a host and a port.
        """
        if missing := self.unavailable(specs):
            raise ProviderUnavailable(
                "The external provider was given no address for " + ", ".join(sorted(missing)) + ".",
                details=[f"{name}: {why}" for name, why in sorted(missing.items())],
                remedy="set "
                + " and ".join(sorted(variable_for(name) for name in missing))
                + ", or choose another provider. DATABASE_URL and REDIS_URL are not read on purpose: "
                "they may name data that matters.",
            )
        yield {spec.name: Given(spec, address_of(spec, self._addresses[spec.name])) for spec in specs}


def variable_for(name: str) -> str:
    """``REALSTACK_FAKE_LLM_URL`` for ``fake_llm``."""
    return f"REALSTACK_{name.upper().replace('-', '_')}_URL"


def credentials_refused(name: str, problem: Exception) -> ServiceStartFailed:
    """The error for a given address at which somebody answers, and refuses its user or its password."""
    return ServiceStartFailed(
        name,
        "ready",
        problem=f"the credentials in {variable_for(name)} are refused where it leads to",
        last_answer=f"{type(problem).__name__}: {problem}",
        remedy=f"correct user and password in {variable_for(name)}; special characters are percent-encoded.",
    )


def address_of(spec: ServiceSpec, url: str) -> Address:
    """Host and port of ``url``; the port defaults to the scheme's, then to the declared one.

    :raises SettingsError: no scheme, no host, or a port that is none. The URL itself is not shown.
    """
    try:
        parts = _split(url)
        return Address(_host(parts), _port(parts, spec), url=Secret(url))
    except ValueError as problem:
        raise SettingsError(
            f"The address in {variable_for(spec.name)} is not usable: {problem}.",
            remedy="give a whole URL such as scheme://user:password@host:port/name; "
            "special characters in a password are percent-encoded.",
        ) from problem


def _split(url: str) -> SplitResult:
    # Some of urlsplit's errors quote the URL, and so a password.
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError("it is not a URL") from None


def _host(parts: SplitResult) -> str:
    if not parts.scheme or not parts.netloc:
        raise ValueError("it has no scheme (postgresql://, redis://, http://)")
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname


def _port(parts: SplitResult, spec: ServiceSpec) -> int:
    # SplitResult.port says in its error what stands there, which may be a piece of an unquoted password.
    try:
        given = parts.port
    except ValueError:
        raise ValueError("its port is not a number from 0 to 65535") from None
    return given or _DEFAULT_PORTS.get(parts.scheme, spec.port)
