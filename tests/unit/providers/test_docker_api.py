"""Calls to the engine, against one that says what a test has it say."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from realstack.errors import ComposeFileError, ProviderUnavailable
from realstack.model import Build, ServiceSpec
from realstack.providers.docker_address import Engine
from realstack.providers.docker_api import Api, Container, RefusedError
from realstack.providers.docker_images import missing_images

PING = b"HTTP/1.1 200 OK\r\nApi-Version: %b\r\nContent-Length: 2\r\n\r\nOK"


def says(body: bytes, status: int = 200) -> bytes:
    """An answer of the engine."""
    return b"HTTP/1.1 %d It\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@contextmanager
def engine(folder: Path, answers: Mapping[str, bytes], version: bytes = b"1.41") -> Iterator[tuple[Api, list[str]]]:
    """Calls to an engine that answers so (by the path without its version), and the first line of all it was asked."""
    place, asked = folder / "engine.sock", []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    line = caller.recv(65536).split(b"\r\n", 1)[0].decode().removesuffix(" HTTP/1.1")
                    asked.append(line)
                    path = line.split(" ")[1].partition("?")[0]
                    known = {"/_ping": PING % version, **answers}
                    caller.sendall(next((said for end, said in known.items() if path.endswith(end)), says(b"", 404)))

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield Api(Engine(f"unix://{place}", "a test")), asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


@pytest.mark.parametrize(
    ("engines", "spoken"), [(b"1.41", "/v1.41"), (b"1.52", "/v1.47"), (b"2.0", "/v1.47"), (b"", ""), (b"new", "")]
)
def test_the_engines_version_is_spoken_up_to_the_newest_that_is_known(
    tmp_path: Path, engines: bytes, spoken: str
) -> None:
    with engine(tmp_path, {"/info": says(b"{}")}, engines) as (api, asked):
        assert [api.call("GET", "/info"), api.call("GET", "/info")] == [{}, {}]
    assert asked == ["GET /_ping", f"GET {spoken}/info", f"GET {spoken}/info"]


def test_a_refusal_has_the_engines_own_words(tmp_path: Path) -> None:
    said = says(json.dumps({"message": "no such thing"}).encode(), 409)
    with engine(tmp_path, {"/x": said, "/y": says(b"proxy error\n", 502)}) as (api, _):
        for path, status, words in (("/x", 409, "no such thing"), ("/y", 502, "proxy error")):
            with pytest.raises(RefusedError, match=words) as caught:
                api.call("GET", path)
            assert (caught.value.status, caught.value.words) == (status, words)
            assert "To mend it:" in str(caught.value)


def test_an_image_that_is_not_there_is_none_and_its_name_stays_one_path(tmp_path: Path) -> None:
    with engine(tmp_path, {"/there:1/json": says(b'{"Id": "i"}')}) as (api, asked):
        assert api.inspect_image("registry:5000/there:1") == {"Id": "i"}
        assert api.inspect_image("no?such:1") is None
    assert asked[1:] == ["GET /v1.41/images/registry:5000/there:1/json", "GET /v1.41/images/no%3Fsuch:1/json"]


def test_what_cannot_be_an_image_is_told_by_the_key_that_names_it(tmp_path: Path) -> None:
    """A tag whose variable is not set, a name in capitals: the engine answers 400, not 404."""
    (tmp_path / "Dockerfile").write_text("FROM Python:3\n")
    refused = says(b'{"message": "invalid reference format"}', 400)
    image = ServiceSpec("postgres", "postgres", "db", 5432, image="postgres:")
    build = ServiceSpec("app", "generic", "App", 0, build=Build(tmp_path, tmp_path / "Dockerfile"))
    with engine(tmp_path, {"/postgres:/json": refused, "/Python:3/json": refused}) as (api, asked):
        with pytest.raises(
            ComposeFileError, match=r"services\.db\.image names the image 'postgres:'.*invalid reference"
        ):
            missing_images(api.engine, [image])
        with pytest.raises(ComposeFileError, match=r"services\.App\.build\.dockerfile \(.*Dockerfile\).*'Python:3'"):
            missing_images(api.engine, [build])
    assert "GET /v1.41/images/realstack-app/json" in asked, "what is built has a name that an image can have"


def test_containers_are_asked_for_by_all_labels_and_one_that_is_going_may_have_no_name(tmp_path: Path) -> None:
    listed = [{"Id": "a" * 64, "Names": ["/one"], "Labels": {"l": "1"}}, {"Id": "b", "Names": None, "Labels": None}]
    with engine(tmp_path, {"/containers/json": says(json.dumps(listed).encode())}) as (api, asked):
        found = api.containers("l=1", "m")
    assert [(one.short_id, one.name, one.labels) for one in found] == [("a" * 12, "one", {"l": "1"}), ("b", "", {})]
    assert asked[1] == "GET /v1.41/containers/json?all=true&filters=%7B%22label%22%3A+%5B%22l%3D1%22%2C+%22m%22%5D%7D"


@pytest.mark.parametrize("has_terminal", [False, True])
def test_a_log_is_what_was_written_without_the_engines_frames(tmp_path: Path, has_terminal: bool) -> None:
    pieces = [b"out\n", b"", b"err" * 100 + b"\n"]
    framed = b"".join(struct.pack(">BxxxL", 1, len(piece)) + piece for piece in pieces)
    answers = {
        "/c/json": says(json.dumps({"Config": {"Tty": has_terminal}}).encode()),
        "/c/logs": says(b"".join(pieces) if has_terminal else framed),
    }
    with engine(tmp_path, answers) as (api, _):
        assert Container(api, "c", "it").logs() == b"".join(pieces)


def test_an_engine_that_went_away_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailable, match=r"`GET /_ping`: No such file[^$]*To mend it"):
        Api(Engine(f"unix://{tmp_path}/none.sock", "a test")).call("GET", "/info")
