"""What the kernel knows of a connection and its transport does not say."""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from enum import Enum
from typing import NamedTuple

from .types import Address

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds


class Ending(Enum):
    """Whether the peer is still there."""

    NONE = "it is"
    HALF = "it sends no more"
    GONE = "it is not"


class Addresses(NamedTuple):
    """The scope's `client` and `server`. A client at a unix socket has no address."""

    client: Address | None
    server: Address | None


def has_unread_bytes(transport: asyncio.Transport) -> bool:
    """Whether something of the peer's waits to be read, be it the end."""
    return _poll(transport, select.POLLIN) & ~select.POLLNVAL != 0


def ending(transport: asyncio.Transport) -> Ending:
    """What would be heard of the peer behind all that waits to be read."""
    events = _poll(transport, select.POLLRDHUP)
    if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
        return Ending.GONE
    return Ending.HALF if events else Ending.NONE


def count_unread(transport: asyncio.Transport) -> int:
    """How many bytes of the peer's the kernel has for us (tcp(7): SIOCINQ)."""
    return _count(transport, termios.FIONREAD)


def count_unacknowledged(transport: asyncio.Transport) -> int:
    """How many bytes the kernel has taken from us and the peer has not yet (tcp(7): SIOCOUTQ)."""
    return _count(transport, termios.TIOCOUTQ)


def _count(transport: asyncio.Transport, request: int) -> int:
    sock = transport.get_extra_info("socket")
    try:
        answer = fcntl.ioctl(sock.fileno(), request, bytes(4))
    except (OSError, ValueError):  # it is closed already
        return 0
    count: int = struct.unpack("i", answer)[0]
    return count


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let the peer see an error, and no end, when the connection is closed."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it is gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _poll(transport: asyncio.Transport, events: int) -> int:
    fd = transport.get_extra_info("socket").fileno()
    if fd < 0:  # it is closed already
        return select.POLLNVAL
    poll = select.poll()
    poll.register(fd, events)
    return next((found for _, found in poll.poll(0)), 0)


def addresses(transport: asyncio.Transport) -> Addresses | None:
    """Who is connected, by TCP over IPv4 or IPv6 or at a unix socket.

    None: nobody, as the peer has left already. Then the kernel does not say who it was.
    """
    name = transport.get_extra_info("sockname")
    if isinstance(name, str | bytes):
        path = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
        return Addresses(None, (path, None) if path else None)
    peer = transport.get_extra_info("peername")
    return Addresses(_host_and_port(peer), _host_and_port(name)) if name and peer else None


def _host_and_port(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    # An IPv4 client of a dual-stack socket: "::ffff:192.0.2.1" is an IPv4 address to everybody
    # else.
    return name[0].removeprefix("::ffff:"), name[1]
