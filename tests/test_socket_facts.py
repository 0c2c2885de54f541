"""What the kernel says, over real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from aserver.socket_facts import (
    Ending,
    addresses,
    count_unacknowledged,
    count_unread,
    ending,
    has_unread_bytes,
    reset_on_close,
)
from tests.processes import wait_until

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


class Transport:
    """As much of a transport as it takes."""

    def __init__(self, sock: socket.socket, **extra: Any) -> None:
        self._extra = {"socket": sock, **extra}

    def get_extra_info(self, name: str) -> Any:
        return self._extra.get(name)


def of(sock: socket.socket, **extra: Any) -> asyncio.Transport:
    return cast(asyncio.Transport, Transport(sock, **extra))


def test_unread_bytes(pair: Pair) -> None:
    ours, theirs = pair
    assert not has_unread_bytes(of(ours))
    theirs.sendall(b"x")
    wait_until(lambda: has_unread_bytes(of(ours)))
    ours.recv(1)
    assert not has_unread_bytes(of(ours))
    theirs.close()
    wait_until(lambda: has_unread_bytes(of(ours)))


def test_how_many_bytes_are_unread(pair: Pair) -> None:
    ours, theirs = pair
    assert count_unread(of(ours)) == 0
    theirs.sendall(b"xyz")
    theirs.shutdown(socket.SHUT_WR)
    wait_until(lambda: count_unread(of(ours)) == 3)
    ours.recv(3)
    assert ours.recv(1) == b""
    assert count_unread(of(ours)) == 0  # the end is none
    ours.close()
    assert count_unread(of(ours)) == 0


def test_ending_behind_unread_bytes(pair: Pair) -> None:
    ours, theirs = pair
    assert ending(of(ours)) is Ending.NONE
    theirs.sendall(b"x" * 1000)
    assert ending(of(ours)) is Ending.NONE
    theirs.shutdown(socket.SHUT_WR)
    wait_until(lambda: ending(of(ours)) is Ending.HALF)
    reset_on_close(of(theirs))
    theirs.close()
    wait_until(lambda: ending(of(ours)) is Ending.GONE)


def test_what_the_peer_has_not_taken(pair: Pair) -> None:
    ours, theirs = pair
    assert count_unacknowledged(of(ours)) == 0
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 65_536)
    full = count_unacknowledged(of(ours))
    assert full > 0

    def read_on() -> bool:
        theirs.recv(1 << 20)
        return count_unacknowledged(of(ours)) < full

    wait_until(read_on)


def test_closed_socket(pair: Pair) -> None:
    ours, _ = pair
    ours.close()
    assert not has_unread_bytes(of(ours))
    assert ending(of(ours)) is Ending.GONE
    assert count_unacknowledged(of(ours)) == 0
    reset_on_close(of(ours))


@pytest.mark.parametrize(
    ("sockname", "peername", "expected"),
    [
        (("192.0.2.1", 80), ("192.0.2.2", 5), (("192.0.2.2", 5), ("192.0.2.1", 80))),
        (("::1", 80, 0, 0), ("::2", 5, 0, 0), (("::2", 5), ("::1", 80))),
        (
            ("::ffff:192.0.2.1", 80, 0, 0),
            ("::ffff:192.0.2.2", 5, 0, 0),
            (("192.0.2.2", 5), ("192.0.2.1", 80)),
        ),
        (("192.0.2.1", 80), None, None),
        (("192.0.2.1", 80), "", None),
        (None, ("192.0.2.1", 80), None),
        (None, None, None),
        ("/run/a.sock", "", (None, ("/run/a.sock", None))),
        (b"\0abstract", None, (None, ("\0abstract", None))),
        ("", "", (None, None)),
    ],
)
def test_addresses(sockname: Any, peername: Any, expected: Any, pair: Pair) -> None:
    assert addresses(of(pair[0], sockname=sockname, peername=peername)) == expected
