"""One stream of HTTP/2: a request, its response, and what waits of both.

It is its cycle's way back to the client (`aserver.seams.Channel`). What is sent waits here until
the windows, the transport and the other streams leave room for it (`aserver.engines.h2`); what is
received counts until the application has taken it, and only then the peer may send more.
"""

from collections import deque
from enum import Enum
from math import inf
from typing import Protocol

from ..limits import DRAIN_BYTES, DRAIN_SECONDS, RequestLimits, StreamLimits
from ..seams import Head, Receiver, Sink, Upgrading
from ..types import Headers, ProtocolError, Request
from .fields import refusal, trailer_line
from .guard import body_too_large
from .h2_budgets import CRUMBS, UPDATES, Budgets
from .h2_frames import ErrorCode, Frame
from .h2_heads import ResponseFields, interim_fields
from .h2_sending import Priority
from .h2_tunnel import H2Tunnel
from .h2_wire import Wire

# A smaller piece, with more waiting, is one that the peer's window has made small.
_CRUMB_SIZE = 256
# What a piece of data may cost its receiver in WINDOW_UPDATE frames: one of the stream, one of the
# connection.
_UPDATES_PER_PIECE = 2


class Inbound(Enum):
    """How far the request is."""

    OPEN = "more of it is on its way"
    UNWANTED = "it is answered, and the rest of it is thrown away"
    ENDED = "all of it has come"


class Outbound(Enum):
    """How far the response is."""

    AWAITED = "there is none yet"
    OPEN = "more of it is to come"
    ENDING = "all of it is here, and some waits to be sent"
    ENDED = "nothing more is sent"


# An enum's attribute look-up is a call in Python 3.11.
RECEIVING, UNWANTED, RECEIVED = Inbound
AWAITED, OPEN, ENDING, ENDED = Outbound


class Streams(Protocol):
    """The connection's machine, seen from its streams."""

    sink: Sink
    wire: Wire
    limits: StreamLimits
    request_limits: RequestLimits
    budgets: Budgets
    fields: ResponseFields

    @property
    def is_draining(self) -> bool:
        """Whether the connection is to come to an end."""

    def send(self, stream: "H2Stream") -> None:
        """It has something to send."""

    def flush_soon(self) -> None:
        """Something was given to the wire."""

    def forget(self, stream: "H2Stream") -> None:
        """It is over."""


class H2Stream:
    """One stream.

    Attributes:
        cycle: Whose request it is, from `begin` to the end.
        waiting: How many bytes of the response are not sent yet.
        left: What is to come of the body by its content-length; None: nobody knows.
    """

    __slots__ = (
        "_body_before",
        "_body_due",
        "_discarded",
        "_early",
        "_head",
        "_offset",
        "_pieces",
        "_received",
        "_sent",
        "_sent_before",
        "_streams",
        "_trailers",
        "_tunnel",
        "_unread",
        "_waits",
        "_write_due",
        "cycle",
        "deadline",
        "inbound",
        "left",
        "number",
        "outbound",
        "priority",
        "request",
        "waiting",
    )

    def __init__(self, streams: Streams, number: int, request: Request, *, ended: bool) -> None:
        self._streams = streams
        self.number = number
        self.request = request
        self.priority = Priority()
        self.cycle: Receiver | None = None
        self.inbound = RECEIVED if ended else RECEIVING
        self.outbound = AWAITED
        self.left = request.content_length
        self._early: list[bytes] = []  # of the body, or for a tunnel that is not there yet
        self._tunnel: H2Tunnel | None = None
        self._received = 0  # bytes of body
        self._unread = 0  # bytes for which the peer has no credit yet
        self._discarded = 0  # bytes that nobody wanted
        self._head: Headers | None = None  # waits to be sent, as all that follows
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # of the first piece, where the rest of it begins
        self._trailers: Headers | None = None
        self.waiting = 0
        self._sent = 0  # bytes of body
        self._waits = False  # whether the application was told to
        self.deadline = self._body_due = self._write_due = inf
        self._body_before = self._sent_before = 0  # when a deadline was last looked at

    def __repr__(self) -> str:
        return (
            f"<H2Stream {self.number} {self.request.method} {self.request.target!r} "
            f"inbound={self.inbound.name} outbound={self.outbound.name} waiting={self.waiting}>"
        )

    # The request

    def begin(self) -> None:
        """Call the application.

        Raises:
            ProtocolError: It is refused.
        """
        self.cycle = cycle = self._streams.sink.on_request(self, self.request)
        if self.inbound is RECEIVING and not self.request.upgrade:
            self._expect_body()
        cycle.start()
        if self.request.upgrade:
            return
        early, self._early = self._early, []
        for data in early:
            self._deliver(data)
        if self.inbound is RECEIVED:
            self._deliver_end()

    def fits(self, frame: Frame) -> bool:
        """Whether a DATA frame keeps what the content-length has promised (section 8.1.1)."""
        if self.left is None or self.inbound is RECEIVED:
            return True
        rest = self.left - frame.body_size
        return rest == 0 if frame.ends_stream else rest >= 0

    def take(self, data: bytes, size: int, *, ended: bool) -> None:
        """Take a piece of the body; `size` is what it took of the windows.

        Raises:
            ProtocolError: The body is too large.
        """
        self._unread += size
        if size > len(data):
            self._credit(size - len(data))  # padding
        if data:
            self._received += len(data)
            if self.left is not None:
                self.left -= len(data)
            if self.inbound is UNWANTED:
                self._throw_away(len(data))
            elif self._received > self._streams.request_limits.body_size and self._tunnel is None:
                raise body_too_large(self._streams.request_limits)
            else:
                self._deliver(data)
        if ended:
            self.take_end()

    def take_end(self) -> None:
        """The request is complete.

        Raises:
            ProtocolError: It is not, by its content-length.
        """
        if self.left:
            raise ProtocolError(400, "the request body is shorter than its Content-Length")
        if self.outbound is ENDED:
            self._end()
            return
        self.inbound = RECEIVED
        self._body_due = inf
        self._rearm()
        self._deliver_end()

    def _deliver(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(data)
        elif self.cycle is None or self.request.upgrade:
            self._early.append(data)
        else:
            self.cycle.feed(data)

    def _deliver_end(self) -> None:
        if self._tunnel is not None:
            self._tunnel.feed_eof()
        elif self.cycle is not None and not self.request.upgrade and self._has_body:
            self.cycle.feed_eof()

    @property
    def _has_body(self) -> bool:
        return self.request.content_length != 0

    def consumed(self, size: int) -> None:
        """The application took `size` bytes: the peer may send as many again."""
        if self._unread:
            self._credit(size)

    def _credit(self, size: int) -> None:
        self._unread -= size
        self._streams.wire.credit(self.number, size)
        self._streams.flush_soon()

    # The response

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool:
        """Send a part of the response. Returns False when `send()` should wait."""
        if self.outbound is ENDED:
            return False
        streams = self._streams
        if head is not None:
            length = None
            if not more and head.content_length is None and not head.bodyless:
                length = len(body)
            self._head = streams.fields.of(head, length)
            self.outbound = OPEN
        if body:
            self._pieces.append(body)
            self.waiting += len(body)
        if not more:
            self.outbound = ENDING
        streams.send(self)
        if self.waiting and self._write_due == inf:
            self._await_room()
        sink = streams.sink
        has_room = not (self.waiting or self._head or sink.write_paused or sink.is_closing())
        self._waits = not has_room
        return has_room

    def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response."""
        if self.outbound is not AWAITED:
            return
        if status == 100:
            self.request.expects_continue = False
            self._expect_body()  # it begins to send now
        self._streams.wire.head(self.number, interim_fields(status, headers), ends=False)
        self._streams.flush_soon()

    def trailers(self, headers: Headers) -> None:
        """End the response with trailer fields.

        Raises:
            AppError: One of them must not go on the wire.
        """
        for field in headers:
            trailer_line(*field)
        self._trailers = [(name.lower(), value) for name, value in headers]
        self.respond(None, b"", False)

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        """The kernel does not know of frames: it cannot be done here."""
        return None

    def abort(self) -> None:
        """The response cannot be completed."""
        self.reset(ErrorCode.INTERNAL_ERROR)

    def upgrade(self, cycle: Upgrading, protocol: bytes, head: Head) -> None:
        """Become a tunnel (RFC 8441 section 5)."""
        self._tunnel = tunnel = H2Tunnel(self, self._streams.sink, cycle)
        self._body_due = inf
        self.respond(head, b"", True)
        cycle.upgraded(tunnel)
        early, self._early = self._early, []
        for data in early:
            tunnel.feed(data)
        if self.inbound is RECEIVED:
            tunnel.feed_eof()
        elif self._streams.is_draining:
            tunnel.drain()

    # Sending, when it is its turn

    def push(self) -> bool:
        """Send what may be sent, but one piece at most. Returns whether more might be."""
        if self._head is not None:
            head, self._head = self._head, None
            ends = self.outbound is ENDING and not self._pieces and self._trailers is None
            self._streams.wire.head(self.number, head, ends=ends)
            if ends:
                self._finish()
                return False
        if self._pieces:
            return self._push_piece()
        if self.outbound is ENDING:
            self._push_end()
        return False

    def _push_piece(self) -> bool:
        streams, wire = self._streams, self._streams.wire
        room = wire.room(self.number)
        if room <= 0:
            return False
        size = min(self._next_size(), room, wire.frame_size)
        if size == room and size < _CRUMB_SIZE and size < self.waiting:
            streams.budgets.spend(CRUMBS)
        else:
            streams.budgets.give(UPDATES, _UPDATES_PER_PIECE)
        ends = size == self.waiting and self.outbound is ENDING and self._trailers is None
        wire.data(self.number, self._cut(size), ends=ends)
        if ends:
            self._finish()
            return False
        if not self.waiting:
            self._write_due = inf
            self._rearm()
        return bool(self.waiting) or self.outbound is ENDING

    def _next_size(self) -> int:
        return len(self._pieces[0]) - self._offset

    def _cut(self, size: int) -> bytes:
        """Take so many bytes of the first piece."""
        piece, offset = self._pieces[0], self._offset
        if size == len(piece) - offset:
            self._pieces.popleft()
            self._offset = 0
        else:
            self._offset = offset + size
        self.waiting -= size
        self._sent += size
        return piece if size == len(piece) else piece[offset : offset + size]

    def _push_end(self) -> None:
        if self._trailers is not None:
            self._streams.wire.head(self.number, self._trailers, ends=True)
        else:
            self._streams.wire.data(self.number, b"", ends=True)
        self._finish()

    def resume(self) -> None:
        """There may be room for more."""
        if self._waits and not self.waiting and self._head is None and self.cycle is not None:
            self._waits = False
            self.cycle.resume()

    # The end

    def _finish(self) -> None:
        """All of the response is sent."""
        if self.inbound is RECEIVED:
            self._end()
        else:
            self.outbound = ENDED
            self.inbound = UNWANTED
            self._write_due = inf
            self._body_due = self._streams.sink.now + DRAIN_SECONDS
            self._rearm()
            self._throw_away(self._unread)

    def _throw_away(self, size: int) -> None:
        """Nobody wants the rest of the request. A short one may end in peace (section 8.1)."""
        if size:
            self._credit(size)
        self._discarded += size
        if self._discarded + (self.left or 0) > DRAIN_BYTES:
            self.reset(ErrorCode.NO_ERROR)

    def reset(self, code: int) -> None:
        """End it at once."""
        if self.outbound is not ENDED or self.inbound is not RECEIVED:
            self._streams.wire.reset(self.number, code)
            self._end()
            self._streams.flush_soon()

    def refuse(self, error: ProtocolError) -> None:
        """Answer the peer's mistake, and end the stream."""
        cycle, self.cycle = self.cycle, None
        if cycle is not None:
            cycle.lost()
        if self.outbound is AWAITED:
            fields, body = refusal(error)
            head = self._streams.fields.of_refusal(error.status, fields)
            wire = self._streams.wire
            # Section 8.1.1: a mistake is an error of the stream, whatever answer comes before.
            ends = error.status != 400 and self.inbound is RECEIVED
            if self.request.method == "HEAD" or wire.room(self.number) < len(body):
                body = b""
            wire.head(self.number, head, ends=ends and not body)
            if body:
                wire.data(self.number, body, ends=ends)
            if ends:
                self._end()
                self._streams.flush_soon()
                return
        self.reset(ErrorCode.PROTOCOL_ERROR if error.status == 400 else ErrorCode.NO_ERROR)

    def lost(self) -> None:
        """It is gone: the peer has reset it, or the connection is lost."""
        cycle = self.cycle
        self._end()
        if cycle is not None:
            cycle.lost()

    def _end(self) -> None:
        """Nothing is sent or received any more."""
        self.outbound = ENDED
        self.inbound = RECEIVED
        self._head = None
        self._pieces.clear()
        self.waiting = 0
        self._early.clear()
        if self._unread:  # what nobody will take does not count any more: others need the window
            self._credit(self._unread)
        self._body_due = self._write_due = inf
        self._rearm()
        self._streams.forget(self)
        self.cycle = None
        self._tunnel = None

    def drain(self) -> None:
        """The server is stopping."""
        if self._tunnel is not None:
            self._tunnel.drain()

    # Deadlines

    def _expect_body(self) -> None:
        self._body_before = self._received
        self._body_due = self._streams.sink.now + self._streams.limits.body_seconds
        self._rearm()

    def _await_room(self) -> None:
        self._sent_before = self._sent
        self._write_due = self._streams.sink.now + self._streams.limits.write_seconds
        self._rearm()

    def _rearm(self) -> None:
        deadline = min(self._body_due, self._write_due)
        if deadline == self.deadline:
            return
        self.deadline = deadline
        if deadline == inf:
            self._streams.sink.unwatch(self)
        else:
            self._streams.sink.watch(self)

    def expire(self) -> None:
        """A deadline has passed: for the body, or for the peer to take what is sent."""
        sink = self._streams.sink
        if sink.now >= self._write_due:
            # The transport has a deadline of its own.
            if self._sent == self._sent_before and not sink.write_paused:
                reason = "it does not make room for its response (--write-timeout)"
                sink.on_refused(self, ProtocolError(408, reason))
                return
            self._await_room()
        if self.inbound is UNWANTED:
            self.reset(ErrorCode.NO_ERROR)
        elif sink.now >= self._body_due:
            if not self._has_sent_enough():
                reason = "the request body does not arrive fast enough (--min-body-rate)"
                sink.on_refused(self, ProtocolError(408, reason))
                return
            self._expect_body()

    def _has_sent_enough(self) -> bool:
        """Whether the peer has sent what is due of the body, or has to wait for us."""
        limits = self._streams.limits
        arrived = self._received - self._body_before
        waits = self._unread >= limits.window // 2 or self.request.expects_continue
        return waits or arrived >= limits.body_bytes
