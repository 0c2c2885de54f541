"""The access log's lines, batches and losses; and that no logger but ours is touched."""

import asyncio
import contextlib
import errno
import io
import logging
import logging.config
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aserver import logs
from aserver.logs import AccessLog, app_log, enable_loggers, one_line, peer_log, server_log

CLIENT = ("127.0.0.1", 54321)
LINE = re.compile(r'(\S+) - - \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d)\] "(.+)" (\d+) (\d+|-)')


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time and timers are in the test's hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: list[tuple[float, Callable[..., object]]] = []

    def time(self) -> float:
        return self.now

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, **options: Any
    ) -> None:
        self.timers.append((delay, callback))


@pytest.fixture
def loop() -> Iterator[Loop]:
    with contextlib.closing(Loop()) as loop:
        yield loop


def write(log: AccessLog, count: int = 1, target: bytes = b"/") -> None:
    for _ in range(count):
        log.http(CLIENT, "GET", target, 200, 13)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# Lines


@pytest.mark.parametrize(
    ("client", "method", "target", "status", "size", "expected"),
    [
        (CLIENT, "GET", b"/", 200, 13, ("127.0.0.1:54321", "GET /", "200", "13")),
        (("::1", 1), "GET", b"/", 200, 13, ("::1:1", "GET /", "200", "13")),
        (None, "PUT", b"/a?b=c&d", 204, 0, ("None", "PUT /a?b=c&d", "204", "-")),
        (CLIENT, "GET", b"/%1b[31m%0a", 404, 1, ("127.0.0.1:54321", "GET /%1b[31m%0a", "404", "1")),
        (CLIENT, "GET", b'/"" 1 1', 500, 9, ("127.0.0.1:54321", "GET /%22%22 1 1", "500", "9")),
        (CLIENT, "OPTIONS", b"*", 200, 0, ("127.0.0.1:54321", "OPTIONS *", "200", "-")),
    ],
)
def test_a_line_is_daphnes(
    tmp_path: Path,
    loop: Loop,
    client: tuple[str, int | None] | None,
    method: str,
    target: bytes,
    status: int,
    size: int,
    expected: tuple[str, ...],
) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), loop)
    before = time.time()
    log.http(client, method, target, status, size)
    log.close()
    text = path.read_text()
    assert text.endswith("\n")
    match = LINE.fullmatch(text[:-1])
    assert match is not None
    assert (match[1], *match.groups()[2:]) == expected
    written = time.mktime(time.strptime(match[2], "%d/%b/%Y:%H:%M:%S"))
    assert int(before) <= written <= time.time()


def test_the_time_is_that_of_the_batch(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), loop)
    noon = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))
    for now in (noon + 0.95, noon + 0.96, noon + 1.01):
        monkeypatch.setattr(logs, "time", lambda now=now: now)
        write(log)
        if now != noon + 0.95:
            log.flush()
    log.close()
    matches = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    times = ["20/Nov/2026:12:00:00", "20/Nov/2026:12:00:00", "20/Nov/2026:12:00:01"]
    assert [match and match[2] for match in matches] == times


# Batches


def test_lines_are_written_together_a_tenth_of_a_second_later(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), loop)
    write(log, 3)
    assert path.read_text() == ""
    ((delay, callback),) = loop.timers
    assert delay == 0.1
    callback()
    wait_until(lambda: path.read_text().count("\n") == 3)
    callback()  # nothing to write is no batch
    write(log)
    assert len(loop.timers) == 2
    log.close()
    assert path.read_text().count("\n") == 4


def test_many_lines_do_not_wait(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), loop)
    write(log, 1024)
    wait_until(lambda: path.read_text().count("\n") == 1024)
    log.close()


def test_a_file_is_appended_to(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = AccessLog(str(path), loop)
    write(log)
    log.close()
    os.truncate(path, 7)  # as log rotation does
    log = AccessLog(str(path), loop)
    write(log)
    log.close()
    assert path.read_text().startswith("before\n127.0.0.1:54321 - - [")
    assert path.read_text().count("\n") == 2


def test_a_new_file_is_not_for_others_to_write(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    before = os.umask(0)
    try:
        AccessLog(str(path), loop).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# Standard output


@contextlib.contextmanager
def stdout(fd: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with open(fd, "w", closefd=False) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_standard_output(
    pipe: tuple[int, int], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    with stdout(writer, monkeypatch):
        log = AccessLog("-", loop)
        write(log)
        log.close()
    assert os.fstat(writer), "it is not ours to close"
    assert LINE.fullmatch(os.read(reader, 4096).decode().rstrip("\n"))


def test_standard_output_that_somebody_made_non_blocking_loses_nothing(
    pipe: tuple[int, int], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    with stdout(writer, monkeypatch):
        log = AccessLog("-", loop)
    write(log, 2 * 1024, target=b"/" + b"a" * 100)  # more than a pipe holds
    log._batches.put(None)
    os.close(writer)
    data = b""
    while piece := os.read(reader, 65536):
        data += piece
    assert all(LINE.fullmatch(line) for line in data.decode().splitlines())
    assert data.count(b"\n") == 2048


def no_stream() -> None:
    return None


def closed_stream() -> io.TextIOWrapper:
    with open(os.devnull, "w") as stream:
        return stream


@pytest.mark.parametrize("make", [no_stream, closed_stream, io.StringIO])
def test_standard_output_that_is_no_file_is_an_error_with_a_reason(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]
) -> None:
    monkeypatch.setattr(sys, "stdout", make())
    with pytest.raises(OSError) as caught:
        AccessLog("-", loop)
    assert (caught.value.errno, caught.value.strerror) == (errno.EBADF, "Bad file descriptor")


# What cannot be opened, or written


def test_a_file_that_cannot_be_opened(tmp_path: Path, loop: Loop) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        AccessLog(str(tmp_path / "none" / "access.log"), loop)
    with pytest.raises(OSError, match="Is a directory"):
        AccessLog(str(tmp_path), loop)


def test_a_pipe_that_nobody_reads_is_an_error_and_not_a_wait(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        AccessLog(str(path), loop)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [each.getMessage() for each in caplog.records]


Said = Callable[[], list[str]]


def test_a_full_disk_is_said_once_in_a_while(loop: Loop, said: Said) -> None:
    log = AccessLog("/dev/full", loop)
    write(log, 2)
    log.flush()
    wait_until(lambda: log._failed == 2)
    assert said() == []
    for _ in range(50):
        write(log)
        log.flush()
    wait_until(lambda: log._failed == 52)
    first = said()
    assert len(first) == 1, "not for every batch"
    loop.now += 61
    write(log)
    log.flush()
    assert len(said()) == 2
    log.close()
    counts = []
    for line in said():
        match = re.fullmatch(r"The access log lost (\d+) lines: No space left on device", line)
        assert match is not None
        counts.append(int(match[1]))
    assert sum(counts) == 53, "each is counted, once"


def test_a_reader_that_left(loop: Loop, pipe: tuple[int, int], said: Said) -> None:
    reader, writer = pipe
    log = AccessLog(f"/proc/self/fd/{writer}", loop)
    os.close(writer)
    os.close(reader)
    write(log)
    log.close()
    assert said() == ["The access log lost 1 lines: Broken pipe"]


def test_a_reader_that_stopped_costs_lines_but_never_blocks(
    loop: Loop, pipe: tuple[int, int], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AccessLog, "_BACKLOG", 2)
    reader, writer = pipe
    log = AccessLog(f"/proc/self/fd/{writer}", loop)
    os.close(writer)
    write(log, 1024, target=b"/" + b"a" * 1000)  # a batch that a pipe does not hold
    wait_until(lambda: log._batches.qsize() == 0)
    for _ in range(5):
        write(log, 10)
        log.flush()
    assert log._dropped == 30
    assert said() == ["The access log lost 10 lines: its reader is too slow"]
    started = time.monotonic()
    log.close(timeout=0.05)
    assert time.monotonic() - started < 2
    assert said()[1:] == [
        "The access log lost 20 lines: its reader is too slow",
        "The access log could not be written to its end: its reader is too slow",
    ]
    data = b""
    while piece := os.read(reader, 65536):  # it reads again: what is left comes, in whole lines
        data += piece
    assert data.count(b"\n") == 1024 + 20
    assert all(LINE.fullmatch(line) for line in data.decode().splitlines())


# The loggers


def state_of(logger: logging.Logger) -> tuple[object, ...]:
    return (
        logger.level,
        logger.handlers.copy(),
        logger.filters.copy(),
        logger.propagate,
        logger.disabled,
    )


def all_loggers() -> dict[str, tuple[object, ...]]:
    """Everything in `logging` that somebody could change, but for our loggers."""
    names = [name for name in logging.root.manager.loggerDict if not name.startswith("aserver")]
    states = {name: state_of(logging.getLogger(name)) for name in names}
    return states | {"": state_of(logging.root), "disabled": (logging.root.manager.disable,)}


@pytest.mark.usefixtures("own_loggers")
def test_only_our_loggers_are_touched() -> None:
    logging.getLogger("somebody.else").setLevel(logging.CRITICAL)
    before = all_loggers()
    logs.set_up_logging(3)
    enable_loggers()
    assert all_loggers() == before


@pytest.mark.usefixtures("own_loggers")
@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (0, ["WARNING"]),
        (1, ["INFO", "WARNING"]),
        *((n, ["DEBUG", "INFO", "WARNING"]) for n in (2, 3)),
    ],
)
def test_verbosity(verbosity: int, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_logging(verbosity)
    logs.set_up_logging(verbosity)  # again, and still each record is written once
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        server_log.log(level, "message of %s", "level")
    lines = capsys.readouterr().err.splitlines()
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) +message of level"
    matches = [re.fullmatch(pattern, line) for line in lines]
    assert [match and match[1] for match in matches] == shown


@pytest.mark.usefixtures("own_loggers")
def test_our_records_are_not_written_a_second_time_by_the_root_logger(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up_logging(1)
    app_log.error("once")
    assert capsys.readouterr().err.count("once") == 1
    assert caplog.records == []


@pytest.mark.usefixtures("own_loggers")
def test_an_applications_logging_configuration_does_not_silence_us(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.root.handlers.copy(), logging.root.level
    logs.set_up_logging(1)
    others = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    were_disabled = [(each, each.disabled) for each in others]
    try:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
        for logger in (server_log, app_log, peer_log):
            logger.warning("silence")
        enable_loggers()
        for logger in (server_log, app_log, peer_log):
            logger.warning("%s speaks", logger.name)
    finally:
        for each, disabled in were_disabled:
            each.disabled = disabled
        logging.root.handlers, logging.root.level = root
    text = capsys.readouterr().err
    assert "silence" not in text
    for name in ("server", "app", "peer"):
        assert f"aserver.{name} speaks" in text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a"), "ValueError: a"),
        (ValueError(), "ValueError:"),
        (OSError(2, "a\nb"), "FileNotFoundError: [Errno 2] a b"),
    ],
)
def test_an_exception_in_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line
