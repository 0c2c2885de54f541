"""WebSocket frames as bytes, and a WebSocket whose two ends are played by the test."""

import struct
import zlib
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from aserver.engines.ws import WebSocket
from aserver.engines.ws_deflate import Deflate, Inflater
from aserver.engines.ws_frames import FrameReceiver, Frames, NewFrames
from aserver.limits import MessageLimits
from aserver.seams import Tunnel
from tests.fakes import FakeTunnel

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

MASK = b"\x37\xfa\x21\x3d"  # of the examples in RFC 6455 section 5.7
UNLIMITED = MessageLimits(inf, inf, inf)


def masked(data: bytes, mask: bytes = MASK) -> bytes:
    """Payload as it is on the wire (RFC 6455 section 5.3)."""
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length_bytes: int | None = None,
) -> bytes:
    """A client's frame, as wrong as one likes.

    Args:
        rsv: The three reserved bits; 4 is RSV1.
        mask: None: the frame is not masked.
        length_bytes: How many say the length: 0, 2 or 8; as few as possible by default.
    """
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 65536 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes([fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short])
    head += {0: b"", 2: struct.pack("!H", size & 0xFFFF), 8: struct.pack("!Q", size)}[length_bytes]
    return head + payload if mask is None else head + mask + masked(payload, mask)


def text(message: str | bytes, **how: Any) -> bytes:
    """A text frame."""
    return frame(TEXT, message.encode() if isinstance(message, str) else message, **how)


def binary(message: bytes, **how: Any) -> bytes:
    """A binary frame."""
    return frame(BINARY, message, **how)


def more(payload: bytes, **how: Any) -> bytes:
    """A continuation frame; the last of its message if nothing else is said."""
    return frame(CONTINUATION, payload, **how)


def ping(payload: bytes = b"") -> bytes:
    """A ping."""
    return frame(PING, payload)


def pong(payload: bytes = b"") -> bytes:
    """A pong."""
    return frame(PONG, payload)


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    """A close frame; without a code by default."""
    return frame(CLOSE, code_and(code, reason))


def code_and(code: int | None, reason: bytes = b"") -> bytes:
    """The payload of a close frame."""
    return b"" if code is None else struct.pack("!H", code) + reason


def sent_frames(data: bytes) -> list[tuple[int, int, bytes]]:
    """What a server has sent: first byte's upper half, opcode and payload of each frame.

    It must be what RFC 6455 section 5 demands of a server: unmasked, lengths in as few bytes as
    possible, control frames short; and whole frames.
    """
    frames = []
    while data:
        assert not data[1] & 0x80, "masked"
        size, start = data[1], 2
        if size == 126:
            (size,) = struct.unpack_from("!H", data, 2)
            start = 4
            assert size > 125
        elif size == 127:
            (size,) = struct.unpack_from("!Q", data, 2)
            start = 10
            assert size > 65535
        opcode = data[0] & 15
        assert opcode < 8 or (size < 126 and data[0] & 0x80), "a large control frame"
        payload, rest = data[start : start + size], data[start + size :]
        assert len(payload) == size, "a piece of a frame"
        frames.append((data[0] >> 4, opcode, payload))
        data = rest
    return frames


class Peer:
    """A WebSocket, with its tunnel and its owner: what is heard, and what is sent.

    `calls` are what the owner has heard: `("message", message, size)`, `("failing",)`,
    `("closed", code, reason, by)`.

    Args:
        echo: Whether the owner sends messages back.
        hasty: Whether the owner tells the peer of its mistakes at once.
        stepwise: Whether the test takes the turns of the event loop; else they are taken at once.
    """

    def __init__(
        self,
        new_frames: NewFrames,
        deflate: Deflate | None = None,
        limits: MessageLimits = UNLIMITED,
        *,
        echo: bool = False,
        hasty: bool = True,
        stepwise: bool = False,
        on_message: Callable[["Peer"], None] | None = None,
    ) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.asked = 0  # how often there is to go on
        self.tunnel = FakeTunnel()
        self.websocket = WebSocket(self, new_frames(deflate, limits.message), limits)
        self.websocket.tunnel = self.tunnel
        self._echo = echo
        self._hasty = hasty
        self._stepwise = stepwise
        self._on_message = on_message

    def feed(self, *pieces: bytes) -> None:
        """Bytes from the client."""
        for piece in pieces:
            self.websocket.feed(piece)
            if not self._stepwise:
                self.turns()

    def turn(self) -> None:
        """What was asked for is done once."""
        assert self.asked
        self.asked -= 1
        self.websocket.go_on()

    def turns(self) -> int:
        """And until there is no more to do; returns how many that took."""
        count = 0
        while self.asked:
            self.turn()
            count += 1
        return count

    def feed_bytewise(self, data: bytes) -> None:
        """The same, each byte alone."""
        self.feed(*(data[i : i + 1] for i in range(len(data))))

    @property
    def sent(self) -> list[tuple[int, bytes]]:
        """Opcode and payload of the frames sent since this was last asked; nothing is special."""
        frames = sent_frames(self.written)
        assert all(bits == 8 for bits, _, _ in frames), frames
        return [(opcode, payload) for _, opcode, payload in frames]

    @property
    def written(self) -> bytes:
        """What was sent since this was last asked."""
        written, self.tunnel.written = self.tunnel.written, b""
        return written

    @property
    def messages(self) -> list[str | bytes]:
        """Those that have come."""
        return [call[1] for call in self.calls if call[0] == "message"]

    @property
    def ended(self) -> tuple[int, str] | None:
        """Code of its end, and who has made it; None if it is open."""
        ends = [call for call in self.calls if call[0] == "closed"]
        assert len(ends) < 2, ends
        return (ends[0][1], ends[0][3]) if ends else None

    @property
    def tunnel_ends(self) -> list[str]:
        """What the tunnel was told, but for taking pauses."""
        return [call for call in self.tunnel.calls if call not in ("hold", "release")]

    # The owner

    def on_message(self, message: str | bytes, size: int) -> None:
        self.calls.append(("message", message, size))
        if self._echo:
            self.websocket.send(message)
        if self._on_message is not None:
            self._on_message(self)

    def on_more(self) -> None:
        self.asked += 1

    def on_failing(self) -> None:
        self.calls.append(("failing",))
        if self._hasty:
            self.websocket.end_failing()

    def on_closed(self, code: int, reason: str, by: str) -> None:
        self.calls.append(("closed", code, reason, by))


class Steps:
    """A frame engine that is to be fed a few bytes at a time; `sizes` are those that it was."""

    def __init__(self, frames: Frames, step: int) -> None:
        self._frames = frames
        self.step = step
        self.sizes: list[int] = []
        self.message = frames.message
        self.ping = frames.ping
        self.pong = frames.pong
        self.close = frames.close
        self.lost = frames.lost

    def feed(self, data: bytes, receiver: FrameReceiver) -> None:
        self.sizes.append(len(data))
        self._frames.feed(data, receiver)


def in_steps_of(step: int, new_frames: NewFrames) -> NewFrames:
    """Frame engines that are to be fed so many bytes at a time."""

    def make(deflate: Deflate | None, most: float) -> Frames:
        return Steps(new_frames(deflate, most), step)

    return make


def hold_at(*messages: str) -> Callable[[Peer], None]:
    """An owner that has enough to do when one of these messages has come."""

    def act(peer: Peer) -> None:
        if peer.messages[-1] in messages:
            peer.websocket.hold()

    return act


def cut_everywhere(data: bytes) -> Iterator[list[bytes]]:
    """The data whole, byte by byte, and in two pieces, cut at each place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for size in range(1, len(data)):
        yield [data[:size], data[size:]]


def deflate_of(
    inward: int = 15,
    outward: int = 12,
    *,
    inward_reset: bool = False,
    outward_reset: bool = False,
    threshold: int = 0,
) -> Deflate:
    return Deflate(b"", inward, outward, inward_reset, outward_reset, threshold)


class Compressor:
    """A client's own: messages compressed by zlib, as section 7.2.1 has it."""

    def __init__(self, bits: int = 15, *, reset: bool = False) -> None:
        self._bits = bits
        self._reset = reset
        self._zlib = zlib.compressobj(wbits=-bits)

    def __call__(self, data: bytes) -> bytes:
        compressed = self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if self._reset:
            self._zlib = zlib.compressobj(wbits=-self._bits)
        assert compressed.endswith(b"\x00\x00\xff\xff")
        return compressed[:-4]


def inflate(inflater: Inflater, data: bytes) -> bytes:
    return inflater.inflate(data) + inflater.finish()


class Speaker:
    """A cycle whose request is upgraded: `calls` is what it heard, `heard` what it was fed."""

    def __init__(self, on_feed: Callable[[Tunnel], None] | None = None) -> None:
        self.calls: list[str] = []
        self.heard = b""
        self.tunnel: Tunnel | None = None
        self._on_feed = on_feed

    def __repr__(self) -> str:
        return f"<Speaker {' '.join(self.calls)}>"

    @property
    def is_running(self) -> bool:
        return "start" in self.calls

    def start(self) -> None:
        self.calls.append("start")

    def upgraded(self, tunnel: Tunnel) -> None:
        assert self.tunnel is None
        self.tunnel = tunnel
        self.calls.append("upgraded")

    def feed(self, data: bytes) -> None:
        assert data
        assert self.tunnel is not None
        self.heard += data
        if self._on_feed is not None:
            self._on_feed(self.tunnel)

    def feed_eof(self) -> None:
        raise NotImplementedError

    def lost(self) -> None:
        self.calls.append("lost")

    def resume(self) -> None:
        self.calls.append("resume")

    def hung_up(self) -> None:
        self.calls.append("hung up")

    def drain(self) -> None:
        self.calls.append("drain")
