"""Listening sockets: what is asked for, how it is opened, and what it leaves behind.

There is one path for all of them: an address becomes a bound socket, whatever its family, or an
inherited file descriptor becomes one; from then on the socket itself says what it is.
"""

import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from .config import DEFAULT_HOST, DEFAULT_PORT, Bind, ConfigError
from .types import ServerError

_FIRST_PASSED_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


class BindError(ServerError):
    """The server cannot listen where it should."""

    exit_code = 5


class NoSocketError(ServerError):
    """A file descriptor that should be a listening socket is none."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Listen on a host's addresses; an empty host, or `*`, is every interface."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """Listen on a unix socket."""

    path: str


@dataclass(frozen=True, slots=True)
class InheritedFd:
    """Listen on a socket that the process was started with."""

    fd: int


Target = TcpAddress | UnixAddress | InheritedFd


class Listener:
    """A bound socket that listens, or soon will.

    Attributes:
        sock: The socket.
        shared: Whether other processes may accept from it as well.
    """

    def __init__(self, sock: socket.socket, *, shared: bool = False) -> None:
        self.sock = sock
        self.shared = shared
        self._inode = None if shared else _inode(self._path)

    def __repr__(self) -> str:
        return f"<Listener {self}>"

    def __str__(self) -> str:
        """Its URL, or `unix:PATH`."""
        name = self.sock.getsockname()
        if not isinstance(name, tuple):
            return f"unix:{self._path}"
        host, port = name[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def _path(self) -> str:
        if self.sock.family != socket.AF_UNIX:
            return ""
        name = self.sock.getsockname()
        return os.fsdecode(name)

    def close(self) -> None:
        """Close the socket, and remove the file of a unix socket that is still ours."""
        path = self._path
        self.sock.close()
        if self._inode is not None and self._inode == _inode(path):
            os.unlink(path)


def targets(bind: Bind) -> list[Target]:
    """Where to listen, by Daphne's rules.

    Nothing given is 127.0.0.1:8000. A host without a port has port 8000, a port without a host is
    on 127.0.0.1. Only a unix socket or a file descriptor, and there is no TCP listener.

    Raises:
        ConfigError: An address cannot be understood.
    """
    port = DEFAULT_PORT if bind.port is None else bind.port
    found: list[Target] = [_parse(text, port) for text in bind.bind]
    if not bind.bind and bind.port is not None:
        found.append(TcpAddress(DEFAULT_HOST, port))
    if bind.unix_socket is not None:
        found.append(UnixAddress(bind.unix_socket))
    if bind.fd is not None:
        found.append(InheritedFd(bind.fd))
    return found


def _parse(text: str, default_port: int) -> Target:
    if text.startswith("unix:"):
        return UnixAddress(text.removeprefix("unix:"))
    if text.startswith("fd://"):
        return InheritedFd(_number(text, text.removeprefix("fd://")))
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            raise ConfigError(f"--bind: {text!r} is not [IPV6]:PORT")
        return TcpAddress(host, _number(text, rest[1:]) if rest else default_port)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return TcpAddress(host, _number(text, port))
    return TcpAddress(
        text, default_port
    )  # a name, an IPv4 address, or an IPv6 address without brackets


def _number(text: str, digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
        raise ConfigError(f"--bind: {text!r} does not end in a number from 0 to 65535")
    return int(digits)


def passed_fds(environ: MutableMapping[str, str]) -> list[int]:
    """The file descriptors that systemd passed to this very process (sd_listen_fds(3)).

    The variables are removed, so that child processes do not take them for theirs.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return list(range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count)))


def open_listeners(bind: Bind, environ: MutableMapping[str, str] | None = None) -> list[Listener]:
    """Bind everything that is asked for, or nothing.

    Args:
        bind: The addresses.
        environ: Where systemd's variables are looked for; None: nowhere.

    Raises:
        ConfigError, BindError, NoSocketError: One of them cannot be opened; the others are closed
        again.
    """
    wanted = targets(bind)
    passed = [] if environ is None else passed_fds(environ)
    wanted += [InheritedFd(fd) for fd in passed if InheritedFd(fd) not in wanted]
    listeners: list[Listener] = []
    try:
        for target in wanted or [TcpAddress(DEFAULT_HOST, DEFAULT_PORT)]:
            listeners.extend(_open(target, bind))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open(target: Target, bind: Bind) -> Iterator[Listener]:
    if isinstance(target, TcpAddress):
        yield from _open_tcp(target, bind)
    elif isinstance(target, UnixAddress):
        yield _open_unix(target.path, bind)
    else:
        yield _adopt(target.fd)


def _open_tcp(target: TcpAddress, bind: Bind) -> Iterator[Listener]:
    """One listener for each address that the host has."""
    port = target.port
    failure: OSError | None = None
    opened = 0
    for family, address in _resolve(target):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # One socket for both families when it is for every interface.
                alone = bind.v6only or address[0] != "::"
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
            sock.bind((address[0], port, *address[2:]))
        except OSError as error:
            sock.close()
            failure = error
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # a name may have addresses that this machine has not, as ::1 without IPv6
            break
        port = sock.getsockname()[1]  # port 0: the same port for all addresses of the name
        opened += 1
        yield Listener(sock)
        if target.host in ("", "*"):
            return
    if failure is not None and (not opened or failure.errno == errno.EADDRINUSE):
        raise BindError(f"cannot listen on {_show(target)}: {_reason(failure)}")


def _resolve(target: TcpAddress) -> list[tuple[int, tuple[Any, ...]]]:
    """The families and socket addresses of a host, in the resolver's order."""
    if target.host in ("", "*"):
        everywhere = [(socket.AF_INET6, ("::", target.port, 0, 0))] if socket.has_ipv6 else []
        return [*everywhere, (socket.AF_INET, ("0.0.0.0", target.port))]
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BindError(f"cannot listen on {_show(target)}: {error.strerror}") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _open_unix(path: str, bind: Bind) -> Listener:
    """A unix socket with the permissions asked for, in place of one that nobody listens on."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)  # no moment in which others could connect
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if bind.unix_socket_group is not None:
            os.chown(path, -1, grp.getgrnam(bind.unix_socket_group).gr_gid)
        os.chmod(path, bind.unix_socket_mode)
    except KeyError:
        _discard(sock, path)
        group = bind.unix_socket_group
        raise ConfigError(f"--unix-socket-group: there is no group {group!r}") from None
    except OSError as error:
        _discard(sock, path) if sock.getsockname() else sock.close()
        raise BindError(f"cannot listen on unix:{path}: {_reason(error)}") from None
    return Listener(sock)


def _discard(sock: socket.socket, path: str) -> None:
    sock.close()
    os.unlink(path)


def _remove_stale(path: str) -> None:
    """A socket file that nobody answers at is left from a process that was killed."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(f"cannot listen on unix:{path}: {_reason(error)}") from None
    if not stat.S_ISSOCK(mode):
        raise BindError(f"cannot listen on unix:{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # EAGAIN: its accept queue is full, so it is alive
                raise BindError(f"cannot listen on unix:{path}: {_reason(error)}") from None
    raise BindError(f"cannot listen on unix:{path}: another process is listening there")


def _adopt(fd: int) -> Listener:
    """A listener from an inherited descriptor; the socket itself says what it is."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise NoSocketError(f"file descriptor {fd}: {_reason(error)}") from None
    if not stat.S_ISSOCK(mode):
        kind = "a terminal" if os.isatty(fd) else "not a socket"
        raise NoSocketError(f"file descriptor {fd} is {kind}; it must be a listening socket")
    sock = socket.socket(fileno=os.dup(fd))
    if sock.type != socket.SOCK_STREAM or sock.family not in (
        socket.AF_INET,
        socket.AF_INET6,
        socket.AF_UNIX,
    ):
        sock.close()
        raise NoSocketError(f"file descriptor {fd} is not a TCP or unix stream socket")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and _is_connected(sock):
        sock.close()
        raise NoSocketError(f"file descriptor {fd} is a connection, not a listening socket")
    return Listener(sock, shared=True)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _inode(path: str) -> tuple[int, int] | None:
    """Which file it is; None if there is none (or an abstract name)."""
    if not path or path.startswith("\0"):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _show(target: TcpAddress) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host or "*"
    return f"{host}:{target.port}"


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
