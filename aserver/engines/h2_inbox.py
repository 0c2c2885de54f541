"""What has come of the request on one stream of HTTP/2, and how much more its peer may send."""

from enum import Enum

from ..limits import DRAIN_BYTES
from ..types import ProtocolError
from .h2_frames import Frame
from .h2_wire import Wire

# Pieces up to this size are put together, in bytes.
_SMALL = 1024


class Inbound(Enum):
    """How far the request is."""

    OPEN = "more of it is on its way"
    UNWANTED = "it is answered, and the rest of it is thrown away"
    ENDED = "all of it has come"


# An enum's attribute look-up is a call in Python 3.11.
RECEIVING, UNWANTED, RECEIVED = Inbound


class Inbox:
    """One stream's.

    Attributes:
        state: How far the request is.
        received: How many bytes of its body have come.
        unread: For how many bytes, padding included, the peer has no credit yet.
        early: What has come of the body before there was anybody to take it.
    """

    __slots__ = ("_discarded", "_left", "_number", "_wire", "early", "received", "state", "unread")

    def __init__(self, wire: Wire, number: int, length: int | None, *, ended: bool) -> None:
        self._wire = wire
        self._number = number
        self._left = length  # what is to come by the content-length; None: nobody knows
        self._discarded = 0  # bytes that nobody wanted
        self.state = RECEIVED if ended else RECEIVING
        self.received = 0
        self.unread = 0
        self.early: list[bytes] = []

    def fits(self, frame: Frame) -> bool:
        """Whether a DATA frame keeps what the content-length has promised (section 8.1.1)."""
        if self._left is None or self.state is RECEIVED:
            return True
        rest = self._left - frame.body_size
        return rest == 0 if frame.ends_stream else rest >= 0

    def count(self, length: int, size: int) -> None:
        """So much of the body has come, and has taken so much of the windows."""
        self.unread += size
        self.received += length
        if self._left is not None:
            self._left -= length
        if size > length:
            self.credit(size - length)  # padding

    def credit(self, size: int) -> None:
        """So much was taken: the peer may send as much again."""
        if self.unread:
            self.unread -= size
            self._wire.credit(self._number, size)

    def keep(self, data: bytes) -> None:
        """Keep a piece for who is to take it. (A small one costs more than it holds.)"""
        early = self.early
        if early and len(early[-1]) < _SMALL and len(data) < _SMALL:
            early[-1] += data
        else:
            early.append(data)

    def end(self) -> None:
        """All has come.

        Raises:
            ProtocolError: It has not, by the content-length.
        """
        if self._left:
            raise ProtocolError(400, "the request body is shorter than its Content-Length")
        self.state = RECEIVED

    def discard(self) -> bool:
        """Throw away what has come; returns whether the peer may go on.

        It may end what is short, so that both part in peace (section 8.1).
        """
        self.state = UNWANTED
        self._discarded += self.unread
        self.credit(self.unread)
        return self._discarded + (self._left or 0) <= DRAIN_BYTES

    def clear(self) -> None:
        """Nothing more is received. What nobody takes is credited: others need the window."""
        self.state = RECEIVED
        self.early.clear()
        self.credit(self.unread)
