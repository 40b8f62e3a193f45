"""A Docker engine on a unix socket that holds what it is told to hold, and can hang, refuse, or come late."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

PORT = 7000
Handler = Callable[["_Request"], None]


class FakeEngine:
    """What the engine holds and how it behaves; ``asked`` are the calls, without the API's version.

    ``hangs`` and ``refuses`` match ``METHOD /path``; a call that hangs is answered when the engine ends.
    ``ping_after_s`` is how long it takes to answer at all. ``pull`` writes the answer to a pull. Every container has
    its port ``PORT`` published as ``published``, where something listens.
    """

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.images = {"it:1"}
        self.asked: list[str] = []
        self.ping_after_s = 0.0
        self.hangs = "never"
        self.refuses = "never"
        self.pull: Handler | None = None
        self.published = 0
        self.ended = threading.Event()

    def holds(self, name: str, **labels: str) -> None:
        """It has a container of that name and these labels (``realstack_run`` is ``realstack.run``)."""
        self.containers[name] = {key.replace("_", "."): value for key, value in labels.items()}

    def answer(self, call: str, query: str, body: Any) -> tuple[int, Any]:  # noqa: PLR0911 - one a call
        """Status and body for one call."""
        method, path = call.split(" ")
        parts = path.strip("/").split("/")
        match [method, *parts]:
            case ["GET", "_ping"]:
                time.sleep(self.ping_after_s)
                return 200, "OK"
            case ["GET", "version"]:
                return 200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
            case ["GET", "images", image, "json"]:
                return (200, {"Id": image, "Config": {}}) if image in self.images else (404, {"message": "none"})
            case ["POST", "containers", "create"]:
                name = re.sub(r".*name=([^&]*).*", r"\1", query)
                self.containers[name] = body.get("Labels") or {}
                return 201, {"Id": name}
            case ["POST", "containers", _, "start"]:
                return 204, None
            case ["GET", "containers", "json"]:
                return 200, [{"Id": name, "Names": [f"/{name}"], "Labels": its} for name, its in self._found(query)]
            case ["GET", "containers", name, "json"]:
                return (200, self._inspected()) if name in self.containers else (404, {"message": "none"})
            case ["DELETE", "containers", name]:
                return (204, None) if self.containers.pop(name, None) is not None else (404, {"message": "none"})
            case ["GET", "networks"]:
                return 200, []
            case ["GET", "volumes"]:
                return 200, {"Volumes": None}
        return 404, {"message": f"the fake engine knows no {call}"}

    def _inspected(self) -> dict[str, Any]:
        ports = {f"{PORT}/tcp": [{"HostPort": str(self.published)}]}
        return {"State": {"Status": "running"}, "NetworkSettings": {"Ports": ports}, "Config": {"Tty": False}}

    def _found(self, query: str) -> list[tuple[str, dict[str, str]]]:
        from urllib.parse import parse_qs

        wanted = [label.partition("=") for label in json.loads(parse_qs(query)["filters"][0])["label"]]
        return [
            (name, labels)
            for name, labels in list(self.containers.items())
            if all(key in labels and (not value or labels[key] == value) for key, _, value in wanted)
        ]


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def _serve(self) -> None:
        engine = self.server.engine
        path, _, query = self.path.partition("?")
        call = f"{self.command} {re.sub(r'^/v[0-9.]+', '', path)}"
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        engine.asked.append(call)
        if re.search(engine.hangs, call):
            engine.ended.wait()
            return
        if re.search(engine.refuses, call):
            self.tell(500, {"message": "refused by the fake engine"})
        elif call == "POST /images/create" and engine.pull is not None:
            engine.pull(self)
        else:
            self.tell(*engine.answer(call, query, body))

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the base class's names

    def tell(self, status: int, body: Any) -> None:
        """Answer so."""
        content = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Api-Version", "1.41")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def tell_piecemeal(self, *events: str, ends: bool = True) -> None:
        """Answer with a stream of events, as a pull's; it is still open where it does not end."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in [*(f"{event}\r\n" for event in events), *([""] if ends else [])]:
            self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
        self.wfile.flush()

    def address_string(self) -> str:
        """A unix socket has none."""
        return "it"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = False

    def __init__(self, place: Path, engine: FakeEngine) -> None:
        super().__init__(str(place), _Request)
        self.engine = engine


@contextmanager
def serving(engine: FakeEngine, place: Path) -> Iterator[str]:
    """The engine answers at the unix socket ``place``; its ``DOCKER_HOST``."""
    server = _Server(place, engine)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            engine.published = listener.getsockname()[1]
            yield f"unix://{place}"
    finally:
        engine.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
        place.unlink()
