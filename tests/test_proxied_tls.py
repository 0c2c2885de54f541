"""TLS behind a PROXY header, wherever the segments end: in memory, and over real sockets."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from aserver.testing import serve
from aserver.tls_contexts import Certificates
from aserver.types import Receive, Scope, Send
from tests.certificates import HELLO, Authority
from tests.fakes import rounds
from tests.inside import connect, respond
from tests.processes import get, wait_until
from tests.test_proxied import GET, HEADER, Site
from tests.tls_stage import TLS_1_3, VERSIONS, TlsPeer, certificates, client_of

T = TypeVar("T")
CLIENT = ("203.0.113.9", 5555)
IN_TWO = 20  # how much of the header comes first
# In the header, at its end, and in the first record: its head, and what follows.
CUTS = [*range(len(HEADER) + 8), len(HEADER) + 100]


@pytest.fixture(scope="module")
def source(authority: Authority) -> Certificates:
    return certificates(authority.issue())


@pytest.mark.asyncio
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_cut_anywhere(
    source: Certificates, authority: Authority, version: ssl.TLSVersion
) -> None:
    """Nowhere, too: all in one segment."""
    for cut in CUTS:
        site = Site(certificates=source)
        peer = TlsPeer(site.transport, client_of(authority, version))
        data = HEADER + peer.hello()
        for segment in (data[:cut], data[cut:]):
            if segment:
                peer.feed(segment)
        peer.pull()
        peer.shake_hands()
        peer.send(GET)
        await rounds()
        assert peer.received().startswith(b"HTTP/1.1 204 "), cut
        [scope] = site.scopes
        assert (scope["client"], scope["scheme"]) == (CLIENT, "https"), cut
        assert scope["extensions"].keys() >= {"tls", "proxy_protocol"}, cut
        site.transport.abort()


@pytest.mark.asyncio
async def test_cleartext_behind_the_hello_is_no_request(
    source: Certificates, authority: Authority
) -> None:
    """What stands behind the header is decrypted or refused, in the same segment, too."""
    site = Site(certificates=source)
    peer = TlsPeer(site.transport, client_of(authority, TLS_1_3))
    peer.feed(HEADER + peer.hello() + GET)
    await rounds()
    assert site.transport.is_closing()
    assert site.scopes == []
    site.transport.abort()


# Real sockets


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await respond(send, json.dumps([scope["client"], scope["scheme"]]).encode())


@pytest.fixture
def server(authority: Authority, loop_name: str) -> Iterator[serve]:
    options = authority.issue().options
    with serve(app, loop=loop_name, proxy_protocol_bind=("127.0.0.1:0",), **options) as server:
        yield server


class Client:
    """TLS over a socket; the test sends its first flight."""

    def __init__(self, sock: socket.socket, authority: Authority) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = authority.client().wrap_bio(
            self._incoming, self._outgoing, server_hostname=HELLO
        )

    def hello(self) -> bytes:
        """What is to be sent first."""
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def ask(self) -> object:
        """Complete the handshake, and ask; returns what the application tells."""
        self._in_time(self._tls.do_handshake)
        self._tls.write(get("/", "Connection: close"))
        self._sock.sendall(self._outgoing.read())
        answer = b"".join(iter(lambda: self._in_time(lambda: self._tls.read(1 << 16)), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return json.loads(body)

    def _in_time(self, step: Callable[[], T]) -> T:
        """Do it, when enough has come."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._outgoing.read())
                data = self._sock.recv(1 << 16)
                assert data, "the server has closed"
                self._incoming.write(data)


def test_header_and_hello_in_one_segment(server: serve, authority: Authority) -> None:
    with connect(server) as sock:
        client = Client(sock, authority)
        sock.sendall(HEADER + client.hello())
        assert client.ask() == [list(CLIENT), "https"]


def test_a_header_in_two_segments_and_the_hello_in_the_second(
    server: serve, authority: Authority
) -> None:
    def has_the_first() -> bool:
        context = server.server._context
        assert context is not None
        return [f"held={IN_TWO}" in repr(each) for each in context.connections] == [True]

    with connect(server) as sock:
        client = Client(sock, authority)
        sock.sendall(HEADER[:IN_TWO])
        wait_until(has_the_first)
        sock.sendall(HEADER[IN_TWO:] + client.hello())
        assert client.ask() == [list(CLIENT), "https"]
