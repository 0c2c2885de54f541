"""The connection while the kernel sends a file through its socket: waiting, deadlines, ends."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from aserver import http_exchange
from aserver.types import ClientDisconnected
from tests.fakes import Client, FakeSocket, body, rounds, start
from tests.stage import GET, Call, Stage

pytestmark = pytest.mark.asyncio

SIZE = 1 << 22


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(bytes(SIZE))
    return str(tmp_path / "file")


class Peer:
    """The other end of a transport's socket."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self.sock = FakeSocket(self._ours)

    def take(self) -> int:
        """Read what there is."""
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while data := self._theirs.recv(65536):
                taken += len(data)
        return taken

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    before = len(os.listdir("/proc/self/fd"))
    yield peer
    assert len(os.listdir("/proc/self/fd")) == before
    peer.close()


async def send_file(stage: Stage, client: Client, path: str) -> tuple[Call, asyncio.Future[None]]:
    """A file that is larger than the socket's buffer, and its `send()`."""
    call = await stage.call(client)
    await call.send(start())
    sending = asyncio.ensure_future(call.send({"type": "http.response.pathsend", "path": path}))
    await rounds(20)
    assert client.connection.phase.name == "WRITING"
    return call, sending


async def test_file(peer: Peer, path: str) -> None:
    stage = Stage()
    client = stage.connect(peer.sock)
    call, sending = await send_file(stage, client, path)
    assert client.received().startswith(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % SIZE)
    size = 0
    while not sending.done():
        size += peer.take()
        await rounds()
    assert size + peer.take() == SIZE
    await sending
    assert client.received() == b""
    assert client.connection.phase.name == "IDLE"
    await call.end()
    await (await stage.call(client)).answer()
    assert client.received().endswith(b"hello")
    client.vanish()
    await rounds()


async def test_peer_that_reads_nothing(peer: Peer, path: str) -> None:
    stage = Stage()
    client = stage.connect(peer.sock)
    call, sending = await send_file(stage, client, path)
    assert stage.clock.run(59) == 0
    assert stage.clock.tick() == 1
    await rounds()
    assert stage.clock.run(60) <= 1
    assert client.transport.aborted
    assert peer.sock.options  # a reset: an end could look like the response's
    with pytest.raises(ClientDisconnected):
        await sending
    await call.end()


async def test_peer_that_reads_slowly(peer: Peer, path: str) -> None:
    stage = Stage()
    client = stage.connect(peer.sock)
    call, sending = await send_file(stage, client, path)
    for _ in range(5):
        stage.clock.run(59)
        assert peer.take()
        await rounds(20)
        assert not client.closed()
    client.vanish()
    with pytest.raises(ClientDisconnected):
        await sending
    await call.end()


async def test_peer_that_leaves(peer: Peer, path: str) -> None:
    """Nobody waits for its socket any more, and the descriptor for that is closed."""
    stage = Stage()
    client = stage.connect(peer.sock)
    call, sending = await send_file(stage, client, path)
    client.vanish()
    with pytest.raises(ClientDisconnected):
        await sending
    peer.take()
    await rounds(20)
    await call.end()
    assert stage.context.connections == set()
    assert stage.context.cycles == set()


async def test_application_that_gives_up(peer: Peer, path: str) -> None:
    stage = Stage()
    client = stage.connect(peer.sock)
    call, sending = await send_file(stage, client, path)
    sending.cancel()
    await call.end()
    await rounds()
    assert client.closed()


async def test_application_that_sends_something_else_instead(peer: Peer, path: str) -> None:
    """Nothing of the file is left: neither its bytes, which are not due, nor the pause."""
    stage = Stage()
    client = stage.connect(peer.sock)
    call, sending = await send_file(stage, client, path)
    assert client.connection.phase.name == "WRITING"
    sending.cancel()
    await rounds()
    assert client.connection.phase.name == "RECEIVING"
    await call.send(body(b"instead", more=True))
    assert client.received().endswith(b"instead")
    assert stage.clock.run(100) <= 5
    assert not client.closed()
    await call.end()
    await rounds()
    assert client.closed()


async def test_bytes_before_the_file(peer: Peer, path: str) -> None:
    """They count as unsent as the file's do, and go first."""
    stage = Stage()
    client = stage.connect(peer.sock)
    client.transport.reads = False
    call, sending = await send_file(stage, client, path)
    assert peer.take() == 0
    stage.clock.run(59)
    client.transport.take(1)
    stage.clock.run(1)
    assert not client.closed()
    client.transport.take(1000)
    await rounds()
    assert peer.take() > 0
    client.vanish()
    with pytest.raises(ClientDisconnected):
        await sending
    await call.end()


async def test_never_unencrypted(peer: Peer, path: str) -> None:
    stage = Stage()
    client = stage.connect(peer.sock, sslcontext=ssl.create_default_context())
    call = await stage.call(client)
    await call.send(start())
    await call.send({"type": "http.response.pathsend", "path": path})
    assert len(client.received().partition(b"\r\n\r\n")[2]) == SIZE
    assert peer.take() == 0
    await call.end()
    client.vanish()
    await rounds()


async def test_buffer_is_as_before(peer: Peer, path: str) -> None:
    """A stream behind the file waits no earlier than one before it."""
    stage = Stage()
    client = stage.connect(peer.sock)
    client.transport.reads = False
    call, sending = await send_file(stage, client, path)
    client.transport.take(1000)
    while not sending.done():
        peer.take()
        await rounds()
    await call.end()
    client.transport.reads = True
    call = await stage.call(client, GET)
    client.transport.reads = False
    await call.send(start())
    await asyncio.wait_for(call.send(body(bytes(30_000), more=True)), 1)
    client.vanish()
    await rounds()
    await call.end()
