"""The receiving half of HTTP/2: from bytes to streams and requests (RFC 9113 sections 4 to 6).

Theory of operation. What the peer sends is cut into frames, each is counted against a budget, and
goes through the wire (`aserver.engines.h2_wire`), which says what it means. Requests that came with
one read are begun when all of it is looked at, so that one that was reset at once costs no call of
the application.
"""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Protocol

from ..seams import Receiver
from ..types import Headers, ProtocolError, Request
from .h2_budgets import CONTROLS, FAULTS, REFUSALS, RESETS
from .h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Frame,
    FrameReader,
    H2Error,
    TableUpdates,
)
from .h2_heads import request_of
from .h2_sending import Priority, SendQueue, priority_of
from .h2_stream import H2Stream, Streams

# How many faults a refusal counts for. A malformed request leads to a reset, and one that is too
# large took as much time to decode as many; others are requests that have their answer.
_FAULTS = {400: 1, 431: 10}
# RFC 9218 section 13.1: whose connection has requests of many people must not let them compete.
_PROXIED = (b"forwarded", b"via", b"x-forwarded-for")
_HEADER_FRAMES = (HEADERS, CONTINUATION)
# Who asks and takes it back at once is up to no good; not so who has waited for a while (seconds),
# and leaves a page with all that it has asked for.
_OLD_AGE = 2.0
_OLD_WEIGHT = 0.25
_UNBEGUN_WEIGHT = 0.5  # of a request that came with its reset, and cost no call
# So many frames are taken at once; other connections have their turn before the next.
_MOST_AT_ONCE = 256
_GOAWAY_SIZE = 8  # at least
_MOST_SETTINGS_SIZE = 64 * 6
_STREAM_MASK = 2**31 - 1
_FEW = 8


class Machine(Streams, Protocol):
    """The connection's machine, seen from its reader.

    Attributes:
        streams: Those that are open, by number.
        queue: Those of them that have something to send.
        most_header_size: Of a header section, in bytes.
    """

    streams: dict[int, H2Stream]
    queue: SendQueue[H2Stream]
    most_header_size: int

    @property
    def is_leaving(self) -> bool:
        """Whether no more streams are served."""

    def on_stream(self) -> None:
        """A stream was opened."""

    def retire(self) -> None:
        """As many were opened as one connection should have."""

    def leave(self) -> None:
        """The peer opens no more, or knows that it must not."""

    def on_pong(self, payload: bytes) -> None:
        """A PING of ours is answered."""


class StreamReader:
    """What one peer sends.

    Attributes:
        highest: The last stream that the peer has opened.
        requests: How many it has opened that were served.
    """

    __slots__ = (
        "_begun",
        "_coming",
        "_frames",
        "_header_size",
        "_header_stream",
        "_machine",
        "_rest",
        "_table_updates",
        "_unfinished",
        "_wishes",
        "highest",
        "requests",
    )

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._frames = FrameReader()
        self._coming: Iterator[Frame] | None = None  # frames that are still to be taken
        self._rest = b""  # what has come behind them
        self._header_stream = 0  # whose header section has come in part
        self._header_size = 0  # bytes of it
        self._table_updates = TableUpdates()
        self._begun: list[H2Stream] = []  # that came with the present read
        self._unfinished: list[Receiver] = []  # calls of the application that were cut off
        self._wishes: dict[int, Priority] = {}  # for streams that are still to come
        self.highest = 0
        self.requests = 0

    @property
    def mid_head(self) -> bool:
        """Whether a request head has come in part."""
        return self._frames.mid_head or self._header_stream != 0

    def feed(self, data: bytes) -> bool:
        """Take bytes from the peer, but not too much at once. Returns whether there is more to do.

        Raises:
            H2Error: It has broken the connection.
        """
        if self._coming is not None:
            self._rest += data
            return True
        self._coming = self._frames.feed(data)
        return self.go_on()

    def go_on(self) -> bool:
        """Take more of what has come; as `feed`."""
        assert self._coming is not None
        try:
            for frame in islice(self._coming, _MOST_AT_ONCE):
                self._take(frame)
            self._begin_all()
        finally:
            self._begun.clear()
        return self._has_more()

    def _has_more(self) -> bool:
        assert self._coming is not None
        following = next(self._coming, None)
        if following is not None:
            self._coming = chain((following,), self._coming)
            return True
        rest, self._rest = self._rest, b""
        self._coming = self._frames.feed(rest) if rest else None
        return self._coming is not None

    def _take(self, frame: Frame) -> None:
        number = frame.stream
        stream = self._machine.streams.get(number)
        is_late = stream is None and 0 < number <= self.highest
        self._machine.budgets.count(frame, is_late=is_late)
        if frame.kind in _HEADER_FRAMES:
            self._count_header(frame)
        elif self._header_stream == 0 and self._has_settled(frame, stream):
            return
        self._machine.wire.feed(frame, self)

    def _count_header(self, frame: Frame) -> None:
        """Not more of a header section than may come of it, so that decoding it takes its time."""
        if self._header_stream == 0:
            self._header_size = 0
        self._table_updates.check(frame)
        self._header_size += frame.size
        self._header_stream = 0 if frame.flags & END_HEADERS else frame.stream
        if self._header_size > self._machine.most_header_size:
            raise H2Error(ErrorCode.ENHANCE_YOUR_CALM, "a header section that is far too large")

    def _has_settled(self, frame: Frame, stream: H2Stream | None) -> bool:
        """Do with a frame what the wire would not do right; returns whether that was all."""
        number, kind = frame.stream, frame.kind
        if kind == DATA and stream is not None and not stream.fits(frame):
            reason = "the request body has not the length that Content-Length says"
            self._refuse(stream, ProtocolError(400, reason))
        elif kind == WINDOW_UPDATE and stream is not None and frame.is_zero:
            # Section 6.9: an error of the stream only.
            self._refuse(stream, ProtocolError(400, "a WINDOW_UPDATE of zero bytes"))
            return True
        elif kind == RST_STREAM and number > self.highest:
            raise H2Error(ErrorCode.PROTOCOL_ERROR, "RST_STREAM of a stream that was never opened")
        elif kind == SETTINGS and frame.size > _MOST_SETTINGS_SIZE:
            raise H2Error(ErrorCode.ENHANCE_YOUR_CALM, "far more settings than there are")
        elif kind == GOAWAY and not number and frame.size >= _GOAWAY_SIZE:
            self._machine.leave()  # the wire would take it for the end of everything
            return True
        elif kind == PRIORITY_UPDATE:
            self._take_priority(frame)
        return kind > CONTINUATION  # section 5.5: what is not known is ignored

    def _take_priority(self, frame: Frame) -> None:
        """RFC 9218 section 7.1."""
        if frame.size < 4:
            raise H2Error(ErrorCode.FRAME_SIZE_ERROR, "a PRIORITY_UPDATE frame that is too short")
        number = int.from_bytes(frame.payload[:4], "big") & _STREAM_MASK
        if frame.stream or not number:
            raise H2Error(ErrorCode.PROTOCOL_ERROR, "a PRIORITY_UPDATE frame without its stream")
        priority = priority_of(frame.payload[4:])
        stream = self._machine.streams.get(number)
        if stream is not None:
            self._machine.queue.prioritise(stream, priority)
        elif number > self.highest and number % 2:
            if len(self._wishes) >= self._machine.limits.streams:
                self._wishes.pop(min(self._wishes))  # for one that may have been left out
            self._wishes[number] = priority

    def _begin_all(self) -> None:
        machine = self._machine
        for stream in self._begun:
            if stream.number not in machine.streams:
                continue  # it was reset with the same read
            try:
                stream.begin()
            except ProtocolError as error:
                self._refuse(stream, error)

    # From the wire

    def on_head(self, number: int, fields: Headers, *, ended: bool) -> None:
        """A request."""
        machine = self._machine
        self.highest = number
        machine.budgets.give(CONTROLS, 1)
        wish = self._wishes.pop(number, None)
        if not self._has_room():
            machine.budgets.spend(REFUSALS)
            machine.wire.reset(number, ErrorCode.REFUSED_STREAM)
            return
        machine.on_stream()
        limits, may_upgrade = machine.request_limits, machine.limits.has_websockets
        try:
            request = request_of(fields, limits, ended=ended, may_upgrade=may_upgrade)
        except ProtocolError as error:
            is_head = (b":method", b"HEAD") in fields
            unknown = Request("HEAD" if is_head else "GET", b"*", "2", [], None)
            self._refuse(self._open(number, unknown, ended=ended), error)
            return
        stream = self._open(number, request, ended=ended)
        stream.priority = wish or _wished(request.headers)
        self._begun.append(stream)
        self.requests += 1
        if self.requests >= machine.limits.requests:
            machine.retire()

    def _open(self, number: int, request: Request, *, ended: bool) -> H2Stream:
        stream = H2Stream(self._machine, number, request, ended=ended)
        self._machine.streams[number] = stream
        return stream

    def _has_room(self) -> bool:
        """Whether one more stream may be served.

        A call of the application may go on when its stream was cut off, as long as it is allowed to
        by `--application-close-timeout`. These are counted, too.
        """
        most = self._machine.limits.streams
        if self._machine.is_leaving or len(self._machine.streams) >= most:
            return False
        return len(self._unfinished) < most or sum(c.is_running for c in self._unfinished) < most

    def on_cut_off(self, cycle: Receiver) -> None:
        """From the machine: a call of the application may go on without its stream."""
        if len(self._unfinished) >= _FEW:
            self._unfinished = [each for each in self._unfinished if each.is_running]
        self._unfinished.append(cycle)

    def on_trailers(self, number: int, fields: Headers) -> None:
        """The end of a request, with fields that nobody is told."""
        stream = self._machine.streams.get(number)
        if stream is None:
            return
        try:
            stream.take_trailers(fields)
        except ProtocolError as error:
            self._refuse(stream, error)

    def on_data(self, number: int, data: bytes, size: int, *, ended: bool) -> None:
        """A piece of a body."""
        stream = self._machine.streams.get(number)
        if stream is None:
            self._machine.wire.credit(number, size)
            return
        try:
            stream.take(data, size, ended=ended)
        except ProtocolError as error:
            self._refuse(stream, error)

    def _refuse(self, stream: H2Stream, error: ProtocolError) -> None:
        # Who does not read its answers could ask for any number of these, which cost nothing else.
        usual = 1 if self._machine.sink.write_paused else 0
        self._machine.budgets.spend(FAULTS, _FAULTS.get(error.status, usual))
        self._machine.sink.on_refused(stream, error)

    def on_reset(self, number: int, *, by_peer: bool) -> None:
        """A stream is gone."""
        stream = self._machine.streams.get(number)
        if not by_peer:
            self._machine.budgets.spend(FAULTS)
        elif stream is not None:
            self._machine.budgets.spend(RESETS, self._weight(stream))
        if stream is not None:
            stream.lost()

    def _weight(self, stream: H2Stream) -> float:
        """What it counts that the peer resets a stream."""
        if self._machine.sink.now >= stream.opened_at + _OLD_AGE:
            return _OLD_WEIGHT
        return 1 if stream.cycle is not None else _UNBEGUN_WEIGHT

    def on_room(self, number: int) -> None:
        """A window has grown."""
        streams, queue = self._machine.streams, self._machine.queue
        if number:
            stream = streams.get(number)
            if stream is not None and stream.waiting:
                queue.add(stream)
            return
        for stream in streams.values():
            if stream.waiting:
                queue.add(stream)

    def on_pong(self, payload: bytes) -> None:
        """Our PING is answered."""
        self._machine.on_pong(payload)


def _wished(headers: Headers) -> Priority:
    values = [value for name, value in headers if name == b"priority"]
    if not values or any(name in _PROXIED for name, _ in headers):
        return Priority()
    return priority_of(b",".join(values))
