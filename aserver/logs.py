"""Logs: the `aserver.*` loggers, and the access log.

Only loggers named `aserver` and below are ever touched, and only by the command line; a server that
is embedded leaves logging to its host. The access log does not go through `logging`: its lines are
collected and written in batches by a thread of their own, so that a slow disk or a full pipe never
stops the event loop.
"""

import errno
import logging
import os
import select
import sys
import threading
from asyncio import AbstractEventLoop
from queue import SimpleQueue
from time import localtime, strftime, time

from .types import Address

server_log = logging.getLogger("aserver.server")  # the server's own life
app_log = logging.getLogger("aserver.app")  # what applications do wrong
peer_log = logging.getLogger("aserver.peer")  # what clients do wrong

_LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG, 3: logging.DEBUG}


def set_up_logging(verbosity: int) -> None:
    """Write the `aserver` loggers' records to stderr; for the command line only."""
    logger = logging.getLogger("aserver")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(_LEVELS[verbosity])
    logger.propagate = False


def enable_loggers() -> None:
    """Undo what an application's `logging.config` with `disable_existing_loggers` did to ours."""
    for logger in (server_log, app_log, peer_log, logging.getLogger("aserver")):
        logger.disabled = False


def one_line(error: BaseException) -> str:
    """An exception in one line, whatever its message is."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class AccessLog:
    """Daphne's access log line, written in batches.

        127.0.0.1:54321 - - [20/Nov/2026:14:18:59] "GET /path?query" 200 13

    Args:
        path: A file to append to, or "-" for standard output.
        loop: Lines are handed to the writer thread a tenth of a second after the first of them.

    Raises:
        OSError: The file cannot be opened.
    """

    _DELAY = 0.1
    _BATCH = 1024  # lines
    _BACKLOG = 256  # batches that a stopped reader may cost in memory before lines are dropped
    _QUIET = 60.0  # seconds between two complaints

    def __init__(self, path: str, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: list[str] = []
        self._batches: SimpleQueue[list[str] | None] = SimpleQueue()
        self._dropped = 0  # lines that found the backlog full; counted by the loop's thread
        self._failed = 0  # lines that could not be written; counted by the writer
        self._reason = "its reader is too slow"
        self._reported = 0
        self._quiet_until = 0.0
        self._second = 0
        self._time = ""
        self._fd = _open(path)
        self._thread = threading.Thread(target=self._write, name="aserver-access-log", daemon=True)
        self._thread.start()

    def http(
        self, client: Address | None, method: str, target: bytes, status: int, size: int
    ) -> None:
        """Log one response. The target is as received, so it holds no control characters."""
        lines = self._lines
        if not lines:
            self._loop.call_later(self._DELAY, self.flush)
            self._set_time()
        peer = f"{client[0]}:{client[1]}" if client else "None"
        text = target.decode("ascii")
        if '"' in text:
            text = text.replace('"', "%22")
        lines.append(f'{peer} - - [{self._time}] "{method} {text}" {status} {size or "-"}\n')
        if len(lines) >= self._BATCH:
            self.flush()

    def _set_time(self) -> None:
        """All lines of a batch, a tenth of a second at most, share the time of the first."""
        second = int(time())
        if second != self._second:
            self._second = second
            self._time = strftime("%d/%b/%Y:%H:%M:%S", localtime(second))

    def flush(self) -> None:
        """Hand the lines to the writer; never waits for it."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._batches.qsize() < self._BACKLOG:
            self._batches.put(lines)
        else:
            self._dropped += len(lines)
        if self._loop.time() >= self._quiet_until:
            self._report()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left, waiting no longer than `timeout` seconds for a slow reader."""
        self.flush()
        self._batches.put(None)
        self._thread.join(timeout)
        self._report()
        if self._thread.is_alive():
            server_log.error("The access log could not be written to its end: %s", self._reason)

    def _report(self) -> None:
        """Say how many lines were lost since it was said last."""
        lost = self._dropped + self._failed - self._reported
        if lost:
            server_log.error("The access log lost %d lines: %s", lost, self._reason)
            self._reported += lost
            self._quiet_until = self._loop.time() + self._QUIET

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                _write_all(self._fd, "".join(batch).encode("utf-8", "replace"))
            except OSError as error:
                self._reason = error.strerror or str(error)
                self._failed += len(batch)
        os.close(self._fd)


def _open(path: str) -> int:
    if path != "-":
        # Without O_NONBLOCK, opening a named pipe that nobody reads would wait for a reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(path, flags, 0o644)
    try:
        return os.dup(sys.stdout.fileno())
    except (AttributeError, ValueError):  # it is closed, or something that is no file
        raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
