"""What the documentation says of WebSockets, tried over sockets: answers, frames, sizes."""

import re
import socket
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from aserver.config import DECLARATIONS
from aserver.engines.ws_deflate import Deflate, Deflater, Inflater
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.processes import DEADLINE, read_until
from tests.test_docs import as_sent, codes, handshake, section, table, text_of

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
COMPRESSED = 0x40


def frame(opcode: int, data: bytes = b"", first: int = 0x80) -> bytes:
    """A client's frame, masked with zeros."""
    size = len(data)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    elif size < 65_536:
        length = struct.pack("!BH", 0xFE, size)
    else:
        length = struct.pack("!BQ", 0xFF, size)
    return bytes([first | opcode]) + length + bytes(4) + data


def close_frame(code: int) -> bytes:
    return frame(CLOSE, struct.pack("!H", code))


def closed_with(received: bytes) -> int | None:
    """The code of the close frame in what the server has sent; 1005 if there is none in it."""
    found = re.search(rb"(?s)\x88(.)(..)?", received)
    if found is None:
        return None
    return struct.unpack("!H", found[2])[0] if found[1] != b"\0" else 1005


class Client:
    """One WebSocket on a plain socket."""

    def __init__(self, server: serve, path: str = "/", fields: str = "X: y") -> None:
        self.sock = socket.create_connection((server.host, server.port), DEADLINE)
        request = handshake(fields).replace("GET / ", f"GET {path} ")
        self.sock.sendall(request.encode("ascii"))
        answer = read_until(self.sock, b"\r\n\r\n")
        head, _, self.first = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def verdict(self, data: bytes) -> str:
        """Whether the WebSocket is still open behind this; else the code it is closed with."""
        ping = frame(PING, b"still there?")
        try:
            self.sock.sendall(data + ping)
            received = b""
            while b"\x8a\x0cstill there?" not in received:
                piece = self.sock.recv(65_536)
                if not piece:
                    return str(closed_with(received))
                received += piece
        except ConnectionError:  # it was told, and sent on
            return "reset"
        return "open"


async def listener(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def test_frames() -> None:
    rows = table(text_of("topics", "security.md"), "frames", "as sent", "close code")
    assert len(rows) > 20
    with serve(listener) as server:
        for label, frames, code in rows:
            with Client(server) as client:
                assert client.verdict(as_sent(frames).encode("latin-1")) == code, label


def compressed(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


MESSAGES: dict[str, Callable[[int], bytes]] = {
    "{} bytes": lambda size: frame(BINARY, bytes(size)),
    "{} bytes, compressed": lambda size: frame(
        BINARY, compressed(bytes(size)), first=0x80 | COMPRESSED
    ),
    "{} frames": lambda count: (
        frame(BINARY, b"x", first=0) + frame(0, b"x", first=0) * (count - 2) + frame(0, b"x")
    ),
}


SIZES = table(text_of("topics", "limits.md"), "message of", "answer")


def test_every_kind_of_size_is_described() -> None:
    assert {re.sub(r"\d+", "{}", row[0]) for row in SIZES} == MESSAGES.keys()


@pytest.mark.parametrize(("label", "answer"), SIZES)
def test_sizes_of_messages(label: str, answer: str) -> None:
    (number,) = re.findall(r"\d+", label)
    data = MESSAGES[label.replace(number, "{}")](int(number))
    with (
        serve(listener) as server,
        Client(server, fields="Sec-WebSocket-Extensions: permessage-deflate") as client,
    ):
        assert client.verdict(data) == answer


def test_limits_of_messages() -> None:
    for _, option, default in table(
        text_of("topics", "websockets.md"), "limit", "option", "default"
    ):
        number, _, unit = default.replace(",", "").partition(" ")
        (flag,) = codes(option)
        declared = DECLARATIONS[flag.removeprefix("--").replace("-", "_")].default
        assert declared == int(number) * {"": 1, "MiB": 2**20}[unit], flag


def test_memory_of_windows() -> None:
    """In KiB, as the zlib that nearly everybody has takes it; others may take a little more."""
    rows = table(
        text_of("topics", "websockets.md"), "`--websocket-window-bits`", "to compress", "to inflate"
    )
    option = DECLARATIONS["websocket_window_bits"].option
    assert [int(row[0]) for row in rows] == list(range(int(option.minimum or 0), 16))
    for bits, *described in rows:
        deflate = Deflate(b"", int(bits), int(bits), False, False, 0)
        deflater, inflater = Deflater(deflate), Inflater(deflate, 2**20)
        message = deflater.deflate(bytes(70_000)) or b""  # what is made once for all
        inflater.inflate(message)
        made: list[Any] = [Deflater(deflate), Inflater(deflate, 2**20)]
        tracemalloc.start()
        try:
            made[0].deflate(bytes(70_000))
            compressing, _ = tracemalloc.get_traced_memory()
            made[1].inflate(message)
            both, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        measured = [compressing / 1024, (both - compressing) / 1024]
        assert measured == pytest.approx([float(each) for each in described], rel=0.3), bits


# The handshake


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/accept":
        await send({"type": "websocket.accept"})
    elif scope["path"] == "/close":
        await send({"type": "websocket.close"})
    elif scope["path"] == "/response":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})
    elif scope["path"] == "/subprotocol":
        await send({"type": "websocket.accept", "subprotocol": "chat"})
    elif scope["path"] == "/nothing":
        await receive()
    else:
        assert scope["path"] == "/return"


ANSWERS = {
    "sends `websocket.accept`": ("/accept", b"101", True),
    "sends `websocket.close`": ("/close", b"403", True),
    "sends `websocket.http.response.start` and `.body`": ("/response", b"401", True),
    "raises, or returns without an answer": ("/return", b"500", False),
    "does nothing for `--websocket-connect-timeout` (5 seconds)": ("/nothing", b"503", False),
}


def test_answers_to_a_handshake() -> None:
    rows = table(text_of("topics", "websockets.md"), "the application", "the client gets")
    assert [label for label, _ in rows] == list(ANSWERS)
    with serve(answering, websocket_connect_timeout=0.01) as server:
        for label, text in rows:
            path, status, kept = ANSWERS[label]
            with socket.create_connection((server.host, server.port), 10) as sock:
                sock.sendall(handshake("X: y").replace("GET / ", f"GET {path} ").encode("ascii"))
                head = read_until(sock, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + status + b" "), label
            assert (b"\r\nconnection: close\r\n" not in head) == kept, label
            assert status.decode() in text or status == b"401"
            assert ("the end of the connection" in text) != kept


def opening(path: str, fields: str) -> list[str]:
    """The lines of the head with which a handshake is answered."""
    with (
        serve(answering) as server,
        socket.create_connection((server.host, server.port), DEADLINE) as sock,
    ):
        sock.sendall(handshake(fields).replace("GET / ", f"GET {path} ").encode("ascii"))
        head, _, _ = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
    return head.decode("ascii").split("\r\n")


def test_subprotocols() -> None:
    """Only one that was offered is agreed on."""
    assert "Sec-WebSocket-Protocol: chat" in opening(
        "/subprotocol", "Sec-WebSocket-Protocol: v2, chat"
    )
    refused = "\r\n".join(opening("/subprotocol", "Sec-WebSocket-Protocol: v2"))
    assert refused.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-protocol" not in refused.lower()


def test_names_in_the_answer() -> None:
    """They are spelled as the page on HTTP has them."""
    lines = opening("/accept", "X: y")
    names = {line.partition(":")[0] for line in lines}
    page = section(text_of("reference", "http.md"), "Responses")
    rows = {row[0]: row[-1] for row in table(page, "", "RFC", "")}
    assert set(codes(rows["101"])) <= set(lines)
    assert set(codes(rows["names of header fields"])) <= names


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("", "server_max_window_bits=12"),
        (
            "; client_max_window_bits",
            "server_max_window_bits=12; client_max_window_bits=12",
        ),
    ],
)
def test_clients_window_is_limited_only_if_it_says_so(offer: str, answer: str) -> None:
    lines = opening("/accept", f"Sec-WebSocket-Extensions: permessage-deflate{offer}")
    assert f"Sec-WebSocket-Extensions: permessage-deflate; {answer}" in lines
