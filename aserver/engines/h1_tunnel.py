"""What is left of HTTP/1.1 once a request was upgraded: bytes, both ways (RFC 9110 section 7.8)."""

from collections.abc import Callable

from ..seams import Sink, Upgrading
from ..types import ProtocolError


class H1Tunnel:
    """A connection that speaks something else now: both its engine, and its cycle's tunnel.

    Attributes:
        feed: The cycle's own.
    """

    __slots__ = ("_cycle", "_held", "_sink", "_write", "feed")

    def __init__(self, sink: Sink, cycle: Upgrading) -> None:
        self._sink = sink
        self._write = sink.write
        self._cycle = cycle
        self.feed: Callable[[bytes], None] = cycle.feed
        self._held = False

    def __repr__(self) -> str:
        return f"<H1Tunnel held={self._held}>"

    # As the cycle's tunnel

    @property
    def is_full(self) -> bool:
        """Whether what is sent has to wait for the peer, or goes nowhere."""
        return self._sink.write_paused or self._sink.is_closing()

    def send(self, data: bytes) -> bool:
        """Send bytes. Returns False when `send()` should wait."""
        sink = self._sink
        self._write(data)
        # Who never waits by himself would else write to a closed transport, and never hear of it.
        return not sink.write_paused and not sink.is_closing()

    def hold(self) -> None:
        """Take no more bytes from the peer for now."""
        if not self._held:
            self._held = True
            self._sink.pause_reading()

    def release(self) -> None:
        """Take bytes from the peer again."""
        if self._held:
            self._held = False
            self._sink.resume_reading()

    def close(self) -> None:
        """Send what is buffered, then close."""
        self._let_go()
        # Whatever is unread, the peer shall get our last words (RFC 6455 section 7.1.1).
        self._sink.linger()

    def abort(self) -> None:
        """Close at once."""
        self._let_go()
        self._sink.abort(reset=True)

    def _let_go(self) -> None:
        self.feed = _ignore
        self._held = False

    def unsent(self) -> int:
        """How many bytes the peer has not taken yet."""
        return self._sink.unsent()

    def has_unread(self) -> bool:
        """Whether the peer has sent something that is not read yet."""
        return self._sink.has_unread()

    # In the engine's place

    @property
    def mid_head(self) -> bool:
        """There are no heads any more."""
        return False

    def feed_eof(self) -> bool:
        """The peer sends no more: half of a tunnel is none."""
        self._cycle.hung_up()
        return False

    def body_progress(self) -> None:
        """There are no bodies any more."""

    def refuse(self, error: ProtocolError) -> None:
        """Nothing that comes is a request; should it ever be taken for one, this ends it."""
        self.abort()

    def resume(self) -> None:
        """The transport takes bytes again."""
        self._cycle.resume()

    def hang_up(self) -> None:
        """Who has closed its side is heard of when what it sent is read."""

    def drain(self) -> None:
        """The server is stopping."""
        self._cycle.drain()

    def lost(self) -> None:
        """The connection is gone."""
        self._cycle.lost()
        # The connection and the cycle point back here.
        del self._sink, self._write, self._cycle, self.feed


def _ignore(data: bytes) -> None:
    """Nothing that comes matters any more."""
