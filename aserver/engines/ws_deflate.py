"""permessage-deflate (RFC 7692): what is agreed on, and the two directions of it.

Windows are bounded, for each costs memory as long as its WebSocket is open, and they are made when
they are needed. What a message inflates to is bounded before it is inflated.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ..types import WebSocketError
from .ws_assembly import too_large

NAME = b"permessage-deflate"

_SMALLEST, _LARGEST = 8, 15  # window bits (section 7.1.2)
_SMALLEST_OF_OURS = 9  # zlib cannot compress with less
# zlib's memory beside the window's, which takes 2 ** (bits + 2) bytes: 2 ** (level + 9). At its own
# default of 8, that is eight times as much as a window of 12 bits; with this, as much.
_MEMORY_LEVEL = 5
# Section 7.2.1: the empty block at the end of each message is not sent.
_TAIL = b"\x00\x00\xff\xff"
# What cannot be compressed grows by five bytes a block, and the sender may flush when it likes.
_WORST, _SLACK = 1.25, 65_536
# Inflated at a time, in bytes: more would be copied in zlib when there is a lot of it.
_STEP = 2**18


class Offered(Protocol):
    """An extension that a client offers."""

    @property
    def name(self) -> bytes: ...

    @property
    def parameters(self) -> Sequence[tuple[bytes, bytes]]: ...


class DeflateLimits(NamedTuple):
    """What the configuration says of compression.

    Attributes:
        window_bits: Of the largest window; but a client that does not offer to have its own limited
            has one of 15 bits.
        threshold: Bytes of the smallest message that is compressed.
    """

    window_bits: int
    threshold: int


class Deflate(NamedTuple):
    """What client and server have agreed on (section 7.1), seen from the server.

    Attributes:
        response: The value of the Sec-WebSocket-Extensions header.
        inward_bits, outward_bits: Size of the windows for what the client sends and is sent.
        inward_reset, outward_reset: Whether each message has a window of its own.
        threshold: As in `DeflateLimits`.
    """

    response: bytes
    inward_bits: int
    outward_bits: int
    inward_reset: bool
    outward_reset: bool
    threshold: int


def negotiated(offers: Iterable[Offered], limits: DeflateLimits) -> Deflate | None:
    """Agree to the first offer that one can agree to."""
    for offer in offers:
        if offer.name == NAME:
            deflate = _agree(offer.parameters, limits)
            if deflate is not None:
                return deflate
    return None


def _agree(offered: Sequence[tuple[bytes, bytes]], limits: DeflateLimits) -> Deflate | None:
    """Section 7.1: None for an offer with a parameter that is unknown, repeated or wrong."""
    parameters = dict(offered)
    if len(parameters) < len(offered):
        return None
    inward_reset = parameters.pop(b"client_no_context_takeover", None)
    outward_reset = parameters.pop(b"server_no_context_takeover", None)
    outward = parameters.pop(b"server_max_window_bits", b"%d" % _LARGEST)
    inward = parameters.pop(b"client_max_window_bits", None)
    if parameters or inward_reset or outward_reset:
        return None
    outward_bits = _bits(outward)
    inward_bits = _bits(inward or b"%d" % _LARGEST)
    if outward_bits < _SMALLEST_OF_OURS or inward_bits < _SMALLEST:
        return None
    outward_bits = min(outward_bits, limits.window_bits)
    response = [NAME, b"server_max_window_bits=%d" % outward_bits]
    if inward is not None:  # only then the client takes a limit from us (section 7.1.2.2)
        inward_bits = min(inward_bits, limits.window_bits)
        response.append(b"client_max_window_bits=%d" % inward_bits)
    if inward_reset is not None:
        response.append(b"client_no_context_takeover")
    if outward_reset is not None:
        response.append(b"server_no_context_takeover")
    return Deflate(
        b"; ".join(response),
        inward_bits,
        outward_bits,
        inward_reset is not None,
        outward_reset is not None,
        limits.threshold,
    )


def _bits(value: bytes) -> int:
    """A window's size from its text, without leading zeros; 0: it is none."""
    if not value.isdigit() or value.startswith(b"0") or len(value) > 2:
        return 0
    bits = int(value)
    return bits if _SMALLEST <= bits <= _LARGEST else 0


class Inflater:
    """What a client compresses, inflated.

    Args:
        most: Bytes that a message may inflate to. It may not have many more before, either.
    """

    __slots__ = ("_bits", "_left", "_most", "_reset", "_taken", "_zlib")

    def __init__(self, deflate: Deflate, most: float) -> None:
        self._bits = max(deflate.inward_bits, _SMALLEST_OF_OURS)
        self._reset = deflate.inward_reset
        self._most = self._left = most
        self._taken = 0
        self._zlib: zlib._Decompress | None = None

    def inflate(self, data: bytes) -> bytes:
        """Inflate a piece of a message.

        Raises:
            WebSocketError: It is too much, or no compressed data.
        """
        if self._zlib is None:
            self._zlib = zlib.decompressobj(-self._bits)
        pieces = []
        self._taken += len(data)
        if self._taken > self._most * _WORST + _SLACK:  # empty blocks inflate to nothing
            raise too_large(self._most)
        try:
            while True:
                piece = self._zlib.decompress(data, _STEP)
                pieces.append(piece)
                self._left -= len(piece)
                if self._left < 0:
                    raise too_large(self._most)
                data = self._zlib.unconsumed_tail
                if self._zlib.eof:
                    # Section 7.2.3.4: the sender may end a block for good, and begin another.
                    data = self._zlib.unused_data
                    self._zlib = zlib.decompressobj(-self._bits)
                elif len(piece) < _STEP:
                    break
        except zlib.error:
            raise WebSocketError(1007, "the message is not compressed as was agreed") from None
        return b"".join(pieces)

    def finish(self) -> bytes:
        """The last piece of a message."""
        last = self.inflate(_TAIL)
        self._left = self._most
        self._taken = 0
        if self._reset:
            self._zlib = None
        return last


class Deflater:
    """What the server compresses."""

    __slots__ = ("_bits", "_reset", "_threshold", "_zlib")

    def __init__(self, deflate: Deflate) -> None:
        self._bits = deflate.outward_bits
        self._reset = deflate.outward_reset
        self._threshold = deflate.threshold
        self._zlib: zlib._Compress | None = None

    def deflate(self, data: bytes) -> bytes | None:
        """Compress a message; None: it is to be sent as it is."""
        if len(data) < self._threshold or not data:
            return None
        if self._zlib is None:
            self._zlib = zlib.compressobj(
                zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self._bits, _MEMORY_LEVEL
            )
        compressed = self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if self._reset:
            self._zlib = None
        return compressed[: -len(_TAIL)]
