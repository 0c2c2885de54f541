"""A WebSocket's connection on which nothing is read for a while, by either side."""

import socket
from collections.abc import Iterator

import pytest

from aserver import http_exchange
from tests.fakes import FakeSocket, rounds
from tests.stage import MORE, Stage
from tests.ws_stage import (
    BYTES,
    PING,
    PONG,
    Frame,
    close,
    close_frame,
    ended,
    frame,
    frames,
    hear_all,
    heard,
    hold,
    is_read,
    nothing_is_left,
    open_socket,
    result,
    said,
    text,
    waiting_send,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture
def kernel() -> Iterator[tuple[FakeSocket, socket.socket]]:
    """A transport's socket, and what its peer writes to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FakeSocket(ours), theirs


async def test_hold_and_release() -> None:
    stage = Stage(websocket_queue=2)
    client = stage.connect()
    call = await open_socket(stage, client)
    client.send(text("1") + text("2") + text("3"))
    assert not is_read(client)
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]
    assert is_read(client)
    client.send(text("4"))
    assert [await call.receive() for _ in range(2)] == [heard("3"), heard("4")]


@pytest.mark.parametrize("was_slow", [False, True])
async def test_held_client_that_is_gone_is_noticed(
    kernel: tuple[FakeSocket, socket.socket], was_slow: bool
) -> None:
    """Nothing is read, so that the event loop does not tell; an application might wait for ever."""
    ours, theirs = kernel
    stage = Stage(websocket_queue=1)
    client = stage.connect(ours)
    call = await open_socket(stage, client)
    if was_slow:
        client.transport.reads = False
        task = await waiting_send(call)
        client.transport.reads = True
        client.transport.take(2 * MORE)
        assert await result(task) == {}
    hold(client)
    theirs.close()
    stage.clock.run(2)
    await rounds()
    assert client.closed()
    assert await hear_all(call.receive) == [heard("1"), heard("2"), ended(1006)]
    await nothing_is_left(stage, call)


async def test_held_client_that_has_not_read_everything(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    """It is less than anybody waits for: the look for its end is no deadline of writing."""
    ours, theirs = kernel
    stage = Stage(websocket_queue=1, ping_interval=0, write_timeout=10)
    client = stage.connect(ours)
    call = await open_socket(stage, client)
    client.transport.reads = False
    await call.send(said("a"))
    hold(client)
    stage.clock.run(100)
    assert not client.transport.is_closing()
    theirs.close()
    stage.clock.run(1)
    await rounds()
    assert client.closed()
    assert await hear_all(call.receive) == [heard("1"), heard("2"), ended(1006)]
    await nothing_is_left(stage, call)


async def test_held_client_that_closes_its_side_is_heard_first(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    stage = Stage(websocket_queue=1)
    client = stage.connect(ours)
    call = await open_socket(stage, client)
    hold(client)
    theirs.shutdown(socket.SHUT_WR)
    stage.clock.run(5)
    assert not client.closed()
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]
    client.send(text("3"))  # as the event loop does, now that it reads on
    client.send_eof()
    assert client.closed()
    assert await hear_all(call.receive) == [heard("3"), ended(1006)]
    await nothing_is_left(stage, call)


async def test_close_frame_of_a_held_client() -> None:
    """Unread bytes must not make a reset of the end, in which our answer would be lost."""
    stage = Stage(websocket_queue=1)
    client = stage.connect()
    call = await open_socket(stage, client)
    client.send(text("1") + text("2") + close(4000))
    assert frames(client) == [close_frame(4000)]
    assert client.transport.eof_received
    assert is_read(client)
    client.send_eof()
    assert client.closed()
    assert await hear_all(call.receive) == [heard("1"), heard("2"), ended(4000)]
    await nothing_is_left(stage, call)


async def test_many_pings_of_who_does_not_read() -> None:
    stage = Stage(ping_interval=0)
    client = stage.connect()
    call = await open_socket(stage, client)
    client.transport.reads = False
    task = await waiting_send(call)
    before = client.transport.get_write_buffer_size()
    for number in range(1000):
        client.send(frame(PING, b"%d" % number))
    assert client.transport.get_write_buffer_size() == before
    client.transport.reads = True
    client.transport.take(2 * MORE)
    assert await result(task) == {}
    assert frames(client) == [Frame(BYTES, bytes(MORE)), Frame(PONG, b"999")]
