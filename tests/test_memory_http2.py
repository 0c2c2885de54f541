"""Memory of real server processes with HTTP/2: bounded by the options, not by what clients do."""

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.certificates import Authority
from tests.h2_clients import H2Client
from tests.h2_places import SHORT_MATRIX, Place, processed
from tests.processes import Process, wait_until

APP = "tests.h2_served:app"
KIB = 1024
MIB = 1024 * KIB
# Of windows, with those that a connection begins with.
MOST = 2**31 - 1 - 65_535


@pytest.fixture(params=SHORT_MATRIX)
def served(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[Process, Place]]:
    """A server that is warm: every kind of request was there once."""
    with processed(APP, authority, request.param) as (server, place):
        for _ in range(2):
            with place.connect() as client:
                stream = client.open("/swallow", method="POST", ends=False)
                client.upload(stream, bytes(MIB))
                assert client.answer(stream).status == 200
                stream = client.open("/gibibyte")
                client.read_body(stream, 4 * MIB)
                client.reset(stream)
        yield server, place
        assert "Traceback" not in server.stderr


@pytest.fixture
def bystander(served: tuple[Process, Place]) -> Iterator[H2Client]:
    """Another connection."""
    with served[1].connect() as client:
        client.get("/hello")
        yield client


def wait_until_it_rests(bystander: H2Client, measure: Callable[[], int]) -> int:
    """Wait until a figure changes no more while the server goes round and round."""
    while True:
        before = measure()
        for _ in range(50):
            assert bytes(bystander.get("/hello").body) == b"hello"
            if measure() != before:
                break
        else:
            return before


# Responses


def test_a_client_that_gives_no_room_costs_nothing(
    served: tuple[Process, Place], bystander: H2Client
) -> None:
    server, place = served
    before = server.memory
    server.reset_peak()
    with place.connect(window=MIB) as client:
        client.takes = False
        stream = client.open("/gibibyte")
        while sum(size for _, size in client.order) < 65_535:
            client.read()
        wait_until_it_rests(bystander, lambda: server.peak)
        assert server.peak - before < MIB
        # It goes on when the client does.
        client.takes = True
        client.take(stream, 65_535)
        client.read_body(stream, 16 * MIB)
        assert server.peak - before < MIB


def test_a_client_that_reads_nothing_costs_nothing(
    served: tuple[Process, Place], bystander: H2Client
) -> None:
    """There is room by HTTP/2, but not in the kernel."""
    server, place = served
    before = server.memory
    server.reset_peak()
    with place.connect(window=2**31 - 1) as client:
        client.connection.increment_flow_control_window(MOST)
        client.flush()
        client.takes = False
        streams = [client.open("/gibibyte") for _ in range(3)]
        for stream in streams:
            client.read_head(stream)
        wait_until_it_rests(bystander, lambda: server.peak)
        assert server.peak - before < MIB
        client.order.clear()
        for _ in range(100):
            client.read()
        for stream in streams:
            client.read_body(stream, 4 * MIB)
        assert server.peak - before < MIB


# Requests


def test_an_application_that_reads_slowly_stops_its_client(
    served: tuple[Process, Place], bystander: H2Client
) -> None:
    server, place = served
    before = server.memory
    server.reset_peak()
    with place.connect() as client:
        stream = client.open("/upload", method="POST", ends=False)
        client.read_settings()
        sent = client.upload_as_much_as_goes(stream)
        server.wait_for("note: uploading")
        wait_until_it_rests(bystander, lambda: server.peak)
        assert 60 * KIB < sent < 70 * KIB  # --read-buffer
        assert server.peak - before < MIB
        assert bystander.get("/read").status == 200
        client.upload(stream, bytes(16 * MIB), ends=False)
        assert server.peak - before < 2 * MIB
        client.sock.close()
    server.wait_for("note: upload broken off")


def test_many_uploads_that_nobody_reads_wait_for_their_applications(
    served: tuple[Process, Place], bystander: H2Client
) -> None:
    server, place = served
    before = server.memory
    server.reset_peak()
    with place.connect() as client:
        client.read_settings()
        client.get("/hello")
        streams = [client.open("/upload", method="POST", ends=False) for _ in range(99)]
        sent = sum(client.upload_as_much_as_goes(stream) for stream in streams)
        assert sent > 99 * 60 * KIB
        wait_until(lambda: server.stderr.count("note: uploading") == 99)
        wait_until_it_rests(bystander, lambda: server.peak)
        # What they were allowed to send, and a task for each: nothing is there twice.
        assert server.peak - before < 2 * sent
        # The window of the connection has room for one more.
        other = client.open("/swallow", method="POST", ends=False)
        client.upload(other, bytes(MIB))
        assert bytes(client.answer(other).body) == b"swallowed"


def test_a_reset_gives_back_what_was_not_read(served: tuple[Process, Place]) -> None:
    _, place = served
    with place.connect() as client:
        client.read_settings()
        client.get("/hello")
        for _ in range(60):
            stream = client.open("/upload", method="POST", ends=False)
            client.upload_as_much_as_goes(stream)
            client.reset(stream)
            client.get("/hello")
        # Of the connection's window nothing is lost, but for what is given back later with more.
        assert client.connection.outbound_flow_control_window > 80 * 64 * KIB


def test_a_socket_is_closed_whatever_waits(
    served: tuple[Process, Place], bystander: H2Client
) -> None:
    server, place = served
    # The last connection that made it warm may be open still.
    before = wait_until_it_rests(bystander, lambda: server.open_files)
    clients = [place.connect(window=MIB) for _ in range(20)]
    for client in clients:
        client.takes = False
        client.read_head(client.open("/gibibyte"))
    assert server.open_files == before + len(clients)
    for client in clients:
        client.sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: server.open_files == before)
    for client in clients:
        client.sock.close()
