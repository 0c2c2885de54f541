"""The WebSocket client that checks: the handshake and the first answers, never a load."""

import base64
import hashlib
import os
import socket
import zlib
from contextlib import closing

from benchmarks import ws_frames
from benchmarks.cases import Talk
from benchmarks.failures import BenchmarkFailure, NotSupportedError
from benchmarks.servers import HOST
from benchmarks.ws_frames import Inflater, Message

_ANSWER_SECONDS = 5.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_LARGEST_HEAD = 65536
_EXTENSION = "permessage-deflate"
# What browsers offer.
_OFFER = f"Sec-WebSocket-Extensions: {_EXTENSION}; client_max_window_bits\r\n"


def probe(port: int, talk: Talk, messages: tuple[Message, ...]) -> None:
    """Each message of the case on one connection, each answer read and compared in full."""
    try:
        with closing(_opened(port, talk)) as connection:
            inflater = Inflater() if talk.deflate else None
            for message in messages:
                check(connection, message, inflater)
    except OSError as error:
        raise BenchmarkFailure(f"probe: {error!r}") from error


def used_socket(port: int, talk: Talk, message: Message) -> socket.socket:
    """An open WebSocket that has had one right answer."""
    connection = _opened(port, talk)
    try:
        check(connection, message, Inflater() if talk.deflate else None)
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: socket.socket, message: Message, inflater: Inflater | None) -> None:
    """One message and its answer; one that is wrong is a failure, however fast it came."""
    connection.sendall(message.frame)
    answer = _read_frame(connection, inflater)
    if answer == message.answer:
        return
    first, expected = answer[0], message.answer[0]
    if not first & ws_frames.FIN or not first & 0x0F:
        raise BenchmarkFailure("probe: a fragmented answer, which this client does not read")
    if first != expected:
        raise BenchmarkFailure(f"probe: a frame of kind {first:#x} in place of {expected:#x}")
    size = f"{len(answer)} bytes of frame, expected {len(message.answer)}"
    raise BenchmarkFailure(f"probe: wrong answer ({size})")


def _opened(port: int, talk: Talk) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=_ANSWER_SECONDS)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _shake_hands(connection, talk)
    except BaseException:
        connection.close()
        raise
    return connection


def _shake_hands(connection: socket.socket, talk: Talk) -> None:
    key = base64.b64encode(os.urandom(16))
    connection.sendall(
        f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n"
        f"{_OFFER if talk.deflate else ''}\r\n".encode()
    )
    status, fields, rest = _read_head(connection)
    if status.split(" ")[:2] != ["HTTP/1.1", "101"]:
        raise BenchmarkFailure(f"handshake: {status!r} in place of 101")
    if rest:
        raise BenchmarkFailure("handshake: data that nobody asked for")
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    if fields.get("sec-websocket-accept") != accept:
        raise BenchmarkFailure("handshake: Sec-WebSocket-Accept does not fit the key")
    upgrade, options = (fields.get(name, "").lower() for name in ("upgrade", "connection"))
    if upgrade != "websocket" or "upgrade" not in options.replace(",", " ").split():
        raise BenchmarkFailure("handshake: no upgrade to WebSocket")
    _check_extension(fields.get("sec-websocket-extensions", ""), talk)


def _check_extension(chosen: str, talk: Talk) -> None:
    if talk.deflate and not chosen:
        raise NotSupportedError(f"declines {_EXTENSION}")
    if chosen and (not talk.deflate or not chosen.startswith(_EXTENSION)):
        raise BenchmarkFailure(f"handshake: an extension that was not offered ({chosen})")


def _read_head(connection: socket.socket) -> tuple[str, dict[str, str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection, _LARGEST_HEAD)
        if len(data) > _LARGEST_HEAD:
            raise BenchmarkFailure("handshake: a head without an end")
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return status, {name.lower(): value.strip() for name, _, value in fields}, rest


def _read_frame(connection: socket.socket, inflater: Inflater | None) -> bytes:
    """The frame as it came; one that may be compressed, and is, as it would be without."""
    head = _exactly(connection, 2)
    head += _exactly(connection, ws_frames.extended_length_bytes(head[1]))
    length = int.from_bytes(head[2:], "big") if head[2:] else head[1] & 0x7F
    payload = _exactly(connection, length)
    if inflater is None or not head[0] & ws_frames.COMPRESSED:
        return head + payload
    try:
        payload = inflater.inflated(payload)
    except zlib.error as error:
        raise BenchmarkFailure(f"probe: not to be decompressed ({error})") from error
    return ws_frames.server_frame(head[0] & ~ws_frames.COMPRESSED, payload, flags=0)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += _some(connection, size - len(data))
    return data


def _some(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size)
    if not data:
        raise ConnectionResetError("closed before the whole answer")
    return data
