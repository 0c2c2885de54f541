"""WebSockets and real clients: those that never begin, and a framework."""

import json
import logging
import socket
import subprocess
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import (
    InvalidStatus,
)
from websockets.typing import Subprotocol

from aserver.testing import serve
from tests.processes import DEADLINE, read_until
from tests.services import require_program
from tests.ws_clients import (
    TEXT,
    Peer,
    connect,
    connected,
    handshake,
)
from tests.ws_site import DENIAL, Site


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site, options: dict[str, str]) -> Iterator[serve]:
    with serve(site, **options) as server:
        yield server
    assert not site.has_disconnects()


@pytest.fixture
def sock(server: serve) -> Iterator[socket.socket]:
    with connected(server.host, server.port) as sock:
        yield sock


# Handshakes that are refused

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def test_curl_sees_a_denial_and_its_body_and_uses_the_connection_again(
    server: serve, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aserver")
    asked = [argument for header in UPGRADE for argument in ("--header", header)]
    shown = ["--silent", "--show-error", "--max-time", "20"]
    shown += ["--write-out", "\n%{http_code} %{num_connects} %header{www-authenticate}\n"]
    deny, plain = [f"{server.url}{path}" for path in ("/deny", "/plain")]
    command = [require_program("curl"), *shown, *asked, deny, deny, "--next", *shown, plain]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    body = json.dumps(DENIAL)
    assert done.stdout.splitlines() == [
        *(body, "401 1 Basic"),
        *(body, "401 0 Basic"),
        *("plain", "200 0 "),
    ]
    for _ in range(2):
        assert site.next_disconnect()[0] == 1006
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_websockets_sees_a_denial_and_its_body(server: serve, site: Site) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(server, "/deny")
    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.body) == DENIAL
    assert site.next_disconnect()[0] == 1006


def test_behind_a_refusal_the_same_connection_opens_a_websocket(
    sock: socket.socket, site: Site
) -> None:
    for _ in range(2):
        sock.sendall(handshake("/refuse"))
        head = read_until(sock, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"\r\ncontent-length: 0\r\n" in head
        assert b"\r\nconnection:" not in head.lower()
        assert site.next_disconnect()[0] == 1006
    with Peer(sock, "/echo") as peer:
        peer.send(TEXT, b"hello")
        assert peer.read() == (TEXT, b"hello")
    assert site.next_disconnect() == (1006, "")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (handshake("/echo", version="8"), b"426 Upgrade Required"),
        (handshake("/echo").replace(b"dGhl", b""), b"400 Bad Request"),
        (handshake("/echo").replace(b"Sec-WebSocket-Key", b"X"), b"400 Bad Request"),
        (handshake("/echo").replace(b"GET", b"POST"), b"400 Bad Request"),
        (handshake("/echo", "Sec-WebSocket-Protocol: \xe9"), b"400 Bad Request"),
        (handshake("/echo", "Sec-WebSocket-Extensions: ;"), b"400 Bad Request"),
    ],
)
def test_a_malformed_handshake_is_refused_and_the_application_not_called(
    sock: socket.socket, request_bytes: bytes, status: bytes
) -> None:
    sock.sendall(request_bytes)
    head = read_until(sock, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %b\r\n" % status)
    assert (b"\r\nsec-websocket-version: 13\r\n" in head) == status.startswith(b"426")


# A framework


async def talk(websocket: WebSocket) -> None:
    """Starlette's way to say the same."""
    if "token" not in websocket.query_params:
        await websocket.send_denial_response(JSONResponse(DENIAL, 401))
        return
    await websocket.accept(subprotocol="chat")
    await websocket.send_json(websocket.scope["subprotocols"])
    try:
        async for text in websocket.iter_text():
            await websocket.send_text(text[::-1])
    except WebSocketDisconnect:
        raise AssertionError("iter_text() hides it") from None
    # The client has closed; there is nothing else to do.


def test_starlette_speaks_with_websockets(loop_name: str) -> None:
    app = Starlette(routes=[WebSocketRoute("/", talk)])
    chat = [Subprotocol("chat")]
    with serve(app, loop=loop_name) as server:
        with pytest.raises(InvalidStatus) as refused:
            connect(server, "/", subprotocols=chat)
        assert json.loads(refused.value.response.body) == DENIAL
        with connect(server, "/?token=1", subprotocols=chat) as client:
            assert client.recv(DEADLINE) == '["chat"]'
            client.send("hello")
            assert client.recv(DEADLINE) == "olleh"
        assert client.close_code == 1000
