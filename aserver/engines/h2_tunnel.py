"""A stream of HTTP/2 that speaks something else now: bytes, both ways (RFC 8441 section 5)."""

from typing import Protocol

from ..seams import Head, Sink, Upgrading
from .h2_frames import ErrorCode


class Carrier(Protocol):
    """The stream, seen from its tunnel."""

    @property
    def waiting(self) -> int: ...

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool: ...

    def consumed(self, size: int) -> None: ...

    def reset(self, code: int) -> None: ...


class H2Tunnel:
    """The tunnel of one cycle; see `aserver.seams.Tunnel`."""

    __slots__ = ("_cycle", "_ended", "_held", "_owed", "_sink", "_stream")

    def __init__(self, stream: Carrier, sink: Sink, cycle: Upgrading) -> None:
        self._stream = stream
        self._sink = sink
        self._cycle: Upgrading | None = cycle
        self._held = False
        self._ended = False  # whether the peer sends no more
        self._owed = 0  # bytes that were taken while it was held, without credit for more

    def __repr__(self) -> str:
        return f"<H2Tunnel held={self._held} {self._stream!r}>"

    # From the stream

    def feed(self, data: bytes) -> None:
        """Pass on what the peer sends, and let it send more unless it is held."""
        if self._cycle is not None:
            self._cycle.feed(data)
        if self._held:
            self._owed += len(data)
        else:
            self._stream.consumed(len(data))

    def feed_eof(self) -> None:
        """The peer sends no more: half of a tunnel is none. Of a connection that is held, the end
        would wait behind what came before; here a frame has brought it.
        """
        self._ended = True
        self._end()

    def _end(self) -> None:
        if self._cycle is not None and not self._held:
            self._cycle.hung_up()
            self.close()

    def drain(self) -> None:
        """The server is stopping."""
        if self._cycle is not None:
            self._cycle.drain()

    # As the cycle's tunnel

    @property
    def is_full(self) -> bool:
        """Whether what is sent has to wait for the peer, or goes nowhere."""
        sink = self._sink
        return self._stream.waiting > 0 or sink.write_paused or sink.is_closing()

    def send(self, data: bytes) -> bool:
        """Send bytes. Returns False when `send()` should wait."""
        return self._stream.respond(None, data, True)

    def hold(self) -> None:
        """Let the peer send no more than its window allows by now."""
        self._held = True

    def release(self) -> None:
        """Take bytes from the peer again."""
        self._held = False
        owed, self._owed = self._owed, 0
        if owed:
            self._stream.consumed(owed)
        if self._ended and self._cycle is not None:
            self._sink.soon(self._end)  # its cycle is in the middle of its work

    def close(self) -> None:
        """Send what is buffered, then end the stream, though the peer may be sending."""
        self._cycle = None
        self.release()
        self._stream.respond(None, b"", False)

    def abort(self) -> None:
        """End at once: what a reset is to a connection."""
        self._cycle = None
        self._stream.reset(ErrorCode.CANCEL)

    def unsent(self) -> int:
        """How many bytes the peer has not taken yet, as far as one can know."""
        return self._stream.waiting + self._sink.unsent()

    def has_unread(self) -> bool:
        """Whether the peer has sent something that is not read yet."""
        return self._sink.has_unread()
