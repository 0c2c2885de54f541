"""Listening sockets: what is asked for, how it is opened, and what it leaves behind.

There is one path for all of them: an address (see `aserver.addresses`) becomes a bound socket,
whatever its family, or an inherited file descriptor becomes one; from then on the socket itself
says what it is.
"""

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

from .addresses import InheritedFd, Target, TcpAddress, UnixAddress, passed_fds, targets
from .config import DEFAULT_HOST, DEFAULT_PORT, Bind
from .declarations import ConfigError
from .logs import server_log
from .types import ServerError

# The umask belongs to the whole process, and servers may start in several threads.
_umask_lock = threading.Lock()

# For other servers that open their sockets in the same directory just now.
_LOCK_SECONDS = 1.0

# IP_MINTTL in <linux/in.h>, IPV6_MINHOPCOUNT in <linux/in6.h>
_LEAST_TTL = ((socket.IPPROTO_IP, 21), (socket.IPPROTO_IPV6, 73))


class BindError(ServerError):
    """The server cannot listen where it should."""

    exit_code = 5


class NoSocketError(ServerError):
    """A file descriptor that should be a listening socket is none."""

    exit_code = 6


class Listener:
    """A bound socket that listens, or soon will.

    Args:
        sock: The socket.
        shared: Whether other processes may accept from it as well.
        file: The file of a unix socket, if it is to be removed in the end.
    """

    def __init__(self, sock: socket.socket, *, shared: bool = False, file: str = "") -> None:
        self.sock = sock
        self.shared = shared
        # Asked for now: a closed socket does not know it any more.
        self._name = sock.getsockname()
        # The application may change the current directory.
        self._file = os.path.abspath(file) if file else ""
        self._inode = _inode(self._file) if file else None

    def __repr__(self) -> str:
        return f"<Listener {self}>"

    def __str__(self) -> str:
        """Its URL, or `unix:PATH`, with an @ before the name of an abstract socket."""
        if not isinstance(self._name, tuple):
            return "unix:" + os.fsdecode(self._name).replace("\0", "@", 1)
        host, port = self._name[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def take_waiting(self) -> list[socket.socket]:
        """Turn newcomers away; returns the connections in the accept queue, to be served still.

        To be called when nobody accepts any more, and `close` right behind it.
        """
        if self.shared:
            return []
        # Who gets into the queue behind the last accept() and before close() is reset, perhaps with
        # its request sent. A unix socket without its file takes nobody. On TCP, packets must not
        # have made a single hop for a moment: the kernel drops all, and the client's next try, a
        # second later, is refused.
        self._remove_file()
        _set_least_ttl(self.sock, 255)
        waiting = list(_accept_all(self.sock))
        for sock in waiting:
            _set_least_ttl(sock, 0)
        return waiting

    def close(self) -> None:
        """Remove the file of a unix socket, if it is still ours, and close the socket."""
        # In this order: who finds a socket that does not answer puts a file of his own in its
        # place.
        self._remove_file()
        self.sock.close()

    def _remove_file(self) -> None:
        inode, self._inode = self._inode, None  # closed again, it would be somebody else's file
        if inode is not None and inode == _inode(self._file):
            try:
                os.unlink(self._file)
            except OSError as error:
                server_log.warning("The socket file %s is left: %s", self._file, error.strerror)


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
    missing: OSError | None = None
    opened = 0
    for family, address in _resolve(target):
        try:
            sock = _bound(family, (address[0], port, *address[2:]), bind)
        except OSError as error:
            # A name may have addresses that this machine has not, as ::1 without IPv6.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise BindError(f"cannot listen on {target}: {_reason(error)}") from None
            missing = error
            continue
        opened += 1
        yield Listener(sock)
        port = sock.getsockname()[1]  # port 0: the same port for all addresses of the name
        if family == socket.AF_INET6 and target.is_everywhere and not bind.v6only:
            return
    if missing is not None and not opened:
        raise BindError(f"cannot listen on {target}: {_reason(missing)}")


def _bound(family: int, address: tuple[Any, ...], bind: Bind) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
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
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BindError(f"cannot listen on {target}: {error.strerror}") from None
    except UnicodeError:
        # The IDNA codec, before any resolver is asked: a label is empty, or too long.
        raise BindError(f"cannot listen on {target}: this is no host name") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _open_unix(path: str, bind: Bind) -> Listener:
    """A unix socket with the permissions asked for, in place of one that nobody listens on."""
    group = -1 if bind.unix_socket_group is None else _group_id(bind.unix_socket_group)
    with _locked(os.path.dirname(path) or "."):
        _remove_stale(path)
        return _bind_unix(path, bind, group)


def _bind_unix(path: str, bind: Bind, group: int) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener = None
    try:
        with _umask_lock:
            before = os.umask(0o177)  # no moment in which others could connect
            try:
                sock.bind(path)
            finally:
                os.umask(before)
        listener = Listener(sock, file=path)
        os.chown(path, -1, group)
        os.chmod(path, bind.unix_socket_mode)
        # Now, not when the application has started: to a second server a socket that does not
        # listen is a stale one.
        sock.listen(bind.backlog)
    except OSError as error:
        (listener or sock).close()
        raise BindError(f"cannot listen on unix:{path}: {_reason(error)}") from None
    return listener


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Keep other servers from taking away, as stale, what is being made in this directory.

    The lock is advisory, and anybody may hold it: without it in time, we go on all the same.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # it is missing, or may not be read, which is no need for a socket
        yield
        return
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(fd) and time.monotonic() < end:
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"--unix-socket-group: there is no group {name!r}") from None


def _remove_stale(path: str) -> None:
    """A socket file that nobody answers at is left from a process that was killed."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise BindError(f"cannot listen on unix:{path}: there is a file that is no socket")
        if _answers(path):
            raise BindError(f"cannot listen on unix:{path}: another process is listening there")
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(f"cannot listen on unix:{path}: {_reason(error)}") from None


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            pass  # its accept queue is full, so it is alive
    return True


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
    if problem := _unfitness(sock):
        sock.close()
        raise NoSocketError(f"file descriptor {fd} is {problem}")
    return Listener(sock, shared=True)


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


def _accept_all(sock: socket.socket) -> Iterator[socket.socket]:
    sock.setblocking(False)
    while True:
        try:
            accepted, _ = sock.accept()
        except OSError:
            return
        accepted.setblocking(False)
        yield accepted


def _set_least_ttl(sock: socket.socket, ttl: int) -> None:
    """Let the kernel drop packets with a lower TTL, for IPv4 and IPv6, where it can."""
    if sys.platform == "linux" and sock.family != socket.AF_UNIX:
        for level, option in _LEAST_TTL:
            with contextlib.suppress(OSError):
                sock.setsockopt(level, option, ttl)


def _inode(path: str) -> tuple[int, int] | None:
    """Which file it is; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
