"""HTTP/2 on one connection (RFC 9113): its streams, who of them sends, and its end.

Theory of operation. The reader (`aserver.engines.h2_reader`) opens streams. What is sent waits with
its stream; `_pump` lets those send whose turn it is, piece by piece, as long as the transport takes
it. All that is to be written goes out in one piece: at the end of a read, or when everybody who is
at work has had his turn.
"""

from enum import Enum

from ..limits import RequestLimits, StreamLimits
from ..seams import Receiver, Sink
from ..types import ProtocolError
from ..worker_seams import Defaults
from .h2_budgets import Budgets
from .h2_frames import ErrorCode, H2Error, goaway, ping
from .h2_heads import ResponseFields
from .h2_reader import StreamReader
from .h2_sending import SendQueue
from .h2_stream import H2Stream
from .h2_wire import NewWire, WireSettings

# What is gathered before it is written: more would only be copied once more.
_WRITE_SIZE = 65_536
# What a header costs in SETTINGS_MAX_HEADER_LIST_SIZE besides its bytes (section 6.5.2).
_FIELD_OVERHEAD = 32
_DEFAULT_WINDOW = 65_535  # section 6.5.2
_MOST_WINDOW = 2**31 - 1
# Its answer tells that the peer knows of our GOAWAY (section 6.8).
_DRAIN_PING = b"aserver."


class State(Enum):
    """How far the connection's end is."""

    OPEN = "nobody has ended it"
    SPENT = "it has had its requests, and ends when there are no streams"
    DRAINING = "the peer was told to open no more streams, and may not know it yet"
    LEAVING = "the peer knows which stream was the last"
    CLOSED = "nothing is sent or taken any more"


class Waiting(Enum):
    """What the connection waits for, while it has no streams."""

    NOTHING = "it has some"
    REQUEST = "the next request"
    REST = "the rest of a request's head"


# An enum's attribute look-up is a call in Python 3.11.
OPEN, SPENT, DRAINING, LEAVING, CLOSED = State
NOTHING, REQUEST, REST = Waiting


class H2:
    """One connection, seen from the server.

    Attributes:
        streams: Those that are open, by number.
        queue: Those of them that have something to send.
        sent: How many bytes of bodies were sent.
        most_header_size: Of a request's header section, in bytes.
        is_stopping: Whether the server is.
    """

    __slots__ = (
        "_feeding",
        "_filled",
        "_flushing",
        "_held",
        "_pumping",
        "_reader",
        "_state",
        "_waiting",
        "budgets",
        "fields",
        "is_stopping",
        "limits",
        "most_header_size",
        "queue",
        "request_limits",
        "sent",
        "sink",
        "streams",
        "wire",
    )

    # Until the connection is lost.
    _reader: StreamReader

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
        self.most_header_size = _header_list(request_limits)
        self.budgets = Budgets(sink)
        self.fields = ResponseFields(defaults)
        self.wire = new_wire(_settings(limits, request_limits))
        self.queue: SendQueue[H2Stream] = SendQueue()
        self.streams: dict[int, H2Stream] = {}
        self._reader = StreamReader(self)
        self._state = OPEN
        self.is_stopping = False
        self._waiting = NOTHING
        self._feeding = False
        self._flushing = False
        self._held = False  # whether more has come than is looked at
        self._pumping = False
        self._filled = 0  # bytes of bodies that wait in the wire
        self.sent = 0
        sink.write(self.wire.take())  # section 3.4: our settings

    def __repr__(self) -> str:
        return f"<H2 {self._state.name} streams={len(self.streams)}>"

    # From the peer

    @property
    def mid_head(self) -> bool:
        """Whether a request head has come in part."""
        return self._reader.mid_head

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._state is not CLOSED:
            self._read(data)

    def _read(self, data: bytes | None) -> None:
        """Take bytes; or, with None, go on with those that have come."""
        self._feeding = True
        try:
            has_more = self._reader.go_on() if data is None else self._reader.feed(data)
        finally:
            self._feeding = False
        self._pump()
        self._flush()
        if has_more:
            self._hold()

    def _hold(self) -> None:
        """There is more to do than should be done at once: read nothing, and go on soon."""
        if not self._held and self._state is not CLOSED:
            self._held = True
            self.sink.pause_reading()
            self.sink.soon(self._go_on)

    def _go_on(self) -> None:
        if self._state is CLOSED:
            return
        self._held = False
        self.sink.resume_reading()
        try:
            self._read(None)
        except ProtocolError as error:
            self.sink.on_refused(self, error)
        except BaseException:  # an error of ours: out of `feed`, the event loop does this
            self.sink.abort(reset=True)
            raise

    def on_stream(self) -> None:
        """From the reader: a stream was opened."""
        self._waiting = NOTHING

    def feed_eof(self) -> bool:
        """The peer sends no more, and so makes no room for anything: it is gone."""
        self._lose()
        return False

    def body_progress(self) -> int | None:
        """Each stream has deadlines of its own."""
        return None

    def hang_up(self) -> None:
        """Nothing is owed to who has closed its side."""

    # To the peer

    def send(self, stream: H2Stream) -> None:
        """From a stream: it has something to send."""
        self.queue.add(stream)
        if len(self.streams) == 1 and not self._feeding and not self._pumping:
            self._pump()  # else the others shall have their say before
        self.flush_soon()

    def _pump(self) -> None:
        """Let streams send, as long as there is something and the transport takes it."""
        queue, sink = self.queue, self.sink
        self._pumping = True
        try:
            while queue and self._may_write():
                stream = queue.first()
                sent = stream.sent
                if stream.push():
                    queue.rotate(stream)
                    if stream.priority.incremental:
                        # The others come first when the connection's window lets somebody go on.
                        self.streams[stream.number] = self.streams.pop(stream.number)
                else:
                    queue.discard(stream)
                self._count(stream.sent - sent)
                if self._may_write() and stream.resume() and self._goes_before(stream):
                    self.flush_soon()  # with what comes of that, which goes before the others
                    return
        except H2Error as error:
            sink.on_refused(self, error)
        finally:
            self._pumping = False

    def _may_write(self) -> bool:
        return not self.sink.write_paused

    def _goes_before(self, stream: H2Stream) -> bool:
        """Whether a stream, if it had more to send, would have its turn before all that have."""
        return len(self.queue) > 0 and self.queue.is_before(stream)

    def _count(self, size: int) -> None:
        """So much of a body was sent."""
        self.sent += size
        self._filled += size
        if self._filled >= _WRITE_SIZE:
            self._flush()

    def flush_soon(self) -> None:
        """Write what the wire has when everybody who is at work has had his turn."""
        if not self._feeding and not self._flushing and self._state is not CLOSED:
            self._flushing = True
            self.sink.soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        if self._state is not CLOSED:
            self._pump()
            self._flush()

    def _flush(self) -> None:
        if self._state is CLOSED:
            return
        self._filled = 0
        if self._is_done:
            self.leave()  # in one piece with the last response, for who looks at nothing behind it
        data = self.wire.take()
        if data:
            self.sink.write(data)
        if not self.streams:
            self._rest()

    def resume(self) -> None:
        """The transport takes bytes again."""
        self._waiting = NOTHING  # for a request again, if there is nothing to be sent
        for stream in list(self.streams.values()):
            stream.resume()
        self.flush_soon()  # with what comes of that

    # The end of streams, and of the connection

    def forget(self, stream: H2Stream) -> None:
        """From a stream: it is over."""
        self.queue.discard(stream)
        self.streams.pop(stream.number, None)

    def on_cut_off(self, cycle: Receiver) -> None:
        """From a stream: a call of the application may go on without it."""
        self._reader.on_cut_off(cycle)

    def _rest(self) -> None:
        """There are no streams: be idle, or wait for the rest of a head, or close."""
        if self._is_done:
            self._state = CLOSED
            self.sink.linger()
            return
        before, self._waiting = self._waiting, REST if self.mid_head else REQUEST
        if self._waiting is before:
            return
        if before is NOTHING or self._waiting is REQUEST:
            self.sink.on_idle()
        if self._waiting is REST:
            self.sink.on_head()

    @property
    def _is_done(self) -> bool:
        """Whether it has come to its end; not so one that is still to make its first request."""
        if self.streams or self._state is OPEN:
            return False
        return self._state is LEAVING or (self._reader.requests > 0 and not self.mid_head)

    @property
    def is_leaving(self) -> bool:
        """Whether the peer knows that no more streams are served."""
        return self._state is LEAVING

    def drain(self) -> None:
        """Open no more streams, finish those that there are, then close (section 6.8)."""
        self.is_stopping = True
        for stream in list(self.streams.values()):
            stream.drain()
        if self._waiting is REQUEST and not self.sink.has_unread():
            # Nothing is on its way, or may be sent again: the peer knows that it was not served.
            self.leave()
            self._state = CLOSED
            self.sink.close()
        else:
            self._announce_end()

    def _announce_end(self) -> None:
        """Say that no more streams are wanted: the first of two times, for what is on its way."""
        if self._state is OPEN or self._state is SPENT:
            self._state = DRAINING
            self._write(goaway(None, ErrorCode.NO_ERROR) + ping(_DRAIN_PING))

    def retire(self) -> None:
        """From the reader: one connection should have no more requests.

        Clients that are not good at it, as those of the `h2` library, lose what they are waiting
        for when they are told. So the end comes when they wait for nothing; but it does come.
        """
        extra = self._reader.requests - self.limits.requests
        if self._state is OPEN:
            self._state = SPENT
        elif extra >= 2 * self.limits.streams:
            self.leave()  # whether it listens or not
        elif extra >= self.limits.streams:
            self._announce_end()

    def on_pong(self, payload: bytes) -> None:
        """From the reader: a PING of ours is answered."""
        if payload == _DRAIN_PING and self._state is DRAINING:
            self.leave()

    def leave(self) -> None:
        """Say which stream was the last."""
        if self._state is not LEAVING and self._state is not CLOSED:
            self._state = LEAVING
            self._write(goaway(self._reader.highest, ErrorCode.NO_ERROR))

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
        del self._reader  # it points back here

    def _lose(self) -> None:
        self._state = CLOSED
        self.queue.clear()
        for stream in list(self.streams.values()):
            stream.lost()


def _header_list(limits: RequestLimits) -> int:
    """Section 6.5.2: all fields of a request, with what each of them costs besides its bytes."""
    overhead = _FIELD_OVERHEAD * limits.header_count + limits.request_line
    return int(min(limits.headers_size + overhead, _MOST_WINDOW))


def _settings(limits: StreamLimits, request_limits: RequestLimits) -> WireSettings:
    window = min(max(limits.window, _DEFAULT_WINDOW), _MOST_WINDOW)
    return WireSettings(
        max_streams=limits.streams,
        # Before the peer has read our settings, it takes the default for true.
        stream_window=window,
        # Streams whose application does not read must not be in the way of the others. Twice that,
        # because what has been read is told the peer when it is as much as half.
        connection_window=min(2 * window * limits.streams, _MOST_WINDOW),
        header_list=_header_list(request_limits),
        has_websockets=limits.has_websockets,
    )
