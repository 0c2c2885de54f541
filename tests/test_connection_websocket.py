"""A connection that becomes a WebSocket: handshakes on a transport in memory."""

import pytest

from aserver import http_exchange
from aserver.types import Receive, Scope, Send
from tests.fakes import EagerTask, rounds
from tests.stage import GET, Stage
from tests.ws_stage import (
    ACCEPT,
    ASK,
    BYTES,
    SWITCHED,
    TEXT,
    Frame,
    close,
    close_frame,
    closing,
    denial,
    denial_body,
    ended,
    frame,
    frames,
    hear_all,
    heard,
    open_socket,
    read_frames,
    said,
    text,
    undated,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


# The handshake


@pytest.mark.parametrize("keep_alive", [75, 0])
async def test_echo(keep_alive: int) -> None:
    stage = Stage(keep_alive=keep_alive)
    client = stage.connect()
    call = await stage.call(client, ASK)
    assert call.scope["type"] == "websocket"
    assert client.received() == b""
    await call.send(ACCEPT)
    assert undated(client.received()) == SWITCHED
    assert client.transport.writes == 1
    for number in range(3):
        client.send(text(f"{number}"))
        assert await call.receive() == heard(f"{number}")
        await call.send(said(f"{number}"))
        assert frames(client) == [Frame(TEXT, b"%d" % number)]
    client.send(close(4000))
    assert frames(client) == [close_frame(4000)]
    client.send_eof()
    assert client.closed()
    assert await hear_all(call.receive) == [ended(4000)]
    await call.end()
    assert not stage.context.connections
    assert not stage.context.cycles
    assert not stage.context.watched


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_handshake_in_pieces(size: int) -> None:
    stage = Stage()
    client = stage.connect()
    for start in range(0, len(ASK), size):
        assert stage.calls == []
        client.send(ASK[start : start + size])
        await rounds(3)
    (call,) = stage.calls
    await call.send(ACCEPT)
    assert undated(client.received()) == SWITCHED


async def test_client_that_does_not_wait_for_the_acceptance() -> None:
    """What it says is kept; a second request would be no request."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK + text("1") + text("2")[:4])
    client.send(text("2")[4:] + text("3"))
    await call.send(ACCEPT)
    client.send(text("4"))
    assert [await call.receive() for _ in range(4)] == [heard(number) for number in "1234"]


async def test_client_that_says_too_much_before_the_acceptance() -> None:
    """Nothing more is read than may wait; then it goes on."""
    stage = Stage(read_buffer=1000)
    client = stage.connect()
    call = await stage.call(client, ASK)
    client.send(frame(BYTES, bytes(600)) * 2)
    assert not client.transport.reading
    await call.send(ACCEPT)
    assert not client.transport.reading, "now it is the application that has to take it"
    assert [await call.receive() for _ in range(2)] == [heard(bytes(600))] * 2
    assert client.transport.reading


async def test_eager_application() -> None:
    """It accepts in the middle of `data_received`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send(said("hello"))
        await send(closing(4000))

    stage = Stage()
    stage.context.app = app
    stage.context.new_task = EagerTask  # type: ignore[assignment]
    for data in (ASK, ASK + text("early")):
        client = stage.connect()
        client.send(data)
        head, _, rest = client.received().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert read_frames(rest) == [Frame(TEXT, b"hello"), close_frame(4000)]
        client.send(close(4000))
        client.send_eof()
        assert client.closed()
    await rounds()
    assert not stage.context.cycles
    assert not stage.context.watched


async def test_request_before_a_handshake() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client)
    client.send(ASK + text("early"))
    await call.answer()
    await rounds(3)
    client.received()
    call = stage.calls[1]
    await call.send(ACCEPT)
    assert undated(client.received()) == SWITCHED
    assert await call.receive() == heard("early")


async def test_denial_keeps_the_connection_usable() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK)
    await call.send(denial(401, [(b"content-length", b"2")]))
    await call.send(denial_body(b"no"))
    await call.end()
    assert client.received().startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    call = await stage.call(client, ASK)
    await call.send(closing())
    await call.end()
    refusal = client.received()
    assert refusal.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"\r\ncontent-length: 0\r\n" in refusal
    assert b"connection: close" not in refusal
    call = await stage.call(client, GET)
    assert call.scope["type"] == "http"
    await call.answer()
    assert client.received().endswith(b"\r\n\r\nhello")
    await open_socket(stage, client)


async def test_max_concurrency() -> None:
    """An open WebSocket is a request at work."""
    stage = Stage(max_concurrency=1)
    first = await open_socket(stage, stage.connect())
    second = stage.connect()
    second.send(ASK)
    assert second.received().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    await first.end()
    await open_socket(stage, stage.connect())


async def test_no_websockets() -> None:
    """The handshake is served as the plain request that it is."""
    stage = Stage(ws="none")
    client = stage.connect()
    call = await stage.call(client, ASK)
    assert call.scope["type"] == "http"
    assert (b"upgrade", b"websocket") in call.scope["headers"]
    await call.answer()
    assert client.received().startswith(b"HTTP/1.1 200 OK\r\n")
    assert (await stage.call(client)).scope["type"] == "http"


@pytest.mark.parametrize(
    "data",
    [
        ASK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        ASK.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
        ASK.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        ASK.replace(b"Upgrade: websocket", b"Upgrade: websockets"),
    ],
)
async def test_request_that_is_no_handshake(data: bytes) -> None:
    stage = Stage()
    call = await stage.call(stage.connect(), data)
    assert call.scope["type"] == "http"


@pytest.mark.parametrize(
    "data",
    [
        ASK.replace(b"Upgrade: websocket", b"Upgrade: WebSocket"),
        ASK.replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade"),
        ASK.replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
        ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_other_spellings_of_a_handshake(data: bytes) -> None:
    stage = Stage()
    await open_socket(stage, stage.connect(), data)
