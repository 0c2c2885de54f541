"""Who may come in: connections, in all and of one client.

Where there is no room, a connection waits unread: in the kernel's accept queue, or, if it has left
that already, with a `Waiting` in its place. Whoever accepts (`aserver.accepting`) is told when
there is room no more, and when there is again; and tells when somebody waits, so that connections
which are idle make room.
"""

import asyncio
import resource
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

from .config import Limits
from .limits import or_unlimited
from .logs import peer_log, server_log
from .socket_facts import Addresses, addresses
from .throttle import Throttle
from .types import Address
from .worker_seams import Connected

# By default as many connections as the files suffice for that may be open, less these, which are
# for listeners, logs, the event loop and the application's own; but so many in any case.
RESERVED_FILES = 64
LEAST_CONNECTIONS = 16
# Of a connection whose peer reads slowly: its socket, the file it is sent, and what is waited with
# (`aserver.sendfile`).
FILES_PER_CONNECTION = 3

# Of the connections that are idle so many make room at once: the share and the number are nginx's
# (ngx_drain_connections).
_SHARE_TO_CLOSE = 8
MOST_TO_CLOSE = 32


class Visitor(Connected, Protocol):
    """A connection, seen from here."""

    def begin(self, transport: asyncio.Transport, ends: Addresses) -> None:
        """It is let in."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool: ...


class Admission:
    """One worker's limits of connections.

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
        "_clients",
        "_connections",
        "_had_room",
        "_idle",
        "_is_short",
        "_most",
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
        self._clients = Clients(or_unlimited(limits.max_connections_per_client), throttle)
        self._waiting: dict[Waiting, None] = {}  # in the order they came
        self._idle: list[Connected] | None = None  # once a tick, where it was needed; oldest last
        self._is_short = False  # of files or memory, it was found since the last tick
        self._had_room = True
        self._said = False  # that there is no room; again only after half of it was free
        self.expected = 0
        self.on_change: Callable[[], None] = _nobody_to_tell

    @property
    def has_room(self) -> bool:
        """Whether one more may be accepted."""
        present = len(self._connections) + len(self._waiting) + self.expected
        return present < self._most and not self._is_short

    def ask(self, visitor: Visitor, transport: asyncio.Transport) -> None:
        """Let a new connection in: now, or when there is room; or turn it away."""
        if self.expected:
            self.expected -= 1
        if len(self._connections) >= self._most or self._waiting:
            self._waiting[Waiting(self, visitor, transport)] = None
            self.make_room()
        elif (ends := self._count_in(visitor, transport)) is not None:
            visitor.begin(transport, ends)
        self._tell()

    def leave(self, visitor: Visitor) -> None:
        """A connection that was let in is gone: the next may come."""
        self._connections.discard(visitor)
        self._clients.count_out(visitor)
        if self._said and len(self._connections) <= self._most / 2:
            self._said = False
        self._let_in()
        self._tell()

    def give_up(self, waiting: "Waiting") -> None:
        """One that waited is gone."""
        self._waiting.pop(waiting, None)
        self._tell()

    def make_room(self) -> None:
        """Somebody waits: close connections that are idle, first those that have been for longest.

        Whatever becomes idle now makes room from the next tick on: they are not looked through
        for everybody who comes.
        """
        if self._idle is None:
            idle = [connection for connection in self._connections if connection.is_idle]
            self._idle = sorted(idle, key=lambda connection: connection.deadline, reverse=True)
        left = max(1, min(len(self._idle) // _SHARE_TO_CLOSE, MOST_TO_CLOSE))
        while self._idle and left:
            connection = self._idle.pop()
            if connection in self._connections and connection.is_idle:
                connection.drain()
                left -= 1

    def run_short(self, error: OSError) -> None:
        """Somebody could not be accepted for want of files or memory: nobody is, for a moment."""
        self._throttle.warning(server_log, "Nobody is accepted for a moment: %s", error.strerror)
        self._is_short = True
        self._tell()

    def refresh(self) -> None:
        """The tick: things may be better now. Who is expected and did not come never will."""
        self.expected = 0
        self._is_short = False
        self._idle = None
        if self._waiting:
            self.make_room()
        self._tell()

    def lift(self) -> None:
        """Let everybody in who has come: nobody else will, as the server is stopping."""
        self._most = inf
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._connections) < self._most:
            waiting = next(iter(self._waiting))
            del self._waiting[waiting]
            if waiting.transport.is_closing():
                continue
            if (ends := self._count_in(waiting.visitor, waiting.transport)) is not None:
                waiting.end(ends)

    def _count_in(self, visitor: Visitor, transport: asyncio.Transport) -> Addresses | None:
        """Whose connection it is; None: it is turned away.

        So is who has left already: nobody knows who it was, and whether to trust what it has sent.
        """
        ends = addresses(transport)
        if ends is None or not self._clients.count_in(visitor, ends.client):
            transport.set_protocol(asyncio.Protocol())
            transport.abort()
            return None
        self._connections.add(visitor)
        return ends

    def _tell(self) -> None:
        has_room = self.has_room
        if has_room is self._had_room:
            return
        self._had_room = has_room
        if not has_room and not self._said and not self._is_short:
            self._said = True
            self._throttle.warning(
                server_log,
                "As many connections are open as --max-connections (%d) allows: "
                "further ones wait until others close",
                self._most,
            )
        self.on_change()


class Clients:
    """How many connections each client address has, where that is limited."""

    __slots__ = ("_counts", "_hosts", "_most", "_throttle")

    def __init__(self, most: float, throttle: Throttle) -> None:
        self._most = most
        self._throttle = throttle
        self._hosts: dict[Visitor, str] = {}  # whose connection it is, if that is counted
        self._counts: dict[str, int] = {}

    def count_in(self, visitor: Visitor, client: Address | None) -> bool:
        """Count a connection, unless its client has enough; unix sockets have no client address."""
        if self._most == inf or client is None:
            return True
        host = client[0]
        count = self._counts.get(host, 0)
        if count >= self._most:
            self._throttle.warning(
                peer_log,
                "Closed a connection from %s: it has as many as --max-connections-per-client (%d) "
                "allows",
                host,
                self._most,
            )
            return False
        self._hosts[visitor] = host
        self._counts[host] = count + 1
        return True

    def count_out(self, visitor: Visitor) -> None:
        """A connection is gone."""
        host = self._hosts.pop(visitor, None)
        if host is None:
            return
        count = self._counts[host] - 1
        if count:
            self._counts[host] = count
        else:
            del self._counts[host]


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

    def end(self, ends: Addresses) -> None:
        """There is room: the connection begins, with what it would have received by now."""
        visitor, transport = self.visitor, self.transport
        transport.set_protocol(cast(asyncio.Protocol, visitor))
        visitor.begin(transport, ends)
        if transport.is_closing():  # it was refused
            return
        if not self._eof:
            transport.resume_reading()
        protocol = cast(asyncio.Protocol, transport.get_protocol())  # it may have one of its own
        if self._data:
            protocol.data_received(self._data)
        if self._eof and not protocol.eof_received():
            transport.close()


def most_connections(option: int | None) -> float:
    """What `--max-connections` comes to: by default, what the limit of open files suffices for."""
    if option is not None:
        return or_unlimited(option)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return inf
    return max((files - RESERVED_FILES) // FILES_PER_CONNECTION, LEAST_CONNECTIONS)


def _nobody_to_tell() -> None: ...
