"""WebSocket clients that compress: every set of parameters, the largest messages, and without."""

import itertools
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import ClientConnection

from aserver.testing import serve
from tests.processes import DEADLINE
from tests.ws_clients import BINARY, COMPRESSED, TEXT, Peer, connect, connected
from tests.ws_site import Site, digest_of

SAMPLE = "a\u00e9\u2603\U0001f600"
MIB = 1 << 20
LARGE = bytes(range(256)) * (MIB // 256)
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site, loop_name: str) -> Iterator[serve]:
    with serve(site, loop=loop_name) as server:
        yield server
    assert not site.has_disconnects()


BITS = [None, *range(9, 16)]
# Each kind twice in a row: what a window remembers of the first, the second is made with.
MESSAGES: list[str | bytes] = [
    SAMPLE * 5000,
    SAMPLE * 5000,
    "short",
    LARGE[:70_000],
    LARGE[:70_000],
    SAMPLE * 500,
]
PARAMETERS = list(itertools.product([False, True], [False, True], BITS, [True, None, 9, 15]))


@pytest.mark.parametrize("loop_name", ["uvloop"])
def test_every_set_of_parameters_for_compression_works(server: serve, site: Site) -> None:
    """One after another, for there are many; those that fail are told."""
    failed = []
    for parameters in PARAMETERS:
        extension = ClientPerMessageDeflateFactory(*parameters)
        with connect(server, "/echo", extensions=[extension], compression=None) as connection:
            if [each.name for each in connection.protocol.extensions] != ["permessage-deflate"]:
                failed.append((parameters, "not agreed on"))
            for message in MESSAGES:
                connection.send(message)
                if connection.recv(DEADLINE) != message:
                    failed.append((parameters, "another message"))
        if site.next_disconnect() != (1000, ""):
            failed.append((parameters, "another end"))
    assert failed == []
    assert len(PARAMETERS) == 128


def test_what_is_worth_it_is_compressed(server: serve, site: Site) -> None:
    with connected(server.host, server.port) as sock, Peer(sock, "/echo", OFFER) as peer:
        assert b"Sec-WebSocket-Extensions: permessage-deflate; " in peer.head
        peer.send(BINARY, LARGE)
        opcode, payload = peer.read()
        assert opcode == COMPRESSED | BINARY
        assert len(payload) < len(LARGE) / 20
        peer.send(TEXT, b"short")
        assert peer.read() == (TEXT, b"short")
    assert site.next_disconnect() == (1006, "")


def test_nothing_is_compressed_for_who_does_not_offer_it(server: serve, site: Site) -> None:
    with connected(server.host, server.port) as sock, Peer(sock, "/echo") as peer:
        assert b"extensions" not in peer.head.lower()
        peer.send(BINARY, LARGE)
        assert peer.read() == (BINARY, LARGE)
    assert site.next_disconnect() == (1006, "")


def test_nothing_is_compressed_where_that_is_switched_off(site: Site, loop_name: str) -> None:
    with serve(site, loop=loop_name, websocket_compression=False) as server:
        with connected(server.host, server.port) as sock, Peer(sock, "/echo", OFFER) as peer:
            assert b"extensions" not in peer.head.lower()
            peer.send(BINARY, LARGE)
            assert peer.read() == (BINARY, LARGE)
        with connect(server, "/echo") as connection:
            assert connection.protocol.extensions == []
            connection.send(LARGE)
            assert connection.recv(DEADLINE) == LARGE


def _ask(connection: ClientConnection, message: bytes) -> str | bytes:
    connection.send(message)
    return connection.recv(DEADLINE)


@pytest.mark.parametrize("deflate", [True, False], ids=["deflate", "plain"])
def test_a_message_of_the_largest_size_passes_and_one_byte_more_is_1009(
    server: serve, site: Site, deflate: bool
) -> None:
    largest = LARGE * 16
    with connect(server, "/digest", compression="deflate" if deflate else None) as connection:
        connection.send(largest)
        assert connection.recv(DEADLINE) == digest_of(largest)
        connection.send([largest[:MIB], largest[MIB:]])
        assert connection.recv(DEADLINE) == digest_of(largest)
        with pytest.raises(ConnectionClosedError) as closed:
            _ask(connection, largest + b"1")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "16777216" in closed.value.rcvd.reason
    assert site.next_disconnect()[0] == 1009
