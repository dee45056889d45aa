"""The proxy breaks lines in the ways that the fault suite counts on."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Proxy, Server


@pytest.fixture
def line() -> Iterator[Proxy]:
    """To a server that says what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        proxy = Proxy(Server(port=server.getsockname()[1]))
        yield proxy
        proxy.stop()


def _serve(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            link, _ = server.accept()
            threading.Thread(target=_echo, args=(link,), daemon=True).start()


def _echo(link: socket.socket) -> None:
    with link, suppress(OSError):
        while heard := link.recv(1024):
            link.sendall(heard)


def _call(line: Proxy) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", line.port), 5)
    link.settimeout(5)
    return link


def test_a_cut_line_is_reset_and_refused_until_it_is_healed(line: Proxy) -> None:
    with _call(line) as link:
        link.sendall(b"hello")
        assert link.recv(10) == b"hello"
        line.cut()
        with pytest.raises(ConnectionResetError):
            link.recv(10)
    with pytest.raises(ConnectionRefusedError):
        _call(line)
    line.heal()
    with _call(line) as link:
        link.sendall(b"again")
        assert link.recv(10) == b"again"


def test_a_stalled_line_stays_open_and_what_was_sent_arrives_late(line: Proxy) -> None:
    with _call(line) as link:
        link.sendall(b"before")
        assert link.recv(10) == b"before"
        line.stall()
        link.sendall(b"late")
        link.settimeout(0.3)
        with pytest.raises(TimeoutError):
            link.recv(10)
        link.settimeout(5)
        line.heal()
        assert link.recv(10) == b"late"


def test_a_torn_line_lets_a_part_of_a_message_pass(line: Proxy) -> None:
    with _call(line) as link:
        line.tear(10)  # seven there, and three of them back
        link.sendall(b"message")
        assert link.recv(10) == b"mes"
        with pytest.raises(ConnectionResetError):
            link.recv(10)


def test_a_slow_line_keeps_each_piece_back(line: Proxy) -> None:
    with _call(line) as link:
        line.slow(150)
        began = time.monotonic()
        link.sendall(b"slow")
        assert link.recv(10) == b"slow"
        assert time.monotonic() - began >= 0.3
