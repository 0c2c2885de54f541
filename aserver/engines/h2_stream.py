"""One stream of HTTP/2: a request, its response, and what waits of both.

It is its cycle's way back to the client (`aserver.seams.Channel`). What is sent waits in its outbox
until the windows, the transport and the other streams leave room for it (`aserver.engines.h2`);
what is received counts until the application has taken it, and only then the peer may send more.
"""

from typing import Protocol

from ..limits import RequestLimits, StreamLimits
from ..seams import Head, Receiver, Sink, Upgrading
from ..types import Headers, ProtocolError, Request
from .fields import refusal, trailer_line
from .guard import body_too_large
from .h2_budgets import RESETS, Budgets
from .h2_frames import ErrorCode, Frame
from .h2_heads import ResponseFields, check_trailers, interim_fields
from .h2_inbox import RECEIVED, RECEIVING, UNWANTED, Inbox
from .h2_outbox import AWAITED, ENDED, Outbox
from .h2_sending import Priority
from .h2_tunnel import H2Tunnel
from .h2_watch import StreamWatch
from .h2_wire import Wire


class Streams(Protocol):
    """The connection's machine, seen from its streams."""

    sink: Sink
    wire: Wire
    limits: StreamLimits
    request_limits: RequestLimits
    budgets: Budgets
    fields: ResponseFields
    is_stopping: bool

    @property
    def sent(self) -> int:
        """How many bytes of bodies were sent, of all streams together."""

    def send(self, stream: "H2Stream") -> None:
        """It has something to send."""

    def flush_soon(self) -> None:
        """Something was given to the wire."""

    def forget(self, stream: "H2Stream") -> None:
        """It is over."""

    def on_cut_off(self, cycle: Receiver) -> None:
        """A call of the application may go on, though its stream is over before its response."""


class H2Stream:
    """One stream.

    Attributes:
        cycle: Whose request it is, from `begin` to the end.
    """

    __slots__ = (
        "_inbox",
        "_outbox",
        "_streams",
        "_tunnel",
        "_waits",
        "_watch",
        "cycle",
        "number",
        "opened_at",
        "priority",
        "request",
    )

    def __init__(self, streams: Streams, number: int, request: Request, *, ended: bool) -> None:
        self._streams = streams
        self.number = number
        self.request = request
        self.priority = Priority()
        self.opened_at = streams.sink.now
        self.cycle: Receiver | None = None
        self._inbox = Inbox(streams.wire, number, request.content_length, ended=ended)
        self._tunnel: H2Tunnel | None = None
        self._outbox = Outbox(streams.wire, number, streams.budgets)
        self._waits = False  # whether the application was told to
        self._watch: StreamWatch | None = None  # once there was something to wait for

    def __repr__(self) -> str:
        return (
            f"<H2Stream {self.number} {self.request.method} {self.request.target!r} "
            f"inbound={self._inbox.state.name} outbound={self._outbox.state.name} "
            f"waiting={self.waiting}>"
        )

    @property
    def waiting(self) -> int:
        """How many bytes of the response are not sent yet."""
        return self._outbox.waiting

    @property
    def received(self) -> int:
        """How many bytes of the request's body have come."""
        return self._inbox.received

    @property
    def sent(self) -> int:
        """How many bytes of the response's body were sent."""
        return self._outbox.sent

    @property
    def sent_by_all(self) -> int:
        """How many bytes all streams of the connection have sent."""
        return self._streams.sent

    @property
    def has_window(self) -> bool:
        """Whether its peer allows it to send, as far as this stream is concerned."""
        return self._streams.wire.has_window(self.number)

    @property
    def is_over(self) -> bool:
        """Whether nothing is sent or received any more."""
        return self._outbox.state is ENDED and self._inbox.state is RECEIVED

    # The request

    def begin(self) -> None:
        """Call the application.

        Raises:
            ProtocolError: It is refused.
        """
        self.cycle = cycle = self._streams.sink.on_request(self, self.request)
        if self._inbox.state is RECEIVING and not self.request.upgrade:
            self._watching().expect_body()
        cycle.start()
        if not self.request.upgrade:  # what came is for its tunnel
            self._take_early()

    def _take_early(self) -> None:
        early, self._inbox.early = self._inbox.early, []
        for data in early:
            self._deliver(data)
        if self._inbox.state is RECEIVED:
            self._deliver_end()

    def fits(self, frame: Frame) -> bool:
        """As `Inbox.fits`."""
        return self._inbox.fits(frame)

    def take(self, data: bytes, size: int, *, ended: bool) -> None:
        """Take a piece of the body; `size` is what it took of the windows.

        Raises:
            ProtocolError: The body is too large.
        """
        inbox, limits = self._inbox, self._streams.request_limits
        inbox.count(len(data), size)
        self._streams.flush_soon()
        if inbox.state is UNWANTED:
            self._throw_away()
        elif inbox.received > limits.body_size and self._tunnel is None:
            if ended:
                inbox.state = RECEIVED
            raise body_too_large(limits)
        elif data:
            self._deliver(data)
        if ended and not self.is_over:
            self.take_end()

    def take_end(self) -> None:
        """The request is complete.

        Raises:
            ProtocolError: It is not, by its content-length.
        """
        if self._inbox.state is UNWANTED:
            self._end()
            return
        self._inbox.end()
        if self._watch is not None:
            self._watch.end_body()
        self._deliver_end()

    def take_trailers(self, fields: Headers) -> None:
        """The request is complete, with fields that nobody is told.

        Raises:
            ProtocolError: It is not, or they are malformed.
        """
        if self._inbox.state is RECEIVING:
            check_trailers(fields, self._streams.request_limits)
        self.take_end()

    def _deliver(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(data)
        elif self.cycle is None or self.request.upgrade:
            self._inbox.keep(data)
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

    @property
    def is_waiting_for_us(self) -> bool:
        """Whether the peer cannot send more of the body now."""
        is_full = self._inbox.unread >= self._streams.limits.window // 2
        return is_full or self.request.expects_continue

    def consumed(self, size: int) -> None:
        """The application took `size` bytes: the peer may send as many again."""
        self._inbox.credit(size)
        self._streams.flush_soon()

    # The response

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool:
        """Send a part of the response. Returns False when `send()` should wait."""
        outbox, streams = self._outbox, self._streams
        if outbox.state is ENDED:
            return False
        fields = None
        if head is not None:
            is_whole = not more and head.content_length is None and not head.bodyless
            fields = streams.fields.of(head, len(body) if is_whole else None)
        outbox.put(fields, body, more=more)
        return self._send()

    def _send(self) -> bool:
        """Ask for a turn; returns whether there is room for more."""
        outbox, sink = self._outbox, self._streams.sink
        self._streams.send(self)
        has_room = outbox.is_empty and not sink.write_paused and not sink.is_closing()
        self._waits = not has_room
        return has_room

    def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response."""
        if status == 100:
            self.request.expects_continue = False
            if self._inbox.state is not RECEIVING:
                return
            self._watching().expect_body()  # it begins to send now
        if self._outbox.state is not AWAITED:
            return
        self._streams.wire.head(self.number, interim_fields(status, headers), ends=False)
        self._streams.flush_soon()

    def trailers(self, headers: Headers) -> None:
        """End the response with trailer fields.

        Raises:
            AppError: One of them must not go on the wire.
        """
        for field in headers:
            trailer_line(*field)
        if self._outbox.state is not ENDED:
            self._outbox.end([(name.lower(), value) for name, value in headers])
            self._send()

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        """The kernel does not know of frames: it cannot be done here."""
        return None

    def abort(self) -> None:
        """The response cannot be completed."""
        self.reset(ErrorCode.INTERNAL_ERROR)

    def upgrade(self, cycle: Upgrading, protocol: bytes, head: Head) -> None:
        """Become a tunnel (RFC 8441 section 5)."""
        self._tunnel = tunnel = H2Tunnel(self, self._streams.sink, cycle)
        self.respond(head, b"", True)
        if self.is_over:
            return
        cycle.upgraded(tunnel)
        self._take_early()
        if self._streams.is_stopping and self._inbox.state is RECEIVING:
            tunnel.drain()

    # When it is its turn

    def push(self) -> bool:
        """Send what may be sent, but one piece at most. Returns whether more might be.

        Raises:
            H2Error: As `Outbox.push`.
        """
        outbox = self._outbox
        more = outbox.push()
        if outbox.state is ENDED:
            self._finish()
        elif outbox.waiting and not more:
            self._watching().await_room()
        elif self._watch is not None and not outbox.waiting:
            self._watch.end_writing()
        return more

    def resume(self) -> bool:
        """There may be room for more; returns whether more is to be expected of the application."""
        if self._waits and self._outbox.is_empty and self.cycle is not None:
            self._waits = False
            self.cycle.resume()
            return True
        return False

    # The end

    def _finish(self) -> None:
        """All of the response is sent."""
        self._streams.budgets.give(RESETS, 1)
        if self._inbox.state is RECEIVED:
            self._end()
            return
        self._watching().end_writing()
        self._watching().expect_rest()
        self._throw_away()

    def _throw_away(self) -> None:
        """Nobody wants the rest of the request."""
        if not self._inbox.discard():
            self.reset(ErrorCode.NO_ERROR)
        self._streams.flush_soon()

    def give_up_rest(self) -> None:
        """The rest of a request that nobody wants has not come in time."""
        self.reset(ErrorCode.NO_ERROR)

    def reset(self, code: int) -> None:
        """End it at once."""
        if not self.is_over:
            self._cut_off()
            self._streams.wire.reset(self.number, code)
            self._end()
            self._streams.flush_soon()

    def refuse(self, error: ProtocolError) -> None:
        """Answer the peer's mistake, and end the stream."""
        cycle = self._cut_off()
        if cycle is not None:
            cycle.lost()
        # Section 8.1.1: a mistake is an error of the stream, whatever answer comes before.
        is_malformed = error.status == 400
        if self._outbox.state is AWAITED:
            self._answer(error, ends=not is_malformed)
        if is_malformed:
            self.reset(ErrorCode.PROTOCOL_ERROR)
        elif self._outbox.state is not ENDED:
            self.reset(ErrorCode.CANCEL)

    def _answer(self, error: ProtocolError, *, ends: bool) -> None:
        """Say what the mistake was, whether anybody looks at it or not."""
        fields, body = refusal(error)
        head = self._streams.fields.of_refusal(error.status, fields)
        wire = self._streams.wire
        if wire.room(self.number) < len(body):
            head = [field for field in head if field[0] != b"content-length"]
            body = b""
        if self.request.method == "HEAD":
            body = b""
        wire.head(self.number, head, ends=ends and not body)
        if body:
            wire.data(self.number, body, ends=ends)
        self._streams.flush_soon()
        if ends:
            self._outbox.clear()
            self._finish()

    def lost(self) -> None:
        """It is gone: the peer has reset it, or the connection is lost."""
        cycle = self._cut_off()
        self._end()
        if cycle is not None:
            cycle.lost()

    def _cut_off(self) -> Receiver | None:
        """Part with the call of the application, which may go on without its stream."""
        cycle, self.cycle = self.cycle, None
        if cycle is not None and self._outbox.state is not ENDED:
            self._streams.on_cut_off(cycle)
        return cycle

    def _end(self) -> None:
        """Nothing is sent or received any more."""
        self._inbox.clear()
        self._outbox.clear()
        if self._watch is not None:
            self._watch.stop()
        self._streams.forget(self)
        self.cycle = self._tunnel = self._watch = None

    def drain(self) -> None:
        """The server is stopping."""
        if self._tunnel is not None:
            self._tunnel.drain()

    def _watching(self) -> StreamWatch:
        if self._watch is None:
            self._watch = StreamWatch(self, self._streams.sink, self._streams.limits)
        return self._watch
