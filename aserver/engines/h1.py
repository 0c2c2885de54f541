"""Everything of HTTP/1 that is not parsing: the order of exchanges, framing, persistence.

Theory of operation. The parser calls `on_head`, `on_body` and `on_end`; each request becomes a
cycle at once and waits in a queue if an earlier one is not answered yet (RFC 9112 section 9.3.2:
responses in order). No more than a slice of bytes is parsed ahead: what comes behind it is held,
and reading is paused. One exchange is in progress at a time, so its framing is state of the engine.
When its response is complete, the connection is kept, closed, or, if the rest of the request is
still on its way, drained (RFC 9112 section 9.6).
"""

from collections import deque
from collections.abc import Callable
from enum import Enum

from ..limits import DRAIN_BYTES, MAX_HEAD_SIZE, READ_HIGH_WATER
from ..types import (
    Defaults,
    Head,
    Headers,
    Parser,
    ParserEvents,
    ProtocolError,
    Receiver,
    Request,
    Sink,
)
from .fields import CLOSE
from .guard import accept
from .h1_wire import interim_response, refusal, unusual_pieces
from .heads import HeadMemory

# So many bytes go to the parser at once while it looks for heads: it cannot be stopped in the
# middle, and every request in them becomes a cycle.
_SLICE = 4096
# A response up to this size is one piece in memory and one write; copying a larger body costs more
# than handing it to the transport as it is.
_JOIN_LIMIT = 16_384


class Reading(Enum):
    """What the next bytes from the peer are."""

    HEAD = "a request head"
    BODY = "a request body"
    DISCARD = "a request body that nobody wants"
    CLOSED = "nothing that matters"


class Writing(Enum):
    """How the response in progress is framed (RFC 9112 section 6.3)."""

    IDLE = "no exchange"
    AWAITED = "not begun"
    LENGTH = "by content-length, or no body"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "by the end of the connection"
    BLOCKED = "no exchange, until the peer reads"


# An enum's attribute look-up is a call in Python 3.11.
HEAD, BODY, DISCARD, CLOSED = Reading
IDLE, AWAITED, LENGTH, CHUNKED, UNTIL_CLOSE, BLOCKED = Writing


class H1:
    """HTTP/1.0 and HTTP/1.1 on one connection, seen from the server."""

    __slots__ = (
        "_cycle",
        "_defaults",
        "_draining",
        "_head_size",
        "_incoming",
        "_keep_alive",
        "_last",
        "_left",
        "_memory",
        "_offer",
        "_parse",
        "_parser",
        "_paused",
        "_pending",
        "_queue",
        "_reading",
        "_refusal",
        "_request",
        "_sink",
        "_starting",
        "_unread",
        "_whole",
        "_write",
        "_writing",
    )

    def __init__(
        self, sink: Sink, defaults: Defaults, parser: Callable[[ParserEvents], Parser]
    ) -> None:
        self._sink = sink
        self._write = sink.write
        self._defaults = defaults
        self._parser = parser(self)
        self._parse = self._parser.feed
        self._memory = HeadMemory()
        self._reading = HEAD
        self._writing = IDLE
        self._cycle: Receiver | None = None  # the exchange in progress
        self._request: Request | None = None
        self._incoming: Receiver | None = None  # whose body is arriving
        self._left: int | None = 0  # of that body; None: chunked
        self._last = False  # whether its client wants no answer behind it
        self._queue: deque[tuple[Receiver, Request]] | None = None
        self._pending = b""  # behind the queue, not parsed yet
        self._offer: tuple[bytes, bytes] | None = None  # of the head at hand, for the memory
        self._head_size = 0  # of a head that is not complete
        self._whole = True  # whether the parser has nothing left over, if it is to read a head
        self._unread = 0  # body bytes that wait for their application
        self._paused = False
        self._keep_alive = True
        self._draining = False
        self._starting = False  # whether `_start_waiting` is at work
        self._refusal: ProtocolError | None = None  # waits for the exchange in progress

    def __repr__(self) -> str:
        waiting = len(self._queue or ())
        return f"<H1 reading={self._reading.name} writing={self._writing.name} waiting={waiting}>"

    # What the peer sends

    @property
    def mid_head(self) -> bool:
        """Whether a request head has arrived in part."""
        return self._head_size > 0

    def feed(self, data: bytes, sliced: bool = False) -> None:
        """Take bytes from the peer. Raises ProtocolError."""
        if not sliced and (len(data) > _SLICE or self._queue):
            self._feed_slices(data)
            return
        whole = data.endswith(b"\r\n\r\n")
        if self._reading is HEAD:
            if whole and self._whole and self._writing is IDLE and not self._head_size:
                line, _, block = data.partition(b"\r\n")
                known = self._memory.recall(line, block)
                if known is not None:
                    self._open(known)
                    return
                self._offer = line, block
            self._head_size += len(data)
        elif self._reading is CLOSED:
            return
        elif self._left is None:
            self._head_size += len(data)  # chunk sizes, extensions, trailers
        elif len(data) > self._left:
            self._head_size = len(data) - self._left  # behind the body: of the next head
        try:
            self._parse(data)
        except ProtocolError:
            raise  # by the guard; a frame with a name for it would keep the engine alive
        except Exception as error:
            self._recover(error, data)
        self._whole = whole
        self._offer = None
        if self._head_size > MAX_HEAD_SIZE:
            what = "head is" if self._reading is HEAD else "chunk extensions or trailers are"
            raise ProtocolError(431, f"the request {what} larger than {MAX_HEAD_SIZE} bytes")

    def _feed_slices(self, data: bytes) -> None:
        """Parse step by step, to be able to stop when requests pile up."""
        position = 0
        while position < len(data):
            if self._queue and self._reading is HEAD:
                self._pending += data[position:]
                return
            size = max(_SLICE, self._left or 0) if self._reading is BODY else _SLICE
            self.feed(data[position : position + size], sliced=True)
            position += size

    def _recover(self, error: Exception, data: bytes) -> None:
        try:
            self._parser.recover(error, data)
            self._parse = self._parser.feed
        except ProtocolError:
            if self._reading is not CLOSED:  # behind "Connection: close" nothing matters
                raise

    def feed_eof(self) -> bool:
        """The peer sends no more. Returns True while it is still to be answered."""
        if self._incoming is not None or self._writing is not AWAITED:
            # Cut in the middle of a request; or between two; or it leaves while it is being
            # answered.
            if self._writing is UNTIL_CLOSE:
                self._sink.abort(reset=True)  # an end would look like the response's
            self._lose()
            return False
        self._reading = CLOSED
        if self._queue:
            self._queue[-1][1].keep_alive = False
        else:
            self._keep_alive = False
        return True

    def on_head(self, method: bytes, target: bytes, version: str, headers: Headers) -> None:
        """From the parser: a request head."""
        if self._reading is CLOSED:
            return
        self._head_size = 0
        request = accept(method, target, version, headers)
        if self._offer is not None:
            # Before the application can change what is to be remembered.
            self._memory.remember(*self._offer, request)
        self._open(request)

    def _open(self, request: Request) -> None:
        """A request begins; it is answered now or, if others wait for their answer, in its turn."""
        cycle = self._sink.on_request(self, request)
        if request.content_length != 0:
            self._reading = BODY
            self._incoming = cycle
            self._left = request.content_length
            self._last = not request.keep_alive
        elif not request.keep_alive:
            self._reading = CLOSED
        if self._writing is IDLE:
            self._begin(cycle, request)
        else:
            if self._queue is None:
                self._queue = deque()
            self._queue.append((cycle, request))
            self._pause()

    def _begin(self, cycle: Receiver, request: Request) -> None:
        """It is this exchange's turn."""
        self._cycle = cycle
        self._request = request
        self._writing = AWAITED
        self._keep_alive = request.keep_alive
        cycle.start()

    def on_body(self, data: bytes) -> None:
        """From the parser: a piece of a request body."""
        size = len(data)
        if self._left is not None:
            self._left -= size
        else:
            self._head_size = 0
        if self._incoming is not None:
            self._unread += size
            if self._unread > READ_HIGH_WATER:
                self._pause()
            self._incoming.feed(data)
        elif self._reading is DISCARD:
            self._unread += size
            if self._unread > DRAIN_BYTES:
                self._reading = CLOSED
                self._sink.linger()

    def on_end(self) -> None:
        """From the parser: a request is complete."""
        if self._reading is BODY:
            self._reading = CLOSED if self._last else HEAD
            if self._left is None:
                self._head_size = 0
            cycle, self._incoming = self._incoming, None
            assert cycle is not None
            cycle.feed_eof()
        elif self._reading is DISCARD:
            self._reading = HEAD
            self._head_size = 0
            self._unread = 0
            self._next()

    def consumed(self, cycle: Receiver, size: int) -> None:
        """The application took `size` bytes: read on when less than half of the buffer is full."""
        self._unread -= size
        if self._paused and self._unread <= READ_HIGH_WATER // 2 and not self._queue:
            self._resume_reading()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._sink.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._sink.resume_reading()

    # What goes to the peer

    def respond(self, cycle: Receiver, head: Head | None, body: bytes, more: bool) -> bool:
        """Send a part of the response in progress. Returns False when `send()` should wait."""
        pieces = [] if head is None else self._head_pieces(head, body, more)
        if self._writing is CHUNKED:
            if body:
                pieces += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                pieces.append(b"0\r\n\r\n")
        elif body:
            pieces.append(body)
        if len(body) >= _JOIN_LIMIT:
            self._sink.writelines(pieces)
        elif pieces:
            self._write(b"".join(pieces))
        if not more:
            self._finish()
            return True
        # An application that never waits by itself would else write to a closed transport, and
        # never let anybody tell it.
        return not self._sink.write_paused and not self._sink.is_closing()

    def _head_pieces(self, head: Head, body: bytes, more: bool) -> list[bytes]:
        """Decide the framing and persistence; returns the head's pieces."""
        request = self._request
        assert request is not None
        self._writing = LENGTH
        framing = b""
        if head.content_length is None and not head.bodyless:
            if not more:
                framing = b"content-length: %d\r\n" % len(body)
            elif request.http_version == "1.1":
                self._writing = CHUNKED
                framing = b"transfer-encoding: chunked\r\n"
            else:
                self._writing = UNTIL_CLOSE
                self._keep_alive = False
        if head.flags & CLOSE:
            self._keep_alive = False
        elif self._draining or self._incoming is not None:
            self._keep_alive = self._keep_alive and self._may_keep(request)
        if self._keep_alive and not head.flags and request.http_version == "1.1":
            return [head.block, framing, self._defaults.last_lines]  # most responses
        return unusual_pieces(head, request.http_version, framing, self._keep_alive, self._defaults)

    def _may_keep(self, request: Request) -> bool:
        """Whether to keep the connection although it drains, or has more to read."""
        if self._queue:
            return True
        if self._draining:
            return False
        # The request is still arriving. Its rest must be cheap to read, and sure to come.
        return not request.expects_continue and (self._left or 0) <= DRAIN_BYTES

    def inform(self, cycle: Receiver, status: int, headers: Headers) -> None:
        """Send an interim response; not to HTTP/1.0 (RFC 9110 section 15.2)."""
        request = self._request
        if request is None or self._writing is not AWAITED or request.http_version == "1.0":
            return
        if status == 100:
            request.expects_continue = False
        self._write(interim_response(status, headers))

    def abort(self, cycle: Receiver) -> None:
        """The response cannot be completed. Only its framing can tell the peer, else a reset."""
        self._reading = CLOSED
        if self._writing is UNTIL_CLOSE:
            self._sink.abort(reset=True)
        else:
            self._sink.close()

    def refuse(self, error: ProtocolError) -> None:
        """Answer the peer's mistake as soon as it is its turn, then close."""
        answered = self._reading is DISCARD  # a second response would be taken for the next one's
        self._reading = CLOSED
        if answered:
            self._sink.linger()
            return
        broken, self._incoming = self._incoming, None
        if broken is not None and broken is not self._cycle:
            assert self._queue is not None
            self._queue.pop()
            broken.lost()
        elif broken is not None:
            self._cycle = None
            broken.lost()
            if self._writing is not AWAITED:
                self._sink.close()
                return
        if self._cycle is None and self._writing is not BLOCKED:
            self._answer(error)
        else:
            self._refusal = error

    def _answer(self, error: ProtocolError) -> None:
        self._write(refusal(error, self._defaults))
        self._writing = IDLE
        self._sink.linger()

    # Between exchanges

    def _finish(self) -> None:
        """The response is complete."""
        cycle, self._cycle, self._request = self._cycle, None, None
        self._writing = IDLE
        if self._incoming is not None and self._incoming is cycle:
            self._leave_unread()
        elif not self._keep_alive:
            self._close()
        elif (
            self._queue
            or self._paused
            or self._draining
            or self._sink.write_paused
            or self._refusal is not None
        ):
            self._next()
        else:
            self._sink.on_idle()

    def _close(self) -> None:
        """Close behind a complete response, so that the peer gets it before the end."""
        self._reading = CLOSED
        if self._paused or self._pending:
            self._sink.linger()
        else:
            self._sink.close()

    def _leave_unread(self) -> None:
        """The request is still arriving: read its rest, or close so that the peer sees why."""
        self._incoming = None
        self._unread = 0
        self._resume_reading()
        if self._keep_alive:
            self._reading = DISCARD
            self._sink.on_drain()
        else:
            self._reading = CLOSED
            self._sink.linger()

    def _next(self) -> None:
        """Begin the exchange that waits, or else be idle."""
        if self._sink.write_paused:
            # Who does not read gets no more answers: see `resume`.
            self._writing = BLOCKED
            self._pause()
            self._sink.on_idle()
            return
        if self._queue:
            self._start_waiting()
            if self._cycle is None:
                return
        elif self._refusal is not None:
            self._answer(self._refusal)
            return
        elif self._draining:
            self._close()
            return
        else:
            self._sink.on_idle()
        if self._paused:
            self._read_on()

    def _start_waiting(self) -> None:
        """Start the request that waits; the next too, if an eager application answers at once."""
        if self._starting:
            return
        self._starting = True
        while self._queue and self._writing is IDLE and self._keep_alive:
            self._begin(*self._queue.popleft())
        self._starting = False

    def _read_on(self) -> None:
        """Parse what was held behind the queue, then take more from the peer."""
        pending, self._pending = self._pending, b""
        try:
            if pending:
                self.feed(pending)
        except ProtocolError as error:
            self._sink.on_refused(self, error)
        if not self._queue and self._unread <= READ_HIGH_WATER // 2:
            self._resume_reading()

    def resume(self) -> None:
        """The transport takes bytes again."""
        if self._cycle is not None:
            self._cycle.resume()
        elif self._writing is BLOCKED:
            self._writing = IDLE
            self._next()

    def hang_up(self) -> None:
        """The peer closed its sending side some time ago, and is not answered yet."""
        if self._cycle is not None and self._writing is AWAITED:
            self._cycle.hung_up()

    def drain(self) -> None:
        """Close after the exchanges that have begun, or the one that comes."""
        self._draining = True

    def lost(self) -> None:
        """The connection is gone."""
        self._lose()
        self._parser.close()
        del self._parse, self._write

    def _lose(self) -> None:
        """The peer is gone, whatever may still be on its way to it."""
        self._reading = CLOSED
        waiting = [cycle for cycle, _ in self._queue or ()]
        for cycle in (self._cycle, *waiting):
            if cycle is not None:
                cycle.lost()
        self._cycle = self._incoming = self._queue = self._refusal = None
        self._writing = IDLE
