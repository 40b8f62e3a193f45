"""The wire protocols, one sibling module each, over one neutral model. All of them are pure.

To add one: write its module with the functions of :class:`Dialect`, add a line to ``DIALECTS`` and its paths to
``ROUTES``. A module is imported when the first request for it comes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from fake_llm.kept import Kept, KeptTurn
from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn

DIALECTS = {
    "openai_chat": "fake_llm.dialects.openai_chat",
    "openai_responses": "fake_llm.dialects.openai_responses",
    "anthropic": "fake_llm.dialects.anthropic",
}


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


class KeepingDialect(Dialect, Protocol):
    """The module of a dialect whose server keeps turns, and lets requests go on from them."""

    def resume(self, body: Mapping[str, Json], headers: Mapping[str, str], kept: Kept) -> Turn:
        """As :meth:`Dialect.parse`, with what the session has kept."""
        ...

    def kept_turn(self, turn: Turn, reply: Reply, stamp: Stamp, kept: Kept, size: int) -> KeptTurn | None:
        """What is to be kept of a turn that was answered; ``size`` is in bytes."""
        ...

    def is_background(self, turn: Turn) -> bool:
        """Whether the client is answered at once, before the reply's delay, and looks for the reply later."""
        ...

    def stream_failure(self, error: ProtocolError, turn: Turn, stamp: Stamp, sent: int) -> bytes:
        """As :meth:`Dialect.stream_error`, after ``sent`` events of this turn's stream."""
        ...


KEEPING = frozenset({"openai_responses"})
"""The dialects that are :class:`KeepingDialect`."""


class Route(NamedTuple):
    """What serves a path: an operation (``generate``, ``count_tokens``, ``models``, ``kept``) of a dialect or provider.

    ``kept``: a look at what the session keeps.
    """

    operation: str
    dialect: str = ""


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/v1/chat/completions"): Route("generate", "openai_chat"),
    ("POST", "/v1/responses"): Route("generate", "openai_responses"),
    ("POST", "/v1/responses/input_tokens"): Route("kept", "openai_responses"),
    ("POST", "/v1/messages"): Route("generate", "anthropic"),
    ("POST", "/v1/messages/count_tokens"): Route("count_tokens", "anthropic"),
    ("GET", "/v1/models"): Route("models"),
}
"""Paths as they are after :func:`canonical_path`."""

_SLASHES = re.compile(r"//+")
_KEPT_RESPONSE = re.compile(r"/v1/responses/[^/]+(/cancel|/input_items)?")
_KEPT_METHODS: dict[str | None, tuple[str, ...]] = {
    None: ("GET", "DELETE"),
    "/cancel": ("POST",),
    "/input_items": ("GET",),
}


@cache
def dialect(name: str) -> Dialect:
    """The module of the dialect."""
    return cast("Dialect", import_module(DIALECTS[name]))


def keeping(name: str) -> KeepingDialect:
    """The module of the dialect, which is one of ``KEEPING``."""
    return cast("KeepingDialect", dialect(name))


def canonical_path(path: str) -> str:
    """``path`` as the routes know it: single slashes, none at the end, one ``/v1`` in front.

    Base URLs come with and without ``/v1`` and a trailing slash; joined with what the SDK appends they give
    ``/v1/v1/messages``, ``//chat/completions`` and the like.
    """
    path = "/" + _SLASHES.sub("/", path).strip("/")
    while path.startswith("/v1/v1/"):
        path = path[3:]
    if path != "/" and not path.startswith(("/v1/", "/_fake/")) and path != "/v1":
        versioned = "/v1" + path
        if versioned == "/v1/models" or versioned.startswith("/v1/models/") or ("POST", versioned) in ROUTES:
            return versioned
        if _KEPT_RESPONSE.fullmatch(versioned):
            return versioned
    return path


def route(method: str, path: str) -> Route | None:
    """What serves ``method`` at the canonical ``path``, or None."""
    found = ROUTES.get((method, path))
    if found is None and method == "GET" and path.startswith("/v1/models/"):
        return Route("models")
    if found is None and (kept := _KEPT_RESPONSE.fullmatch(path)) and method in _KEPT_METHODS[kept[1]]:
        return Route("kept", "openai_responses")
    return found


def has_path(path: str) -> bool:
    """Whether the path is served for some other method."""
    return (
        any(known == path for _, known in ROUTES)
        or path.startswith("/v1/models/")
        or _KEPT_RESPONSE.fullmatch(path) is not None
    )
