"""WebSockets and real clients: how they end, from either side, and pings."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
)
from websockets.frames import Close
from wsproto import events

from aserver.testing import serve
from tests.processes import DEADLINE, wait_until
from tests.ws_clients import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Peer,
    WsprotoClient,
    close_frame,
    connect,
    connected,
    frame,
    uri,
)
from tests.ws_site import Site

CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999]
REASONS = ["", "Auf Wiedersehen, schöne Welt ☃", "x" * 123]


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site, loop_name: str) -> Iterator[serve]:
    with serve(site, loop=loop_name) as server:
        yield server
    assert not site.has_disconnects()


@pytest.fixture
def sock(server: serve) -> Iterator[socket.socket]:
    with connected(server.host, server.port) as sock:
        yield sock


# The client closes


def test_the_application_hears_every_code_and_reason_of_a_client(server: serve, site: Site) -> None:
    for code in CODES:
        for reason in REASONS:
            with connect(server, "/echo") as connection:
                connection.close(code, reason)
                # The answer has the same code.
                assert connection.close_code == code
            assert site.next_disconnect() == (code, reason)


def test_1014_is_taken_for_a_mistake(sock: socket.socket, site: Site) -> None:
    """It is in IANA's registry, but wsproto does not know it."""
    with Peer(sock, "/echo") as peer:
        sock.sendall(close_frame(1014, "bad gateway"))
        assert peer.read_close()[0] == 1002
    assert site.next_disconnect()[0] == 1002


def test_wsproto_closes_and_is_content(server: serve, sock: socket.socket, site: Site) -> None:
    client = WsprotoClient(sock)
    opened = client.open("/echo", subprotocols=[], extensions=[])
    assert isinstance(opened, events.AcceptConnection)
    client.send(events.TextMessage("last words"), events.CloseConnection(4000, "done"))
    # What is before the close frame reaches the application; its answer comes too late.
    (answer,) = client.events()
    assert isinstance(answer, events.CloseConnection)
    assert answer.code == 4000
    assert site.next_disconnect() == (4000, "done")


def test_a_close_frame_without_a_code_is_1005(sock: socket.socket, site: Site) -> None:
    with Peer(sock, "/echo") as peer:
        peer.send(CLOSE)
        assert peer.read() == (CLOSE, b"")
        peer.read_end()
    assert site.next_disconnect() == (1005, "")


def test_messages_before_a_close_frame_are_received_first(sock: socket.socket, site: Site) -> None:
    with Peer(sock, "/echo") as peer:
        messages = b"".join(frame(TEXT, b"%d" % number) for number in range(10))
        sock.sendall(messages + close_frame(1001, "going"))
        while (answer := peer.read())[0] == TEXT:
            pass
        assert answer == (CLOSE, b"\x03\xe9")
        peer.read_end()
    assert site.next_disconnect() == (1001, "going")


# The client is gone


def test_a_reset_is_1006(sock: socket.socket, site: Site) -> None:
    Peer(sock, "/echo").reset()
    assert site.next_disconnect() == (1006, "")


def test_an_end_without_a_close_frame_is_1006(sock: socket.socket, site: Site) -> None:
    with Peer(sock, "/echo") as peer:
        sock.shutdown(socket.SHUT_WR)
        peer.read_end()
    assert site.next_disconnect() == (1006, "")


def test_an_end_in_the_middle_of_a_frame_is_1006(sock: socket.socket, site: Site) -> None:
    with Peer(sock, "/echo"):
        sock.sendall(frame(BINARY, bytes(1000))[:500])
    assert site.next_disconnect() == (1006, "")


def test_a_client_process_that_is_killed_is_1006(server: serve, site: Site) -> None:
    code = (
        "import sys\n"
        "from websockets.sync.client import connect\n"
        "with connect(sys.argv[1]) as connection:\n"
        "    connection.send('hello')\n"
        "    print(connection.recv(), flush=True)\n"
        "    connection.recv()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, uri(server, "/echo")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hello\n"
        assert not site.has_disconnects()
        os.kill(process.pid, signal.SIGKILL)
        assert site.next_disconnect() == (1006, "")


def test_who_breaks_the_protocol_is_told_so(server: serve, site: Site) -> None:
    for mistake, code in [
        (frame(BINARY, b"ab", compressed=True), 1002),
        (frame(3), 1002),
        (b"\x81\x02hi", 1002),  # not masked
        (frame(TEXT, b"\xff"), 1007),
        (close_frame(1005), 1002),
        (close_frame(999), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(0, b"continues nothing"), 1002),
    ]:
        with connected(server.host, server.port) as sock, Peer(sock, "/echo") as peer:
            sock.sendall(mistake)
            assert peer.read_close()[0] == code, mistake
            peer.read_end()
        assert site.next_disconnect()[0] == code, mistake


# The application closes


def test_a_client_hears_every_code_and_reason_of_the_application(server: serve, site: Site) -> None:
    for code in CODES:
        for reason in REASONS:
            path = f"/close?code={code}&reason={quote(reason)}"
            with connect(server, path) as connection:
                with pytest.raises(ConnectionClosed) as closed:
                    connection.recv(DEADLINE)
                assert closed.value.rcvd == Close(code, reason)
            assert site.next_disconnect()[0] == code


def test_a_reason_that_is_too_long_is_cut_between_two_characters(server: serve, site: Site) -> None:
    path = f"/close?code=4000&reason={quote('☃' * 100)}"
    with (
        connect(server, path) as connection,
        pytest.raises(ConnectionClosed) as closed,
    ):
        connection.recv(DEADLINE)
    assert closed.value.rcvd == Close(4000, "☃" * 41)
    assert site.next_disconnect()[0] == 4000


def test_an_application_that_returns_closes_with_1000(server: serve) -> None:
    with connect(server, "/leave") as connection:
        assert connection.recv(DEADLINE) == "bye"
        with pytest.raises(ConnectionClosedOK):
            connection.recv(DEADLINE)
    assert connection.close_code == 1000


def test_an_application_that_raises_closes_with_1011(
    server: serve, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(server, "/break") as connection:
        assert connection.recv(DEADLINE) == "bye"
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv(DEADLINE)
        assert closed.value.rcvd == Close(1011, "")
    wait_until(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("aserver.app", logging.ERROR)


# Pings


def test_pings_are_answered_in_order_between_the_pieces_of_a_message(
    sock: socket.socket, site: Site
) -> None:
    with Peer(sock, "/echo") as peer:
        peer.send(TEXT, b"one ", fin=False)
        for number in range(20):
            peer.send(PING, b"%d" % number)
        peer.send(PONG, b"nobody has asked")
        peer.send(0, b"two")
        assert [peer.read() for _ in range(20)] == [(PONG, b"%d" % n) for n in range(20)]
        assert peer.read() == (TEXT, b"one two")
    assert site.next_disconnect() == (1006, "")
