"""Everything of HTTP/1 that is not reading: the order of exchanges, framing, persistence.

Theory of operation. The reader finds a request and calls `begin`; from then on an exchange is in
progress, and its framing is state of the engine. When its response is complete, the connection is
kept, closed, or, if the rest of the request is still on its way, drained (RFC 9112 section 9.6);
then the reader goes on with what it holds.
"""

from enum import Enum

from ..limits import DRAIN_BYTES, RequestLimits
from ..seams import Head, Parser, Receiver, Sink, Upgrading
from ..types import Headers, ProtocolError, Request
from ..worker_seams import Defaults
from .fields import CLOSE
from .h1_reader import BODY, CLOSED, DISCARD, HEAD, HELD, RequestReader
from .h1_tunnel import H1Tunnel
from .h1_wire import interim_response, last_chunk, refusal_response, unusual_pieces

# A response up to this size is one piece in memory and one write; copying a larger body costs more
# than handing it to the transport as it is.
_JOIN_LIMIT = 16_384


class Writing(Enum):
    """How the response in progress is framed (RFC 9112 section 6.3)."""

    IDLE = "no exchange"
    AWAITED = "not begun"
    LENGTH = "by content-length, or no body"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "by the end of the connection"
    BLOCKED = "no exchange, until the peer reads"


# An enum's attribute look-up is a call in Python 3.11.
IDLE, AWAITED, LENGTH, CHUNKED, UNTIL_CLOSE, BLOCKED = Writing


class H1:
    """HTTP/1.0 and HTTP/1.1 on one connection, seen from the server."""

    __slots__ = (
        "_defaults",
        "_draining",
        "_end_is_near",
        "_half_closed",
        "_keep_alive",
        "_keeps_alive",
        "_reader",
        "_request",
        "_sink",
        "_write",
        "_writing",
        "cycle",
        "feed",
    )

    def __init__(
        self,
        sink: Sink,
        defaults: Defaults,
        parse: Parser,
        limits: RequestLimits,
        *,
        keeps_alive: bool = True,
    ) -> None:
        self._sink = sink
        self._keeps_alive = keeps_alive
        self._write = sink.write
        self._defaults = defaults
        self._reader = RequestReader(self, sink, parse, limits)
        self.feed = self._reader.feed
        self._writing = IDLE
        self.cycle: Receiver | None = None  # of the exchange in progress
        self._request: Request | None = None
        self._keep_alive = True
        self._draining = False
        self._half_closed = False  # whether the peer sends no more
        self._end_is_near = False  # whether that was to be heard of when the response began

    def __repr__(self) -> str:
        reading, held = self._reader.state.name, len(self._reader.held)
        return f"<H1 reading={reading} writing={self._writing.name} held={held}>"

    # What the peer sends

    @property
    def mid_head(self) -> bool:
        """Whether a request head has arrived in part."""
        return self._reader.mid_head

    def begin(self, request: Request) -> None:
        """From the reader: a request is accepted, and it is its turn."""
        self._request = request
        self.cycle = cycle = self._sink.on_request(self, request)
        self._writing = AWAITED
        self._end_is_near = False
        self._keep_alive = request.keep_alive and self._keeps_alive
        cycle.start()

    def feed_eof(self) -> bool:
        """The peer sends no more. Returns True while it is still to be answered."""
        reader = self._reader
        if self._half_closed:
            return True  # heard before: event loops say it again when reading is resumed
        is_awaited = self._writing is AWAITED or (self._end_is_near and self.cycle is not None)
        if reader.state is BODY or not is_awaited:
            # Cut in the middle of a request; or between two; or it leaves while it is being
            # answered.
            if self._writing is UNTIL_CLOSE:
                self._sink.abort(reset=True)  # an end would look like the response's
            self._lose()
            return False
        self._half_closed = True
        if not reader.held:
            self._keep_alive = False
        return True

    def on_discarded(self, *, whole: bool) -> None:
        """From the reader: the rest of an answered request is over, or too long."""
        if whole:
            self._next()
        else:
            self._sink.linger()

    def consumed(self, size: int) -> None:
        """The application took `size` bytes: the peer may send more."""
        self._reader.consumed(size)

    def body_progress(self) -> int | None:
        """How many bytes of request body came since this was last asked; None: none are due."""
        arrived = self._reader.progress()
        if self._request is not None and self._request.expects_continue:
            return None  # it is for us to ask for them
        return arrived

    # What goes to the peer

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool:
        """Send a part of the response in progress. Returns False when `send()` should wait."""
        pieces = [] if head is None else self._head_pieces(head, body, more)
        if head is not None and more and not self._half_closed:
            # A FIN that came with the request is no leaving in the middle of the response, though
            # we are told of it only when this has begun. (More requests may stand before it.)
            self._end_is_near = self._reader.state is HELD and self._sink.has_finished()
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
        elif self._draining or self._reader.state is BODY:
            self._keep_alive = self._keep_alive and self._may_keep(request)
        if self._keep_alive and not head.flags and request.http_version == "1.1":
            return [head.block, framing, self._defaults.last_lines]  # most responses
        return unusual_pieces(head, request.http_version, framing, self._keep_alive, self._defaults)

    def _may_keep(self, request: Request) -> bool:
        """Whether to keep the connection although it drains, or has more to read."""
        reader = self._reader
        if reader.state is not BODY:
            return bool(reader.held)  # it drains, behind the requests that are here already
        # The request is still arriving. Its rest must be cheap to read, and sure to come.
        return (
            not self._draining
            and not request.expects_continue
            and (reader.left or 0) <= DRAIN_BYTES
        )

    def trailers(self, headers: Headers) -> None:
        """End the response in progress, which is chunked, with trailer fields."""
        self._write(last_chunk(headers))
        self._finish()

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file without reading them; see `aserver.seams.Channel`."""
        if self._writing is CHUNKED:
            return None
        return self._sink.send_file(fd, offset, count)

    def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response; not to HTTP/1.0 (RFC 9110 section 15.2)."""
        request = self._request
        if request is None or self._writing is not AWAITED or request.http_version == "1.0":
            return
        if status == 100:
            request.expects_continue = False
            self._reader.excuse()  # it begins to send now
        self._write(interim_response(status, headers))

    def abort(self) -> None:
        """The response cannot be completed. Only its framing can tell the peer, else a reset."""
        self._reader.close()
        if self._writing is UNTIL_CLOSE:
            self._sink.abort(reset=True)
        else:
            self._sink.close()

    def upgrade(self, cycle: Upgrading, protocol: bytes, head: Head) -> None:
        """Switch protocols: the connection is a tunnel of the cycle's from now on."""
        reader, sink = self._reader, self._sink
        lines = b"Upgrade: %b\r\nConnection: Upgrade\r\n" % protocol
        self._write(b"".join(unusual_pieces(head, "1.1", lines, True, self._defaults)))
        early = bytes(reader.held)  # the client may have begun to speak it
        reader.close()
        self.cycle = self._request = None
        self._writing = IDLE
        tunnel = H1Tunnel(sink, cycle)
        sink.on_upgraded(tunnel)
        cycle.upgraded(tunnel)
        reader.resume()
        if early:
            cycle.feed(early)
        if self._half_closed:
            cycle.hung_up()
            sink.close()
        elif self._draining:
            cycle.drain()
        self.lost()

    def refuse(self, error: ProtocolError) -> None:
        """Answer the peer's mistake, then close."""
        reader, cycle, request = self._reader, self.cycle, self._request
        answered = reader.state is DISCARD  # a second response would be taken for the next one's
        to_head = reader.is_to_head if request is None else request.method == "HEAD"
        reader.close()
        self.cycle = None
        if cycle is not None:
            cycle.lost()
            if self._writing is not AWAITED:
                self.abort()
                return
        if not answered:
            self._write(refusal_response(error, self._defaults, with_body=not to_head))
        self._writing = IDLE
        self._linger()

    # Between exchanges

    def _finish(self) -> None:
        """The response is complete."""
        self.cycle = self._request = None
        self._writing = IDLE
        reader = self._reader
        if reader.state is BODY:
            self._leave_unread()
        elif not self._keep_alive:
            self._close()
        elif (
            reader.held
            or reader.paused
            or self._draining
            or self._half_closed
            or self._sink.write_paused
        ):
            self._next()
        else:
            reader.state = HEAD
            self._sink.on_idle()

    def _close(self) -> None:
        """Close behind a complete response, so that the peer gets it before the end."""
        unread = self._reader.paused or bool(self._reader.held)
        self._reader.close()
        if unread:
            self._linger()
        else:
            self._sink.close()

    def _linger(self) -> None:
        """Close, but let the peer read what was sent although it may be sending still."""
        if self._half_closed:
            self._sink.close()
        else:
            self._sink.linger()

    def _leave_unread(self) -> None:
        """The request is still arriving: read its rest, or close so that the peer sees why."""
        if self._keep_alive:
            self._reader.discard()
            self._sink.on_drain()
        else:
            self._reader.close()
            self._sink.linger()

    def _next(self) -> None:
        """Begin with what is held, or else be idle."""
        self._sink.on_idle()
        if self._sink.write_paused:
            # Who does not read gets no more answers: see `resume`.
            self._writing = BLOCKED
            self._reader.pause()
            return
        if self._draining and not self._reader.held:
            self._close()  # while it is known whether there may be something unread
            return
        reader = self._reader
        try:
            reader.next()
        except ProtocolError as error:
            self._sink.on_refused(self, error)
            return
        if reader.state is CLOSED:
            pass  # the next request, an eager one, has been upgraded
        elif self._half_closed:
            self._go_on_half_closed()
        elif self._draining and reader.state is HEAD and not reader.held:
            self._close()

    def _go_on_half_closed(self) -> None:
        """Nothing comes but what was held: see what there is of it."""
        if self._reader.state is HEAD:
            if not self._reader.held or self._reader.mid_head:
                self._close()  # there is nothing, or half a head
        elif self._reader.state is BODY:
            self._lose()
            self._sink.close()
        elif self._writing is AWAITED:
            self._sink.on_half_closed()

    def resume(self) -> None:
        """The transport takes bytes again."""
        if self.cycle is not None:
            self.cycle.resume()
        elif self._writing is BLOCKED:
            self._writing = IDLE
            self._next()

    def hang_up(self) -> None:
        """The peer closed its sending side some time ago, and is not answered yet."""
        if self.cycle is not None and self._writing is AWAITED:
            self.cycle.hung_up()

    def drain(self) -> None:
        """Close after the exchanges that have begun, or the one that comes."""
        self._draining = True

    def lost(self) -> None:
        """The connection is gone."""
        self._lose()
        # The reader points back here.
        del self._reader, self._write, self.feed

    def _lose(self) -> None:
        """The peer is gone, whatever may still be on its way to it."""
        self._reader.close()
        cycle, self.cycle = self.cycle, None
        if cycle is not None:
            cycle.lost()
        self._writing = IDLE
