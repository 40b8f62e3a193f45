"""A service of which only a port is known."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from realstack.model import Address, Endpoint, ServiceSpec
from realstack.providers.embedded import Embedded
from realstack.services import made_up
from realstack.services.generic import Generic

SPEC = ServiceSpec("mail-catcher", "generic", "mail-catcher", 1025, image="mailpit:v1")


def endpoint(port: int) -> Endpoint:
    return Generic().endpoint(SPEC, Address("127.0.0.1", port), "compose")


async def test_it_is_ready_when_its_port_accepts() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        where = endpoint(server.sockets[0].getsockname()[1])
        assert await Generic().probe(where) == where


async def test_a_refused_connection_is_its_problem() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await Generic().probe(endpoint(bound.getsockname()[1]))


def test_applications_find_it_by_host_and_port() -> None:
    assert Generic().environment(endpoint(7000)) == {"MAIL_CATCHER_HOST": "127.0.0.1", "MAIL_CATCHER_PORT": "7000"}


def test_it_cannot_run_without_its_image_and_says_so() -> None:
    why = Embedded({SPEC.name: Generic().recipe(SPEC)}).unavailable([SPEC])
    assert "mailpit:v1" in why["mail-catcher"]


def test_a_made_up_password_is_kept_where_only_its_user_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_up, "cache_folder", lambda name: tmp_path)
    made_up.made_up_password.cache_clear()
    first = made_up.made_up_password()
    made_up.made_up_password.cache_clear()
    assert made_up.made_up_password() == first
    made_up.made_up_password.cache_clear()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(first) > 20
