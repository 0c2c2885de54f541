"""Memory of real server processes: bounded by the options, not by what clients do."""

import array
import contextlib
import fcntl
import json
import signal
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterator

import pytest

from tests.processes import (
    MATRIX,
    Process,
    get,
    many_files,
    read_all,
    read_until,
    wait_until,
)

APP = "tests.served:app"
KIB = 1024
MIB = 1024 * KIB
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(params=MATRIX, ids="-".join)
def server(request: pytest.FixtureRequest) -> Iterator[Process]:
    """A warm server for each event loop and parser."""
    loop, parser = request.param
    options = ["--loop", loop, "--http", parser, "--no-access-log"]
    with many_files(5000), Process(APP, *options) as server:
        for _ in range(20):
            hello(server)
        inspect(server)
        yield server
        server.signal(signal.SIGINT)
        assert server.exit_code() == 0, server.stderr
        assert "Traceback" not in server.stderr


def hello(server: Process) -> None:
    """A round trip: the event loop has looked at everything that was there before."""
    with server.connect() as sock:
        sock.sendall(get("/hello", "Connection: close"))
        assert read_all(sock).endswith(b"hello")


def inspect(server: Process) -> dict[str, int]:
    with server.connect() as sock:
        sock.sendall(get("/inspect", "Connection: close"))
        counts: dict[str, int] = json.loads(read_all(sock).partition(b"\r\n\r\n")[2])
        return counts


def wait_until_it_rests(server: Process, measure: Callable[[], int]) -> int:
    """Wait until a figure changes no more while the server goes round and round."""
    while True:
        before = measure()
        for _ in range(50):
            hello(server)
            if measure() != before:
                break
        else:
            return before


def unread(sock: socket.socket) -> int:
    """How many bytes are there to be read."""
    size = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, size)
    return size[0]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def test_a_client_that_does_not_read_costs_nothing(server: Process) -> None:
    before = server.memory
    server.reset_peak()
    with server.connect() as sock:
        sock.sendall(get("/gibibyte"))
        wait_until(lambda: unread(sock) > 0)
        stopped_at = wait_until_it_rests(server, lambda: unread(sock))
        assert 0 < stopped_at < 64 * MIB
        assert server.peak - before < MIB
        # It goes on when the client does.
        size = 0
        while size < stopped_at + 16 * MIB:
            size += len(sock.recv(MIB))
        assert server.peak - before < MIB


def test_an_application_that_reads_slowly_stops_its_client(server: Process) -> None:
    total = 200 * MIB
    piece = bytes(MIB)
    before = server.memory
    server.reset_peak()
    with server.connect() as sock:
        head = f"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: {total}\r\n\r\n"
        sock.sendall(head.encode("ascii"))
        server.wait_for("note: uploading")
        sock.setblocking(False)
        sent = 0

        def send(limit: int) -> int:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                while sent < limit:
                    sent += sock.send(piece)
            return sent

        stopped_at = wait_until_it_rests(server, lambda: send(total - MIB))
        assert stopped_at < 64 * MIB
        assert server.peak - before < 2 * MIB
        # The application begins to read; the client is gone in the middle of it.
        with server.connect() as other:
            other.sendall(get("/read", "Connection: close"))
            read_all(other)
        enough = stopped_at + 16 * MIB
        wait_until(lambda: send(enough) >= enough)
        assert server.peak - before < 2 * MIB
        reset(sock)
    server.wait_for("note: upload broken off")


def endings() -> list[Callable[[Process], None]]:
    """Ways for a connection to end, that may leave something behind."""
    upload = b"POST /swallow HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + bytes(5000)
    chunked = b"POST /swallow HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"
    half = get("/hello")[:20]
    beginnings = [
        upload,
        upload,
        upload,
        upload,
        chunked,
        half,
        b"",
        get("/stream"),
        get("/wait?0.2"),
    ]

    def ends(data: bytes, close: Callable[[socket.socket], None]) -> Callable[[Process], None]:
        def end(server: Process) -> None:
            sock = server.connect()
            sock.sendall(data)
            close(sock)

        return end

    def answered(close: Callable[[socket.socket], None]) -> Callable[[Process], None]:
        def end(server: Process) -> None:
            sock = server.connect()
            sock.sendall(get("/hello"))
            read_until(sock, b"hello")
            close(sock)

        return end

    def refused(server: Process) -> None:
        with server.connect() as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")

    def pipelined(server: Process) -> None:
        sock = server.connect()
        sock.sendall(get("/hello") * 20)
        reset(sock)

    closes = (socket.socket.close, reset)
    return [
        *[ends(data, close) for data in beginnings for close in closes],
        *[answered(close) for close in closes],
        refused,
        pipelined,
    ]


def test_however_connections_end_nothing_is_left_of_them(server: Process) -> None:
    ways = endings()

    def end_connections(count: int) -> None:
        for number in range(count):
            ways[number % len(ways)](server)
        # Half-closed ones, and sleeping applications, have a moment.
        wait_until(lambda: inspect(server) == counts)

    counts = inspect(server)
    end_connections(1500)  # the allocator takes what it needs, once
    before = server.memory
    end_connections(1500)
    assert server.memory - before < 512 * KIB


def test_an_idle_connection_is_small(server: Process) -> None:
    count = 2000
    with contextlib.ExitStack() as stack:
        before = server.memory
        for _ in range(count):
            sock = stack.enter_context(server.connect())
            sock.sendall(get("/hello"))
            read_until(sock, b"hello")
        assert inspect(server)["Connection"] == count + 1
        # A transport of asyncio has a deque from Python 3.12 on.
        limit = 4.5 if sys.version_info < (3, 12) else 5.5
        assert (server.memory - before) / count < limit * KIB
