"""HTTP/2 on one connection (RFC 9113): its streams, who of them sends, and its end.

Theory of operation. What the peer sends is cut into frames, each is counted against a budget, and
goes through the wire (`aserver.engines.h2_wire`), which says what it means. Requests that came with
one read are begun when all of it is looked at, so that one that was reset at once costs no call of
the application. What is sent waits with its stream; `_pump` lets those send whose turn it is, piece
by piece, as long as the transport takes it. All that is to be written goes out in one piece: at the
end of a read, or when everybody who is at work has had his turn.
"""

from collections.abc import Callable
from enum import Enum

from ..limits import RequestLimits, StreamLimits
from ..seams import Defaults, Receiver, Sink
from ..types import Headers, ProtocolError, Request
from .h2_budgets import CONTROLS, FAULTS, REFUSALS, Budgets
from .h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PRIORITY_UPDATE,
    ErrorCode,
    Frame,
    FrameReader,
    H2Error,
    goaway,
    ping,
)
from .h2_heads import ResponseFields, check_trailers, request_of
from .h2_sending import Priority, SendQueue, priority_of
from .h2_stream import H2Stream
from .h2_wire import Wire, WireSettings

NewWire = Callable[[WireSettings], Wire]

# What is gathered before it is written: more would only be copied once more.
_WRITE_SIZE = 65_536
# What a header costs in SETTINGS_MAX_HEADER_LIST_SIZE besides its bytes (section 6.5.2).
_FIELD_OVERHEAD = 32
_MOST_WINDOW = 2**31 - 1
# Its answer tells that the peer knows of our GOAWAY (section 6.8).
_DRAIN_PING = b"aserver."
_HEADER_FRAMES = (HEADERS, CONTINUATION)


class State(Enum):
    """How far the connection's end is."""

    OPEN = "nobody has ended it"
    DRAINING = "the peer was told to open no more streams, and may not know it yet"
    LEAVING = "the peer knows which stream was the last"
    CLOSED = "nothing is sent or taken any more"


# An enum's attribute look-up is a call in Python 3.11.
OPEN, DRAINING, LEAVING, CLOSED = State


class H2:
    """One connection, seen from the server."""

    __slots__ = (
        "_begun",
        "_feeding",
        "_filled",
        "_flushing",
        "_header_stream",
        "_highest",
        "_queue",
        "_reader",
        "_requests",
        "_resting",
        "_state",
        "_streams",
        "_unfinished",
        "_wishes",
        "budgets",
        "fields",
        "limits",
        "request_limits",
        "sink",
        "wire",
    )

    def __init__(
        self,
        sink: Sink,
        defaults: Defaults,
        new_wire: NewWire,
        limits: StreamLimits,
        request_limits: RequestLimits,
    ) -> None:
        self.sink = sink
        self.limits = limits
        self.request_limits = request_limits
        self.budgets = Budgets(sink)
        self.fields = ResponseFields(defaults)
        self.wire = new_wire(_settings(limits, request_limits))
        self._reader = FrameReader()
        self._queue: SendQueue[H2Stream] = SendQueue()
        self._streams: dict[int, H2Stream] = {}
        self._begun: list[H2Stream] = []  # that came with the present read
        self._unfinished: list[Receiver] = []  # calls of the application, though their stream is
        self._wishes: dict[int, Priority] = {}  # for streams that are still to come
        self._state = OPEN
        self._highest = 0  # the last stream that the peer has opened
        self._requests = 0
        self._header_stream = 0  # whose header section has come in part
        self._resting = False  # whether the connection waits for a request
        self._feeding = False
        self._flushing = False
        self._filled = 0  # bytes of bodies that wait in the wire
        sink.write(self.wire.take())  # section 3.4: our settings

    def __repr__(self) -> str:
        return f"<H2 {self._state.name} streams={len(self._streams)} requests={self._requests}>"

    # From the peer

    @property
    def mid_head(self) -> bool:
        """Whether a frame, or a request head, has come in part."""
        return not self._reader.is_between or self._header_stream != 0

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._state is CLOSED:
            return
        self._feeding = True
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
                if self._state is CLOSED:
                    return
            self._begin_all()
        finally:
            self._feeding = False
            self._begun.clear()
        self._pump()
        self._flush()

    def _take(self, frame: Frame) -> None:
        number = frame.stream
        stream = self._streams.get(number)
        self.budgets.count(frame, is_late=stream is None and 0 < number <= self._highest)
        if frame.kind in _HEADER_FRAMES:
            self._header_stream = 0 if frame.flags & END_HEADERS else number
        elif self._header_stream == 0:
            if frame.kind == DATA and stream is not None and not stream.fits(frame):
                reason = "the request body has not the length that Content-Length says"
                self._refuse_stream(stream, ProtocolError(400, reason))
            elif frame.kind == PRIORITY_UPDATE:
                self._take_priority(frame)
            elif frame.kind == GOAWAY and not number and frame.size >= 8:
                self._leave()  # the wire would take it for the end of everything
                return
        self.wire.feed(frame, self)

    def _take_priority(self, frame: Frame) -> None:
        """RFC 9218 section 7.1."""
        if frame.stream or frame.size < 4:
            raise H2Error(ErrorCode.PROTOCOL_ERROR, "a PRIORITY_UPDATE frame without its stream")
        number = int.from_bytes(frame.payload[:4], "big") & 0x7FFFFFFF
        priority = priority_of(frame.payload[4:])
        stream = self._streams.get(number)
        if stream is not None:
            self._queue.prioritise(stream, priority)
        elif number > self._highest and len(self._wishes) < self.limits.streams:
            self._wishes[number] = priority

    def on_head(self, number: int, fields: Headers, *, ended: bool) -> None:
        """From the wire: a request."""
        self._highest = number
        self.budgets.give(CONTROLS, 1)
        wish = self._wishes.pop(number, None)
        if not self._has_room():
            self.budgets.spend(REFUSALS)
            self.wire.reset(number, ErrorCode.REFUSED_STREAM)
            return
        self._resting = False
        may_upgrade = self.limits.has_websockets
        try:
            request = request_of(fields, self.request_limits, ended=ended, may_upgrade=may_upgrade)
        except ProtocolError as error:
            is_head = (b":method", b"HEAD") in fields
            unknown = Request("HEAD" if is_head else "GET", b"*", "2", [])
            stream = self._streams[number] = H2Stream(self, number, unknown, ended=ended)
            self._refuse_stream(stream, error)
            return
        stream = self._streams[number] = H2Stream(self, number, request, ended=ended)
        stream.priority = wish or _wished(request.headers)
        self._begun.append(stream)
        self._requests += 1
        if self._requests >= self.limits.requests:
            self._retire()

    def _has_room(self) -> bool:
        """Whether one more stream may be served.

        A call of the application may go on when its stream is over, as long as it is told to by
        `--application-close-timeout`, or for work of its own. Of these, too, there is an end.
        """
        if self._state is LEAVING or len(self._streams) >= self.limits.streams:
            return False
        if len(self._unfinished) >= self.limits.streams:
            self._unfinished = [cycle for cycle in self._unfinished if cycle.is_running]
        return len(self._unfinished) < self.limits.streams

    def _begin_all(self) -> None:
        for stream in self._begun:
            if stream.number not in self._streams:
                continue  # it was reset with the same read
            try:
                stream.begin()
            except ProtocolError as error:
                self.sink.on_refused(stream, error)

    def on_trailers(self, number: int, fields: Headers) -> None:
        """From the wire: the end of a request, with fields that nobody is told."""
        stream = self._streams.get(number)
        if stream is None:
            return
        try:
            check_trailers(fields, self.request_limits)
            stream.take_end()
        except ProtocolError as error:
            self._refuse_stream(stream, error)

    def on_data(self, number: int, data: bytes, size: int, *, ended: bool) -> None:
        """From the wire: a piece of a body."""
        stream = self._streams.get(number)
        if stream is None:
            self.wire.credit(number, size)
            return
        try:
            stream.take(data, size, ended=ended)
        except ProtocolError as error:
            self._refuse_stream(stream, error)

    def _refuse_stream(self, stream: H2Stream, error: ProtocolError) -> None:
        self.budgets.spend(FAULTS)
        self.sink.on_refused(stream, error)

    def on_reset(self, number: int, *, by_peer: bool) -> None:
        """From the wire: a stream is gone."""
        if not by_peer:
            self.budgets.spend(FAULTS)
        stream = self._streams.get(number)
        if stream is not None:
            stream.lost()

    def on_room(self, number: int) -> None:
        """From the wire: a window has grown."""
        if number:
            stream = self._streams.get(number)
            if stream is not None and stream.waiting:
                self._queue.add(stream)
            return
        for stream in self._streams.values():
            if stream.waiting:
                self._queue.add(stream)

    def on_pong(self, payload: bytes) -> None:
        """From the wire: our PING is answered."""
        if payload == _DRAIN_PING and self._state is DRAINING:
            self._leave()

    def feed_eof(self) -> bool:
        """The peer sends no more, and so makes no room for anything: it is gone."""
        self._lose()
        return False

    def body_progress(self) -> int | None:
        """Each stream has a deadline of its own."""
        return None

    def hang_up(self) -> None:
        """Nothing is owed to who has closed its side."""

    # To the peer

    def send(self, stream: H2Stream) -> None:
        """From a stream: it has something to send."""
        self._queue.add(stream)
        if not self._feeding:
            self._pump()
            self.flush_soon()

    def _pump(self) -> None:
        """Let streams send, as long as there is something and the transport takes it."""
        queue, sink = self._queue, self.sink
        try:
            while queue and not sink.write_paused:
                stream = queue.first()
                waiting = stream.waiting
                if stream.push():
                    queue.rotate(stream)
                else:
                    queue.discard(stream)
                self._filled += waiting - stream.waiting
                if self._filled >= _WRITE_SIZE:
                    self._flush()
                if not sink.write_paused:
                    stream.resume()
        except H2Error as error:
            sink.on_refused(self, error)

    def flush_soon(self) -> None:
        """Write what the wire has when everybody who is at work has had his turn."""
        if not self._feeding and not self._flushing and self._state is not CLOSED:
            self._flushing = True
            self.sink.soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        if self._state is CLOSED:
            return
        self._filled = 0
        data = self.wire.take()
        if data:
            self.sink.write(data)
        if not self._streams:
            self._rest()

    def resume(self) -> None:
        """The transport takes bytes again."""
        self._resting = False
        self._pump()
        for stream in list(self._streams.values()):
            if not self.sink.write_paused:
                stream.resume()
        self._flush()

    # The end of streams, and of the connection

    def forget(self, stream: H2Stream) -> None:
        """From a stream: it is over."""
        self._queue.discard(stream)
        self._streams.pop(stream.number, None)
        cycle = stream.cycle
        if cycle is not None and cycle.is_running:
            self._unfinished.append(cycle)

    def _rest(self) -> None:
        """There are no streams: be idle, or wait for the rest of a head, or close."""
        if self._state is LEAVING or self._state is DRAINING:
            self._leave()
            self._state = CLOSED
            self.sink.linger()
        elif self.mid_head:
            self._resting = False
            self.sink.on_head()
        elif not self._resting:
            self._resting = True
            self.sink.on_idle()

    @property
    def is_draining(self) -> bool:
        """Whether the connection is to come to an end."""
        return self._state is DRAINING or self._state is LEAVING

    def drain(self) -> None:
        """Open no more streams, finish those that there are, then close (section 6.8)."""
        if self._state is CLOSED or self.is_draining:
            return
        self._retire()
        for stream in list(self._streams.values()):
            stream.drain()
        if self._resting and not self.sink.has_unread():
            self._leave()

    def _retire(self) -> None:
        """Say that no more streams are wanted: first of two times, for what is on its way."""
        if self._state is OPEN:
            self._state = DRAINING
            self._write(goaway(None, ErrorCode.NO_ERROR) + ping(_DRAIN_PING))
        elif self._requests >= self.limits.requests + self.limits.streams:
            self._leave()  # whether it has heard the first or not

    def _leave(self) -> None:
        """Say which stream was the last."""
        if self._state is not LEAVING and self._state is not CLOSED:
            self._state = LEAVING
            self._write(goaway(self._highest, ErrorCode.NO_ERROR))

    def _write(self, frame: bytes) -> None:
        """Send a frame of our own, behind those of the wire."""
        self.sink.write(self.wire.take() + frame)

    def refuse(self, error: ProtocolError) -> None:
        """The peer has broken the connection: say so, and close."""
        if self._state is CLOSED:
            return
        code = error.code if isinstance(error, H2Error) else ErrorCode.PROTOCOL_ERROR
        self._lose()
        self.wire.close(code, error.reason)
        data = self.wire.take()
        if data:
            self.sink.write(data)
        self.sink.linger()

    def lost(self) -> None:
        """The connection is gone."""
        self._lose()

    def _lose(self) -> None:
        self._state = CLOSED
        self._queue.clear()
        for stream in list(self._streams.values()):
            stream.lost()
        self._unfinished.clear()


def _wished(headers: Headers) -> Priority:
    values = [value for name, value in headers if name == b"priority"]
    return priority_of(b",".join(values)) if values else Priority()


def _settings(limits: StreamLimits, request_limits: RequestLimits) -> WireSettings:
    overhead = _FIELD_OVERHEAD * request_limits.header_count
    return WireSettings(
        max_streams=limits.streams,
        stream_window=min(limits.window, _MOST_WINDOW),
        # Streams whose application does not read must not be in the way of the others.
        connection_window=min(limits.window * limits.streams, _MOST_WINDOW),
        header_list=int(min(request_limits.headers_size + overhead, _MOST_WINDOW)),
        has_websockets=limits.has_websockets,
    )
