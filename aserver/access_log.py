"""The access log: noted where a response ends, made into lines and written in batches.

It does not go through `logging`. A slow disk, a full one or a reader that stopped costs lines, of
which the server's own log tells how many, but never stops the event loop.
"""

import threading
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from time import time
from typing import NamedTuple

from .access_format import Exchange, Moment, Note, compile_exclusions, compile_format
from .config import Log
from .declarations import ConfigError
from .log_outputs import Output, open_output
from .logs import server_log
from .types import Head

_BATCH = 1024  # lines


class _Batch(NamedTuple):
    text: str
    lines: int


class _Reopen:
    """A word to the thread."""


class AccessLog:
    """One worker's access log.

    Args:
        log: The configuration; its `access_log` is not empty.
        loop: Lines are handed to the writer thread a tenth of a second after the first of them.

    Attributes:
        timed: Whether lines need to know when an exchange began.

    Raises:
        ConfigError: It cannot be opened, or the format or an exclusion cannot be understood.
    """

    _DELAY = 0.1
    _BACKLOG = 16 * 2**20  # characters that a slow reader may cost in memory; then lines are lost
    _QUIET = 60.0  # seconds between two complaints

    def __init__(self, log: Log, loop: AbstractEventLoop) -> None:
        self._note, self._make_lines, self.timed = compile_format(log.access_log_format)
        self._is_excluded = compile_exclusions(log.access_log_exclude)
        self._output = _open(log.access_log or "-")
        self._loop = loop
        self._notes: list[Note] = []
        self._moment = Moment(0)
        self._second = 0
        self._queue: SimpleQueue[_Batch | _Reopen | None] = SimpleQueue()
        self._queued = 0  # characters, counted by the loop's thread
        self._taken = 0  # those of them that are not in the queue any more, counted by the writer
        self._dropped = 0  # lines that found the backlog full; counted by the loop's thread
        self._failed = 0  # lines that could not be written; counted by the writer
        self._stale = False  # the file could not be reopened
        self._reason = "its reader is too slow"
        self._reported = 0
        self._reporting = threading.Lock()  # `close` may be called in another thread
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._write, name="aserver-access-log", daemon=True)
        self._thread.start()

    # In the event loop's thread

    def record(self, exchange: Exchange, head: Head) -> None:
        """Log one exchange, at its end."""
        if self._is_excluded is not None and self._is_excluded(exchange.request.target):
            return
        notes = self._notes
        if not notes:
            self._begin()
        notes.append(self._note(exchange, head))
        if len(notes) >= _BATCH:
            self.flush()

    def _begin(self) -> None:
        """All lines of a batch, a tenth of a second at most, share the time of the first."""
        self._loop.call_later(self._DELAY, self.flush)
        second = int(time())
        if second != self._second:
            self._second = second
            self._moment = Moment(second)

    def flush(self) -> None:
        """Make the lines and hand them to the writer; never waits for it."""
        notes, self._notes = self._notes, []
        if not notes:
            return
        batch = _Batch(self._make_lines(notes, self._moment), len(notes))
        if self._queued - self._taken < self._BACKLOG:
            self._queued += len(batch.text)
            self._queue.put(batch)
        else:
            self._dropped += batch.lines
        self._report_when_due()

    def reopen(self) -> None:
        """Go on in the file that has the log's name now, behind the lines so far."""
        self.flush()
        self._queue.put(_Reopen())

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left, waiting no longer than `timeout` seconds for a slow reader."""
        self.flush()
        self._queue.put(None)
        self._thread.join(timeout)
        self._report()
        if self._thread.is_alive():
            server_log.error("The access log could not be written to its end: %s", self._reason)

    def _report_when_due(self) -> None:
        if self._loop.time() >= self._quiet_until and self._report():
            self._quiet_until = self._loop.time() + self._QUIET
            # What is lost until then shall be said even if no line comes any more.
            self._loop.call_later(self._QUIET, self._report_when_due)

    def _report(self) -> bool:
        """Say what was lost since it was said last; returns whether there was something to say."""
        with self._reporting:
            lost = self._dropped + self._failed - self._reported
            self._reported += lost
        if lost:
            server_log.error("The access log lost %d lines: %s", lost, self._reason)
        elif self._stale:
            server_log.error(
                "The access log cannot be reopened and goes on in the old file: %s", self._reason
            )
        return bool(lost) or self._stale

    # In the writer's thread

    def _write(self) -> None:
        while (task := self._queue.get()) is not None:
            if isinstance(task, _Reopen) or self._stale:
                self._reopen()
            if isinstance(task, _Batch):
                self._taken += len(task.text)
                self._write_batch(task.text.encode("utf-8", "replace"))
        self._output.close()

    def _reopen(self) -> None:
        try:
            self._output.reopen()
        except OSError as error:
            self._reason = error.strerror or str(error)
            self._stale = True  # tried again with each batch
            self._ask_for_report()
        else:
            self._stale = False

    def _write_batch(self, data: bytes) -> None:
        output = self._output
        for piece in pieces(data, output):
            left = piece
            while left:
                try:
                    left = left[output.write(left) :]
                except OSError as error:
                    self._reason = error.strerror or str(error)
                    self._failed += left.count(b"\n")
                    self._ask_for_report()
                    break

    def _ask_for_report(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: then `close` reports
            self._loop.call_soon_threadsafe(self._report_when_due)


def check_formats(log: Log) -> None:
    """Raise the ConfigError that an access log with this configuration would."""
    compile_format(log.access_log_format)
    compile_exclusions(log.access_log_exclude)


def pieces(data: bytes, output: Output) -> Iterator[bytes]:
    """Cut a batch at line ends, to what the output takes at a time."""
    start, limit = 0, output.limit
    while start < len(data):
        end = data.rfind(b"\n", start, start + limit) + 1
        if end:
            yield data[start:end]
        else:  # a single line that is longer
            end = data.index(b"\n", start) + 1
            yield data[start : start + limit - 4] + b"...\n" if output.cuts else data[start:end]
        start = end


def _open(place: str) -> Output:
    try:
        return open_output(place)
    except OSError as error:
        raise ConfigError(f"--access-log: cannot write {place!r}: {error.strerror}") from None
