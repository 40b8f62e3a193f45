"""The wire protocols, one sibling module each, over one neutral model. All of them are pure.

To add one: write its module with the functions of :class:`Dialect`, add a line to ``DIALECTS`` (or ``COMPUTED``)
and its paths to ``ROUTES``. A module is imported when the first request for it comes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn

DIALECTS = {
    "openai_chat": "fake_llm.dialects.openai_chat",
    "anthropic": "fake_llm.dialects.anthropic",
    "openai_completions": "fake_llm.dialects.openai_completions",
}
COMPUTED = {
    "openai_embeddings": "fake_llm.dialects.openai_embeddings",
    "openai_moderations": "fake_llm.dialects.openai_moderations",
}
"""Dialects whose answers are computed from the request and have no words: ``parse`` sets ``computed``, and as such
a turn never streams, they have no ``stream``, ``stream_error`` and ``STREAM_TYPE``."""


class Dialect(Protocol):
    """A dialect's module."""

    PROVIDER: str
    STREAM_TYPE: bytes

    def parse(self, body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
        """The request as a neutral turn.

        :raises ProtocolError: the real API refuses it.
        """
        ...

    def render(self, turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
        """The whole answer; ``replies`` has one for each choice asked for, each with its usage."""
        ...

    def stream(self, turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
        """The answer as a stream's events, the end mark among them."""
        ...

    def stream_error(self, error: ProtocolError, stamp: Stamp) -> bytes:
        """The event by which this dialect reports an error inside a stream."""
        ...


class Route(NamedTuple):
    """What serves a path: an operation (``generate``, ``count_tokens``, ``models``) of a dialect or provider."""

    operation: str
    dialect: str = ""


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/v1/chat/completions"): Route("generate", "openai_chat"),
    ("POST", "/v1/completions"): Route("generate", "openai_completions"),
    ("POST", "/v1/embeddings"): Route("generate", "openai_embeddings"),
    ("POST", "/v1/moderations"): Route("generate", "openai_moderations"),
    ("POST", "/v1/messages"): Route("generate", "anthropic"),
    ("POST", "/v1/messages/count_tokens"): Route("count_tokens", "anthropic"),
    ("GET", "/v1/models"): Route("models"),
}
"""Paths as they are after :func:`canonical_path`."""

_SLASHES = re.compile(r"//+")
_AZURE = re.compile(r"/openai/(?:deployments/(?P<deployment>[^/]+)/)?")


@cache
def dialect(name: str) -> Dialect:
    """The module of the dialect."""
    return cast("Dialect", import_module(DIALECTS.get(name) or COMPUTED[name]))


def canonical_path(path: str) -> str:
    """``path`` as the routes know it: single slashes, none at the end, one ``/v1`` in front.

    Base URLs come with and without ``/v1`` and a trailing slash; joined with what the SDK appends they give
    ``/v1/v1/messages``, ``//chat/completions`` and the like. Azure's ``/openai/v1/…``, ``/openai/…`` and
    ``/openai/deployments/<deployment>/…`` are the same endpoints as OpenAI's.
    """
    path = "/" + _SLASHES.sub("/", path).strip("/")
    if azure := _AZURE.match(path):
        path = "/v1/" + path[azure.end() :]
    while path.startswith("/v1/v1/"):
        path = path[3:]
    if path != "/" and not path.startswith(("/v1/", "/_fake/")) and path != "/v1":
        versioned = "/v1" + path
        if versioned == "/v1/models" or versioned.startswith("/v1/models/") or ("POST", versioned) in ROUTES:
            return versioned
    return path


def deployment(path: str) -> str | None:
    """The deployment that an Azure path names; it stands for a model."""
    azure = _AZURE.match("/" + _SLASHES.sub("/", path).strip("/"))
    return azure["deployment"] if azure else None


def route(method: str, path: str) -> Route | None:
    """What serves ``method`` at the canonical ``path``, or None."""
    found = ROUTES.get((method, path))
    if found is None and method == "GET" and path.startswith("/v1/models/"):
        return Route("models")
    return found


def has_path(path: str) -> bool:
    """Whether the path is served for some other method."""
    return any(known == path for _, known in ROUTES) or path.startswith("/v1/models/")
