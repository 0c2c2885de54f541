"""The deadlines of a connection that is a WebSocket; those of HTTP are none of its."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from aserver import connection_phases, http_exchange
from aserver.types import ClientDisconnected, Message
from tests.fakes import Client, FakeSocket, rounds
from tests.stage import MORE, Call, Stage
from tests.ws_stage import (
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
    ended,
    frame,
    frames,
    hear_all,
    heard,
    is_half_closed,
    is_reset,
    open_socket,
    result,
    said,
    text,
    waiting_send,
)

pytestmark = pytest.mark.asyncio

RESET = (socket.SOL_SOCKET, socket.SO_LINGER)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture
def kernel() -> Iterator[tuple[FakeSocket, socket.socket]]:
    """A transport's socket, and what its peer writes to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FakeSocket(ours), theirs


def phase(client: Client) -> str:
    return client.connection.phase.name


HTTP_TIMEOUTS: dict[str, Any] = {
    "first_byte_timeout": 10,
    "header_timeout": 10,
    "body_timeout": 10,
    "keep_alive": 10,
    "write_timeout": 10,
    "http_timeout": 10,
    "application_close_timeout": 10,
}


async def test_idle_websocket_outlives_every_http_timeout() -> None:
    stage = Stage(ping_interval=0, **HTTP_TIMEOUTS)
    client = stage.connect()
    call = await open_socket(stage, client)
    stage.clock.run(30)
    assert client.received() == b""
    assert not client.closed()
    client.send(text("a"))
    await call.send(said("b"))
    assert frames(client) == [Frame(TEXT, b"b")]
    stage.clock.run(30)
    assert not client.closed()
    assert await call.receive() == heard("a")


async def send_too_much(call: Call, client: Client) -> "asyncio.Task[Message]":
    """More than the client reads; returns the `send()` that waits for it."""
    client.transport.reads = False
    task = await waiting_send(call)
    assert phase(client) == "WRITING"
    return task


async def test_idle_websocket_behind_a_slow_reader_outlives_every_http_timeout() -> None:
    stage = Stage(ping_interval=0, **HTTP_TIMEOUTS)
    client = stage.connect()
    call = await open_socket(stage, client)
    task = await send_too_much(call, client)
    client.transport.reads = True
    client.transport.take(2 * MORE)
    client.received()
    assert await result(task) == {}
    stage.clock.run(60)
    assert client.received() == b""
    assert not client.closed()


async def test_reader_that_stopped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage(ping_interval=0, write_timeout=60)
    client = stage.connect(sock := FakeSocket())
    call = await open_socket(stage, client)
    task = await send_too_much(call, client)
    stage.clock.run(59)
    assert not is_reset(client)
    stage.clock.run(2)
    assert is_reset(client)
    assert [each[:2] for each in sock.options] == [RESET]
    await rounds()
    assert isinstance(task.exception(), ClientDisconnected)
    assert await hear_all(call.receive) == [ended(1006)]
    assert "(--write-timeout)" in caplog.messages[0]
    await call.end()
    assert not stage.context.watched


async def test_reader_that_is_slow_lives() -> None:
    """What it takes gives it the whole time again, pings or not."""
    for interval, seconds in ((0, 49), (20, 29)):
        stage = Stage(ping_interval=interval, ping_timeout=30, write_timeout=60)
        client = stage.connect()
        call = await open_socket(stage, client)
        task = await send_too_much(call, client)
        for _ in range(10):
            stage.clock.run(seconds)
            client.transport.take(1000)
            assert not is_reset(client)
        stage.clock.run(200)
        assert is_reset(client)
        await rounds()
        assert isinstance(task.exception(), ClientDisconnected)


async def test_reader_that_has_not_come_to_the_ping_yet() -> None:
    stage = Stage(ping_interval=20, ping_timeout=30, write_timeout=0)
    client = stage.connect()
    call = await open_socket(stage, client)
    task = await send_too_much(call, client)
    stage.clock.run(30)
    client.transport.take(1000)  # behind the first ping
    stage.clock.run(49)
    assert not client.transport.is_closing(), "it was alive at 50"
    stage.clock.run(1)
    assert client.transport.is_closing()
    await rounds()
    assert isinstance(task.exception(), ClientDisconnected)


async def test_ping_deadline_takes_nothing_of_the_time_to_write() -> None:
    """The peer has read within the last --write-timeout, though not since the last look for it."""
    stage = Stage(ping_interval=20, ping_timeout=30, write_timeout=60)
    client = stage.connect()
    call = await open_socket(stage, client)
    task = await send_too_much(call, client)
    stage.clock.run(49)
    client.transport.take(1000)
    stage.clock.run(15)  # its pings are not answered: they are behind what it has not read
    assert not task.done()
    assert not is_reset(client)


async def test_write_deadline_takes_nothing_of_the_time_to_answer() -> None:
    stage = Stage(ping_interval=20, ping_timeout=30, write_timeout=40)
    client = stage.connect()
    call = await open_socket(stage, client)
    task = await send_too_much(call, client)
    stage.clock.run(39)
    client.transport.take(1000)  # behind the ping, and before the deadline of writing
    stage.clock.run(13)
    assert not client.transport.is_closing()
    client.vanish()
    await rounds()
    assert isinstance(task.exception(), ClientDisconnected)


@pytest.mark.parametrize("interval", [0, 20])
async def test_steady_reader_of_what_is_in_the_kernel(
    interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport is rid of it: neither deadline may take that for silence."""
    in_the_kernel = [0]
    monkeypatch.setattr(
        connection_phases, "count_unacknowledged", lambda transport: in_the_kernel[0]
    )
    stage = Stage(ping_interval=interval, ping_timeout=30, write_timeout=20)
    client = stage.connect()
    call = await open_socket(stage, client)
    in_the_kernel[0] = 2_000_000
    await call.send(said(bytes(2_000_000)))
    while in_the_kernel[0] > 0:
        in_the_kernel[0] -= 10_000
        stage.clock.tick()
    assert not client.transport.is_closing()
    assert phase(client) == "ACTIVE"
    client.send(frame(PONG))
    await call.send(said("a"))
    assert frames(client)[-1] == Frame(TEXT, b"a")


async def test_kernel_that_takes_pings_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It acknowledges them after a moment, whether its application is there or not."""
    in_the_kernel = [0]
    monkeypatch.setattr(
        connection_phases, "count_unacknowledged", lambda transport: in_the_kernel[0]
    )
    stage = Stage(ping_interval=20, ping_timeout=30)
    client = stage.connect()
    await open_socket(stage, client)
    for second in range(50):
        assert not client.transport.eof_received, second
        before = client.transport.writes
        in_the_kernel[0] = 2  # what is sent now
        stage.clock.tick()
        in_the_kernel[0] = 2 * (client.transport.writes > before)
    assert client.transport.is_closing() or client.transport.eof_received


async def test_silent_client() -> None:
    stage = Stage(ping_interval=20, ping_timeout=30)
    client = stage.connect()
    call = await open_socket(stage, client)
    stage.clock.run(20)
    assert frames(client) == [Frame(PING, b"")]
    client.send(frame(PONG))
    stage.clock.run(40)
    assert not is_half_closed(client)
    stage.clock.run(10)
    assert is_half_closed(client)
    assert frames(client)[-1] == close_frame(1011)
    assert await hear_all(call.receive) == [ended(1006)]
    await call.end()
    stage.clock.run(5)
    assert client.closed()


async def test_pong_in_the_kernel_is_heard_behind_a_stall(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    stage = Stage(ping_interval=20, ping_timeout=30)
    client = stage.connect(ours)
    await open_socket(stage, client)
    stage.clock.run(20)
    theirs.send(frame(PONG))
    stage.clock.run(49)
    assert not client.transport.eof_received
