"""Where access log lines go: a file, standard output, or syslog. For the log's own thread.

No line is ever torn by another process that writes to the same place. The kernel appends a `write`
to a file as a whole; to a pipe only up to PIPE_BUF bytes. So lines are written in pieces of whole
lines, no larger than the output's `limit`.
"""

import errno
import os
import re
import select
import socket
import stat
import sys
import syslog
import time
from typing import Any, Protocol

from .access_format import MONTHS
from .declarations import ConfigError

_FILE_PIECE = 65_536
_DATAGRAM = 8192  # the longest message that syslog servers take by default
_PRIORITY = syslog.LOG_LOCAL0 | syslog.LOG_INFO


class Output(Protocol):
    """A place for lines.

    Attributes:
        limit: How much `write` may be given at a time.
        cuts: Whether a single line that is longer has to be cut.
    """

    limit: int
    cuts: bool

    def write(self, lines: bytes) -> int:
        """Write whole lines; returns how many bytes, of whole lines again, were written.

        Raises:
            OSError: None could be.
        """

    def reopen(self) -> None:
        """Go on in the file that has the name now.

        Raises:
            OSError: It cannot be opened; `write` goes on in the old one.
        """

    def close(self) -> None:
        """Let go of it."""


def open_output(place: str) -> Output:
    """The output for `--access-log`.

    Raises:
        OSError: It cannot be opened.
        ConfigError: The address of a syslog server is none.
    """
    if place == "-":
        return _Stream()
    return _Syslog(place) if place.startswith("syslog:") else _File(place)


class _Stream:
    """Standard output, and the base of a file: a file descriptor."""

    def __init__(self) -> None:
        try:
            self._use(os.dup(sys.stdout.fileno()))
        except (AttributeError, ValueError):  # it is closed, or something that is no file
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def _use(self, fd: int) -> None:
        self._fd = fd
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self.limit = _FILE_PIECE if self._regular else select.PIPE_BUF
        self.cuts = not self._regular

    def write(self, lines: bytes) -> int:
        written = self._write(lines)
        if self._regular and written < len(lines):
            return self._keep_whole(lines, written)
        while written < len(lines):  # a terminal or a socket
            written += self._write(lines[written:])
        return written

    def _write(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()

    def _keep_whole(self, lines: bytes, written: int) -> int:
        """The disk is full, in the middle of a line: take its beginning back."""
        whole = lines.rfind(b"\n", 0, written) + 1
        end = os.lseek(self._fd, 0, os.SEEK_CUR)
        if os.fstat(self._fd).st_size == end:  # else another process has written behind it
            os.ftruncate(self._fd, end - written + whole)
            os.lseek(self._fd, 0, os.SEEK_END)
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole

    def reopen(self) -> None:
        """Standard output is not ours to reopen."""

    def close(self) -> None:
        os.close(self._fd)


class _File(_Stream):
    """A file by its path, to be opened again when it was renamed."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # the application may change the current directory
        self._deleted = False
        self._use(self._open())

    def write(self, lines: bytes) -> int:
        if self._deleted:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return super().write(lines)

    def _open(self) -> int:
        # Without O_NONBLOCK, opening a named pipe that nobody reads would wait for a reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, 0o644)

    def reopen(self) -> None:
        old = self._fd
        try:
            fd = self._open()
        except OSError:
            self._deleted = os.fstat(old).st_nlink == 0  # what is written there is lost
            raise
        self._deleted = False
        self._use(fd)
        os.close(old)


class _Syslog:
    """The system's log, or a server's: a datagram for each line (RFC 3164)."""

    limit = _FILE_PIECE
    cuts = False  # `_send` does

    def __init__(self, place: str) -> None:
        self._address, self._host = _syslog_address(place)
        self._connect()

    def _connect(self) -> None:
        family: int = socket.AF_UNIX
        address: Any = self._address
        if not isinstance(address, str):
            host, port = address
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def write(self, lines: bytes) -> int:
        written = 0
        header = self._header()
        try:
            for line in lines.splitlines(keepends=True):
                self._send((header + line[:-1])[:_DATAGRAM])
                written += len(line)
        except OSError:
            if not written:
                raise
        return written

    def _header(self) -> bytes:
        t = time.localtime()
        moment = (
            f"{MONTHS[t.tm_mon - 1]} {t.tm_mday:2d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
        )
        return f"<{_PRIORITY}>{moment} {self._host}aserver[{os.getpid()}]: ".encode()

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except OSError:  # its server may be a new one
            self.reopen()
            self._socket.send(message)

    def reopen(self) -> None:
        self._socket.close()
        self._connect()

    def close(self) -> None:
        self._socket.close()


def _syslog_address(place: str) -> tuple[str | tuple[str, int], str]:
    """From `syslog:`, `syslog:/PATH` or `syslog://HOST:PORT` to an address, and our name there."""
    rest = place.removeprefix("syslog:")
    if not rest.startswith("//"):
        if rest and not rest.startswith("/"):
            raise _no_syslog(place)
        return rest or "/dev/log", ""
    match = re.fullmatch(
        r"//(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]|([^\[\]:/]+))(?::(\d{1,5}))?", rest
    )
    if match is None or int(match[3] or 514) > 65535:
        raise _no_syslog(place)
    return (match[1] or match[2], int(match[3] or 514)), f"{socket.gethostname()} "


def _no_syslog(place: str) -> ConfigError:
    return ConfigError(
        f"--access-log: {place!r} is not syslog:, syslog:/PATH or syslog://HOST:PORT"
    )
