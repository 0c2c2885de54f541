"""WebSockets as Daphne's applications see them: the scope, answers to a handshake, messages, ends.

Every case of its tests is here; where aserver differs on purpose, the test says what it does, and
docs/migration/daphne.md why.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.typing import Subprotocol

from aserver.testing import serve
from aserver.types import Message, Receive, Scope, Send
from tests.daphne.recorder import ACCEPT, FEW, Call, Recorder, ask
from tests.daphne.test_http_request import CONTROLS, EVERYBODY, OPTIONAL, REQUIRED, texts
from tests.processes import DEADLINE, read_until, wait_until
from tests.ws_clients import BINARY, TEXT, Peer, connect, handshake

CONNECT: Message = {"type": "websocket.connect"}
HANDSHAKE = {b"host", b"upgrade", b"connection", b"sec-websocket-version", b"sec-websocket-key"}


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    recorder = Recorder()
    recorder.says = [ACCEPT]
    return recorder


@pytest.fixture(scope="module")
def server(recorder: Recorder) -> Iterator[serve]:
    with serve(recorder) as server:
        yield server


Dial = Callable[..., ClientConnection]


@pytest.fixture
def dial(server: serve) -> Dial:
    """Open a WebSocket."""

    def dialled(path: str = "/", **options: Any) -> ClientConnection:
        return connect(server, path, **options)

    return dialled


def peer(server: serve, *headers: str, path: str = "/", early: bytes = b"") -> Peer:
    """A client whose every byte is ours."""
    sock = socket.create_connection((server.host, server.port), DEADLINE)
    return Peer(sock, path, *headers, early=early)


# The handshake


def test_the_simplest_websocket(server: serve, recorder: Recorder) -> None:
    with peer(server) as client:
        own = client.sock.getsockname()
        assert b"Upgrade: websocket\r\n" in client.head
    call = recorder.next()
    scope = call.scope
    assert scope.keys() >= (REQUIRED - {"method", "http_version"}) | {"subprotocols"}
    # On purpose, all three.
    others = {"scheme", "http_version", "extensions"}
    assert scope.keys() - REQUIRED - OPTIONAL - {"subprotocols"} <= others
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/", b"/", "")
    assert (scope["query_string"], scope["subprotocols"]) == (b"", [])
    assert scope["client"] == own
    assert scope["server"] == ("127.0.0.1", server.port)
    assert {name for name, _ in scope["headers"]} == HANDSHAKE, "no other is added"
    disconnect = {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert call.received == [CONNECT, disconnect]


def test_a_refusal(dial: Dial, recorder: Recorder) -> None:
    recorder.says = [{"type": "websocket.close"}]
    try:
        with pytest.raises(InvalidStatus) as refused:
            dial()
    finally:
        recorder.says = [ACCEPT]
    assert refused.value.response.status_code == 403
    call = recorder.next()
    assert call.kinds == ["websocket.connect", "websocket.disconnect"]
    assert call.received[-1]["code"] == 1006


def test_a_subprotocol(dial: Dial, recorder: Recorder) -> None:
    recorder.says = [{**ACCEPT, "subprotocol": "protocol2"}]
    try:
        offered = [Subprotocol("proto1"), Subprotocol("protocol2")]
        with dial(subprotocols=offered) as client:
            assert client.subprotocol == "protocol2"
    finally:
        recorder.says = [ACCEPT]
    assert recorder.next().scope["subprotocols"] == ["proto1", "protocol2"]


@FEW
@given(path=texts(50), query=st.lists(st.tuples(texts(10), texts(10)), max_size=5))
def test_any_path_and_query(server: serve, recorder: Recorder, path: str, query: Any) -> None:
    raw_path, raw_query = quote(f"/{path}"), urlencode(query)
    with peer(server, path=f"{raw_path}?{raw_query}"):
        pass
    scope = recorder.next().scope
    assert (scope["path"], scope["raw_path"]) == (f"/{path}", raw_path.encode())
    assert scope["query_string"] == raw_query.encode()


NAMES = st.text("!#$%&'*+-.^`|~0123456789ABCabc", max_size=20).map(lambda name: f"X-{name}")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100)


@FEW
@given(headers=st.lists(st.tuples(NAMES, VALUES.map(str.strip)), max_size=20))
def test_any_headers(server: serve, recorder: Recorder, headers: list[tuple[str, str]]) -> None:
    with peer(server, *[f"{name}: {value}" for name, value in headers]):
        pass
    expected = [(name.lower().encode(), value.encode()) for name, value in headers]
    assert [each for each in recorder.next().scope["headers"] if each[0][:2] == b"x-"] == expected


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_in_values(server: serve, control: int) -> None:
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(handshake("/", f"A: before{chr(control)}after"))
        assert read_until(sock, b"\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("options", "client", "scheme"),
    [
        ({}, "127.0.0.1", "ws"),
        ({"proxy_headers": True}, "1043::a321:1", "wss"),
        ({"proxy_headers": True, "forwarded_allow_ips": EVERYBODY}, "10.1.2.3", "wss"),
        ({"proxy_headers": True, "forwarded_allow_ips": "unix"}, "127.0.0.1", "ws"),
    ],
)
def test_proxies(recorder: Recorder, options: dict[str, Any], client: str, scheme: str) -> None:
    headers = ("X-Forwarded-For: 10.1.2.3, 1043::a321:1", "X-Forwarded-Proto: https")
    with serve(recorder, **options) as server, peer(server, *headers):
        pass
    scope = recorder.next().scope
    assert (scope["client"][0], scope["scheme"]) == (client, scheme)


@pytest.mark.parametrize(
    ("trusted", "root_path", "headers"),
    [
        (("for", "root-path"), "/foo bar", HANDSHAKE),
        (("for", "proto", "port"), "", HANDSHAKE | {b"daphne-root-path"}),  # on purpose
    ],
)
def test_a_root_path(
    recorder: Recorder, trusted: tuple[str, ...], root_path: str, headers: set[bytes]
) -> None:
    with (
        serve(recorder, proxy_headers=True, proxy_headers_trust=trusted) as server,
        peer(server, "Daphne-Root-Path: /foo%20bar", path="/page"),
    ):
        pass
    scope = recorder.next().scope
    assert (scope["root_path"], scope["path"]) == (root_path, "/page")
    assert {name for name, _ in scope["headers"]} == headers


# Messages


def data_of(call: Call) -> list[str | bytes]:
    """What it received."""
    return [
        message["text"] if message.get("text") is not None else message["bytes"]
        for message in call.received
        if message["type"] == "websocket.receive"
    ]


@FEW
@given(messages=st.lists(texts(100) | st.binary(max_size=100), max_size=5))
def test_any_messages_from_the_client(
    server: serve, recorder: Recorder, messages: list[str | bytes]
) -> None:
    """Also what is no UTF-8, where it need not be."""
    with connect(server, "/") as client:
        for message in messages:
            client.send(message)
    call = recorder.next()
    assert data_of(call) == messages
    assert call.received[-1]["code"] == 1000


@FEW
@given(messages=st.lists(texts(100) | st.binary(max_size=100), max_size=5))
def test_any_messages_from_the_application(
    server: serve, recorder: Recorder, messages: list[str | bytes]
) -> None:
    """Also empty ones, on purpose."""
    kinds = ["text" if isinstance(message, str) else "bytes" for message in messages]
    sends = [
        {"type": "websocket.send", kind: message}
        for kind, message in zip(kinds, messages, strict=True)
    ]
    recorder.says = [ACCEPT, *sends, {"type": "websocket.close", "code": 4001}]
    try:
        with connect(server, "/") as client:
            assert list(received(client)) == messages
            assert client.close_code == 4001
    finally:
        recorder.says = [ACCEPT]
        recorder.next()


def received(client: ClientConnection) -> Iterator[str | bytes]:
    """All messages, up to the end."""
    while True:
        try:
            yield client.recv(DEADLINE)
        except ConnectionClosed:
            return


@pytest.mark.parametrize(
    "message", [{"text": "a", "bytes": b"b"}, {}, {"text": None, "bytes": None}, {"text": b"a"}]
)
def test_messages_that_are_none(server: serve, recorder: Recorder, message: Message) -> None:
    recorder.says = [ACCEPT, {"type": "websocket.send", **message}]
    try:
        with peer(server) as client:
            assert client.read_close()[0] == 1011
    finally:
        recorder.says = [ACCEPT]
    assert isinstance(recorder.next().raised, ValueError)


# Limits


@pytest.mark.parametrize("limit", ["websocket_max_message_size", "websocket_max_frame_size"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_that_is_too_large(recorder: Recorder, limit: str, opcode: int) -> None:
    with serve(recorder, **{limit: 100}) as server, peer(server) as client:
        client.send(opcode, b"x" * 101)
        assert client.read_close()[0] == 1009, "on purpose: Daphne says nothing"
    assert recorder.next().kinds == ["websocket.connect", "websocket.disconnect"]


@pytest.mark.parametrize(
    "options", [{"websocket_max_message_size": 100}, {"websocket_max_frame_size": 100}, {}]
)
def test_a_message_that_is_just_not(recorder: Recorder, options: dict[str, Any]) -> None:
    with serve(recorder, **options) as server, peer(server) as client:
        client.send(TEXT, b"x" * 100)
        client.send(BINARY, b"x" * 100)
        client.sock.shutdown(socket.SHUT_WR)
        assert data_of(recorder.next()) == ["x" * 100, b"x" * 100]


@pytest.mark.parametrize(
    ("options", "is_taken"),
    [({"websocket_max_frame_size": 100}, True), ({"websocket_max_message_size": 100}, False)],
)
def test_a_message_in_small_frames(
    recorder: Recorder, options: dict[str, Any], is_taken: bool
) -> None:
    with serve(recorder, **options) as server, peer(server) as client:
        client.send(TEXT, b"x" * 60, fin=False)
        client.send(0, b"y" * 60)
        client.sock.shutdown(socket.SHUT_WR)
        assert bool(data_of(recorder.next())) is is_taken


def test_no_limit(recorder: Recorder) -> None:
    options = {"websocket_max_message_size": 0, "websocket_max_frame_size": 0}
    with serve(recorder, **options) as server, peer(server) as client:
        client.send(BINARY, bytes(17 << 20))
        client.sock.shutdown(socket.SHUT_WR)
        assert list(map(len, data_of(recorder.next()))) == [17 << 20]


# Applications that fail, and one that takes its time


async def troubled(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says; at `/tasks`, tell which other tasks there are."""
    assert scope["type"] in ("http", "websocket")
    await receive()
    if scope["path"] == "/tasks":
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        names = [task.get_name() for task in tasks if task.get_name().startswith("aserver.")]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": " ".join(names).encode()})
    if scope["path"] == "/never":
        await asyncio.Event().wait()
    if scope["path"] in ("/accepted", "/echo"):
        await send(ACCEPT)
    while scope["path"] == "/echo":
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({**message, "type": "websocket.send"})
    if scope["path"] != "/tasks":
        raise asyncio.CancelledError


@pytest.fixture(scope="module")
def impatient() -> Iterator[serve]:
    with serve(troubled, http_timeout=0.1, graceful_timeout=0) as server:
        yield server


def has_only(server: serve, names: Sequence[bytes]) -> bool:
    return ask(server, "/tasks").body.split() == names


def test_cancelled_before_an_answer(impatient: serve, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(impatient, "/cancelled").status == 500
    with pytest.raises(InvalidStatus) as refused:
        connect(impatient, "/cancelled")
    assert refused.value.response.status_code == 500
    wait_until(lambda: has_only(impatient, []))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_cancelled_when_it_was_open(impatient: serve) -> None:
    with connect(impatient, "/accepted") as client:
        assert list(received(client)) == []
        assert client.close_code == 1011
    wait_until(lambda: has_only(impatient, []))


def test_http_timeout_is_not_for_websockets(impatient: serve) -> None:
    with connect(impatient, "/echo") as client:
        assert ask(impatient, "/never").status == 503, "which came behind the same time"
        client.send("still there")
        assert client.recv(DEADLINE) == "still there"
