"""Who may use the control API: by where a request comes from, or by a token."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

From = Literal["none", "loopback", "private", "any"]
FROM: tuple[From, ...] = ("none", "loopback", "private", "any")

_SHARED = ip_network("100.64.0.0/10")
"""Addresses behind a carrier's translation; clusters give them to pods."""


@dataclass(frozen=True, slots=True)
class Access:
    """``allowed``: whence requests need no token. ``private`` is what a container sees of its host and neighbours."""

    allowed: From = "loopback"
    token: str = ""

    def __repr__(self) -> str:
        return f"<Access from {self.allowed}{', or by token' if self.token else ''}>"

    def refusal(self, client: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Why a request is refused, as a sentence with what to do; None: it is let in. No client: a unix socket."""
        if self.allowed != "none" and (client is None or self._is_near(client)):
            return None
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        if self.token and scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self.token.encode()):
            return None
        if self.token:
            return "The control API wants its token here: Authorization: Bearer <token>."
        return (
            f"The control API is served to {self.allowed} addresses only, and {client or 'this'} is none. "
            "Start the server with --control-token (FAKE_LLM_CONTROL_TOKEN), or --control-from private."
        )

    def _is_near(self, client: str) -> bool:
        if self.allowed == "any":
            return True
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if self.allowed == "loopback":
            return address.is_loopback
        return address.is_private or address in _SHARED
