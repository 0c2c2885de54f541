"""The phases of a connection: what each event makes of them, and of the deadline.

What a passed deadline looks like to the client is in `test_connection.py`.
"""

import asyncio
import socket
from collections.abc import Iterator
from math import inf

import pytest

from aserver.engines.h2_frames import PREFACE
from tests.engines.h2_bytes import INITIAL_WINDOW, get, ping, settings, window_update
from tests.fakes import Client, FakeSocket, body, rounds, start
from tests.stage import GET, MORE, POST_5, Stage
from tests.ws_stage import heard, hold, open_socket, result, waiting_send

pytestmark = pytest.mark.asyncio

SECONDS = {
    "first_byte_timeout": 1,
    "header_timeout": 2,
    "body_timeout": 3,
    "keep_alive": 4,
    "write_timeout": 5,
}


@pytest.fixture
def kernel() -> Iterator[tuple[FakeSocket, socket.socket]]:
    """A transport's socket, and its peer's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FakeSocket(ours), theirs


def waits(client: Client) -> tuple[str, float]:
    """For what, and until when."""
    return client.connection.phase.name, client.connection.deadline


async def test_phases_of_a_request() -> None:
    stage = Stage(**SECONDS)  # type: ignore[arg-type]
    client = stage.connect()
    assert waits(client) == ("NEW", 1)
    client.send(GET[:5])
    assert waits(client) == ("HEAD", 2)
    call = await stage.call(client, GET[5:])
    assert waits(client) == ("ACTIVE", inf)
    await call.answer()
    assert waits(client) == ("IDLE", 4)
    call = await stage.call(client, POST_5)
    assert waits(client) == ("RECEIVING", 3)
    client.send(b"hello")
    await call.receive()
    await call.answer()
    assert waits(client) == ("IDLE", 4)


async def test_phases_of_a_slow_reader() -> None:
    stage = Stage(**SECONDS)  # type: ignore[arg-type]
    client = stage.connect()
    call = await stage.call(client)
    client.transport.reads = False
    await call.answer(bytes(2 * MORE))
    assert waits(client) == ("WRITING", 5)
    client.transport.take(3 * MORE)
    assert waits(client) == ("IDLE", 4)


async def test_phases_of_a_websocket(kernel: tuple[FakeSocket, socket.socket]) -> None:
    ours, _ = kernel
    stage = Stage(**SECONDS, websocket_queue=1)  # type: ignore[arg-type]
    client = stage.connect(ours)
    call = await open_socket(stage, client)
    assert waits(client) == ("ACTIVE", inf)
    client.transport.reads = False
    task = await waiting_send(call)
    assert waits(client) == ("WRITING", 5)
    client.transport.reads = True
    client.transport.take(2 * MORE)
    await result(task)
    assert waits(client) == ("ACTIVE", inf)
    hold(client)
    assert waits(client) == ("ACTIVE", 1), "to see whether it is there still"
    stage.clock.tick()
    assert waits(client) == ("ACTIVE", 2)
    assert [await call.receive() for _ in range(2)] == [heard("1"), heard("2")]
    stage.clock.tick()
    assert waits(client) == ("ACTIVE", inf)


HELLO = PREFACE + settings((INITIAL_WINDOW, 1 << 24)) + window_update(0, 1 << 24)


async def test_requests_of_who_does_not_read_give_it_no_more_time() -> None:
    """With HTTP/2 they may come while a response waits; it is the transport that is waited for."""
    stage = Stage(**SECONDS)  # type: ignore[arg-type]
    client = stage.connect()
    call = await stage.call(client, HELLO + get(1))
    assert waits(client) == ("ACTIVE", inf)
    client.transport.reads = False
    await call.send(start())
    sending = asyncio.ensure_future(call.send(body(bytes(2 * MORE), more=True)))
    await rounds()
    assert waits(client) == ("WRITING", 5)
    for stream in (3, 5, 7, 9):
        stage.clock.tick()
        await stage.call(client, get(stream))
        assert waits(client) == ("WRITING", 5)
    aborted = [client.transport.aborted]
    stage.clock.tick()
    assert [*aborted, client.transport.aborted] == [False, True]
    await rounds()
    assert sending.done()
    for each in stage.calls:
        await each.end()


async def test_requests_while_the_transport_is_full_wait_for_it() -> None:
    """Nobody was at work when it became so, as when a client has many pings answered."""
    stage = Stage(**SECONDS)  # type: ignore[arg-type]
    client = stage.connect()
    client.send(HELLO)
    await rounds()
    assert waits(client) == ("IDLE", 4)
    client.connection.pause_writing()
    assert waits(client) == ("IDLE", 4)
    stage.clock.tick()
    call = await stage.call(client, get(1))
    assert waits(client) == ("WRITING", 6)
    client.connection.resume_writing()
    assert waits(client) == ("ACTIVE", inf)
    await call.answer()
    assert waits(client) == ("IDLE", 5)


async def test_who_has_not_read_its_last_answer_is_not_idle() -> None:
    stage = Stage(**SECONDS)  # type: ignore[arg-type]
    client = stage.connect()
    call = await stage.call(client, HELLO + get(1))
    client.transport.reads = False
    await call.send(start())
    sending = asyncio.ensure_future(call.send(body(bytes(MORE))))
    await rounds()
    stage.clock.tick()
    client.send(ping())
    await rounds()
    assert waits(client) == ("WRITING", 5)
    client.transport.reads = True
    client.transport.take(3 * MORE)
    await rounds()
    assert waits(client) == ("IDLE", 5)
    await sending
    await call.end()


async def test_unsent_is_what_waits_here_and_in_the_kernel(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    assert ours.sock is not None
    client = Stage().connect(ours)
    assert client.connection.unsent() == 0
    client.transport.reads = False
    client.connection.write(bytes(100))
    assert client.connection.unsent() == 100
    ours.sock.send(bytes(1000))
    assert client.connection.unsent() >= 1100, "as the kernel counts it"
    theirs.recv(1000)
    assert client.connection.unsent() == 100


async def test_unread_is_what_waits_in_the_kernel(
    kernel: tuple[FakeSocket, socket.socket],
) -> None:
    ours, theirs = kernel
    client = Stage().connect(ours)
    before = client.connection.has_unread()
    theirs.send(b"a")
    assert (before, client.connection.has_unread()) == (False, True)
