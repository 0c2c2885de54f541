"""The last request head of a connection, remembered.

A client on a kept connection often sends the same header fields with every request, to the byte:
an API client, a health check, a browser that polls. Once a block of fields was parsed and accepted,
seeing that it is the same again is one comparison, where parsing costs more the more fields there
are. The request line is looked at anew each time.

Nothing is shared between connections, and only blocks are remembered that came twice and ask for
nothing: no body, no upgrade, no expectation, no close.
"""

from ..types import Headers, Request
from .guard import METHODS, is_path

_MAX_BLOCK_SIZE = 4096


class HeadMemory:
    """One connection's memory of the fields that came last."""

    __slots__ = ("_block", "_headers")

    def __init__(self) -> None:
        self._block = b""
        self._headers: Headers | None = None  # once the block has come twice

    def recall(self, line: bytes, block: bytes) -> Request | None:
        """The request of a known block of fields, if its request line is a plain one.

        Args:
            line: The request line, without its CRLF.
            block: All that follows it.
        """
        if self._headers is None or block != self._block:
            return None
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":
            return None
        name = METHODS.get(parts[0])
        target = parts[1]
        if name is None or is_path(target) is None:
            return None
        return Request(name, target, "1.1", self._headers.copy())

    def remember(self, line: bytes, block: bytes, request: Request) -> None:
        """Take in the two parts of a head that was accepted."""
        if block != self._block:
            self._headers = None
            self._block = block if _is_one_head(block) else b""
        elif block and _is_plain(request) and _is_split_well(line, block, request):
            self._headers = request.headers.copy()


def _is_one_head(block: bytes) -> bool:
    """Whether it is the rest of a head, all of it, and nothing more."""
    return len(block) <= _MAX_BLOCK_SIZE and block.find(b"\r\n\r\n") == len(block) - 4


def _is_plain(request: Request) -> bool:
    """Whether everything that was worked out for this request will be the same for the next."""
    return (
        request.http_version == "1.1"
        and request.content_length == 0
        and request.keep_alive
        and not request.expects_continue
        and not request.upgrade
        and is_path(request.target) is not None
    )


def _is_split_well(line: bytes, block: bytes, request: Request) -> bool:
    """Whether the line is the request line and nothing else, so that the block has all the fields.

    A parser may take lines to end without a CR, and skip empty ones before the request line; and
    of an absolute target, the guard makes a Host.
    """
    lines = block.count(b"\r\n")
    return (
        line == b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.target)
        and block.count(b"\n") == lines
        and block.count(b"\r") == lines
    )
