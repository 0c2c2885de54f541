"""The receiving half of HTTP/1: from bytes to requests and their bodies.

Theory of operation. A head is held until all of it is there, checked and accepted as a whole; a
body is passed on as it comes. One request is read at a time: what comes behind it is held, without
a look at it, until the request is answered (RFC 9112 section 9.3.2), and if it is much, no more is
read from the peer. So memory is bounded, and no request is begun that may never get its turn.
"""

from enum import Enum

from ..limits import DRAIN_BYTES, RequestLimits
from ..seams import Exchanges, Parser, Sink
from ..types import ProtocolError, Request
from .chunked import COMPLETE, ChunkedBody
from .grammar import check_unfinished
from .guard import accept
from .heads import HeadMemory


class Reading(Enum):
    """What the next bytes from the peer are."""

    HEAD = "a request head"
    BODY = "a request body"
    DISCARD = "a request body that nobody wants"
    HELD = "what follows a request that is not answered yet"
    CLOSED = "nothing that matters"


# An enum's attribute look-up is a call in Python 3.11.
HEAD, BODY, DISCARD, HELD, CLOSED = Reading


class RequestReader:
    """What one peer sends.

    Attributes:
        state: What comes next. The engine sets HEAD when it is idle again with nothing held.
        held: Bytes of a head that is not complete, of framing, or behind the request in progress.
        left: Of the body that is arriving, in bytes; None: chunked.
        paused: Whether nothing is read from the peer at present.
    """

    __slots__ = (
        "_advancing",
        "_arrived",
        "_chunks",
        "_exchanges",
        "_excused",
        "_limits",
        "_memory",
        "_parse",
        "_scanned",
        "_sink",
        "_skipped",
        "_to_head",
        "_unread",
        "held",
        "left",
        "paused",
        "state",
    )

    def __init__(
        self, exchanges: Exchanges, sink: Sink, parse: Parser, limits: RequestLimits
    ) -> None:
        self._exchanges = exchanges
        self._sink = sink
        self._parse = parse
        self._limits = limits
        self._memory = HeadMemory(limits)
        self.state = HEAD
        self.held = bytearray()
        self._scanned = 0  # of a head that is not complete
        self._skipped = False  # whether an empty line came before the head
        self._to_head = False  # whether a head was refused that asked for no body
        self._advancing = False  # whether `_advance` is at work
        self.left: int | None = 0
        self._chunks: ChunkedBody | None = None
        self._unread = 0  # body bytes that wait for the application, or were discarded
        self._arrived = 0  # body bytes since `progress` was last asked for
        self._excused = False  # whether they had no chance to, meanwhile
        self.paused = False

    def close(self) -> None:
        """Whatever comes, it does not matter any more."""
        self.state = CLOSED
        self.held.clear()

    @property
    def mid_head(self) -> bool:
        """Whether a request head has arrived in part."""
        return self.state is HEAD and bool(self.held) and not self._advancing

    @property
    def is_to_head(self) -> bool:
        """Whether what is being refused is a HEAD request, whose response has no body."""
        return self._to_head or self.held.startswith(b"HEAD ")

    # From the peer

    def feed(self, data: bytes) -> None:
        """Take bytes. Raises ProtocolError."""
        if not self.held:
            if self.state is HEAD and data.endswith(b"\r\n\r\n"):
                line, _, block = data.partition(b"\r\n")
                request = self._memory.recall(line, block)
                if (
                    request is None
                    and line
                    and not block.startswith(b"\r\n")
                    and block.find(b"\r\n\r\n") == len(block) - 4
                ):
                    request = self._accept(line, block)
                if request is not None:
                    # The usual case: the whole of one head, and nothing more.
                    self._skipped = False
                    if request.content_length == 0:
                        self.state = HELD
                    else:
                        self._expect_body(request.content_length)
                    self._exchanges.begin(request)
                    return
            elif self.state is BODY and self.left is not None and len(data) <= self.left:
                self._take_piece(data)
                return
        self.held += data
        if not self._advancing:
            self._advance()

    def _advance(self) -> None:
        """Go through what is held, as far as one can."""
        held = self.held
        self._advancing = True
        try:
            while held:
                if self.state is HEAD:
                    if not self._take_head():
                        break
                elif self.state is HELD:
                    if len(held) > self._limits.buffer:
                        self.pause()
                    break
                elif self.state is CLOSED:
                    held.clear()
                elif not self._take_body():
                    break
        finally:
            self._advancing = False
        if self.paused and self.state is HEAD:
            self.resume()

    # Heads

    def _take_head(self) -> bool:
        """Take a head from what is held; returns whether there was a whole one."""
        held = self.held
        if held.startswith(b"\r\n") and not self._skipped:
            # RFC 9112 section 2.2: an empty line before the request line is to be ignored.
            self._skipped = True
            del held[:2]
            return True
        end = held.find(b"\r\n\r\n", max(0, self._scanned - 3)) + 4
        if held == b"\r" and not self._skipped:
            return False  # half of an empty line
        if end < 4:
            if not self._scanned:
                self._sink.on_head()
            self._scanned = check_unfinished(held, self._scanned, self._limits)
            return False
        line, _, block = bytes(held[:end]).partition(b"\r\n")
        request = self._memory.recall(line, block) or self._accept(line, block)
        del held[:end]
        self._scanned = 0
        self._skipped = False
        if request.content_length == 0:
            self.state = HELD
            if self.paused and len(held) <= self._limits.buffer // 2:
                self.resume()
        else:
            self._expect_body(request.content_length)
        self._exchanges.begin(request)
        return True

    def _accept(self, line: bytes, block: bytes) -> Request:
        """Have a head looked at that is not known."""
        try:
            request = accept(line, block, self._parse, self._limits)
        except ProtocolError:
            self._to_head = line.startswith(b"HEAD ")
            raise
        # Before the application can change what is to be remembered.
        self._memory.remember(line, block, request)
        return request

    def next(self) -> None:
        """The request in progress is answered: read the next one. Raises ProtocolError."""
        self.state = HEAD
        if not self._advancing:
            self._advance()

    # Bodies

    def _expect_body(self, size: int | None) -> None:
        self.state = BODY
        self.left = size
        self._unread = self._arrived = 0
        self._excused = False
        if self.paused:
            self.resume()  # whatever is held: it may be nothing that gives credit
        if size is None:
            self._chunks = ChunkedBody(self._limits)

    def _take_body(self) -> bool:
        """Take what there is of the body; returns False if more is needed to go on."""
        held = self.held
        if self.left is not None:
            piece = bytes(held[: self.left])
            del held[: len(piece)]
            self._take_piece(piece)
            return True
        assert self._chunks is not None
        before = len(held)
        piece = self._chunks.decode(held)
        complete = self._chunks.state is COMPLETE
        if piece:
            self._pass_on(piece)
        if complete:
            self._chunks = None
            self._end_body()
        return complete or len(held) < before

    def _take_piece(self, piece: bytes) -> None:
        assert self.left is not None
        self.left -= len(piece)
        self._pass_on(piece)
        if not self.left:
            self._end_body()

    def _pass_on(self, piece: bytes) -> None:
        self._unread += len(piece)
        self._arrived += len(piece)
        if self.state is BODY:
            if self._unread > self._limits.buffer:
                self.pause()
            cycle = self._exchanges.cycle
            assert cycle is not None
            cycle.feed(piece)
        elif self._unread > DRAIN_BYTES:
            self.close()
            self._exchanges.on_discarded(whole=False)

    def _end_body(self) -> None:
        state, self.state = self.state, HELD
        if state is BODY:
            cycle = self._exchanges.cycle
            assert cycle is not None
            cycle.feed_eof()
        elif state is DISCARD:
            self._exchanges.on_discarded(whole=True)
        else:
            self.state = state

    def discard(self) -> None:
        """Nobody wants the rest of the body."""
        self.state = DISCARD
        self._unread = 0
        self.resume()

    def consumed(self, size: int) -> None:
        """The application took `size` bytes of body: read on when half of the buffer is free."""
        self._unread -= size
        buffer = self._limits.buffer
        waiting = len(self.held) if self.state is HELD else 0
        if self.paused and self._unread <= buffer // 2 and waiting <= buffer:
            self.resume()

    def progress(self) -> int | None:
        """How many bytes of body came since this was last asked.

        None if none are due, or if for some of the time nothing was read from the peer.
        """
        arrived, self._arrived = self._arrived, 0
        excused, self._excused = self._excused, self.paused
        return None if excused or self.paused or self.state is not BODY else arrived

    def excuse(self) -> None:
        """The peer could not send for some of the time."""
        self._excused = True

    # Credit

    def pause(self) -> None:
        """Take no more from the peer for now."""
        if not self.paused:
            self.paused = self._excused = True
            self._sink.pause_reading()

    def resume(self) -> None:
        """Take more from the peer."""
        if self.paused:
            self.paused = False
            self._sink.resume_reading()
