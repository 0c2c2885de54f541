"""ASGI's extensions on HTTP/1, as a client library that others wrote understands them."""

import hashlib
import socket
from collections.abc import Iterator

import h11
import pytest

from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.processes import DEADLINE, read_all

Events = list[h11.Event]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>", b"</b.css>"]}
    await send(hint)
    headers = [(b"trailer", b"x-digest")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    await send(hint)
    for body in (b"hello, ", b"world"):
        more = body != b"world"
        await send({"type": "http.response.body", "body": body, "more_body": more})
    digest = hashlib.sha256(b"hello, world").hexdigest().encode()
    trailers = [(b"x-digest", digest)]
    await send({"type": "http.response.trailers", "headers": trailers, "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-extensions", listed(scope))]})


def listed(scope: Scope) -> bytes:
    names = (name.removeprefix("http.response.") for name in scope["extensions"])
    return " ".join(sorted(names)).encode("ascii")


@pytest.fixture
def server(parser: str, loop_name: str) -> Iterator[serve]:
    with serve(app, lifespan="off", http=parser, loop=loop_name) as server:
        yield server


def ask(server: serve, *headers: tuple[str, str], count: int = 1) -> Events:
    """Requests on one connection; what comes for the last of them."""
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        client = h11.Connection(h11.CLIENT)
        for number in range(count):
            if number:
                client.start_next_cycle()
            events = exchange(sock, client, *headers)
    return events


def exchange(sock: socket.socket, client: h11.Connection, *headers: tuple[str, str]) -> Events:
    request = h11.Request(method="GET", target="/", headers=[("Host", "test"), *headers])
    sock.sendall((client.send(request) or b"") + (client.send(h11.EndOfMessage()) or b""))
    events: Events = []
    while not events or type(events[-1]) is not h11.EndOfMessage:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(sock.recv(65536))
        else:
            assert isinstance(event, h11.Event)
            events.append(event)
    return events


def test_hints(server: serve) -> None:
    first, second, *_ = ask(server)
    for event in (first, second):
        assert isinstance(event, h11.InformationalResponse)
        assert event.status_code == 103
        assert list(event.headers) == [(b"link", b"</a.css>"), (b"link", b"</b.css>")]


def test_trailers(server: serve) -> None:
    *_, end = ask(server, ("TE", "trailers"))
    assert isinstance(end, h11.EndOfMessage)
    digest = hashlib.sha256(b"hello, world").hexdigest().encode()
    assert list(end.headers) == [
        (b"x-digest", digest),
        (b"x-extensions", b"early_hint pathsend trailers zerocopysend"),
    ]


@pytest.mark.parametrize("headers", [[], [("TE", "gzip")]])
def test_trailers_that_nobody_asked_for(server: serve, headers: list[tuple[str, str]]) -> None:
    *_, end = ask(server, *headers)
    assert isinstance(end, h11.EndOfMessage)
    assert not end.headers


@pytest.mark.parametrize("headers", [[], [("TE", "trailers")]])
def test_connection_is_kept(server: serve, headers: list[tuple[str, str]]) -> None:
    assert type(ask(server, *headers, count=3)[-1]) is h11.EndOfMessage


def test_http_1_0_has_neither(server: serve) -> None:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n")
        data = read_all(sock)
    assert data.startswith(b"HTTP/1.0 200 OK\r\n")
    assert data.endswith(b"\r\n\r\nhello, world")
    assert b" 103 " not in data
