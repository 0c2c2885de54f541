"""What waits to be sent on one stream of HTTP/2: a head, pieces of a body, trailers, the end."""

from collections import deque
from enum import Enum

from ..types import Headers
from .h2_budgets import CONTROLS, CRUMBS, UPDATES, Budgets
from .h2_wire import Wire

# A smaller piece, with more waiting, is one that the peer's window has made small.
_CRUMB_SIZE = 256
# What a piece of data may cost its receiver in WINDOW_UPDATE frames: one of the stream and one of
# the connection, as often as it reads, which is every 4 KiB in Go's net/http. Besides, clients of
# gRPC send a PING with each piece to measure the way.
_UPDATES = 2
_UPDATE_SIZE = 4096


class Outbound(Enum):
    """How far the response is."""

    AWAITED = "there is none yet"
    OPEN = "more of it is to come"
    ENDING = "all of it is here, and some waits to be sent"
    ENDED = "nothing more is sent"


# An enum's attribute look-up is a call in Python 3.11.
AWAITED, OPEN, ENDING, ENDED = Outbound


class Outbox:
    """One stream's.

    Attributes:
        state: How far the response is.
        waiting: How many bytes of its body are not sent yet.
        sent: How many are.
    """

    __slots__ = (
        "_budgets",
        "_head",
        "_number",
        "_offset",
        "_pieces",
        "_trailers",
        "_wire",
        "sent",
        "state",
        "waiting",
    )

    def __init__(self, wire: Wire, number: int, budgets: Budgets) -> None:
        self._wire = wire
        self._number = number
        self._budgets = budgets
        self.state = AWAITED
        self._head: Headers | None = None
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # of the first piece, where the rest of it begins
        self._trailers: Headers | None = None
        self.waiting = 0
        self.sent = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits but, at most, the end."""
        return not self.waiting and self._head is None

    def put(self, head: Headers | None, body: bytes, *, more: bool) -> None:
        """Take in a part of the response, the head with the first."""
        if head is not None:
            self._head = head
            self.state = OPEN
        if body:
            self._pieces.append(body)
            self.waiting += len(body)
        if not more:
            self.state = ENDING

    def end(self, trailers: Headers) -> None:
        """Take in the end of the response. (A header section without a field would be none.)"""
        self._trailers = trailers or None
        self.state = ENDING

    def push(self) -> bool:
        """Send what may be sent, but one piece at most. Returns whether more might be.

        Raises:
            H2Error: The peer's window has asked for too many small pieces.
        """
        if self._head is not None:
            head, self._head = self._head, None
            ends = self.state is ENDING and not self._pieces and self._trailers is None
            self._wire.head(self._number, head, ends=ends)
            if ends:
                self.state = ENDED
                return False
        if self._pieces:
            return self._push_piece()
        if self.state is ENDING:
            self._push_end()
        return False

    def _push_piece(self) -> bool:
        wire, number = self._wire, self._number
        room = wire.room(number)
        if room <= 0:
            return False
        size = min(len(self._pieces[0]) - self._offset, room, wire.frame_size)
        if size == room and size < _CRUMB_SIZE and size < self.waiting:
            self._budgets.spend(CRUMBS)
        else:
            self._budgets.earn(UPDATES, _UPDATES * (1 + size // _UPDATE_SIZE))
            self._budgets.give(CONTROLS, 1)
        ends = size == self.waiting and self.state is ENDING and self._trailers is None
        wire.data(number, self._cut(size), ends=ends)
        if ends:
            self.state = ENDED
            return False
        return self.waiting > 0 or self.state is ENDING

    def _cut(self, size: int) -> bytes:
        """Take so many bytes of the first piece."""
        piece, offset = self._pieces[0], self._offset
        if size == len(piece) - offset:
            self._pieces.popleft()
            self._offset = 0
        else:
            self._offset = offset + size
        self.waiting -= size
        self.sent += size
        return piece if size == len(piece) else piece[offset : offset + size]

    def _push_end(self) -> None:
        if self._trailers is not None:
            self._wire.head(self._number, self._trailers, ends=True)
        else:
            self._wire.data(self._number, b"", ends=True)
        self.state = ENDED

    def clear(self) -> None:
        """Nothing more is sent."""
        self.state = ENDED
        self._head = None
        self._pieces.clear()
        self.waiting = 0
