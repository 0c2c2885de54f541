"""The seams between a worker and its connections: what it sees of them, what it has for them."""

from collections.abc import Callable
from typing import Any, Protocol

from .types import Address


class Expiring(Protocol):
    """Something with a deadline; see `aserver.limits`."""

    deadline: float

    def expire(self) -> None:
        """The deadline has passed."""


class Connected(Expiring, Protocol):
    """A connection, seen from the server."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for its next request, and may do so until its deadline."""

    def drain(self, *, patient: bool = False) -> None:
        """Finish what is in progress, then close; at once when idle.

        With `patient`, one more request may come.
        """

    def abort(self, *, reset: bool = False) -> None:
        """Close now."""


class Running(Expiring, Protocol):
    """A call of the application, seen from the server."""

    def dismiss(self) -> None:
        """Answer in the application's place, which hears that its client is gone."""

    def cancel(self) -> None:
        """End it."""


class Defaults(Protocol):
    """What every response head of a worker has in common.

    `default_lines` are both lines, `last_lines` these and the empty line that ends a head.
    """

    date_line: bytes
    server_line: bytes
    default_lines: bytes
    last_lines: bytes


class ExchangeLog(Protocol):
    """The access log, seen from the exchanges of one kind; see `aserver.access_log`."""

    @property
    def timed(self) -> bool:
        """Whether it needs to know when an exchange began."""

    @property
    def record(self) -> Callable[[Any, Any], None]:
        """Log an exchange that has ended, with its response head. Raises nothing."""


class SocketLog(ExchangeLog, Protocol):
    """The same, seen from WebSockets; the head is None for a client that left before it."""

    @property
    def connecting(self) -> Callable[[Any], None]:
        """Log that a handshake has come."""

    @property
    def connected(self) -> Callable[[Any], None]:
        """Log that it was accepted."""


class RequestLog(ExchangeLog, Protocol):
    """Where a worker tells of its requests: the access log, or what a host has in its place.

    What it is told of is an `aserver.access_notes.Exchange`, or `SocketExchange`.
    """

    @property
    def sockets(self) -> SocketLog:
        """The log, seen from WebSockets."""

    def reopen(self) -> None:
        """Its file may have been renamed."""

    def close(self) -> None:
        """Write what is left. Called in a thread of its own."""


# Whether an address is trusted; None is the peer of a unix socket.
Trust = Callable[[Address | None], bool]


class Forwarder(Protocol):
    """Who knows which proxies are believed: `aserver.forwarding`."""

    def of(self, peer: Address | None) -> Callable[[dict[str, Any]], None] | None:
        """What each scope of a connection from this peer is given to; None: nothing."""
