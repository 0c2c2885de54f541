"""Who may come in: connections, in all and of one client, and calls of the application.

Where there is no room, a connection waits unread: in the kernel's accept queue, or, if it has left
that already, with a `Waiting` in its place. Whoever accepts (`aserver.accepting`) is told when
there is room no more, and when there is again.
"""

import asyncio
import resource
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

from .config import Limits
from .limits import or_unlimited
from .logs import peer_log, server_log
from .throttle import Throttle
from .types import Connected, ProtocolError

# By default as many connections as files may be open, less these, which are for listeners, logs,
# the event loop and the application's own; but so many in any case.
RESERVED_FILES = 64
LEAST_CONNECTIONS = 16


class Visitor(Connected, Protocol):
    """A connection, seen from here."""

    def begin(self, transport: asyncio.Transport) -> None:
        """It is let in."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool: ...


class Admission:
    """One worker's limits of connections and of calls at work.

    Args:
        limits: The configuration.
        connections: Those that are served; kept here.
        throttle: For the log.

    Attributes:
        expected: How many were accepted and have not asked to be let in yet, as far as that is
            known.
        on_change: Called when `has_room` has changed.
    """

    __slots__ = (
        "_connections",
        "_had_room",
        "_hosts",
        "_max_concurrency",
        "_most",
        "_most_per_client",
        "_per_client",
        "_said",
        "_throttle",
        "_waiting",
        "expected",
        "on_change",
    )

    def __init__(self, limits: Limits, connections: set[Connected], throttle: Throttle) -> None:
        self._connections = connections
        self._throttle = throttle
        self._most = most_connections(limits.max_connections)
        self._most_per_client = or_unlimited(limits.max_connections_per_client)
        self._max_concurrency = limits.max_concurrency
        self._waiting: dict[Waiting, None] = {}  # in the order they came
        self._hosts: dict[Visitor, str] = {}  # whose connection it is, if that is counted
        self._per_client: dict[str, int] = {}
        self._had_room = True
        self._said = False  # that there is no room; again only after half of it was free
        self.expected = 0
        self.on_change: Callable[[], None] = _nobody_to_tell

    @property
    def has_room(self) -> bool:
        """Whether one more may be accepted."""
        return len(self._connections) + len(self._waiting) + self.expected < self._most

    def ask(self, visitor: Visitor, transport: asyncio.Transport) -> None:
        """Let a new connection in: now, or when there is room; or turn it away."""
        if self.expected:
            self.expected -= 1
        if self._most_per_client != inf and not self._count_in(visitor, transport):
            transport.set_protocol(asyncio.Protocol())
            transport.abort()
        elif len(self._connections) < self._most and not self._waiting:
            self._connections.add(visitor)
            visitor.begin(transport)
        else:
            self._waiting[Waiting(self, visitor, transport)] = None
        self._tell()

    def leave(self, visitor: Visitor) -> None:
        """A connection that was let in is gone: the next may come."""
        self._connections.discard(visitor)
        self._count_out(visitor)
        if self._said and len(self._connections) <= self._most / 2:
            self._said = False
        self._let_in()
        self._tell()

    def give_up(self, waiting: "Waiting") -> None:
        """One that waited is gone."""
        self._waiting.pop(waiting, None)
        self._count_out(waiting.visitor)
        self._tell()

    def lift(self) -> None:
        """Let everybody in who has come: nobody else will, as the server is stopping."""
        self._most = inf
        self._let_in()

    def busy(self) -> ProtocolError:
        """What a request is refused with when too many calls of the application are at work."""
        self._throttle.warning(
            server_log,
            "As many requests are at work as --max-concurrency (%d) allows: refusing further ones",
            self._max_concurrency,
        )
        return ProtocolError(503, "too many requests are at work (--max-concurrency)")

    def _let_in(self) -> None:
        while self._waiting and len(self._connections) < self._most:
            waiting = next(iter(self._waiting))
            del self._waiting[waiting]
            if not waiting.transport.is_closing():  # else it will be heard of, and counted out
                self._connections.add(waiting.visitor)
                waiting.end()

    def _tell(self) -> None:
        has_room = self.has_room
        if has_room is not self._had_room:
            self._had_room = has_room
            if not has_room and not self._said:
                self._said = True
                self._throttle.warning(
                    server_log,
                    "As many connections are open as --max-connections (%d) allows: "
                    "further ones wait until others close",
                    self._most,
                )
            self.on_change()

    def _count_in(self, visitor: Visitor, transport: asyncio.Transport) -> bool:
        """Count the connections of a client address, up to its limit; unix sockets have none."""
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple):
            return True
        host = peer[0].removeprefix("::ffff:")
        count = self._per_client.get(host, 0)
        if count >= self._most_per_client:
            self._throttle.warning(
                peer_log,
                "Closed a connection from %s: it has as many as --max-connections-per-client (%d) "
                "allows",
                host,
                self._most_per_client,
            )
            return False
        self._hosts[visitor] = host
        self._per_client[host] = count + 1
        return True

    def _count_out(self, visitor: Visitor) -> None:
        host = self._hosts.pop(visitor, None)
        if host is None:
            return
        count = self._per_client[host] - 1
        if count:
            self._per_client[host] = count
        else:
            del self._per_client[host]


class Waiting(asyncio.Protocol):
    """Stands in for a connection that was accepted when there was no room any more."""

    def __init__(
        self, admission: Admission, visitor: Visitor, transport: asyncio.Transport
    ) -> None:
        self.visitor = visitor
        self.transport = transport
        self._admission = admission
        self._data = b""
        self._eof = False
        transport.set_protocol(self)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Keep it. (uvloop reads when connection_made() returns, whether paused in it or not.)"""
        self._data += data
        self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._admission.give_up(self)

    def end(self) -> None:
        """There is room: the connection begins, with what it would have received by now."""
        visitor, transport = self.visitor, self.transport
        transport.set_protocol(cast(asyncio.Protocol, visitor))
        visitor.begin(transport)
        if not self._eof:
            transport.resume_reading()
        if self._data:
            visitor.data_received(self._data)
        if self._eof and not visitor.eof_received():
            transport.close()


def most_connections(option: int | None) -> float:
    """What `--max-connections` comes to: by default, what the limit of open files allows."""
    if option is not None:
        return or_unlimited(option)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return inf
    return max(files - RESERVED_FILES, LEAST_CONNECTIONS)


def _nobody_to_tell() -> None: ...
