"""What a connection hears of its peer from the kernel only: that it left, or that it reads."""

import socket
from collections.abc import Iterator

import pytest

from aserver import connection_phases, http_exchange
from aserver.config import Limits
from aserver.engines.h1 import H1
from aserver.limits import DRAIN_BYTES
from tests.fakes import Client, FakeSocket, body, rounds, start
from tests.stage import GET, POST_5, Stage, stream_to_nobody

pytestmark = pytest.mark.asyncio

# More than is held behind a request, and so no more is read.
MUCH = b"x" * (Limits.read_buffer + 1)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """The other end of `sock`."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        PAIRS[theirs] = ours
        yield theirs
    del PAIRS[theirs]


PAIRS: dict[socket.socket, socket.socket] = {}


async def blocked(stage: Stage, peer: socket.socket) -> Client:
    """A client that waits for an answer and has sent so much that it is not read any more."""
    client = stage.connect(FakeSocket(PAIRS[peer]))
    await stage.call(client, GET)
    client.send(MUCH)
    assert not client.transport.reading
    return client


# A peer that is not read


async def test_it_is_looked_after(peer: socket.socket) -> None:
    stage = Stage()
    client = await blocked(stage, peer)
    assert stage.clock.run(10) == 10
    assert not client.closed()
    assert stage.calls[0].cancellations == []


async def test_it_leaves(peer: socket.socket) -> None:
    stage = Stage()
    client = await blocked(stage, peer)
    peer.close()
    stage.clock.tick()
    await rounds()
    assert client.transport.aborted
    assert (await stage.calls[0].receive())["type"] == "http.disconnect"


async def test_it_closes_its_side(peer: socket.socket) -> None:
    """It may be waiting for its answer, and hears in time that it is believed to have left."""
    stage = Stage()
    client = await blocked(stage, peer)
    call = stage.calls[0]
    await call.receive()
    peer.shutdown(socket.SHUT_WR)
    stage.clock.run(2)
    await rounds()
    assert (await call.receive())["type"] == "http.disconnect"
    await call.send(start())
    await call.send(body(b"hello"))
    assert b"\r\n\r\nhelloHTTP/1.1 400 " in client.received()


async def test_it_closes_its_side_behind_more_than_is_read(peer: socket.socket) -> None:
    """What is not read yet is no less of a request for that."""
    stage = Stage()
    client = stage.connect(FakeSocket(PAIRS[peer]))
    first = await stage.call(client, GET)
    size = len(MUCH) + 3
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + MUCH)
    peer.sendall(b"end")
    peer.shutdown(socket.SHUT_WR)
    stage.clock.run(3)
    await rounds()
    assert (await first.receive())["type"] == "http.request"
    assert (await first.receive())["type"] == "http.disconnect"  # it may have left, as said above
    await first.answer()
    second = stage.calls[1]
    received = b""
    while len(received) < len(MUCH):
        received += (await second.receive())["body"]
    client.send(PAIRS[peer].recv(10))
    client.send_eof()
    assert await second.receive() == {"type": "http.request", "body": b"end", "more_body": False}
    await second.answer(b"all of it")
    assert client.received().endswith(b"all of it")
    assert client.closed()


async def test_it_leaves_when_it_has_closed_its_side_behind_more_than_is_read(
    peer: socket.socket,
) -> None:
    stage = Stage()
    client = await blocked(stage, peer)
    peer.sendall(b"more")
    peer.shutdown(socket.SHUT_WR)
    stage.clock.run(3)
    assert not client.closed()
    peer.close()
    stage.clock.run(2)
    await rounds()
    assert client.transport.aborted


async def test_who_is_believed_to_have_left_is_told_so_once(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    client = await blocked(stage, peer)
    told: list[str] = []
    monkeypatch.setattr(H1, "hang_up", lambda engine: told.append("hung up"))
    peer.sendall(b"more")
    peer.shutdown(socket.SHUT_WR)
    stage.clock.run(9)
    assert told == ["hung up"]
    assert not client.closed()


async def test_it_closes_its_side_in_the_middle_of_the_response(peer: socket.socket) -> None:
    stage = Stage()
    client = await blocked(stage, peer)
    await stage.calls[0].stream(b"1")
    peer.shutdown(socket.SHUT_WR)
    stage.clock.tick()
    await rounds()
    assert client.closed()


# A request behind which nothing comes


async def test_application_behind_another_hears_of_the_end() -> None:
    stage = Stage()
    client = stage.connect()
    first = await stage.call(client, GET + GET)
    client.send_eof()
    await first.answer()
    second = stage.calls[1]
    await second.receive()
    assert stage.clock.tick() == 1
    assert (await second.receive())["type"] == "http.disconnect"


# A peer that reads what the kernel has


class Kernel:
    """How many bytes of ours it holds, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = 0
        monkeypatch.setattr(connection_phases, "count_unacknowledged", lambda transport: self.held)


async def test_peer_that_reads_out_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own buffer does not move for minutes, if the kernel's holds megabytes."""
    kernel = Kernel(monkeypatch)
    stage = Stage()
    client = stage.connect()
    kernel.held = 3_000_000
    _, sending = await stream_to_nobody(stage, client)
    for _ in range(5):
        kernel.held -= 100_000
        stage.clock.run(60)
        assert not client.transport.aborted
    stage.clock.run(120)
    assert client.transport.aborted
    with pytest.raises(OSError, match="disconnected"):
        await sending


async def test_early_response_that_is_read_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """To close with something unread would be a reset, and take it away from the peer."""
    kernel = Kernel(monkeypatch)
    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5.replace(b" 5", b" %d" % (DRAIN_BYTES + 1)))
    kernel.held = 1000
    await call.answer()
    for _ in range(10):
        kernel.held -= 100
        stage.clock.run(2)
        assert not client.closed()
    stage.clock.run(2)
    assert client.closed()


async def test_peer_that_is_gone_when_we_close_our_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(107, "Transport endpoint is not connected")

    stage = Stage()
    client = stage.connect()
    call = await stage.call(client, POST_5.replace(b" 5", b" %d" % (DRAIN_BYTES + 1)))
    monkeypatch.setattr(client.transport, "write_eof", fail)
    await call.answer()
    assert client.transport.aborted
