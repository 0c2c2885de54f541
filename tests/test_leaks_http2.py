"""However an HTTP/2 connection ends, in a real server process nothing of it is left behind."""

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
from wsproto import events as frames

from tests.certificates import Authority
from tests.h2_clients import DATA, HEADERS, PING, RST_STREAM, H2Client, frame
from tests.h2_places import MATRIX, Place, processed
from tests.h2_ws_clients import H2WebSocket, Refused
from tests.processes import Process, wait_until
from tests.test_memory import reset

APP = "tests.h2_served:app"
MIB = 1 << 20


@pytest.fixture(params=MATRIX)
def served(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[Process, Place]]:
    with processed(APP, authority, request.param) as (server, place):
        yield server, place
        assert "Traceback" not in server.stderr


# Ways for a connection to be, when it ends


def is_unused(client: H2Client) -> None:
    pass


def is_idle(client: H2Client) -> None:
    client.get("/hello")


def is_in_a_frame(client: H2Client) -> None:
    client.sock.sendall(frame(DATA, 0, 1, bytes(1000))[:500])


def is_in_a_head(client: H2Client) -> None:
    client.raw(HEADERS, 0, 1, b"\x82")  # without END_HEADERS


def waits_for_applications(client: H2Client) -> None:
    for _ in range(5):
        client.open("/count")


def is_in_a_stream(client: H2Client) -> None:
    client.read_body(client.open("/stream"), 11)


def does_not_read(client: H2Client) -> None:
    client.takes = False
    for _ in range(3):
        client.read_head(client.open("/gibibyte"))


def is_in_a_body(client: H2Client) -> None:
    stream = client.open("/swallow", ("content-length", "100000"), method="POST", ends=False)
    client.upload(stream, bytes(5000), ends=False)


def is_in_a_body_that_nobody_reads(client: H2Client) -> None:
    stream = client.open("/upload", method="POST", ends=False)
    client.upload_as_much_as_goes(stream)


def is_in_a_body_that_nobody_wants(client: H2Client) -> None:
    stream = client.open("/hello", method="POST", ends=False)
    client.answer(stream)


def has_left_streams(client: H2Client) -> None:
    for path in ("/stream", "/count", "/gibibyte", "/wait?0.05"):
        client.reset(client.open(path))
    client.get("/hello")


def has_had_a_body_of_the_wrong_length(client: H2Client) -> None:
    stream = client.open("/swallow", ("content-length", "5"), method="POST", ends=False)
    client.raw(DATA, 0, stream, b"too much")
    client.answer(stream)


def has_made_a_mistake(client: H2Client) -> None:
    client.raw(PING, 0, 0, b"short")
    client.read_until_closed()


def has_reset_what_is_not_there(client: H2Client) -> None:
    client.raw(RST_STREAM, 0, 101, bytes(4))
    client.read_until_closed()


def has_a_websocket(client: H2Client) -> None:
    H2WebSocket(client, "/echo", deflate=True).text("hello")
    H2WebSocket(client, "/silent").text("hello")


def has_had_a_websocket(client: H2Client) -> None:
    H2WebSocket(client, "/echo").close()
    client.reset(H2WebSocket(client, "/echo").stream)
    socket = H2WebSocket(client, "/close")
    assert socket.closed()[0] == 4000
    socket.send(frames.CloseConnection(4000))


def has_a_websocket_that_floods(client: H2Client) -> None:
    client.takes = False
    H2WebSocket(client, "/flood")


def has_a_websocket_that_is_not_decided_on(client: H2Client) -> None:
    fields = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
    client.open("/undecided?0.05", *fields, method="CONNECT", ends=False)


def was_refused_a_websocket(client: H2Client) -> None:
    with pytest.raises(Refused):
        H2WebSocket(client, "/refuse")


WAYS: list[Callable[[H2Client], None]] = [
    is_unused,
    is_idle,
    is_in_a_frame,
    is_in_a_head,
    waits_for_applications,
    is_in_a_stream,
    does_not_read,
    is_in_a_body,
    is_in_a_body_that_nobody_reads,
    is_in_a_body_that_nobody_wants,
    has_left_streams,
    has_had_a_body_of_the_wrong_length,
    has_made_a_mistake,
    has_reset_what_is_not_there,
    has_a_websocket,
    has_had_a_websocket,
    has_a_websocket_that_floods,
    has_a_websocket_that_is_not_decided_on,
    was_refused_a_websocket,
]


# And to end


def says_goodbye(client: H2Client) -> None:
    """With close_notify over TLS, and GOAWAY."""
    client.connection.close_connection()
    client.flush()
    if isinstance(client.sock, ssl.SSLSocket):
        client.sock.settimeout(0)
        with contextlib.suppress(ssl.SSLError):  # it does not wait for the server's
            client.sock.unwrap()


def closes_its_side(client: H2Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)
    while client.sock.recv(MIB):
        pass


def closes(client: H2Client) -> None:
    client.sock.close()


def resets(client: H2Client) -> None:
    reset(client.sock)


ENDS: list[Callable[[H2Client], None]] = [closes, resets, closes_its_side, says_goodbye]


def end_connections(place: Place, way: Callable[[H2Client], None]) -> None:
    for end in ENDS:
        client = place.connect()
        client.read_settings()
        way(client)
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # the server was faster
            end(client)
        client.sock.close()


def inspect(place: Place) -> dict[str, int]:
    """What there is, with a new connection for this request alone."""
    with place.connect() as client:
        counts: dict[str, int] = json.loads(client.get("/inspect").body)
        return counts


def rest(place: Place) -> dict[str, int]:
    """What there is when those that were here are gone: sleeping applications have a moment."""
    inspect(place)  # the first one makes something that stays
    with place.connect() as client:
        client.get("/read")  # uploads are read from now on
    wait_until(lambda: inspect(place)["Connection"] == 1)
    return inspect(place)


def test_however_connections_end_nothing_is_left_of_them(
    served: tuple[Process, Place],
) -> None:
    server, place = served
    counts = rest(place)
    for way in WAYS:
        end_connections(place, way)
        wait_until(lambda: inspect(place) == counts)
    # The allocator has taken what it needs, once.
    before = server.memory
    for way in WAYS:
        end_connections(place, way)
    wait_until(lambda: inspect(place) == counts)
    assert server.memory - before < MIB


def test_a_connection_does_not_keep_what_it_is_done_with(served: tuple[Process, Place]) -> None:
    _, place = served
    with place.connect() as client:
        for _ in range(90):
            client.get("/hello")
        counts = inspect(place)
        assert max(counts["H2Stream"], counts["HttpCycle"], counts["Request"]) < 10


def test_cut_in_a_handshake(served: tuple[Process, Place]) -> None:
    """Of TLS, or of HTTP/2."""
    _, place = served
    counts = rest(place)
    beginning = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4) + frame(8, 0, 0, b"\0\0\0\1")
    if place.authority is not None:
        outgoing = ssl.MemoryBIO()
        hello = place.authority.client(alpn=("h2",)).wrap_bio(
            ssl.MemoryBIO(), outgoing, server_hostname="localhost"
        )
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        beginning = outgoing.read()
    for cut in (0, 1, 3, 15, 16, 23, 24, 30, 40, 60, len(beginning)):
        for end in (socket.socket.close, reset):
            sock = socket.create_connection(place.address)
            sock.sendall(beginning[:cut])
            end(sock)
    wait_until(lambda: inspect(place) == counts)
