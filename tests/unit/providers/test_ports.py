"""Ports that are kept free for a server."""

from __future__ import annotations

import socket
import sys

import pytest

from realstack.providers.ports import PortTakenError, ReservedPort, listening_socket


def test_a_reserved_port_lets_the_server_bind_it() -> None:
    with (
        ReservedPort() as reserved,
        listening_socket(reserved.number) as listener,
        socket.create_connection(listener.getsockname(), timeout=5) as client,
    ):
        accepted, _ = listener.accept()
        accepted.close()
        assert client.getpeername()[1] == reserved.number


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hold a port for another")
def test_a_held_port_is_given_to_nobody_who_asks_for_any() -> None:
    reserved = [ReservedPort() for _ in range(200)]
    try:
        assert len({port.number for port in reserved}) == 200
    finally:
        for port in reserved:
            port.release()


def test_a_port_that_somebody_listens_on_cannot_be_reserved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {number} of 127.0.0.1 is taken"):
            ReservedPort(number)


def test_a_released_port_can_be_wanted_by_number() -> None:
    first = ReservedPort()
    first.release()
    with ReservedPort(first.number) as again:
        assert again.number == first.number
