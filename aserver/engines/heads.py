"""The last request head of a connection, remembered.

A client on a kept connection often sends the same header fields with every request, to the byte:
an API client, a health check, a browser that polls. Once a block of fields was parsed and accepted,
seeing that it is the same again is one comparison, where parsing costs more the more fields there
are. The request line is looked at anew each time.

Nothing is shared between connections, and only blocks are remembered that came twice.
"""

from ..types import Headers, Request
from .guard import METHODS, is_path

_MAX_BLOCK_SIZE = 4096


class HeadMemory:
    """One connection's memory of the fields that came last.

    Args:
        longest: The longest request line that is recognised, in bytes.
    """

    __slots__ = ("_block", "_headers", "_longest", "_request")

    _headers: Headers

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._block = b""
        self._request: Request | None = None  # once the block has come twice

    def recall(self, line: bytes, block: bytes) -> Request | None:
        """The request of a known block of fields, if its request line is a plain one.

        Args:
            line: The request line, without its CRLF.
            block: All that follows it, with the empty line that ends the head.
        """
        known = self._request
        if known is None or block != self._block or len(line) > self._longest:
            return None
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":
            return None
        name = METHODS.get(parts[0])
        target = parts[1]
        if name is None or is_path(target) is None or b"%00" in target:
            return None
        return Request(
            name,
            target,
            "1.1",
            self._headers.copy(),
            known.content_length,
            known.keep_alive,
            False,
            known.upgrade,
            known.accepts_trailers,
        )

    def remember(self, line: bytes, block: bytes, request: Request) -> None:
        """Take in the two parts of a head that was accepted."""
        if block != self._block:
            self._request = None
            self._block = block if len(block) <= _MAX_BLOCK_SIZE else b""
        elif block and _is_plain(line, request):
            self._request = request
            self._headers = request.headers.copy()  # the application may change its own


def _is_plain(line: bytes, request: Request) -> bool:
    """Whether everything that was worked out for this request will be the same for the next."""
    # Of an absolute target, the guard makes a Host; and an expectation changes once it is met.
    return (
        request.http_version == "1.1"
        and not request.expects_continue
        and is_path(line.split(b" ")[1]) is not None
    )
