"""All deadlines: phases, how long each may last, and the one sweep that ends what is overdue.

A phase change is two attribute stores (`phase`, `deadline`), never a timer. Once a second the
server's tick advances the clock and calls `sweep`, so deadlines are kept with the accuracy of the
tick: they may be late by one, and are not early.
"""

from collections.abc import Iterable
from enum import IntEnum
from math import inf
from typing import NamedTuple

from .config import Http2, Limits, WebSocket
from .logs import server_log
from .worker_seams import Expiring


class Phase(IntEnum):
    """What a connection is waiting for; each has its own deadline."""

    IDLE = 0  # waiting for a request
    HEAD = 1  # receiving a request head
    ACTIVE = 2  # answering a request, or a tunnel
    WRITING = 3  # waiting for the peer to read
    DRAINING = 4  # reading the rest of an answered request
    CLOSING = 5  # the last bytes are on their way
    NEW = 6  # connected, has sent nothing yet
    RECEIVING = 7  # answering a request of which more may be on its way
    HANDSHAKE = 8  # TLS is being agreed upon
    PREAMBLE = 9  # the proxy has not said yet for whom it connects


# Names of their own: an enum's attribute look-up is a call in Python 3.11, and these are on the hot
# path.
IDLE, HEAD, ACTIVE, WRITING, DRAINING, CLOSING, NEW, RECEIVING, HANDSHAKE, PREAMBLE = Phase

# In these, the client has said nothing.
UNHEARD = frozenset((NEW, HANDSHAKE, PREAMBLE))

# An answered request's unread rest: read on for so long, and so many bytes, to keep the connection
# or to let the peer see the response before the reset (RFC 9112 section 9.6).
DRAIN_SECONDS = 2.0
DRAIN_BYTES = 65_536

# Of all chunks of a request body together: nobody uses them, and each is read and forgotten.
MAX_CHUNK_EXTENSIONS = 16_384

# After the peer has closed its sending side before the response began: time in which it counts as
# half-closed (it waits for the answer), before the application is told that it may be gone.
HALF_CLOSE_SECONDS = 1.0

# What could not be ended because of an error of our own is tried again after so long.
_RETRY_SECONDS = 60.0


def or_unlimited(value: float) -> float:
    """0, or less, means "no limit" in options; here that is infinity."""
    return value if value > 0 else inf


def or_endless(seconds: float, slack: float = 0) -> float:
    """The same where 0 means "at once", and has no `slack` either: see `phase_seconds`."""
    if seconds == 0:
        return 0
    return seconds + slack if seconds > 0 else inf


class RequestLimits(NamedTuple):
    """What a request may be like: sizes in bytes, and a count."""

    request_line: float
    header_size: float
    header_count: float
    headers_size: float
    body_size: float
    # Request body, or requests behind the one in progress, that wait: above, reading is paused;
    # below half, it goes on.
    buffer: int

    @classmethod
    def of(cls, limits: Limits) -> "RequestLimits":
        """From the configuration."""
        return cls(
            or_unlimited(limits.max_request_line),
            or_unlimited(limits.max_header_size),
            or_unlimited(limits.max_header_count),
            or_unlimited(limits.max_headers_size),
            or_unlimited(limits.max_body_size),
            limits.read_buffer,
        )


class MessageLimits(NamedTuple):
    """What a WebSocket message may be like: sizes in bytes, and a count."""

    message: float
    frame: float
    fragments: float


class SocketLimits(NamedTuple):
    """What a WebSocket may take: numbers, bytes, and seconds."""

    messages: MessageLimits
    # Messages that wait for the application, and their bytes: above, reading is paused; below
    # half, it goes on.
    queue: int
    buffer: int
    connect_seconds: float
    close_seconds: float
    idle_seconds: float
    age_seconds: float
    ping_seconds: float
    pong_seconds: float

    @classmethod
    def of(cls, websocket: WebSocket, limits: Limits, slack: float) -> "SocketLimits":
        """From the configuration; for `slack`, see `phase_seconds`."""
        return cls(
            MessageLimits(
                or_unlimited(websocket.websocket_max_message_size),
                or_unlimited(websocket.websocket_max_frame_size),
                or_unlimited(websocket.websocket_max_fragments),
            ),
            websocket.websocket_queue,
            limits.read_buffer,
            or_unlimited(websocket.websocket_connect_timeout) + slack,
            or_unlimited(websocket.websocket_close_timeout),
            or_unlimited(websocket.websocket_idle_timeout) + slack,
            or_unlimited(websocket.websocket_timeout) + slack,
            or_unlimited(websocket.ping_interval),
            or_unlimited(websocket.ping_timeout),
        )


class StreamLimits(NamedTuple):
    """What the streams of an HTTP/2 connection may take: numbers, bytes, and seconds."""

    streams: int  # at a time
    requests: float  # of the connection
    window: int  # of each stream, in bytes: what it may send before the application takes it
    # As for HTTP/1: so many bytes of body in so many seconds, and time to take a response.
    body_bytes: float
    body_seconds: float
    write_seconds: float
    has_websockets: bool

    @classmethod
    def of(
        cls, http2: Http2, limits: Limits, slack: float, *, has_websockets: bool
    ) -> "StreamLimits":
        """From the configuration; for `slack`, see `phase_seconds`."""
        seconds = phase_seconds(limits, slack=slack)
        return cls(
            http2.http2_max_streams,
            or_unlimited(http2.http2_max_requests),
            limits.read_buffer,
            limits.min_body_rate * limits.body_timeout,
            seconds[RECEIVING],
            seconds[WRITING],
            has_websockets,
        )


def phase_seconds(
    limits: Limits, handshake: float = 0, preamble: float = 0, slack: float = 0
) -> tuple[float, ...]:
    """How long each phase may last, indexed by Phase; two of them as said here, in seconds.

    With `slack`: the clock may be late by so much when a deadline is set, and nobody shall have
    less time than was promised.
    """
    body_seconds = limits.body_timeout if limits.min_body_rate else 0
    seconds = {
        IDLE: or_endless(limits.keep_alive, slack),
        HEAD: or_unlimited(limits.header_timeout) + slack,
        ACTIVE: inf,
        WRITING: or_unlimited(limits.write_timeout) + slack,
        DRAINING: DRAIN_SECONDS,
        CLOSING: or_unlimited(limits.write_timeout) + slack,
        NEW: or_unlimited(limits.first_byte_timeout) + slack,
        RECEIVING: or_unlimited(body_seconds) + slack,
        HANDSHAKE: or_unlimited(handshake) + slack,
        PREAMBLE: or_unlimited(preamble) + slack,
    }
    return tuple(seconds[phase] for phase in Phase)


class TokenBucket:
    """So many at once, and so many a second (RFC 2697's committed burst and rate, in its words)."""

    __slots__ = ("_at", "_burst", "_earned", "_rate", "_tokens")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._tokens = burst
        self._earned = 0.0
        self._rate = rate
        self._at = 0.0

    def take(self, now: float, count: float = 1) -> bool:
        """Take some; False: there are not as many. `now` is in seconds, and only advances."""
        self.give((now - self._at) * self._rate)
        self._at = now
        if self._earned >= count:
            self._earned -= count
            return True
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def give(self, count: float) -> None:
        """Put some back, for good behaviour."""
        self._tokens = min(self._burst, self._tokens + count)

    def earn(self, count: float) -> None:
        """Put some beside, to be used at any time."""
        self._earned += count


class Clock:
    """The worker's time for deadlines, in seconds, advanced by the tick.

    It does not advance by more than a tick at once: when the event loop stalled, the peers are not
    to blame, and connections whose bytes wait in the kernel must not be closed for it.
    """

    __slots__ = ("_last", "_tick", "now")

    def __init__(self, wall: float, tick: float) -> None:
        self.now = 0.0
        self._last = wall
        self._tick = tick

    def advance(self, wall: float) -> None:
        """Take the loop's time."""
        step = min(wall - self._last, self._tick)
        self.now += step
        self._last = max(self._last + step, wall - self._tick)  # a tick can be made up for


def sweep(now: float, things: Iterable[Expiring]) -> int:
    """End everything whose deadline has passed, each for itself; returns how many."""
    overdue = [thing for thing in things if thing.deadline <= now]
    for thing in overdue:
        try:
            thing.expire()
        except Exception as error:
            thing.deadline = now + _RETRY_SECONDS
            server_log.error("Internal error, past the deadline of %r", thing, exc_info=error)
    return len(overdue)
