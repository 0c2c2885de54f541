"""Memory of real server processes with WebSockets: bounded by the options, not by clients."""

import contextlib
import functools
import json
import signal
import socket
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.processes import Process, get, many_files, read_all, read_until, wait_until
from tests.test_memory import unread, wait_until_it_rests
from tests.ws_clients import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    close_frame,
    frame,
    handshake,
    reset,
)

APP = "tests.ws_served:app"
KIB = 1024
MIB = 1024 * KIB
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@contextlib.contextmanager
def running(*options: str, loop: str = "uvloop") -> Iterator[Process]:
    """A server that is warm: it has imported what WebSockets need."""
    with many_files(5000), Process(APP, "--loop", loop, "--no-access-log", *options) as server:
        for offer in ([], [OFFER]):
            with peer(server, "/echo", *offer) as warm:
                warm.send(BINARY, bytes(100_000))
                warm.read()
                warm.sock.sendall(close_frame(1000))
                warm.read_close()
        inspect(server)
        yield server
        server.signal(signal.SIGINT)
        assert server.exit_code() == 0, server.stderr
        assert "Traceback" not in server.stderr


def peer(server: Process, path: str, *headers: str) -> Peer:
    """An open WebSocket."""
    return Peer(server.connect(), path, *headers)


def ask(server: Process, path: str) -> bytes:
    with server.connect() as sock:
        sock.sendall(get(path, "Connection: close"))
        return read_all(sock).partition(b"\r\n\r\n")[2]


def inspect(server: Process) -> dict[str, int]:
    counts: dict[str, int] = json.loads(ask(server, "/inspect"))
    return counts


@contextlib.contextmanager
def sending(sock: socket.socket, pieces: Iterator[bytes]) -> Iterator[None]:
    """Send all this meanwhile, until it is not taken any more."""

    def send() -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                sock.sendall(piece)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    thread.join()


def as_much_as_goes(sock: socket.socket, data: bytes, most: int) -> Callable[[], int]:
    """A function that sends on, data by data, until the other side takes no more; see there."""
    sock.setblocking(False)
    sent = 0

    def send() -> int:
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            while sent < most:
                sent += sock.send(memoryview(data)[sent % len(data) :])
        return sent

    return send


# Messages that are too large


def test_a_message_in_fragments_is_ended_at_its_limit() -> None:
    with running() as server, peer(server, "/silent") as client:
        before = server.memory
        server.reset_peak()
        piece = frame(CONTINUATION, bytes(MIB), fin=False)
        fragments = iter([frame(BINARY, bytes(MIB), fin=False), *[piece] * 63])
        with sending(client.sock, fragments):
            assert client.read_close()[0] == 1009
            server.wait_for("note: disconnect 1009")
        assert server.peak - before < 34 * MIB


@pytest.mark.parametrize("kind", [BINARY, TEXT])
@pytest.mark.parametrize("count", [1, 50], ids=["one frame", "fragments"])
def test_a_message_that_inflates_to_too_much_is_ended_at_its_limit(kind: int, count: int) -> None:
    bomb = compressed(100 * MIB)
    assert len(bomb) < 110_000
    size = len(bomb) // count + 1
    pieces = [bomb[start : start + size] for start in range(0, len(bomb), size)]
    frames = frame(kind, pieces[0], fin=count == 1, compressed=True)
    for number, piece in enumerate(pieces[1:], 2):
        frames += frame(CONTINUATION, piece, fin=number == count)
    with running() as server, peer(server, "/silent", OFFER) as client:
        before = server.memory
        server.reset_peak()
        with sending(client.sock, iter([frames])):
            assert client.read_close()[0] == 1009
            server.wait_for("note: disconnect 1009")
        assert server.peak - before < 34 * MIB


@functools.cache
def compressed(size: int) -> bytes:
    """Of so many zeros, as the payload of a message."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    pieces = [deflate.compress(bytes(min(MIB, size - at))) for at in range(0, size, MIB)]
    return b"".join(pieces) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


@pytest.mark.parametrize("path", ["/busy", "/silent"])
def test_messages_that_inflate_to_much_are_not_all_inflated_at_once(path: str) -> None:
    bomb = frame(BINARY, compressed(16 * MIB), compressed=True)
    with running() as server, peer(server, path, OFFER) as client:
        before = server.memory
        server.reset_peak()
        with sending(client.sock, iter([bomb * 20, close_frame(1000)])):
            wait_until_it_rests_here(server)
            ask(server, "/receive_all")
            server.wait_for("note: disconnect 1000")
        # One that the application has not let go of, one that it takes next, and one that is put
        # together: of its pieces, and of pieces that are being inflated.
        assert server.peak - before < (3 if path == "/busy" else 6) * 16 * MIB


def wait_until_it_rests_here(server: Process) -> None:
    wait_until_it_rests(server, lambda: server.memory // MIB)


def test_tiny_fragments_cost_what_their_bytes_do() -> None:
    with running("--websocket-max-fragments", "10000") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(peer(server, "/silent")) for _ in range(5)]
        before = server.memory
        server.reset_peak()
        for client in clients:
            client.send(BINARY, b"a", fin=False)
            client.sock.sendall(frame(CONTINUATION, b"a", fin=False) * 9_999)
            client.send(PING, b"all there?")
            assert client.read() == (PONG, b"all there?")
        assert server.peak - before < MIB
        for client in clients:
            client.send(CONTINUATION, b"a", fin=False)
            assert client.read_close()[0] == 1009
        wait_until(lambda: server.stderr.count("note: disconnect 1009") == len(clients))
        assert server.peak - before < MIB


# Backpressure


def test_an_application_waits_for_a_client_that_does_not_read() -> None:
    with running() as server:
        before = server.memory
        server.reset_peak()
        with peer(server, "/flood") as client:
            wait_until(lambda: unread(client.sock) > 0)
            stopped_at = wait_until_it_rests(server, lambda: unread(client.sock))
            assert 0 < stopped_at < 64 * MIB
            assert server.peak - before < MIB
            # It goes on when the client does.
            for _ in range((stopped_at + 16 * MIB) // 65536):
                assert client.read() == (BINARY, bytes(65536))
            assert server.peak - before < MIB
            client.reset()
        server.wait_for("note: flood broken off")
        server.wait_for("note: disconnect 1006")


@pytest.mark.parametrize("size", [1, 1000, 65_000, 5 * MIB])
def test_a_client_waits_for_an_application_that_does_not_receive(size: int) -> None:
    message = frame(BINARY, bytes(size))
    with running() as server, peer(server, "/busy") as client:
        server.wait_for("note: busy")
        before = server.memory
        server.reset_peak()
        send = as_much_as_goes(client.sock, message * (MIB // len(message) + 1), 1024 * MIB)
        stopped_at = wait_until_it_rests(server, send)
        assert stopped_at < 64 * MIB
        assert server.peak - before < 2 * size + 2 * MIB
        ask(server, "/receive_all")
        if size > 1:  # a million frames take seconds
            wait_until(lambda: send() > stopped_at + 16 * MIB)
        # One that is being put together, and one that the application has not let go of.
        assert server.peak - before < 4 * size + 3 * MIB
        reset(client.sock)
        server.wait_for("note: disconnect 1006")


def test_pings_of_a_client_that_does_not_read_cost_nothing() -> None:
    with running() as server, peer(server, "/echo") as client:
        before = server.memory
        server.reset_peak()
        pings = b"".join(frame(PING, b"%0125d" % number) for number in range(100_000))
        last = (PONG, b"%0125d" % 99_999)
        with sending(client.sock, iter([pings, frame(TEXT, b"hello")])):
            wait_until(lambda: unread(client.sock) > 0)
            wait_until_it_rests(server, lambda: unread(client.sock))
            assert server.peak - before < MIB
            # Then it reads: it gets some pongs in their order, the last one, and the answer.
            answers = [client.read() for _ in range(2)]
            while answers[-1] != last and answers[-2] != last:
                answers.append(client.read())
        assert answers.count((TEXT, b"hello")) == 1
        pongs = [payload for opcode, payload in answers if opcode == PONG]
        assert len(pongs) == len(answers) - 1 < 99_999
        assert pongs == sorted(pongs)
        assert server.peak - before < MIB


def test_pings_of_a_client_that_vanishes_are_not_in_the_log() -> None:
    with running(loop="asyncio") as server, peer(server, "/silent") as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
        client.sock.sendall(frame(PING) * 40_000)
        client.sock.close()
        server.wait_for("note: disconnect 1006")
        assert server.stderr.count("socket.send() raised") == 0  # a warning of asyncio's


# The end

Ending = Callable[[Process], None]


def endings() -> list[Ending]:
    """Ways for a WebSocket to end, that may leave something behind."""
    half = frame(BINARY, bytes(1000))
    fragment = frame(TEXT, b"one ", fin=False)
    message = frame(BINARY, bytes(5000))
    packed = frame(BINARY, compressed(5000), compressed=True)
    parts = [b"", message, message * 50, fragment, fragment + fragment, half[:-1], packed, message]
    parts += [frame(PING, b"a"), frame(CLOSE), close_frame(1001, "going"), b"\x81\x01a"]

    def ends(path: str, data: bytes, close: Callable[[socket.socket], None], *offer: str) -> Ending:
        def end(server: Process) -> None:
            client = peer(server, path, *offer)
            client.sock.sendall(data)
            close(client.sock)

        return end

    def goodbye(path: str, *offer: str) -> Ending:
        def end(server: Process) -> None:
            with peer(server, path, *offer) as client:
                client.sock.sendall(message + (packed if offer else b"") + close_frame(1000))
                while client.read()[0] != CLOSE:
                    pass
                client.read_end()

        return end

    def closed(server: Process) -> None:
        with peer(server, "/close") as client:
            assert client.read_close()[0] == 4000
            client.sock.sendall(close_frame(4000))
            client.read_end()

    def refused(server: Process) -> None:
        with server.connect() as sock:
            sock.sendall(handshake("/refuse"))
            read_until(sock, b"HTTP/1.1 403 ")

    def undecided(server: Process) -> None:
        with server.connect() as sock:
            sock.sendall(handshake("/undecided?0.05"))

    closes = (socket.socket.close, reset)
    return [
        *[
            ends(path, data, close, OFFER)
            for path in ("/echo", "/silent")
            for data in parts
            for close in closes
        ],
        *[ends("/flood", b"", close) for close in closes],
        *[goodbye("/echo"), goodbye("/echo", OFFER), goodbye("/silent", OFFER)],
        *[closed, refused, undecided],
    ]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_however_websockets_end_nothing_is_left_of_them(loop: str) -> None:
    ways = endings()

    def end_websockets(count: int) -> None:
        for number in range(count):
            ways[number % len(ways)](server)
        wait_until(lambda: inspect(server) == counts)

    with running(loop=loop) as server:
        counts = inspect(server)
        end_websockets(400)  # the allocator takes what it needs, once
        before = server.memory
        end_websockets(400)
        assert server.memory - before < 512 * KIB
