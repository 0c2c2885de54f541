"""HTTP/2's frames as bytes (RFC 9113 sections 3.4 and 4): where one ends, and what kind it is.

The connection is cut into frames before anybody looks into them, so that each is counted against a
budget before it costs anything (`aserver.engines.h2_budgets`).
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ..types import ProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Section 6.5.2: nobody may send larger ones unless we allow it, which we do not.
MAX_FRAME_SIZE = 16_384

# Section 6, and RFC 9218 section 7.1.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
PRIORITY_UPDATE = 16

END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
PRIORITISED = 32

_HEADER_SIZE = 9
_KIND_OFFSET = 3
_HIGHEST_STREAM = 2**31 - 1
_MOST_TABLE_UPDATES = 2


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class H2Error(ProtocolError):
    """The peer broke HTTP/2, or a budget: the connection ends.

    Args:
        code: For the GOAWAY.
        reason: One sentence for the log.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(400, reason)
        self.code = code


class Frame(NamedTuple):
    """A whole frame; `data` is all of it, its header included."""

    kind: int
    flags: int
    stream: int
    data: bytes

    @property
    def size(self) -> int:
        """Of its payload."""
        return len(self.data) - _HEADER_SIZE

    @property
    def is_zero(self) -> bool:
        """Of a WINDOW_UPDATE frame: whether it allows nothing, which it must (section 6.9)."""
        return self.size == 4 and not int.from_bytes(self.payload, "big") & _HIGHEST_STREAM

    @property
    def payload(self) -> bytes:
        """What is behind its header."""
        return self.data[_HEADER_SIZE:]

    @property
    def ends_stream(self) -> bool:
        """Of a DATA or HEADERS frame: whether its stream's sender is done."""
        return bool(self.flags & END_STREAM)

    @property
    def body_size(self) -> int:
        """Of a DATA frame: how much of the body it has, padding left aside (section 6.1)."""
        if self.flags & PADDED and self.size:
            return self.size - 1 - self.data[_HEADER_SIZE]
        return self.size


class FrameReader:
    """From bytes to frames. It holds a part of one at most."""

    __slots__ = ("_held", "_is_first", "_preface")

    def __init__(self) -> None:
        self._held = bytearray()
        self._preface = PREFACE  # what is still to come of it
        self._is_first = True  # whether no frame has come

    @property
    def mid_head(self) -> bool:
        """Whether a frame with a request head has come in part, or the preface."""
        held = self._held
        if len(held) > _KIND_OFFSET:
            return held[_KIND_OFFSET] == HEADERS or held[_KIND_OFFSET] == CONTINUATION
        return 0 < len(self._preface) < len(PREFACE)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Cut off what is whole.

        Raises:
            H2Error: It does not begin with the preface and SETTINGS, or a frame is too large.
        """
        if self._preface:
            data = self._skip_preface(data)
        if self._held:
            self._held += data
            data = bytes(self._held) if self._has_whole() else b""
            if not data:
                return
            self._held.clear()
        position = 0
        while len(data) - position >= _HEADER_SIZE:
            size = _size_at(data, position)
            end = position + _HEADER_SIZE + size
            if size > MAX_FRAME_SIZE:
                raise H2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            if end > len(data):
                break
            if self._is_first:
                self._check_first(data[position + 3], data[position + 4])
            stream = int.from_bytes(data[position + 5 : position + 9], "big") & _HIGHEST_STREAM
            yield Frame(data[position + 3], data[position + 4], stream, data[position:end])
            position = end
        self._held += data[position:]

    def _has_whole(self) -> bool:
        """Whether the frame that was held is whole, or can be judged."""
        if len(self._held) < _HEADER_SIZE:
            return False
        size = _size_at(self._held, 0)
        return size > MAX_FRAME_SIZE or len(self._held) >= _HEADER_SIZE + size

    def _check_first(self, kind: int, flags: int) -> None:
        """Section 3.4: the client's settings are a part of its preface."""
        self._is_first = False
        if kind != SETTINGS or flags & ACK:
            raise H2Error(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _skip_preface(self, data: bytes) -> bytes:
        size = min(len(self._preface), len(data))
        if data[:size] != self._preface[:size]:
            raise H2Error(ErrorCode.PROTOCOL_ERROR, "the connection preface is not HTTP/2's")
        self._preface = self._preface[size:]
        return data[size:]


def _size_at(data: bytes | bytearray, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "big")


class TableUpdates:
    """How often a header section changes its table before it begins: twice at most (RFC 7541 4.2).

    Each time costs its receiver much more than its sender, who needs a byte for it.
    """

    __slots__ = ("_count", "_is_over", "_mid_size")

    def __init__(self) -> None:
        self._count = 0
        self._is_over = False
        self._mid_size = False

    def check(self, frame: Frame) -> None:
        """Look at the next part of the section.

        Raises:
            H2Error: It changes its table more often.
        """
        data, position = frame.data, _HEADER_SIZE
        if frame.kind == HEADERS:
            self._count, self._is_over, self._mid_size = 0, False, False
            position += bool(frame.flags & PADDED) + 5 * bool(frame.flags & PRIORITISED)
        while not self._is_over and position < len(data):
            self._take(data[position])
            position += 1

    def _take(self, byte: int) -> None:
        if self._mid_size:
            self._mid_size = byte & 0x80 != 0
        elif byte & 0xE0 != 0x20:
            self._is_over = True
        else:
            self._mid_size = byte & 0x1F == 0x1F  # the size goes on (section 5.1)
            self._count += 1
            if self._count > _MOST_TABLE_UPDATES:
                reason = "a header section that changes its table over and over"
                raise H2Error(ErrorCode.COMPRESSION_ERROR, reason)


def goaway(last_stream: int | None, code: int) -> bytes:
    """A GOAWAY frame (section 6.8); without a last stream: more may still be opened."""
    last = _HIGHEST_STREAM if last_stream is None else last_stream
    payload = last.to_bytes(4, "big") + code.to_bytes(4, "big")
    return _frame(GOAWAY, payload)


def ping(payload: bytes) -> bytes:
    """A PING frame with its eight bytes (section 6.7)."""
    return _frame(PING, payload)


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0, 0, 0, 0, 0)) + payload
