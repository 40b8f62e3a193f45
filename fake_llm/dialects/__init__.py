"""The wire protocols, one sibling module each, over one neutral model. All of them are pure.

To add one: write its module with the functions of :class:`Dialect`, add a line to ``DIALECTS`` (or ``COMPUTED``) and
its paths to ``ROUTES``; what a path says of the request reaches ``parse`` in the body, by the route's ``bound``. A
module is imported when the first request for it comes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple, Protocol, cast

from fake_llm.kept import Kept, KeptChat, KeptTurn
from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn

DIALECTS = {
    "openai_chat": "fake_llm.dialects.openai_chat",
    "openai_responses": "fake_llm.dialects.openai_responses",
    "anthropic": "fake_llm.dialects.anthropic",
    "gemini": "fake_llm.dialects.gemini",
    "gemini_interactions": "fake_llm.dialects.gemini_interactions",
    "openai_completions": "fake_llm.dialects.openai_completions",
    "ollama": "fake_llm.dialects.ollama.chat",
    "ollama_generate": "fake_llm.dialects.ollama.generate",
}
COMPUTED = {
    "openai_embeddings": "fake_llm.dialects.openai_embeddings",
    "openai_moderations": "fake_llm.dialects.openai_moderations",
    "ollama_embeddings": "fake_llm.dialects.ollama.embeddings",
    "gemini_embeddings": "fake_llm.dialects.gemini_embeddings",
}
"""Dialects whose answers are computed from the request and have no words: ``parse`` sets ``computed``, and as such
a turn never streams, they have no ``stream``, ``stream_error`` and ``STREAM_TYPE``."""
NOTHING: Mapping[str, Json] = MappingProxyType({})


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


class CountingDialect(Protocol):
    """A dialect's module that has an operation ``count_tokens``."""

    def count_tokens(self, body: Mapping[str, Json], headers: Mapping[str, str]) -> bytes:
        """The answer of the counting endpoint.

        :raises ProtocolError: the real API refuses the request.
        """
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


class StoringDialect(Protocol):
    """The module of a dialect whose answers a client may have stored, to look them up later."""

    def kept_chat(self, turn: Turn, replies: Sequence[Reply], stamp: Stamp, size: int) -> KeptChat | None:
        """What is to be kept of a turn that was answered, None for nothing; ``size`` is in bytes."""
        ...


KEEPING = frozenset({"openai_responses", "gemini_interactions"})
"""The dialects that are :class:`KeepingDialect`."""
STORING = frozenset({"openai_chat"})
"""The dialects that are :class:`StoringDialect`."""
LOCAL = frozenset({"ollama", "ollama_generate", "ollama_embeddings"})
"""The dialects of a server that loads and deletes models: a session's ``local`` says which there are."""


class Route(NamedTuple):
    """What serves a path: an operation (``generate``, ``count_tokens``, ``models``, ``kept``) of a dialect or provider.

    ``kept``: a look at what the session keeps. ``local``: the management of the session's own models. ``tokens``: texts
    to tokens and back. ``bound``: what the path says of the request that other protocols say in the body, such as the
    model. ``keyless``: no key is asked for.
    """

    operation: str
    dialect: str = ""
    bound: Mapping[str, Json] = NOTHING
    keyless: bool = False


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/v1/chat/completions"): Route("generate", "openai_chat"),
    ("POST", "/v1/responses"): Route("generate", "openai_responses"),
    ("POST", "/v1/responses/input_tokens"): Route("kept", "openai_responses"),
    ("POST", "/v1/responses/compact"): Route("kept", "openai_responses"),
    ("POST", "/v1/conversations"): Route("kept", "openai_responses"),
    ("GET", "/v1/chat/completions"): Route("kept", "openai_chat"),
    ("POST", "/v1/completions"): Route("generate", "openai_completions"),
    ("POST", "/v1/embeddings"): Route("generate", "openai_embeddings"),
    ("POST", "/v1/moderations"): Route("generate", "openai_moderations"),
    ("POST", "/v1/messages"): Route("generate", "anthropic"),
    ("POST", "/v1/messages/count_tokens"): Route("count_tokens", "anthropic"),
    ("GET", "/v1/models"): Route("models"),
    ("POST", "/v1/models/*:generateContent"): Route("generate", "gemini", {"stream": False}),
    ("POST", "/v1/models/*:streamGenerateContent"): Route("generate", "gemini", {"stream": True}),
    ("POST", "/v1/models/*:countTokens"): Route("count_tokens", "gemini"),
    ("POST", "/api/chat"): Route("generate", "ollama", keyless=True),
    ("POST", "/api/generate"): Route("generate", "ollama_generate", keyless=True),
    ("POST", "/api/embed"): Route("generate", "ollama_embeddings", {"endpoint": "embed"}, keyless=True),
    ("POST", "/api/embeddings"): Route("generate", "ollama_embeddings", {"endpoint": "embeddings"}, keyless=True),
    ("POST", "/tokenize"): Route("tokens", "openai_chat", keyless=True),
    ("POST", "/detokenize"): Route("tokens", "openai_chat", keyless=True),
    ("POST", "/v1/interactions"): Route("generate", "gemini_interactions"),
    ("POST", "/v1/models/*:embedContent"): Route("generate", "gemini_embeddings", {"batch": False}),
    ("POST", "/v1/models/*:batchEmbedContents"): Route("generate", "gemini_embeddings", {"batch": True}),
}
"""Paths as they are after :func:`canonical_path`; ``*`` is a model, and its ``/v1`` any of ``VERSIONS``."""

VERSIONS = ("v1", "v1beta", "v1alpha")
"""Versions in paths; all but the first are Gemini's alone."""

_SLASHES = re.compile(r"//+")
_REPEATED = tuple(f"/{outer}/{inner}/" for outer in VERSIONS for inner in VERSIONS)
_OF_MODEL = re.compile(rf"/({'|'.join(VERSIONS)})/models(?:/(.+?)(:[a-z][A-Za-z]*)?)?")
_KEPT_AREAS = {"responses": "openai_responses", "conversations": "openai_responses", "chat/completions": "openai_chat"}
_KEPT = re.compile(rf"/v1/({'|'.join(_KEPT_AREAS)})/[^/]+(/cancel|/input_items|/messages|/items|/items/[^/]+)?")
_KEPT_METHODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("responses", ""): ("GET", "DELETE"),
    ("responses", "/cancel"): ("POST",),
    ("responses", "/input_items"): ("GET",),
    ("conversations", ""): ("GET", "POST", "DELETE"),
    ("conversations", "/items"): ("GET", "POST"),
    ("conversations", "/items/*"): ("GET", "DELETE"),
    ("chat/completions", ""): ("GET", "POST", "DELETE"),
    ("chat/completions", "/messages"): ("GET",),
}
_OLLAMA = re.compile(
    r"/api/(?:chat|generate|embed|embeddings|tags|ps|show|version|pull|push|create|copy|delete|blobs/[^/]+)"
)
_MANAGEMENT = Route("local", "ollama", keyless=True)
_INTERACTION = re.compile(rf"/(?:{'|'.join(VERSIONS)})/interactions(?:/[^/]+(/cancel)?)?")
_AZURE = re.compile(r"/openai/(?:deployments/(?P<deployment>[^/]+)/)?")


@cache
def dialect(name: str) -> Dialect:
    """The module of the dialect."""
    return cast("Dialect", import_module(DIALECTS.get(name) or COMPUTED[name]))


def counting_dialect(name: str) -> CountingDialect:
    """The module of a dialect that counts."""
    return cast("CountingDialect", dialect(name))


def keeping(name: str) -> KeepingDialect:
    """The module of the dialect, which is one of ``KEEPING``."""
    return cast("KeepingDialect", dialect(name))


def storing(name: str) -> StoringDialect:
    """The module of the dialect, which is one of ``STORING``."""
    return cast("StoringDialect", dialect(name))


def canonical_path(path: str) -> str:
    """``path`` as the routes know it: single slashes, none at the end, one version in front.

    Base URLs come with and without ``/v1`` and a trailing slash; joined with what the SDK appends they give
    ``/v1/v1/messages``, ``//chat/completions`` and the like. Of two versions the last one, the SDK's, stands. Azure's
    ``/openai/v1/…``, ``/openai/…`` and ``/openai/deployments/<deployment>/…`` are the same endpoints as OpenAI's.
    """
    path = "/" + _SLASHES.sub("/", path).strip("/")
    if azure := _AZURE.match(path):
        path = "/v1/" + path[azure.end() :]
    while path.startswith(_REPEATED):
        path = path[path.index("/", 1) :]
    if path != "/" and not path.startswith(("/v1/", "/_fake/")) and path != "/v1":
        versioned = "/v1" + path
        if versioned == "/v1/models" or versioned.startswith("/v1/models/") or ("POST", versioned) in ROUTES:
            return versioned
        if _kept_methods(versioned) or _INTERACTION.fullmatch(versioned):
            return versioned
    return path


def deployment(path: str) -> str | None:
    """The deployment that an Azure path names; it stands for a model."""
    azure = _AZURE.match("/" + _SLASHES.sub("/", path).strip("/"))
    return azure["deployment"] if azure else None


def is_azure(path: str) -> bool:
    """Whether the path is one of Azure's."""
    return _AZURE.match("/" + _SLASHES.sub("/", path).strip("/")) is not None


def route(method: str, path: str) -> Route | None:
    """What serves ``method`` at the canonical ``path``, or None."""
    return (
        ROUTES.get((method, path))
        or _route_of_model(method, path)
        or _route_of_kept(method, path)
        or _route_of_interaction(method, path)
        or (_MANAGEMENT if _OLLAMA.fullmatch(path) else None)
    )


def _route_of_model(method: str, path: str) -> Route | None:
    """What serves a path with a model's name in it, or the list of models under one of Gemini's own versions."""
    at = _OF_MODEL.fullmatch(path)
    if at is None:
        return None
    version, model, verb = at.groups(default="")
    if method == "GET":
        return Route("models", "" if version == VERSIONS[0] else "gemini", {"model": model + verb})
    found = ROUTES.get((method, f"/v1/models/*{verb}"))
    return found and found._replace(bound={**found.bound, "model": model})


def _route_of_kept(method: str, path: str) -> Route | None:
    if method not in _kept_methods(path):
        return None
    return Route("kept", next(name for area, name in _KEPT_AREAS.items() if path.startswith(f"/v1/{area}/")))


def _kept_methods(path: str) -> tuple[str, ...]:
    """The methods by which a thing that is kept, or an aspect of it, may be asked for."""
    kept = _KEPT.fullmatch(path)
    if kept is None:
        return ()
    area, aspect = kept.groups(default="")
    return _KEPT_METHODS.get((area, "/items/*" if aspect.startswith("/items/") else aspect), ())


def _route_of_interaction(method: str, path: str) -> Route | None:
    at = _INTERACTION.fullmatch(path)
    if at is None:
        return None
    if path.endswith("/interactions"):
        return ROUTES["POST", "/v1/interactions"] if method == "POST" else None
    allowed = ("POST",) if at[1] else ("GET", "DELETE")
    return Route("kept", "gemini_interactions") if method in allowed else None


def has_path(path: str) -> bool:
    """Whether the path is served for some other method."""
    return (
        any(known == path for _, known in ROUTES)
        or (path.startswith("/v1/models/") and ":" not in path)
        or bool(_kept_methods(path))
        or _INTERACTION.fullmatch(path) is not None
    )
