"""What all endpoints of one provider have in common: its error envelope and its response headers.

``PROVIDERS`` names the module of each; it is imported when it is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from fake_llm.model import Fault, ProtocolError, Stamp, Turn
from fake_llm.unread import Unread

PROVIDERS = {
    "openai": "fake_llm.envelopes.openai",
    "azure": "fake_llm.envelopes.azure",
    "anthropic": "fake_llm.envelopes.anthropic",
    "gemini": "fake_llm.envelopes.gemini",
    "ollama": "fake_llm.envelopes.ollama",
}

_KEY_IN_QUERY = re.compile(r"(?:^|&)key=")

HeaderList = list[tuple[bytes, bytes]]


class Envelope(Protocol):
    """A provider's module. All its functions are pure."""

    def headers(self, stamp: Stamp) -> HeaderList:
        """The headers of every answer, content type not among them."""
        ...

    def error_headers(self, status: int, stamp: Stamp, fault: Fault | None = None) -> HeaderList:
        """The headers of an error, with the fault's retry and rate-limit headers."""
        ...

    def error_object(self, error: ProtocolError, stamp: Stamp) -> Mapping[str, object]:
        """The body of an error, as a JSON object."""
        ...

    def from_fault(self, fault: Fault, model: str) -> ProtocolError:
        """The error that this provider sends for the fault's status; what the fault sets itself stands."""
        ...

    def not_found(self, method: str, path: str) -> ProtocolError:
        """The answer to an unknown path."""
        ...

    def missing_key(self) -> ProtocolError:
        """The answer to a request without a key."""
        ...

    def unread(self, error: Unread) -> ProtocolError:
        """What this provider says to a request of which it read nothing."""
        ...


class Dressing(Protocol):
    """The module of a provider that serves another one's dialect, and adds to its answers. Pure as well."""

    def dressed(self, turn: Turn, raw: bytes) -> bytes:
        """A whole answer with what the provider adds."""
        ...

    def dressed_events(self, turn: Turn, events: Sequence[bytes]) -> list[bytes]:
        """A stream with what the provider adds."""
        ...


DRESSING = frozenset({"azure"})
"""The providers that are :class:`Dressing`."""


@cache
def envelope(provider: str) -> Envelope:
    """The envelope of ``provider``."""
    return cast("Envelope", import_module(PROVIDERS[provider]))


def dressing(provider: str) -> Dressing:
    """The module of ``provider``, which is one of ``DRESSING``."""
    return cast("Dressing", envelope(provider))


def provider_of(headers: Mapping[str, str], query: str = "") -> str:
    """The provider that a request at a path of several providers is meant for, told by its headers.

    Only Gemini's clients may put the key into the query.
    """
    if "anthropic-version" in headers:
        return "anthropic"
    return "gemini" if "x-goog-api-key" in headers or (query and _KEY_IN_QUERY.search(query)) else "openai"
