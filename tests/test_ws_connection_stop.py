"""What a stopping server does to the connections of WebSockets."""

import pytest

from aserver import http_exchange
from aserver.types import ClientDisconnected
from tests.fakes import rounds
from tests.stage import Stage
from tests.ws_stage import (
    ACCEPT,
    ASK,
    close,
    close_frame,
    closing,
    ended,
    frames,
    hear_all,
    hold,
    is_reset,
    nothing_is_left,
    open_socket,
    read_frames,
    result,
    text,
    waiting,
    waiting_send,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


async def test_drain() -> None:
    stage = Stage(websocket_close_timeout=5)
    client, silent = stage.connect(), stage.connect()
    calls = [await open_socket(stage, each) for each in (client, silent)]
    tasks = [await waiting(call.receive) for call in calls]
    for each in (client, silent):
        each.connection.drain()
        assert frames(each) == [close_frame(1012)]
        assert not each.closed()
    assert [await result(task) for task in tasks] == [ended(1012)] * 2
    client.send(text("late") + close(1012))
    client.send_eof()
    assert client.closed()
    for call in calls:
        await call.end()
    stage.clock.run(6)
    assert is_reset(silent)
    await rounds()
    assert not stage.context.watched
    assert not stage.context.connections


async def test_drain_before_an_answer() -> None:
    """The handshake that has begun is completed; the WebSocket is over in the same moment."""
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK)
    client.connection.drain()
    assert not client.closed()
    await call.send(ACCEPT)
    head, _, rest = client.received().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert read_frames(rest) == [close_frame(1012)]
    assert await hear_all(call.receive) == [ended(1012)]
    client.send(close(1012))
    client.send_eof()
    assert client.closed()
    await nothing_is_left(stage, call)


async def test_drain_before_a_refusal() -> None:
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, ASK)
    client.connection.drain()
    await call.send(closing())
    assert b"connection: close\r\n" in client.received()
    assert client.closed()
    await nothing_is_left(stage, call)


async def test_drain_of_a_client_that_does_not_read() -> None:
    stage = Stage(websocket_close_timeout=5, write_timeout=10)
    client = stage.connect()
    call = await open_socket(stage, client)
    client.transport.reads = False
    task = await waiting_send(call)
    client.connection.drain()
    await rounds()
    assert isinstance(task.exception(), ClientDisconnected)
    await call.end()
    stage.clock.run(30)
    await rounds()
    assert client.closed()
    await nothing_is_left(stage, call)


async def test_drain_of_a_client_that_is_held() -> None:
    stage = Stage(websocket_queue=1)
    client = stage.connect()
    call = await open_socket(stage, client)
    hold(client)
    client.connection.drain()
    assert client.transport.reading
    client.send(close(1012))
    client.send_eof()
    assert client.closed()
    assert await hear_all(call.receive) == [ended(1012)]
    await nothing_is_left(stage, call)
