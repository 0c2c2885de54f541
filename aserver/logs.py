"""Logs: the `aserver.*` loggers, and the access log.

Only loggers named `aserver` and below are ever touched, and only by the command line; a server that
is embedded leaves logging to its host. The access log does not go through `logging`: its lines are
collected and written in batches by a thread of their own, so that a slow disk or a full pipe never
stops the event loop.
"""

import logging
import os
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

    def __init__(self, path: str, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: list[str] = []
        self._batches: SimpleQueue[list[str] | None] = SimpleQueue()
        self._dropped = 0
        self._second = 0
        self._time = ""
        if path == "-":
            self._fd = os.dup(sys.stdout.fileno())
        else:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        if not self._lines:
            return
        if self._batches.qsize() < self._BACKLOG:
            self._batches.put(self._lines)
        else:
            self._dropped += len(self._lines)
        self._lines = []

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left, waiting no longer than `timeout` seconds for a slow reader."""
        self.flush()
        self._batches.put(None)
        self._thread.join(timeout)

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                server_log.warning(
                    "The access log could not be written in time: %d lines lost", dropped
                )
            try:
                _write_all(self._fd, "".join(batch).encode("utf-8", "replace"))
            except OSError as error:
                server_log.error(
                    "The access log cannot be written, %d lines lost: %s", len(batch), error
                )
        os.close(self._fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
