"""Listening sockets: what is asked for, and how it is opened.

There is one path for all of them: an address (see `aserver.addresses`) becomes a bound socket,
whatever its family, or an inherited file descriptor becomes one; from then on the socket itself
says what it is.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack
from typing import Any

from .addresses import PassedFd, Place, passed_fds, places
from .config import Bind, Tls
from .endpoints import parse_endpoint
from .listener import BindError, Listener, NoSocketError, reason
from .logs import server_log
from .targets import SystemdSocket, TcpAddress, UnixAddress
from .unix_sockets import open_unix

_TRIES = 20  # to find a port that is free at all addresses of a name


def open_listeners(
    bind: Bind,
    environ: MutableMapping[str, str] | None = None,
    tls: Tls | None = None,
    directory: str = "",
) -> list[Listener]:
    """Bind everything that is asked for, or nothing.

    Args:
        bind: The addresses.
        environ: Where systemd's variables are looked for; None: nowhere.
        tls: Says where TLS is spoken; None: nowhere, but for endpoints that have a certificate.
        directory: Where relative paths begin; empty: in the current one.

    Raises:
        ConfigError, BindError, NoSocketError: One of them cannot be opened; the others are closed
        again.
    """
    passed = [] if environ is None else passed_fds(environ)
    for text in bind.endpoint:
        for note in parse_endpoint(text).notes:
            server_log.warning("--endpoint: %r: %s", text, note)
    listeners: list[Listener] = []
    try:
        for each in places(bind, tls or Tls(), passed):
            place = each.within(directory)
            for listener in _open(place, bind, passed):
                listener.speak(place)
                listeners.append(listener)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open(place: Place, bind: Bind, passed: Sequence[PassedFd]) -> Iterator[Listener]:
    target = place.target
    if isinstance(target, TcpAddress):
        for sock in _open_tcp(target, bind):
            yield Listener(sock, target.backlog or bind.backlog)
    elif isinstance(target, UnixAddress):
        yield open_unix(target, bind)
    elif isinstance(target, SystemdSocket):
        there = ", ".join(each.name for each in passed) or "none to this process"
        raise NoSocketError(f"systemd passed no socket of {target}; it passed {there}")
    else:
        yield _adopt(target.fd, bind.backlog)


def _open_tcp(target: TcpAddress, bind: Bind) -> list[socket.socket]:
    """A socket for each address that the host has.

    Of port 0, the kernel chooses one that is free at the first of them. At the next it may be
    somebody's: then it is to choose again.
    """
    left = 1 if target.port else _TRIES
    while True:
        left -= 1
        try:
            return _bind_all(target, bind)
        except OSError as error:
            if not left or error.errno != errno.EADDRINUSE:
                raise BindError(f"cannot listen on {target}: {reason(error)}") from None


def _bind_all(target: TcpAddress, bind: Bind) -> list[socket.socket]:
    """All of them, or none."""
    port = target.port
    missing: OSError | None = None
    with ExitStack() as stack:
        socks: list[socket.socket] = []
        for family, address in _resolve(target):
            try:
                sock = _bound(family, (address[0], port, *address[2:]), bind)
            except OSError as error:
                # A name may have addresses that this machine has not, as ::1 without IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
                continue
            socks.append(stack.enter_context(sock))
            port = sock.getsockname()[1]  # port 0: the same port for all addresses of the name
            if family == socket.AF_INET6 and target.is_everywhere and not bind.v6only:
                break
        if missing is not None and not socks:
            raise missing
        stack.pop_all()
        return socks


def _bound(family: int, address: tuple[Any, ...], bind: Bind) -> socket.socket:
    # With the protocol said, asyncio sends small pieces at once (TCP_NODELAY).
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One socket for both families when it is for every interface.
            alone = bind.v6only or address[0] != "::"
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _resolve(target: TcpAddress) -> list[tuple[int, tuple[Any, ...]]]:
    """The families and socket addresses of a host, in the resolver's order."""
    if target.is_everywhere:
        everywhere = [(socket.AF_INET6, ("::", target.port, 0, 0))] if socket.has_ipv6 else []
        return [*everywhere, (socket.AF_INET, ("0.0.0.0", target.port))]
    family = socket.AF_INET6 if target.is_ipv6 else socket.AF_UNSPEC
    try:
        found = socket.getaddrinfo(target.host, target.port, family, socket.SOCK_STREAM)
    except OSError as error:
        raise BindError(f"cannot listen on {target}: {error.strerror}") from None
    except UnicodeError:
        # The IDNA codec, before any resolver is asked: a label is empty, or too long.
        raise BindError(f"cannot listen on {target}: this is no host name") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _adopt(fd: int, backlog: int) -> Listener:
    """A listener from an inherited descriptor; the socket itself says what it is."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise NoSocketError(f"file descriptor {fd}: {reason(error)}") from None
    if not stat.S_ISSOCK(mode):
        kind = "a terminal" if os.isatty(fd) else "not a socket"
        raise NoSocketError(f"file descriptor {fd} is {kind}; it must be a listening socket")
    sock = socket.socket(fileno=os.dup(fd))
    if problem := _unfitness(sock):
        sock.close()
        raise NoSocketError(f"file descriptor {fd} is {problem}")
    return Listener(sock, backlog, shared=True)


def _unfitness(sock: socket.socket) -> str:
    """Why nobody can listen on this socket; empty if it listens, or can be made to."""
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if sock.type != socket.SOCK_STREAM or sock.family not in families:
        return "not a TCP or unix stream socket"
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return ""
    if _is_connected(sock):
        return "a connection, not a listening socket"
    name = sock.getsockname()
    is_bound = name[1] if isinstance(name, tuple) else name
    return "" if is_bound else "a socket without an address"


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
