"""The last request head of a connection, remembered.

A client on a kept connection often sends the same header fields with every request, to the byte: an
API client, a health check, a browser that polls. Or the same but for a value or two: a request id,
the page it comes from. Once a block of fields was parsed and accepted, seeing that it is the same
again is one comparison, where parsing costs more the more fields there are; and of a block that
differs, only the values that differ need a look, as long as they decide nothing.

Nothing is shared between connections.
"""

from ..limits import RequestLimits
from ..types import Headers, Request
from .grammar import control_in
from .guard import METHODS, is_indifferent, is_path

# What an idle connection may cost: a few kilobytes with the heads of browsers, 20 at the worst.
_MAX_BLOCK_SIZE = 4096
_MAX_FIELDS = 40
_MAX_CHANGES = 4  # more are parsed sooner in one go


class HeadMemory:
    """One connection's memory of the head that came last.

    `recall` and `remember` take a head in two parts: the request line, without its CRLF, and all
    lines behind it, with the empty one that ends the head.
    """

    __slots__ = (
        "_block",
        "_headers",
        "_limits",
        "_line",
        "_lines",
        "_method",
        "_request",
        "_target",
    )

    _headers: Headers
    _method: str
    _target: bytes

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._request: Request | None = None  # what was worked out for the block
        self._block = b""
        self._lines: list[bytes] = []  # of the block, once another was compared with it
        self._line = b""

    def remember(self, line: bytes, block: bytes, request: Request) -> None:
        """Take in a head that was accepted."""
        self._request = None
        # Of an absolute target, the guard makes a Host; and an expectation changes once it is met.
        if (
            len(block) <= _MAX_BLOCK_SIZE
            and len(request.headers) <= _MAX_FIELDS
            and request.http_version == "1.1"
            and not request.expects_continue
            and self._recognise(line)
        ):
            self._request = request
            self._block = block
            self._lines.clear()
            self._headers = request.headers

    def recall(self, line: bytes, block: bytes) -> Request | None:
        """The request that a head makes, if it differs from the last in what decides nothing."""
        known = self._request
        if known is None or (block != self._block and not self._amend(block)):
            return None
        if line != self._line and not self._recognise(line):
            return None
        return Request(
            self._method,
            self._target,
            "1.1",
            self._headers,  # shared: an application gets a copy in its scope
            known.content_length,
            known.keep_alive,
            False,
            known.upgrade,
            known.accepts_trailers,
        )

    def _recognise(self, line: bytes) -> bool:
        """Take in a request line that is a plain one."""
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1" or len(line) > self._limits.request_line:
            return False
        method = METHODS.get(parts[0])
        if method is None or is_path(parts[1]) is None or b"%00" in parts[1]:
            return False
        self._line, self._method, self._target = line, method, parts[1]
        return True

    def _amend(self, block: bytes) -> bool:
        """Take in a block in which some values are others; returns whether that is all."""
        known = self._lines
        if not known:
            known += self._block[:-4].split(b"\r\n")
        lines = block[:-4].split(b"\r\n")
        # There is not a field for each line if some were dropped.
        if len(lines) != len(known) or len(lines) != len(self._headers):
            return False
        if len(block) > min(_MAX_BLOCK_SIZE, self._limits.headers_size):
            return False
        changes = [place for place, line in enumerate(lines) if line != known[place]]
        if len(changes) > _MAX_CHANGES:
            return False
        headers = self._headers.copy()
        for place in changes:
            name = headers[place][0]
            spelled, colon, value = lines[place].partition(b":")
            if not colon or spelled.lower() != name or not is_indifferent(name):
                return False
            if control_in(value) or len(lines[place]) > self._limits.header_size:
                return False
            headers[place] = name, value.strip(b" \t")
        self._block, self._lines, self._headers = block, lines, headers
        return True
