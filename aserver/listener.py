"""A bound socket, from the moment it is there to what is left of it."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator

from .addresses import Kind, Place
from .logs import server_log
from .tls_options import KeyPair
from .types import ServerError

# IP_MINTTL in <linux/in.h>, IPV6_MINHOPCOUNT in <linux/in6.h>
_LEAST_TTL = ((socket.IPPROTO_IP, 21), (socket.IPPROTO_IPV6, 73))
# A client that is gone without a word, as in a power cut, while nothing is being sent to it, is
# found out after two minutes: 60 seconds and four probes. Accepted sockets inherit these.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


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
        backlog: Length of its accept queue.
        shared: Whether other processes may accept from it as well.
        file: The file of a unix socket, if it is to be removed in the end.

    Attributes:
        kind: What is spoken there.
        pairs: The certificates, where that is TLS.
        is_proxied: Whether each connection begins with a PROXY header.
        endpoint: What asks for it, as an endpoint string.
    """

    def __init__(
        self, sock: socket.socket, backlog: int, *, shared: bool = False, file: str = ""
    ) -> None:
        self.sock = sock
        self.backlog = backlog
        self.shared = shared
        self.kind = Kind.PLAIN
        self.pairs: tuple[KeyPair, ...] = ()
        self.is_proxied = False
        self.endpoint = ""
        if sock.family != socket.AF_UNIX:
            for level, option, value in _KEEP_ALIVE:
                sock.setsockopt(level, option, value)
        # Asked for now: a closed socket does not know it any more.
        self._name = sock.getsockname()
        # The application may change the current directory.
        self._file = os.path.abspath(file) if file else ""
        self._inode = _inode(self._file) if file else None

    def speak(self, place: Place) -> None:
        """What its place asks for. Only now it is known what an inherited socket is."""
        if place.kind is not Kind.TLS or self.sock.family != socket.AF_UNIX:
            self.kind = place.kind
            self.pairs = place.pairs
        self.is_proxied = place.is_proxied
        self.endpoint = place.description

    def __repr__(self) -> str:
        return f"<Listener {self}>"

    def __str__(self) -> str:
        """Its URL, or `unix:PATH`, with an @ before the name of an abstract socket."""
        if not isinstance(self._name, tuple):
            return self.address
        return f"{'https' if self.kind is Kind.TLS else 'http'}://{self.address}"

    @property
    def address(self) -> str:
        """Its host and port, or `unix:PATH`."""
        if not isinstance(self._name, tuple):
            return "unix:" + os.fsdecode(self._name).replace("\0", "@", 1)
        host, port = self._name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def purpose(self) -> str:
        """What the log says of it, before its URL."""
        if self.kind is Kind.REDIRECT:
            return "Redirecting to https what comes to"
        return "Listening for PROXY headers on" if self.is_proxied else "Listening on"

    @property
    def port(self) -> int | None:
        """Its port; None for a unix socket."""
        if not isinstance(self._name, tuple):
            return None
        port = self._name[1]
        assert isinstance(port, int)
        return port

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


def reason(error: OSError) -> str:
    """What a message for people says of it."""
    return os.strerror(error.errno) if error.errno else str(error)
