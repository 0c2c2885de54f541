"""The benchmark's WebSocket side, against a server in a thread that can do everything wrong."""

import base64
import hashlib
import socket
import socketserver
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from benchmarks import client, ws_client, ws_frames, ws_load
from benchmarks.cases import Talk
from benchmarks.failures import BenchmarkFailure, NotSupportedError
from benchmarks.ws_frames import BINARY, COMPRESSED, FIN, PING, TEXT, server_frame

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as is the benchmark")

SMALL = Talk(32, text=True)
LARGE = Talk(65536)
DEFLATE = Talk(32, text=True, deflate=True)
EXTENSION = "Sec-WebSocket-Extensions: permessage-deflate"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# From the number of the message on its connection, its opcode and payload: what is sent back.
Answer = Callable[[int, int, bytes], list[bytes]]


def echo(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return [server_frame(opcode, payload)]


class Handler(socketserver.StreamRequestHandler):
    """A handshake, then one answer per frame, as the test wants them."""

    server: "Counterpart"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        head = b"".join(iter(self.rfile.readline, b"\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        key = fields["Sec-WebSocket-Key"].encode() + GUID
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        self.wfile.write(self.server.greeting.format(accept=accept).encode())
        with suppress(ConnectionError):  # a client that found a mistake goes away
            self._converse()

    def _converse(self) -> None:
        number = 0
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            self.server.seen.append(opcode)
            answers = self.server.answer(number, opcode, payload)
            for part in answers:
                self.wfile.write(part)
            if not answers:
                return
            number += 1

    def _frame(self) -> tuple[int, bytes] | None:
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        assert head[1] & ws_frames.MASKED
        extended = self.rfile.read(ws_frames.extended_length_bytes(head[1]))
        length = int.from_bytes(extended, "big") if extended else head[1] & 0x7F
        mask = self.rfile.read(4)
        payload = ws_frames.masked(self.rfile.read(length), mask)
        if head[0] & COMPRESSED:
            payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
        return head[0] & 0x0F, payload


class Counterpart(socketserver.ThreadingTCPServer):
    def __init__(self, answer: Answer, fields: str, accept: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.seen: list[int] = []
        self.port: int = self.server_address[1]
        self.greeting = (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
        )


@contextmanager
def counterpart(
    answer: Answer = echo, fields: str = "", accept: str = "{accept}"
) -> Iterator[Counterpart]:
    with Counterpart(answer, fields, accept) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def probe(server: Counterpart, talk: Talk = SMALL) -> None:
    ws_client.probe(server.port, talk, ws_frames.messages(talk))


def load(server: Counterpart, talk: Talk = SMALL, connections: int = 4) -> int:
    messages = ws_frames.messages(talk)
    open_one = partial(ws_client.used_socket, server.port, talk, messages[0])
    with client.crowd(open_one, connections) as crowd:
        return ws_load.exchange(crowd, messages, 0.05).requests


def test_frames_are_those_of_the_rfc() -> None:
    """RFC 6455 5.7, the examples."""
    mask = bytes.fromhex("37fa213d")
    assert ws_frames.client_frame(TEXT, b"Hello", mask).hex() == "818537fa213d7f9f4d5158"
    assert server_frame(TEXT, b"Hello").hex() == "810548656c6c6f"
    assert server_frame(BINARY, bytes(256))[:4].hex() == "827e0100"
    assert server_frame(BINARY, bytes(65536))[:10].hex() == "827f0000000000010000"


def test_compression_is_that_of_the_rfc() -> None:
    """RFC 7692 7.2.3.2: the second of two equal messages refers to the first."""
    inflater = ws_frames.Inflater()
    assert inflater.inflated(bytes.fromhex("f248cdc9c90700")) == b"Hello"
    assert inflater.inflated(bytes.fromhex("f200110000")) == b"Hello"
    assert ws_frames.Inflater().inflated(ws_frames.deflated(b"Hello")) == b"Hello"


@pytest.mark.parametrize("talk", [SMALL, LARGE])
def test_messages_differ_and_are_the_same_in_each_run(talk: Talk) -> None:
    messages = ws_frames.messages(talk)
    assert messages == ws_frames.messages(talk)
    assert len({message.answer for message in messages}) == len(messages) > 1
    assert {message.answer[-talk.size :].isascii() for message in messages} == {talk.text}
    assert len({len(message.answer) for message in messages}) == 1


@pytest.mark.parametrize("talk", [SMALL, LARGE])
def test_a_right_server_is_found_right(talk: Talk) -> None:
    with counterpart() as server:
        probe(server, talk)
        assert server.seen == [TEXT if talk.text else BINARY] * len(ws_frames.messages(talk))
        server.seen.clear()
        answered = load(server, talk)
        assert answered >= 4
        assert len(server.seen) == answered + 4, "one more for each connection, when it was opened"


def wrong_kind(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return [server_frame(BINARY, payload)]


def wrong_byte(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return [server_frame(opcode, payload[:-1] + b"?")]


def too_short(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return [server_frame(opcode, payload[:-1])]


def fragments(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return [server_frame(opcode, payload[:1], 0), server_frame(0, payload[1:])]


def unasked_compression(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return [server_frame(opcode, ws_frames.deflated(payload), FIN | COMPRESSED)]


def nothing(number: int, opcode: int, payload: bytes) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (wrong_kind, "a frame of kind 0x82 in place of 0x81"),
        (wrong_byte, "wrong answer"),
        (too_short, "wrong answer"),
        (fragments, "a fragmented answer"),
        (unasked_compression, "a frame of kind 0xc1"),
        (nothing, "closed before the whole answer"),
    ],
)
def test_a_wrong_answer_is_found_before_the_load(answer: Answer, reason: str) -> None:
    with counterpart(answer) as server, pytest.raises(BenchmarkFailure, match=f"^probe.*{reason}"):
        probe(server)


@pytest.mark.parametrize(
    ("fields", "accept", "reason"),
    [
        ("", "bm9uc2Vuc2U=", "does not fit the key"),
        (f"{EXTENSION}\r\n", "{accept}", "not offered"),
        ("\r\nhello", "{accept}", "nobody asked for"),
    ],
)
def test_a_wrong_handshake_is_found(fields: str, accept: str, reason: str) -> None:
    with (
        counterpart(fields=fields, accept=accept) as server,
        pytest.raises(BenchmarkFailure, match=f"^handshake.*{reason}"),
    ):
        probe(server)


def test_a_refusal_is_found_and_named() -> None:
    with counterpart() as server:
        server.greeting = "HTTP/1.1 426 No\r\nContent-Length: 4\r\n\r\nnope"
        with pytest.raises(BenchmarkFailure, match=r"^handshake: 'HTTP/1\.1 426 No' in place"):
            probe(server)


def later(answer: Answer) -> Answer:
    """Right at first, so that only the load can see it."""
    return lambda number, *rest: (echo if number < 3 else answer)(number, *rest)


@pytest.mark.parametrize("talk", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (later(wrong_byte), "wrong answer"),
        (later(too_short), "wrong answer"),
        (later(fragments), "wrong answer"),
        (later(nothing), "closed a connection|reset"),
    ],
)
def test_a_wrong_answer_is_found_under_load(answer: Answer, reason: str, talk: Talk) -> None:
    reason = f"^errors under load.*({reason})"
    with counterpart(answer) as server, pytest.raises(BenchmarkFailure, match=reason):
        load(server, talk, connections=1)


def test_an_old_answer_is_found_under_load() -> None:
    kept: list[bytes] = []

    def answer(number: int, opcode: int, payload: bytes) -> list[bytes]:
        kept.append(server_frame(opcode, payload))
        return [kept[max(0, number - 1)]]

    with counterpart(answer) as server, pytest.raises(BenchmarkFailure, match="wrong answer"):
        load(server, connections=1)


def test_a_server_that_stalls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_load, "_STALL_SECONDS", 0.1)
    stalled = later(lambda number, opcode, payload: [b""])
    with counterpart(stalled) as server, pytest.raises(BenchmarkFailure, match="no answer within"):
        load(server)


def test_a_ping_under_load_is_answered_and_an_answer_may_come_in_pieces() -> None:
    def answer(number: int, opcode: int, payload: bytes) -> list[bytes]:
        if opcode == ws_frames.PONG:
            assert payload == b"still there?"
            return [b""]
        frame = server_frame(opcode, payload)
        ping = server_frame(PING, b"still there?") if number else b""
        return [ping[:1], ping[1:5], ping[5:] + frame[:9], frame[9:]]

    with counterpart(answer) as server:
        answered = load(server)
        assert server.seen.count(TEXT) == answered + 4
    assert server.seen.count(ws_frames.PONG) == answered


def test_who_closes_an_idle_connection_is_found() -> None:
    message = ws_frames.messages(SMALL)[0]
    with counterpart(later(nothing)) as server:
        open_one = partial(ws_client.used_socket, server.port, SMALL, message)
        with client.crowd(open_one, 2) as crowd:
            assert len(crowd) == 2
        with pytest.raises(BenchmarkFailure, match="closed 1 of 2 connections"):
            provoke(open_one, message)


def provoke(open_one: Callable[[], socket.socket], message: ws_frames.Message) -> None:
    with client.crowd(open_one, 2) as crowd:
        for _ in range(2):
            ws_client.check(crowd[0], message, None)
        crowd[0].sendall(message.frame)
        assert crowd[0].recv(1, socket.MSG_PEEK) == b"", "the fourth message is one too many"


def test_compression_is_spoken_if_it_is_accepted() -> None:
    compressor = zlib.compressobj(wbits=-15)

    def answer(number: int, opcode: int, payload: bytes) -> list[bytes]:
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return [server_frame(opcode, data[:-4], FIN | COMPRESSED)]

    with counterpart(answer, fields=f"{EXTENSION}; client_max_window_bits=12\r\n") as server:
        probe(server, DEFLATE)


def test_who_declines_compression_has_no_figure() -> None:
    with counterpart() as server, pytest.raises(NotSupportedError, match="declines"):
        probe(server, DEFLATE)
