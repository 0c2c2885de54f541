"""The seams: how the layers that a byte goes through see each other.

They are `Protocol` classes, so that each layer is tested against a fake of the next. The seams
between a worker and its connections are in `aserver.worker_seams`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from .types import Headers, ProtocolError, Request
from .worker_seams import Expiring


class Head(Protocol):
    """A checked response head: `aserver.engines.fields.ResponseHead`."""

    status: int
    block: bytes
    bodyless: bool
    content_length: int | None
    flags: int

    def fields(self) -> Headers:
        """The application's fields, names in lower case."""


class Receiver(Protocol):
    """A cycle, seen from an engine: it takes what the peer sends for one request."""

    @property
    def is_running(self) -> bool:
        """Whether the call of the application has begun and not ended."""

    def start(self) -> None:
        """It is this request's turn: run the application."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the request body. Never blocks; see `Channel.consumed`."""

    def feed_eof(self) -> None:
        """The request body is complete. Not called for a request that has none."""

    def lost(self) -> None:
        """The peer is gone, or its request is broken: nothing comes, nothing can be sent."""

    def resume(self) -> None:
        """`Channel.respond` returned False before; now there is room again."""

    def hung_up(self) -> None:
        """The peer sends no more, and may be gone; it can be answered still."""


class Tunnel(Protocol):
    """What an upgraded request has in place of an exchange: bytes, both ways."""

    @property
    def is_full(self) -> bool:
        """Whether what is sent has to wait for the peer."""

    def send(self, data: bytes) -> bool:
        """Send bytes. Returns False when `send()` should wait for `resume()`.

        Who sends, be it nothing, is told by that when there is room again.
        """

    def hold(self) -> None:
        """Take no more bytes from the peer for now."""

    def release(self) -> None:
        """Take bytes from the peer again."""

    def close(self) -> None:
        """Send what is buffered, then close, though the peer may be sending.

        The cycle is fed nothing any more.
        """

    def abort(self) -> None:
        """Close at once, so that the peer sees an error. Here, too, nothing more is fed."""

    def unsent(self) -> int:
        """How many bytes of what was sent the peer has not taken yet, as far as one can know."""

    def has_unread(self) -> bool:
        """Whether the peer has sent something that is not read yet."""


class Upgrading(Receiver, Protocol):
    """A cycle whose request may turn into something else.

    Then `feed` has the tunnel's bytes, and `hung_up` is the end: half of a tunnel is none.
    """

    def upgraded(self, tunnel: Tunnel) -> None:
        """There is a tunnel in place of the exchange."""

    def drain(self) -> None:
        """The server is stopping: come to an end."""


# An HTTP/1 parser: from the field lines of a head, the empty line that ends it included, to its
# fields, names in lower case, values without the white space around them. It may raise
# ProtocolError, and must for a name that is no token or has no colon: it is called with lines in
# which there is no control character but their ends, and its fields are counted afterwards (see
# `aserver.engines.grammar.read_fields`).
Parser = Callable[[bytes], Headers]


class Exchanges(Protocol):
    """Who answers the requests that a reader finds: the HTTP/1 engine, seen from its own reader."""

    cycle: Receiver | None  # of the exchange in progress

    def begin(self, request: Request) -> None:
        """A request head is accepted; its body, if it has one, comes next."""

    def on_discarded(self, *, whole: bool) -> None:
        """The body that nobody wanted is over; or else it is too long to wait for its end."""


class Engine(Protocol):
    """One protocol on one connection, seen from the connection. It never awaits."""

    @property
    def mid_head(self) -> bool:
        """Whether a request head has arrived in part."""

    @property
    def feed(self) -> Callable[[bytes], None]:
        """Take bytes from the peer. Raises ProtocolError, after which only `refuse` makes sense."""

    def feed_eof(self) -> bool:
        """The peer sends no more. Returns True while there is still something to answer."""

    def body_progress(self) -> int | None:
        """How many bytes of request body came since this was last asked; None: none are due."""

    def refuse(self, error: ProtocolError) -> None:
        """As `Refusing.refuse`; then close."""

    def resume(self) -> None:
        """The transport takes bytes again."""

    def hang_up(self) -> None:
        """The peer closed its sending side some time ago, and is not answered yet."""

    def drain(self) -> None:
        """Close behind the last response that is owed."""

    def lost(self) -> None:
        """The transport is closed: tell every cycle and let go of everything."""


class Channel(Protocol):
    """One request's way back to its client, seen from its cycle.

    Of HTTP/1 it is the engine itself, which has one request at a time; of HTTP/2 it is a stream.
    """

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool:
        """Send a part of the response, `head` with the first. False: wait for `resume()`."""

    def inform(self, status: int, headers: Headers) -> None:
        """Send an interim (1xx) response."""

    def trailers(self, headers: Headers) -> None:
        """End a response in progress with trailer fields; only where the request accepts them.

        Raises AppError for a field that must not go on the wire.
        """

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        """Send bytes of a file, behind a response's head, without reading them.

        Returns how many were taken; with 0, wait for `resume()`. None: it cannot be done here, so
        read them and `respond`. With a `count` of 0, no more of it comes.
        """

    def consumed(self, size: int) -> None:
        """The application took `size` bytes of request body: the peer may send as many again."""

    def abort(self) -> None:
        """The response cannot be completed: break it so that the peer sees that it is broken."""

    def upgrade(self, cycle: Upgrading, protocol: bytes, head: Head) -> None:
        """Accept what the request asks for: from now on, the cycle speaks this protocol.

        Calls `Upgrading.upgraded`.
        """


class Refusing(Protocol):
    """Where a peer's mistake is answered: an engine, or one stream of it."""

    def refuse(self, error: ProtocolError) -> None:
        """Answer the mistake, and end what it was made in."""


class Sink(Protocol):
    """The connection, seen from an engine."""

    write_paused: bool

    @property
    def now(self) -> float:
        """The worker's clock, in seconds."""

    def write(self, data: bytes, /) -> None:
        """Send bytes: the transport's own method in production, a list's `append` in a test."""

    def writelines(self, data: Sequence[bytes], /) -> None:
        """Send several pieces without joining them."""

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        """As `Channel.send_file`."""

    def is_closing(self) -> bool:
        """Whether what is written goes nowhere: the peer is gone, as we are about to hear."""

    def on_version(self, data: bytes, *, is_http2: bool) -> None:
        """The peer has begun, with these bytes: that is what it speaks."""

    def on_request(self, channel: Channel, request: Request) -> Receiver:
        """A request head was accepted; returns who takes its body. The engine starts it."""

    def on_refused(self, where: Refusing, error: ProtocolError) -> None:
        """What was received breaks the protocol; calls `Refusing.refuse`, where it is answered."""

    def on_upgraded(self, engine: Engine) -> None:
        """The connection is another engine's from now on."""

    def unsent(self) -> int:
        """As `Tunnel.unsent`."""

    def has_unread(self) -> bool:
        """As `Tunnel.has_unread`."""

    def has_finished(self) -> bool:
        """Whether the peer has closed its sending side, as we may be about to hear."""

    def on_half_closed(self) -> None:
        """The peer sends no more, and waits for an answer that has not begun."""

    def on_head(self) -> None:
        """A request head has begun to arrive."""

    def on_idle(self) -> None:
        """Everything received is answered; the connection waits for the next request."""

    def on_drain(self) -> None:
        """The response is out, the rest of its request is being read and thrown away."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back when everybody who is at work now has had his turn."""

    def watch(self, stream: Expiring) -> None:
        """A stream has a deadline of its own from now on."""

    def unwatch(self, stream: Expiring) -> None:
        """It has none any more."""

    def pause_reading(self) -> None:
        """Take no more bytes from the peer for now."""

    def resume_reading(self) -> None:
        """Take bytes from the peer again."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def linger(self) -> None:
        """Close our side, then read and throw away what the peer still sends for a short time."""

    def abort(self, *, reset: bool = False) -> None:
        """Close at once; with `reset`, so that the peer sees an error and not an end."""
