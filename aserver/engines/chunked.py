"""The chunked transfer coding, received (RFC 9112 section 7.1): strictly, and with a memory bound.

Chunk extensions are read and forgotten, trailer fields checked and forgotten: ASGI has no place for
them.
"""

import re
from enum import Enum

from ..limits import MAX_CHUNK_EXTENSIONS, RequestLimits
from ..types import ProtocolError
from .grammar import TOKEN, check_field_lines, check_unfinished_fields, split_fields
from .guard import body_too_large

# Fewer digits than 64 bits have, however signed.
_MAX_SIZE_DIGITS = 15
_SIZE = rb"([0-9A-Fa-f]{1,%d}+)" % _MAX_SIZE_DIGITS
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
# RFC 9112 section 7.1.1, with the bad white space that it asks recipients to take.
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (TOKEN, TOKEN, _QUOTED)
_MAX_SIZE_LINE = _MAX_SIZE_DIGITS + MAX_CHUNK_EXTENSIONS + 2
_is_size_line = re.compile(rb"%b((?:%b)*)\r\n" % (_SIZE, _EXTENSION)).fullmatch

# RFC 9110 section 6.5.1: what frames or routes a message, says who sends it, or what its content
# is, comes before the content, or could be smuggled in behind a look at it.
_NOT_TRAILERS = {
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
}


class Decoding(Enum):
    """What comes next."""

    SIZE = "a chunk's size"
    DATA = "a chunk's data"
    DATA_END = "the line end behind a chunk's data"
    TRAILERS = "trailer fields, or the empty line that ends the body"
    COMPLETE = "nothing of this body"


SIZE, DATA, DATA_END, TRAILERS, COMPLETE = Decoding


class ChunkedBody:
    """One request body."""

    __slots__ = ("_extensions", "_left", "_limits", "_scanned", "_size", "state")

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._left = 0  # of the chunk at hand
        self._size = 0  # of all chunks so far
        self._extensions = 0
        self._scanned = 0  # of trailers that are not complete
        self.state = SIZE

    def decode(self, held: bytearray) -> bytes:
        """Remove what can be decoded from `held`, and return what it says.

        Raises:
            ProtocolError: It is not chunked, or breaks a limit.
        """
        pieces: list[bytes] = []
        try:
            while held and self._step(held, pieces):
                pass
        except ProtocolError:
            if not pieces:
                raise
            # First what came before it; asked again, it is raised again.
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _step(self, held: bytearray, pieces: list[bytes]) -> bool:
        """Decode one part; returns whether there was all of it."""
        if self.state is DATA:
            return self._take_data(held, pieces)
        if self.state is SIZE:
            return self._take_size(held)
        if self.state is DATA_END:
            return self._take_data_end(held)
        return self.state is TRAILERS and self._take_trailers(held)

    def _take_size(self, held: bytearray) -> bool:
        end = held.find(b"\n") + 1
        if (end or len(held) + 1) > _MAX_SIZE_LINE - self._extensions:
            raise _extensions_too_large()
        if not end:
            return False
        match = _is_size_line(bytes(held[:end]))
        if match is None:
            raise ProtocolError(400, "a chunk does not begin with its size, or has bad extensions")
        self._left = int(match[1], 16)
        self._size += self._left
        if self._size > self._limits.body_size:
            raise body_too_large(self._limits)
        self._extensions += len(match[2])
        if self._extensions > MAX_CHUNK_EXTENSIONS:
            raise _extensions_too_large()
        del held[:end]
        self.state = DATA if self._left else TRAILERS
        return True

    def _take_data(self, held: bytearray, pieces: list[bytes]) -> bool:
        piece = bytes(held[: self._left])
        del held[: len(piece)]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self.state = DATA_END
        return True

    def _take_data_end(self, held: bytearray) -> bool:
        if held.startswith(b"\r\n"):
            del held[:2]
            self.state = SIZE
            return True
        if held != b"\r":
            raise ProtocolError(400, "a chunk is longer than its size")
        return False

    def _take_trailers(self, held: bytearray) -> bool:
        seen = max(0, self._scanned - 3)
        end = 2 if held.startswith(b"\r\n") else held.find(b"\r\n\r\n", seen) + 4
        if end == 3:  # not there yet
            self._scanned = check_unfinished_fields(held, 0, self._scanned, self._limits)
            return False
        if end > 2:
            self._check_trailers(bytes(held[:end]))
        del held[:end]
        self.state = COMPLETE
        return False

    def _check_trailers(self, block: bytes) -> None:
        check_field_lines(block, self._limits)
        for name, _ in split_fields(block):
            if name in _NOT_TRAILERS:
                raise ProtocolError(400, f"{name.decode()} is not allowed in trailers")


def _extensions_too_large() -> ProtocolError:
    return ProtocolError(400, f"the chunk extensions are larger than {MAX_CHUNK_EXTENSIONS} bytes")
