"""Files sent by the kernel: over real sockets, with both event loops."""

import asyncio
import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import FileResponse

from aserver import sendfile
from aserver.event_loops import new_loop
from aserver.sendfile import FileSender
from aserver.testing import serve
from aserver.types import AppError, ClientDisconnected, Receive, Scope, Send
from tests.fakes import MemoryTransport
from tests.processes import DEADLINE, get, read_all, read_until, wait_until

MIB = 1 << 20
SIZE = 10 * MIB
LAST = b"Connection: close"


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "file").write_bytes(content)
    return tmp_path / "file"


class Site:
    """An application that sends a file, and what the test has to know of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.errors: list[BaseException] = []
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        view = {"/path": self._pathsend, "/chunked": self._chunked, "/parts": self._parts}
        try:
            await view[scope["path"]](scope, send)
        except BaseException as error:
            self.errors.append(error.with_traceback(None))
            raise
        finally:
            self.ended.set()

    async def _pathsend(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": str(self._path)})

    async def _chunked(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        with open(self._path, "rb") as file:
            await send({"type": "http.response.zerocopysend", "file": file, "more_body": True})
        await send({"type": "http.response.body", "body": b"the end"})

    async def _parts(self, scope: Scope, send: Send) -> None:
        """Files between bodies that the client has not read yet."""
        size = b"%d" % (SIZE + MIB + 7)
        headers = [(b"content-length", size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})
        with open(self._path, "rb") as file:
            for count in (SIZE // 2, None):
                message = {"type": "http.response.zerocopysend", "file": file, "count": count}
                await send({**message, "more_body": True})
        await send({"type": "http.response.body", "body": b"the end"})


@pytest.fixture
def site(path: Path) -> Site:
    return Site(path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the kernel took, call by call; -1 when it could not."""
    taken = []

    def send_file(out: int, fd: int, offset: int, count: int) -> int:
        try:
            sent = os.sendfile(out, fd, offset, count)
        except BlockingIOError:
            taken.append(-1)
            raise
        taken.append(sent)
        return sent

    monkeypatch.setattr(sendfile, "_sendfile", send_file)
    return taken


def count_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def server(site: Site, loop_name: str) -> Iterator[serve]:
    """A server; when it has none of its clients any more, it has no file of theirs either."""
    with serve(site, loop=loop_name, lifespan="off") as server:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            assert client.head("/path").status_code == 200
        assert site.ended.wait(DEADLINE)
        site.ended.clear()
        before = count_files()
        yield server
        wait_until(lambda: count_files() <= before)


@contextlib.contextmanager
def connect(server: serve, path: str, buffer: int = 0) -> Iterator[socket.socket]:
    """A request on a connection that reads as slowly as the test does."""
    with socket.socket() as sock:
        sock.settimeout(DEADLINE)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.connect((server.host, server.port))
        sock.sendall(get(path, LAST.decode()))
        yield sock


def fetch(server: serve, path: str) -> bytes:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        return client.get(path).content


def test_whole_file(server: serve, content: bytes, calls: list[int]) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        for _ in range(3):
            response = client.get("/path")
            assert response.headers["content-length"] == str(SIZE)
            assert hashlib.sha256(response.content).digest() == hashlib.sha256(content).digest()
    wait_until(lambda: sum(taken for taken in calls if taken > 0) == 3 * SIZE)
    assert max(calls) <= MIB


def test_chunks_are_read(server: serve, content: bytes, calls: list[int]) -> None:
    assert fetch(server, "/chunked") == content + b"the end"
    assert calls == []


def test_parts(server: serve, content: bytes, calls: list[int]) -> None:
    assert fetch(server, "/parts") == bytes(MIB) + content + b"the end"
    assert sum(taken for taken in calls if taken > 0) == SIZE


def test_http_1_0(server: serve, content: bytes) -> None:
    with connect(server, "/path") as sock:
        data = read_all(sock)
    assert data.partition(b"\r\n\r\n")[2] == content
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        sock.sendall(b"GET /path HTTP/1.0\r\n\r\n")
        assert read_all(sock).partition(b"\r\n\r\n")[2] == content


@pytest.mark.parametrize("view", ["/path", "/parts", "/chunked"])
def test_slow_reader(view: str, server: serve, content: bytes, calls: list[int]) -> None:
    digest = hashlib.sha256()
    with connect(server, view, buffer=4096) as sock:
        _, _, data = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
        digest.update(data)
        size = len(data)
        if view != "/chunked":
            wait_until(lambda: -1 in calls)
        while data := sock.recv(10_000):
            digest.update(data)
            size += len(data)
    if view == "/path":
        assert digest.digest() == hashlib.sha256(content).digest()
    assert size >= SIZE


@pytest.mark.parametrize("view", ["/path", "/parts", "/chunked"])
def test_reader_that_leaves(view: str, server: serve, site: Site) -> None:
    with connect(server, view, buffer=4096) as sock:
        read_until(sock, b"\r\n\r\n")
    assert site.ended.wait(DEADLINE)
    (error,) = site.errors
    assert isinstance(error, ClientDisconnected)


def test_many_readers_that_leave(server: serve, site: Site) -> None:
    before = count_files()
    for number in range(20):
        with connect(server, "/path", buffer=4096) as sock:
            read_until(sock, b"\r\n\r\n")
            sock.recv(number * 1000 + 1)
        assert site.ended.wait(DEADLINE)
        site.ended.clear()
    wait_until(lambda: count_files() <= before)
    assert fetch(server, "/path")


def test_file_that_shrinks(server: serve, site: Site, path: Path) -> None:
    """The client sees that bytes are missing: the end comes before the content-length."""
    with connect(server, "/path", buffer=4096) as sock:
        data = read_until(sock, b"\r\n\r\n")
        assert b"content-length: %d\r\n" % SIZE in data
        os.truncate(path, 0)
        with contextlib.suppress(ConnectionResetError):
            data += read_all(sock)
        assert len(data) < SIZE
    assert site.ended.wait(DEADLINE)
    (error,) = site.errors
    assert isinstance(error, AppError)
    assert "has become shorter" in str(error)


def test_connection_is_kept_behind_a_file(server: serve, content: bytes) -> None:
    """And its buffer is of the usual size again: a body behind it is not waited for in vain."""
    with socket.create_connection((server.host, server.port), DEADLINE) as sock:
        for view in ("/path", "/parts", "/path"):
            sock.sendall(get(view))
            head, _, data = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(data) < size:
                data += sock.recv(size - len(data))
            assert content in data


def test_write_timeout(
    site: Site, loop_name: str, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that stands still is closed, as it would be with a body."""
    monkeypatch.setattr("aserver.server.TICK", 0.1)
    with (
        serve(site, loop=loop_name, lifespan="off", write_timeout=0.2) as server,
        connect(server, "/path", buffer=4096) as sock,
    ):
        read_until(sock, b"\r\n\r\n")
        assert site.ended.wait(DEADLINE)
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    assert isinstance(site.errors[0], ClientDisconnected)
    assert calls[-1] == -1


def test_server_that_stops(site: Site, loop_name: str, calls: list[int]) -> None:
    """A download is waited for, and then cut."""
    with (
        serve(site, loop=loop_name, lifespan="off", graceful_timeout=0.2) as server,
        connect(server, "/path", buffer=4096) as sock,
    ):
        read_until(sock, b"\r\n\r\n")
        wait_until(lambda: -1 in calls)
        server.server.request_stop()
        assert site.ended.wait(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert len(read_all(sock)) < SIZE


@pytest.mark.parametrize("unix", [True, False])
def test_frameworks_files(
    unix: bool, path: Path, content: bytes, loop_name: str, calls: list[int], tmp_path: Path
) -> None:
    """Starlette sends a path where the server can; and parts, which it reads by itself."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        Request(scope)
        await FileResponse(path)(scope, receive, send)

    options: dict[str, Any] = {"lifespan": "off", "loop": loop_name}
    if unix:
        options["unix_socket"] = str(tmp_path / "socket")
    with serve(app, **options) as server:
        transport = httpx.HTTPTransport(uds=options.get("unix_socket"))
        with httpx.Client(transport=transport, base_url="http://test") as client:
            if not unix:
                client.base_url = httpx.URL(server.url)
            assert client.get("/").content == content
            wait_until(lambda: sum(taken for taken in calls if taken > 0) == SIZE)
            part = client.get("/", headers={"range": "bytes=5-9"})
            assert part.status_code == 206
            assert part.content == content[5:10]
            assert client.head("/").headers["content-length"] == str(SIZE)


# Without sockets


class Transport(MemoryTransport):
    """A transport that counts what is done to its limits."""

    def __init__(self, protocol: asyncio.Protocol, sock: socket.socket) -> None:
        self.limits: list[int | None] = []
        super().__init__(protocol)
        self._extra["socket"] = sock  # type: ignore[attr-defined]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits.append(high)
        super().set_write_buffer_limits(high, low)


class Protocol(asyncio.Protocol):
    """Whose writing is paused and resumed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.resumed = asyncio.Event()

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self.resumed.set()


class Pair:
    """A sender, and the socket at its other end."""

    def __init__(self) -> None:
        self.peer, self.sock = socket.socketpair()
        self.sock.setblocking(False)
        self.peer.setblocking(False)
        self.protocol = Protocol()
        self.transport = Transport(self.protocol, self.sock)
        loop = asyncio.get_running_loop()
        self.sender = FileSender(self.transport, loop, self.protocol, 12345)

    def close(self) -> None:
        self.sender.close()
        self.sock.close()
        self.peer.close()

    def read(self) -> int:
        size = 0
        with contextlib.suppress(BlockingIOError):
            while data := self.peer.recv(65536):
                size += len(data)
        return size


@pytest.fixture
def in_loop(loop_name: str) -> Iterator[Callable[[Any], None]]:
    """Run a coroutine in each event loop; it leaves no file behind."""
    loop = new_loop(loop_name)
    try:
        yield loop.run_until_complete
    finally:
        loop.close()


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_RDONLY)
    yield number
    os.close(number)


def test_full_socket(in_loop: Callable[[Any], None], fd: int) -> None:
    async def test() -> None:
        pair = Pair()
        before = count_files()
        offset = 0
        while sent := pair.sender.send(fd, offset, SIZE - offset):
            assert sent <= MIB
            offset += sent
        assert sent == 0
        assert pair.sender.left == SIZE - offset
        assert pair.protocol.calls == ["pause"]
        assert count_files() == before + 1
        assert pair.read() == offset
        async with asyncio.timeout(DEADLINE):
            await pair.protocol.resumed.wait()
        assert pair.protocol.calls == ["pause", "resume"]
        assert pair.sender.send(fd, offset, 10) == 10
        while pair.sender.send(fd, 0, SIZE):
            pass
        assert pair.sender.close(), "the protocol is paused still"
        assert count_files() == before
        assert not pair.sender.close()
        pair.read()
        for _ in range(10):
            await asyncio.sleep(0)
        assert pair.protocol.calls == ["pause", "resume", "pause"]
        pair.close()

    in_loop(test())


def test_buffer_goes_first(in_loop: Callable[[Any], None], fd: int) -> None:
    async def test() -> None:
        pair = Pair()
        transport = pair.transport
        transport.reads = False
        transport.write(b"head")
        assert pair.sender.send(fd, 0, 10) == 0
        assert pair.sender.send(fd, 0, 10) == 0
        assert transport.limits == [0]
        transport.take(4)
        assert pair.sender.send(fd, 0, 10) == 10
        assert transport.limits == [0, 12345]
        assert pair.read() == 10
        pair.close()
        assert transport.limits == [0, 12345]

    in_loop(test())


def test_limits_are_restored_at_the_end(in_loop: Callable[[Any], None], fd: int) -> None:
    async def test() -> None:
        for closing, limits in ((False, [0, 12345]), (True, [0])):
            pair = Pair()
            pair.transport.reads = False
            pair.transport.write(b"head")
            pair.sender.send(fd, 0, 10)
            if closing:
                pair.transport.close()
                assert pair.sender.send(fd, 0, 10) == 0
            pair.close()
            assert pair.transport.limits == limits
            pair.transport.abort()

    in_loop(test())


def test_what_the_kernel_cannot(
    in_loop: Callable[[Any], None], fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        pair = Pair()
        assert pair.sender.send(fd, SIZE, 10) is None  # behind its end
        assert pair.sender.send(pair.peer.fileno(), 0, 10) is None  # no file
        pair.peer.close()
        assert pair.sender.send(fd, 0, 10) is None  # nobody is there
        pair.close()
        pair = Pair()
        monkeypatch.setattr(os, "dup", no_descriptor)
        while sent := pair.sender.send(fd, 0, SIZE):
            pass
        assert sent is None
        monkeypatch.setattr(sendfile, "_sendfile", None)
        assert pair.sender.send(fd, 0, 10) is None
        assert pair.protocol.calls == []
        pair.close()

    in_loop(test())


def no_descriptor(fd: int) -> int:
    raise OSError(24, "Too many open files")
