"""WebSocket clients that look closely: frames made by hand, and wsproto's, over a plain socket."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import websockets.asyncio.client
import websockets.sync.client
from wsproto import ConnectionType, WSConnection
from wsproto.events import Event, Request
from wsproto.extensions import Extension

from aserver.testing import serve
from tests.processes import DEADLINE, read_until

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
COMPRESSED = 0x40  # beside a message's opcode
_FIN = _MASKED = 0x80
_RESET = struct.pack("ii", 1, 0)

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_ACCEPTED = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"  # RFC 6455 section 1.3


def handshake(path: str, *headers: str, version: str = "13") -> bytes:
    """The bytes of an opening handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: test",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {_KEY}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, compressed: bool = False
) -> bytes:
    """A client's frame. Its mask is zero, so that the payload stays as it is."""
    first = opcode | (_FIN if fin else 0) | (COMPRESSED if compressed else 0)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, _MASKED | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", first, _MASKED | 127, size)
    return head + bytes(4) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode("utf-8"))


class Peer:
    """An open WebSocket whose every byte is the test's business.

    Args:
        sock: Connected; it is closed with the peer.
        path: What is asked for.
        headers: Lines beside those of every handshake.
        early: Bytes that are sent in one piece with the handshake.

    Attributes:
        head: Of the server's response.
    """

    def __init__(self, sock: socket.socket, path: str, *headers: str, early: bytes = b"") -> None:
        self.sock = sock
        sock.sendall(handshake(path, *headers) + early)
        self.head, _, self._held = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
        self.head += b"\r\n"
        assert self.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"), self.head
        assert _ACCEPTED in self.head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.sock.close()

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        """Send a frame."""
        self.sock.sendall(frame(opcode, payload, fin=fin))

    def read(self) -> tuple[int, bytes]:
        """Read a frame; returns its first byte without FIN, which it must have, and its payload."""
        first, size = self._take(2)
        assert first & _FIN, "a fragment"
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return first & ~_FIN, self._take(size)

    def read_behind_pings(self) -> tuple[int, bytes]:
        """Read a frame, as `read` does, but no ping."""
        while (answer := self.read())[0] == PING:
            pass
        return answer

    def read_close(self) -> tuple[int, str]:
        """Read a close frame; returns its code, 1005 if there is none, and its reason."""
        opcode, payload = self.read()
        assert opcode == CLOSE, (opcode, payload[:100])
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        return code, payload[2:].decode("utf-8")

    def read_end(self) -> None:
        """The server has closed the connection, and nothing is before that; so do we."""
        assert (self._held, self.sock.recv(65536)) == (b"", b"")
        self.sock.close()

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            piece = self.sock.recv(max(65536, size - len(self._held)))
            assert piece, f"closed after {self._held[:100]!r}"
            self._held += piece
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def reset(self) -> None:
        """Leave with a TCP reset."""
        reset(self.sock)


def reset(sock: socket.socket) -> None:
    """Close so that the other side sees an error and not an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


class WsprotoClient:
    """wsproto's client over a socket: it understands nothing that RFC 6455 does not allow."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.connection = WSConnection(ConnectionType.CLIENT)

    def open(self, path: str, *, subprotocols: list[str], extensions: list[Extension]) -> Event:
        """Shake hands; returns what comes of it."""
        self.send(
            Request(host="test", target=path, subprotocols=subprotocols, extensions=extensions)
        )
        return next(self.events())

    def send(self, *events: Event) -> None:
        """Send events, in one piece."""
        self._sock.sendall(b"".join(map(self.connection.send, events)))

    def events(self) -> Iterator[Event]:
        """What comes, until the connection ends."""
        while True:
            yield from self.connection.events()
            data = self._sock.recv(65536)
            if not data:
                return
            self.connection.receive_data(data)


def connect(server: serve, path: str, **options: Any) -> websockets.sync.client.ClientConnection:
    """A client of websockets in threads; not through a proxy, whatever the environment says."""
    sock = socket.create_connection((server.host, server.port), DEADLINE)
    connection: websockets.sync.client.ClientConnection = websockets.sync.client.connect(
        uri(server, path), sock=sock, **options
    )
    return connection


async def connect_in_loop(
    server: serve, path: str, **options: Any
) -> websockets.asyncio.client.ClientConnection:
    """A client of websockets in the running event loop."""
    sock = socket.create_connection((server.host, server.port), DEADLINE)
    sock.setblocking(False)
    return await websockets.asyncio.client.connect(uri(server, path), sock=sock, **options)


def uri(server: serve, path: str) -> str:
    """Where a client finds a WebSocket."""
    return f"ws://{urlsplit(server.url).netloc}{path}"


@contextmanager
def connected(host: str, port: int) -> Iterator[socket.socket]:
    """A plain socket."""
    with socket.create_connection((host, port), DEADLINE) as sock:
        yield sock
