"""WebSocket frames from the client's side (RFC 6455 5.2), and the messages that a case sends.

No sockets and no clock here. Everything is made before the load begins: under load a message is
one ``send`` of bytes that are ready, and an answer is one comparison.
"""

import zlib
from dataclasses import dataclass
from random import Random

from benchmarks.cases import Talk

TEXT, BINARY, PING, PONG = 0x1, 0x2, 0x9, 0xA
FIN, COMPRESSED = 0x80, 0x40
MASKED = 0x80
_VARIETY = 8
_DEFLATE_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 7.2.1: what a flush ends with is left out


@dataclass(frozen=True)
class Message:
    """What is sent, and the one frame that must come back: the shortest head, no mask."""

    frame: bytes
    answer: bytes


def messages(talk: Talk) -> tuple[Message, ...]:
    """Some that differ, so that an old answer or another connection's is a wrong one."""
    random = Random(talk.size)  # the same in each run
    return tuple(_message(talk, random) for _ in range(_VARIETY))


def client_frame(opcode: int, payload: bytes, mask: bytes, flags: int = FIN) -> bytes:
    return _head(opcode | flags, len(payload), MASKED) + mask + masked(payload, mask)


def server_frame(opcode: int, payload: bytes, flags: int = FIN) -> bytes:
    return _head(opcode | flags, len(payload), 0) + payload


def masked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455 5.3; the same operation takes a mask off again."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(len(payload), "big")


def extended_length_bytes(length: int) -> int:
    """How many bytes of length follow the second byte of a head."""
    return {126: 2, 127: 8}.get(length & 0x7F, 0)


def deflated(payload: bytes) -> bytes:
    """On its own, and right for each window that a server may ask for if the payload is shorter."""
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(_DEFLATE_TAIL)


class Inflater:
    """What one connection's compressed answers are read with: they may refer to earlier ones."""

    def __init__(self) -> None:
        self._window = zlib.decompressobj(wbits=-15)

    def inflated(self, data: bytes) -> bytes:
        return self._window.decompress(data + _DEFLATE_TAIL)


def _message(talk: Talk, random: Random) -> Message:
    opcode = TEXT if talk.text else BINARY
    payload = random.randbytes(talk.size)
    if talk.text:
        payload = payload.hex()[: talk.size].encode()
    mask = random.randbytes(4)
    sent = client_frame(opcode, payload, mask)
    if talk.deflate:
        sent = client_frame(opcode, deflated(payload), mask, FIN | COMPRESSED)
    return Message(sent, server_frame(opcode, payload))


def _head(first: int, length: int, masked_bit: int) -> bytes:
    if length < 126:
        return bytes((first, masked_bit | length))
    if length < 65536:
        return bytes((first, masked_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, masked_bit | 127)) + length.to_bytes(8, "big")
