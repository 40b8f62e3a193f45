"""The Docker Engine's API by the standard library: the few calls that every start makes.

The SDK does the same and takes longer to import than the engine takes to answer, so it is left to what happens
once (pulling with the user's credentials, baking) and to ways to an engine that only it knows (ssh, named pipes).
What the calls take and give is in the Engine API's reference (docs.docker.com/reference/api/engine).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from realstack.errors import ProviderUnavailable, RealstackError
from realstack.providers.docker_address import Engine

if TYPE_CHECKING:
    import docker

CALL_TIMEOUT_S = 60.0
LOOK_TIMEOUT_S = 20.0
"""For calls that change nothing: an engine that is busy answers them all the same."""
_NEWEST_KNOWN = (1, 47)
_SDK_ONLY = ("ssh", "npipe", "http+docker")
_FRAME_HEADER = 8


class RefusedError(RealstackError):
    """The engine answered a call with an error: its ``status``, and its own ``words``.

    Who knows what the call was for says more; where nobody does, a reader gets the engine's words.
    """

    slug = "engine-refused"

    def __init__(self, status: int, words: str) -> None:
        super().__init__(
            f"the Docker engine refused a call with status {status}: {words.rstrip('.')}.",
            remedy="see the engine's words; `docker info` and its log may tell more.",
        )
        self.status, self.words = status, words


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def exchange(
    engine: Engine, method: str, path: str, body: bytes | None = None, *, within_s: float
) -> tuple[int, Mapping[str, str], bytes]:
    """One request over a connection of its own: status, headers and body of the answer. Safe in any thread.

    :raises OSError: no answer within ``within_s`` seconds, nobody there, or no such way to an engine.
    """
    connection = _connection(engine, within_s)
    headers = {"Host": "docker"} | ({} if body is None else {"Content-Type": "application/json"})
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    except http.client.HTTPException as problem:
        raise OSError(f"it does not speak HTTP: {problem!r}") from problem
    finally:
        connection.close()


def _connection(engine: Engine, within_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(engine.host)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path, within_s)
    if parts.scheme not in ("tcp", "http", "https") or not parts.hostname:
        raise OSError(f"no such way to an engine: {engine.host}")
    if engine.certificates is None and parts.scheme != "https":
        return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=within_s)
    context = ssl.create_default_context()
    if engine.certificates is not None:
        context.load_verify_locations(engine.certificates / "ca.pem")
        context.load_cert_chain(engine.certificates / "cert.pem", engine.certificates / "key.pem")
    return http.client.HTTPSConnection(parts.hostname, parts.port or 2376, timeout=within_s, context=context)


class Api:
    """Calls to one engine, from any thread. Nothing is sent before the first call; :meth:`close` at the end."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._sdk: docker.APIClient | None = None
        if urlsplit(engine.host).scheme in _SDK_ONLY:
            import docker

            over_ssh: dict[str, Any] = {"use_ssh_client": True} if engine.host.startswith("ssh://") else {}
            self._sdk = docker.APIClient(engine.host, timeout=int(CALL_TIMEOUT_S), **over_ssh)

    def close(self) -> None:
        """Give back what the way to the engine holds."""
        if self._sdk is not None:
            self._sdk.close()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The decoded answer; ``query`` holds strings, booleans, and what is sent as JSON. Blocking.

        :raises RefusedError: the engine says no.
        :raises ProviderUnavailable: it does not answer, or not in time.
        """
        answer = self.raw(method, path, body, **query)
        return json.loads(answer) if answer else None

    def raw(self, method: str, path: str, body: Any = None, **query: Any) -> bytes:
        """As :meth:`call`, undecoded."""
        words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
        asked = f"{self._prefix}{path}" + (f"?{urlencode(words)}" if words else "")
        status, _, answer = self._exchange(method, asked, None if body is None else json.dumps(body).encode())
        if status >= http.client.BAD_REQUEST:
            raise RefusedError(status, _words(answer))
        return answer

    def inspect_image(self, image: str) -> dict[str, Any] | None:
        """What the engine knows of an image; None if it has none of that name.

        :raises RefusedError: that is no name of an image (status 400), or the engine is in trouble.
        """
        try:
            found: dict[str, Any] = self.call("GET", f"/images/{quote(image, safe='/:@')}/json")
        except RefusedError as problem:
            if problem.status == http.client.NOT_FOUND:
                return None
            raise
        return found

    def create(self, name: str, config: Mapping[str, Any]) -> Container:
        """A container of that configuration, not started."""
        return Container(self, self.call("POST", "/containers/create", config, name=name)["Id"], name)

    def containers(self, *labels: str) -> list[Container]:
        """The containers that have all these labels (``name`` or ``name=value``), running or not."""
        found = self.call("GET", "/containers/json", all=True, filters={"label": labels})
        return [Container(self, one["Id"], (one["Names"] or [""])[0].lstrip("/"), one["Labels"]) for one in found]

    @cached_property
    def _prefix(self) -> str:
        """The API's version: the engine's, or the newest that is known here; an engine drops old ones in time."""
        _, headers, _ = self._exchange("GET", "/_ping", None)
        try:
            major, minor = headers.get("Api-Version", "").split(".")
            version = min((int(major), int(minor)), _NEWEST_KNOWN)
        except ValueError:
            return ""
        return f"/v{version[0]}.{version[1]}"

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        within_s = LOOK_TIMEOUT_S if method == "GET" else CALL_TIMEOUT_S
        try:
            if self._sdk is None:
                return exchange(self.engine, method, path, body, within_s=within_s)
            headers = {} if body is None else {"Content-Type": "application/json"}
            url = f"{self._sdk.base_url}{path}"
            answer = self._sdk.request(method, url, data=body, headers=headers, timeout=within_s)
            return answer.status_code, answer.headers, answer.content
        except OSError as problem:  # requests' exceptions are such, too
            raise _silent(self.engine, f"{method} {path.partition('?')[0]}", problem, within_s) from problem


class Container:
    """A container as the engine tells of it. ``attrs`` is what :meth:`reload` last read."""

    def __init__(self, api: Api, container_id: str, name: str, labels: Mapping[str, str] | None = None) -> None:
        self.api, self.id, self.name = api, container_id, name
        self.labels = dict(labels or {})
        self.attrs: dict[str, Any] = {}

    @property
    def short_id(self) -> str:
        """As the command ``docker`` prints it."""
        return self.id[:12]

    def start(self) -> None:
        """Start it."""
        self.api.call("POST", f"/containers/{self.id}/start")

    def reload(self) -> None:
        """Ask how it is now."""
        self.attrs = self.api.call("GET", f"/containers/{self.id}/json")

    def remove(self) -> None:
        """Kill and remove it with its anonymous volumes."""
        self.api.call("DELETE", f"/containers/{self.id}", force=True, v=True)

    def logs(self) -> bytes:
        """All that it wrote."""
        if not self.attrs:
            self.reload()
        content = self.api.raw("GET", f"/containers/{self.id}/logs", stdout=True, stderr=True)
        return content if self.attrs["Config"].get("Tty") else b"".join(_frames(content))

    def __repr__(self) -> str:
        return f"<Container {self.short_id} {self.name}>"


def _silent(engine: Engine, asked: str, problem: OSError, within_s: float) -> ProviderUnavailable:
    in_time = f"it gave no answer within {within_s:g} s" if isinstance(problem, TimeoutError) else ""
    why = in_time or problem.strerror or str(problem)
    return ProviderUnavailable(
        f"the Docker engine at {engine.host} (from {engine.named_by}) was asked `{asked}`: {why}.",
        remedy="`docker info` tells whether it is busy, hangs or is gone: wait for it, or start it again; "
        "REALSTACK_PROVIDER=embedded needs no Docker.",
    )


def _frames(content: bytes) -> Sequence[bytes]:
    """The pieces of a log: the engine puts before each which stream it is of, and its length in four bytes."""
    pieces, at = [], 0
    while at + _FRAME_HEADER <= len(content):
        begin = at + _FRAME_HEADER
        at = begin + int.from_bytes(content[at + 4 : begin])
        pieces.append(content[begin:at])
    return pieces


def _words(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.decode("utf-8", "replace").strip()
