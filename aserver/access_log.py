"""The access log: noted where a response ends, made into lines and written in batches.

It does not go through `logging`. A slow disk, a full one or a reader that stopped costs lines, of
which the server's own log tells how many, but never stops the event loop.

Theory of operation: `record` puts a note into a list, and nothing else, for it runs inside of an
application's `send()`. Soon after, the event loop makes lines of a few notes at a time, while they
are still in the processor's cache, and before the garbage collector begins to count them. Every
tenth of a second all lines go to the writer's thread, in one piece: each waking of it costs more
than a hundred lines do.
"""

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from time import time
from typing import NamedTuple

from .access_exclusions import compile_exclusions
from .access_format import Moment, compile_format
from .access_notes import Exchange, Note, Noting, Record, SocketLog
from .config import Log
from .declarations import ConfigError
from .escaping import printable
from .log_outputs import Output, open_output
from .logs import one_line, server_log
from .seams import Head

_FEW = 128  # notes that wait for the event loop's next round at the latest
_SLICE = 1024  # notes at once: half a millisecond's
_PIECE = 2**20  # bytes that do not wait for the tenth of a second


class _Batch(NamedTuple):
    data: bytes
    lines: int


_SLOW = "its reader is too slow"


class _Reopen:
    """A word to the thread."""


class AccessLog:
    """One worker's access log.

    Args:
        log: The configuration; its `access_log` is not empty.
        loop: Lines are handed to the writer thread a tenth of a second after the first of them.

    Attributes:
        timed: Whether lines need to know when an exchange began.
        record: Logs one exchange, at its end; raises nothing.
        sockets: The same for WebSockets.

    Raises:
        ConfigError: It cannot be opened, or the format or an exclusion cannot be understood.
    """

    _DELAY = 0.1
    _BACKLOG = 16 * 2**20  # bytes that a slow reader may cost in memory; then lines are lost
    _QUIET = 60.0  # seconds between two complaints

    def __init__(self, log: Log, loop: AbstractEventLoop) -> None:
        compiled = compile_format(log.access_log_format)
        self.timed = compiled.timed
        self._make_lines = compiled.lines
        is_excluded = compile_exclusions(log.access_log_exclude)
        self._output = _open(log.access_log or "-")
        self._loop = loop
        self._notes: list[Note] = []
        noting: Noting = (self._notes, {0, _FEW - 1}, self._turn, self._fail)
        self.record = _with_exclusions(compiled.new_record(*noting), is_excluded)
        self.sockets = SocketLog(
            compiled.new_socket_records, noting, is_excluded, timed=compiled.timed
        )
        self._moment = Moment(0)
        self._second = 0
        self._made: list[bytes] = []  # lines
        self._made_bytes = 0
        self._made_lines = 0
        self._making = threading.Lock()  # `close` may be called in another thread
        self._is_timed = False  # a call of `_on_time` will come
        self._queue: SimpleQueue[_Batch | _Reopen | None] = SimpleQueue()
        self._queued = 0  # bytes, counted by the loop's thread
        self._taken = 0  # those of them that are not in the queue any more, counted by the writer
        self._handed = 0  # lines that the writer was given
        self._done = 0  # those of them that are written, or could not be
        self._dropped = 0  # lines that found the backlog full; counted by the loop's thread
        self._failed = 0  # lines that could not be written; counted by the writer
        self._stale = False  # the file could not be reopened
        self._reason = _SLOW
        self._reported = 0
        self._reporting = threading.Lock()
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._write, name="aserver-access-log", daemon=True)
        self._thread.start()

    # In the event loop's thread

    def _turn(self) -> None:
        """Called by `record`, before the first note of some and before the last of a few."""
        if self._notes:
            self._loop.call_soon(self._on_few)
            return
        if not self._is_timed:
            self._loop.call_later(self._DELAY, self._on_time)
            self._is_timed = True
        second = int(time())
        if second != self._second:
            self._second = second
            self._moment = Moment(second)

    def _fail(self, error: Exception) -> None:
        """Called by `record`, which cannot tell its caller."""
        self._dropped += 1
        self._reason = printable(one_line(error))
        self._ask_for_report()

    def _on_few(self) -> None:
        """Make lines of the notes, but not for long."""
        self._make()
        if self._notes:
            self._loop.call_soon(self._on_few)
        if self._made_bytes >= _PIECE:
            self._hand_over()
            self._report_when_due()

    def _on_time(self) -> None:
        self._is_timed = False
        self._make()
        if self._notes:
            self._loop.call_later(self._DELAY, self._on_time)
            self._is_timed = True
        self._hand_over()
        self._report_when_due()

    def _make(self) -> None:
        with self._making:
            notes = self._notes[:_SLICE]
            del self._notes[:_SLICE]
            lines, count = self._lines_of(notes)
            self._made.append(lines)
            self._made_bytes += len(lines)
            self._made_lines += count

    def _lines_of(self, notes: list[Note]) -> tuple[bytes, int]:
        """The lines of these notes, and how many; those that cannot be made are lost."""
        with suppress(Exception):
            return self._make_lines(notes, self._moment), len(notes)
        # An application may have put anything into the headers of its scope, which are ours, too.
        lines = []
        for note in notes:
            try:
                lines.append(self._make_lines([note], self._moment))
            except Exception as error:
                self._fail(error)
        return b"".join(lines), len(lines)

    def _hand_over(self) -> None:
        """Give the lines that are made to the writer; never waits for it."""
        with self._making:
            batch = _Batch(b"".join(self._made), self._made_lines)
            self._made, self._made_bytes, self._made_lines = [], 0, 0
            if not batch.lines:
                return
            if self._queued - self._taken < self._BACKLOG:
                self._queued += len(batch.data)
                self._handed += batch.lines
                self._queue.put(batch)
            else:
                self._dropped += batch.lines
                self._reason = _SLOW

    def flush(self) -> None:
        """Make all lines and hand them to the writer; never waits for it."""
        while self._notes:
            self._make()
        self._hand_over()

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
            server_log.error(
                "The access log could not be written to its end, %d lines are left: %s",
                self._handed - self._done,
                _SLOW,
            )

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
                self._taken += len(task.data)
                self._write_batch(task.data)
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
                    written = output.write(left)
                except OSError as error:
                    self._reason = error.strerror or str(error)
                    lost = left.count(b"\n")
                    self._failed += lost
                    self._done += lost
                    self._ask_for_report()
                    break
                self._done += left.count(b"\n", 0, written)
                left = left[written:]

    def _ask_for_report(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: then `close` reports
            self._loop.call_soon_threadsafe(self._report_when_due)


def _with_exclusions(record: Record, is_excluded: Callable[[bytes], bool] | None) -> Record:
    if is_excluded is None:
        return record

    def record_others(exchange: Exchange, head: Head) -> None:
        if not is_excluded(exchange.request.target):
            record(exchange, head)

    return record_others


def check_access_log(log: Log) -> None:
    """Raise the ConfigError that an access log with this configuration would."""
    compile_format(log.access_log_format)
    compile_exclusions(log.access_log_exclude)
    if log.access_log:
        _open(log.access_log).close()


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
