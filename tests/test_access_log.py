"""The access log's batches and losses, and that it never stops a server."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aserver import access_log
from aserver.access_format import Moment, clock
from aserver.access_log import AccessLog, check_access_log, pieces
from aserver.access_notes import Note
from aserver.config import Config
from aserver.declarations import ConfigError
from aserver.engines.fields import ResponseHead
from aserver.types import Address, Request
from tests.processes import Process
from tests.test_access_format import SWITCHED, Answer

LINE = re.compile(r'\S+ - - \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d)\] "(.+)" \d+ (?:\d+|-)')
HEAD = ResponseHead(200, (), "GET")


class Exchange:
    """One request and its answer."""

    def __init__(self, target: bytes) -> None:
        self.request = Request("GET", target, "1.1", [])
        self.client: Address | None = ("127.0.0.1", 54321)
        self.received = 0
        self.sent = 13
        self.began = clock()


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


def open_log(path: Path | str, loop: Loop, **options: Any) -> AccessLog:
    return AccessLog(Config.of(access_log=str(path), **options).log, loop)


def write(log: AccessLog, count: int = 1, target: bytes = b"/") -> None:
    exchange = Exchange(target)
    for _ in range(count):
        log.record(exchange, HEAD)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


Said = Callable[[], list[str]]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    return lambda: [each.getMessage() for each in caplog.records]


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


# Lines


def test_a_line_is_daphnes(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop)
    before = int(time.time())
    write(log, target=b"/a?b")
    log.close()
    (line,) = lines_of(path)
    match = re.fullmatch(r'127\.0\.0\.1:54321 - - \[(.+)\] "GET /a\?b" 200 13', line)
    assert match is not None
    assert before <= time.mktime(time.strptime(match[1], "%d/%b/%Y:%H:%M:%S")) <= time.time()


def test_another_format(tmp_path: Path, loop: Loop) -> None:
    log = open_log(tmp_path / "access.log", loop, access_log_format="%(s)s %(L)s")
    assert log.timed
    write(log)
    log.close()
    assert re.fullmatch(r"200 0\.\d{6}\n", (tmp_path / "access.log").read_text())


def test_excluded_paths(tmp_path: Path, loop: Loop) -> None:
    log = open_log(
        tmp_path / "access.log", loop, access_log_exclude=["/health"], access_log_format="%(U)s"
    )
    for target in (b"/health", b"/health?a", b"/healthy"):
        write(log, target=target)
    log.close()
    assert lines_of(tmp_path / "access.log") == ["/healthy"]


def test_the_time_is_that_of_the_batch(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop)
    noon = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))
    for now in (noon + 0.95, noon + 0.96, noon + 1.01):
        monkeypatch.setattr(access_log, "time", lambda now=now: now)
        write(log)
        if now != noon + 0.95:
            log._on_time()
    log.close()
    matches = [LINE.fullmatch(line) for line in lines_of(path)]
    times = ["20/Nov/2026:12:00:00", "20/Nov/2026:12:00:00", "20/Nov/2026:12:00:01"]
    assert [match and match[1] for match in matches] == times


# WebSockets


class SocketExchange(Exchange):
    """One WebSocket."""

    def __init__(self, target: bytes = b"/ws", closed_by: str = "client") -> None:
        super().__init__(target)
        self.accepted = True
        self.close_code = 1000
        self.closed_by = closed_by
        self.messages_received = 2
        self.messages_sent = 3


def requests_of(path: Path) -> list[str]:
    """What the lines of Daphne's format have between the quotes."""
    matches = [
        re.fullmatch(r'127\.0\.0\.1:54321 - - \[.+\] "(.+)" - -', line) for line in lines_of(path)
    ]
    return [match[1] if match else "?" for match in matches]


def test_eight_websockets_at_once(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop)
    exchanges = [SocketExchange(b"/ws/%d?a=b" % number) for number in range(8)]
    for exchange in exchanges:
        log.sockets.connecting(exchange)
    for exchange in exchanges[:6]:
        log.sockets.connected(exchange)
    for exchange in exchanges:
        exchange.accepted = exchange in exchanges[:6]
        exchange.closed_by = "application"
        log.sockets.record(exchange, Answer(101 if exchange.accepted else 403))
    assert path.read_text() == "", "nothing is written where something happens"
    log.close()
    requests = requests_of(path)
    for number in range(8):
        middle = "WSCONNECT" if number < 6 else "WSREJECT"
        assert [each.split()[0] for each in requests if each.endswith(f" /ws/{number}")] == [
            *("WSCONNECTING", middle, "WSDISCONNECT")
        ]
    assert len(requests) == 24


def test_requests_and_websockets_in_their_order(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop, access_log_format="%(U)s %(s)s %(closed_by)s")
    write(log, target=b"/before")
    log.sockets.record(SocketExchange(), SWITCHED)
    write(log, target=b"/behind")
    log.close()
    assert lines_of(path) == ["/before 200 -", "/ws 101 client", "/behind 200 -"]


def test_notes_of_websockets_are_notes_like_others(tmp_path: Path, loop: Loop) -> None:
    log = open_log(tmp_path / "access.log", loop)
    for _ in range(100):
        log.sockets.record(SocketExchange(), SWITCHED)
        write(log)
    assert [delay for delay, _ in loop.timers] == [0.1]
    turn(loop)
    assert not log._notes, "lines are made of the first few soon"
    log.close()
    assert len(lines_of(tmp_path / "access.log")) == 200


def test_a_websockets_lines_have_the_times_of_their_events(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop)
    noon = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))
    exchange = SocketExchange()
    events: list[tuple[float, Callable[[], None]]] = [
        (noon, lambda: log.sockets.connecting(exchange)),
        (noon + 1, lambda: log.sockets.connected(exchange)),
        (noon + 3600, lambda: log.sockets.record(exchange, SWITCHED)),
    ]
    for now, event in events:
        monkeypatch.setattr(access_log, "time", lambda now=now: now)
        event()
        log._on_time()
    log.close()
    times = re.findall(r"\[20/Nov/2026:(.+)\]", path.read_text())
    assert times == ["12:00:00", "12:00:01", "13:00:00"]


def test_excluded_websockets(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop, access_log_exclude=["/ws/*"])
    for target in (b"/ws/1?a", b"/ws"):
        exchange = SocketExchange(target)
        log.sockets.connecting(exchange)
        log.sockets.connected(exchange)
        log.sockets.record(exchange, SWITCHED)
    log.close()
    assert requests_of(path) == ["WSCONNECTING /ws", "WSCONNECT /ws", "WSDISCONNECT /ws"]


@pytest.mark.parametrize("text", ["daphne", "common", "json"])
def test_no_websocket_forges_a_line(text: str, tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop, access_log_format=text)
    exchange = SocketExchange(b'/"\n\x1b[2J\xff" 200 1')
    log.sockets.connecting(exchange)
    log.sockets.record(exchange, SWITCHED)
    log.close()
    data = path.read_bytes()
    assert data.count(b"\n") == (2 if text == "daphne" else 1)
    assert re.fullmatch(rb"[\n -~]+", data)
    if text == "json":
        assert json.loads(data)["path"] == '/"\n\x1b[2J\xff" 200 1'
    else:
        assert rb"/%22\x0a\x1b[2J\xff%22 200 1" in data


def test_a_websocket_with_broken_values_costs_one_line(
    tmp_path: Path, loop: Loop, said: Said
) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop, access_log_format="json")
    broken, incomplete = SocketExchange(b"/broken"), SocketExchange(b"/incomplete")
    broken.close_code = None  # type: ignore[assignment]
    del incomplete.closed_by
    for exchange in (SocketExchange(b"/before"), broken, SocketExchange(b"/behind")):
        log.sockets.record(exchange, SWITCHED)
    turn(loop)
    log.close()
    assert [json.loads(line)["path"] for line in lines_of(path)] == ["/before", "/behind"]
    log = open_log(path, loop, access_log_format="json")
    log.sockets.record(incomplete, SWITCHED)
    log.close()
    assert said() == [
        "The access log lost 1 lines: TypeError: unsupported format string passed to "
        "NoneType.__format__",
        "The access log lost 1 lines: AttributeError: 'SocketExchange' object has no attribute "
        "'closed_by'",
    ]


# Batches


def test_lines_are_written_together_a_tenth_of_a_second_later(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop)
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


def turn(loop: Loop) -> None:
    """Let the loop do what it was told to do soon."""
    loop.run_until_complete(asyncio.sleep(0))


def test_no_line_is_made_where_a_response_ends(tmp_path: Path, loop: Loop) -> None:
    log = open_log(tmp_path / "access.log", loop)
    write(log, 1000)
    assert len(log._notes) == 1000
    turn(loop)
    assert not log._notes, "but soon after"
    assert b"".join(log._made).count(b"\n") == 1000
    assert len(loop.timers) == 1
    log.close()
    assert len(lines_of(tmp_path / "access.log")) == 1000


def test_the_loop_is_not_stopped_for_long(tmp_path: Path, loop: Loop) -> None:
    log = open_log(tmp_path / "access.log", loop)
    sizes = []
    make_lines = log._make_lines

    def make(notes: Sequence[Note], moment: Moment) -> bytes:
        sizes.append(len(notes))
        return make_lines(notes, moment)

    log._make_lines = make
    write(log, 2500)
    turn(loop)
    assert sizes == [1024, 1024, 452]
    write(log, 2000)
    loop.timers.pop()[1]()
    assert len(log._notes) == 976
    (timer,) = loop.timers
    timer[1]()
    assert log._handed == 4500
    log.close()
    assert len(lines_of(tmp_path / "access.log")) == 4500


def test_many_lines_do_not_wait(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop)
    write(log, 1000, target=b"/" + b"a" * 2000)
    turn(loop)
    wait_until(lambda: path.read_text().count("\n") == 1000)
    log.close()


# Lines that cannot be made


class Odd(Exchange):
    """One whose application has put nonsense into its headers."""

    def __init__(self, target: bytes) -> None:
        super().__init__(target)
        self.request.headers.append("referer: a")  # type: ignore[arg-type]


def test_a_line_that_cannot_be_made_costs_only_itself(
    tmp_path: Path, loop: Loop, said: Said
) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop, access_log_format="%(U)s %(f)s")
    write(log, 200, target=b"/before")
    for _ in range(2):
        log.record(Odd(b"/odd"), HEAD)
    write(log, 200, target=b"/behind")
    turn(loop)
    log.close()
    assert lines_of(path) == ["/before -"] * 200 + ["/behind -"] * 200
    assert said() == [
        "The access log lost 2 lines: ValueError: dictionary update sequence element #0 has "
        "length 10; 2 is required"
    ]


def test_a_record_that_fails_is_a_lost_line(tmp_path: Path, loop: Loop, said: Said) -> None:
    log = open_log(tmp_path / "access.log", loop)
    write(log)
    log.record(None, HEAD)  # type: ignore[arg-type]
    turn(loop)
    assert said() == [
        "The access log lost 1 lines: AttributeError: 'NoneType' object has no attribute 'request'"
    ]
    log.close()
    assert len(lines_of(tmp_path / "access.log")) == 1


def test_a_record_when_the_loop_is_closed_is_a_lost_line(tmp_path: Path, said: Said) -> None:
    loop = asyncio.new_event_loop()
    log = AccessLog(Config.of(access_log=str(tmp_path / "access.log")).log, loop)
    loop.close()
    write(log, 300)
    log.close()
    assert said() == ["The access log lost 300 lines: RuntimeError: Event loop is closed"]


def test_what_was_slow_is_told_from_what_could_not_be_made(
    loop: Loop, pipe: tuple[int, int], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AccessLog, "_BACKLOG", 0)
    log = open_log(f"/proc/self/fd/{pipe[1]}", loop)
    log._reason = "something before"
    write(log)
    log.close()
    assert said() == ["The access log lost 1 lines: its reader is too slow"]


class Limited:
    """An output with a limit."""

    def __init__(self, limit: int, *, cuts: bool = False) -> None:
        self.limit = limit
        self.cuts = cuts

    def write(self, lines: bytes) -> int:
        raise NotImplementedError

    def reopen(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a\n", [b"a\n"]),
        (b"a\nb\nc\nd\n", [b"a\nb\nc\nd\n"]),
        (b"a\nb\nc\nd\ne\n", [b"a\nb\nc\nd\n", b"e\n"]),
        (b"abcdef\ng\nhi\n", [b"abcdef\n", b"g\nhi\n"]),
        (b"a\n12345678\nb\n", [b"a\n", b"12345678\n", b"b\n"]),
    ],
)
def test_batches_are_cut_at_line_ends(data: bytes, expected: list[bytes]) -> None:
    assert list(pieces(data, Limited(8))) == expected


def test_a_line_that_is_too_long_is_cut_where_it_could_be_torn() -> None:
    output = Limited(8, cuts=True)
    assert list(pieces(b"a\n123456789\nb\n", output)) == [b"a\n", b"1234...\n", b"b\n"]


# Reopened


def test_a_renamed_file_is_reopened(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "access.log"
    log = open_log(path, loop, access_log_format="%(U)s")
    write(log, target=b"/before")
    path.rename(tmp_path / "access.log.1")
    log.reopen()
    write(log, target=b"/behind")
    log.close()
    assert lines_of(tmp_path / "access.log.1") == ["/before"]
    assert lines_of(path) == ["/behind"]


def test_a_directory_that_was_removed(tmp_path: Path, loop: Loop, said: Said) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    path = directory / "access.log"
    log = open_log(path, loop)
    path.unlink()
    directory.rmdir()
    log.reopen()
    write(log, 3)
    log._on_time()
    wait_until(lambda: log._failed == 3)
    write(log, 2)
    log._on_time()
    wait_until(lambda: log._failed == 5)
    assert len(said()) == 1
    directory.mkdir()
    write(log, 7)
    log._on_time()
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 7)
    log.close()
    assert re.fullmatch(r"The access log lost (3|5) lines: No such file or directory", said()[0]), (
        said()
    )
    assert sum(int(re.findall(r"\d+", message)[0]) for message in said()) == 5


def test_a_file_that_cannot_be_reopened_goes_on_and_says_so(
    tmp_path: Path, loop: Loop, said: Said
) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = open_log(directory / "access.log", loop)
    (directory / "access.log").rename(tmp_path / "old.log")
    directory.rmdir()
    log.reopen()
    wait_until(lambda: log._stale)
    write(log)
    log._on_time()
    wait_until(lambda: (tmp_path / "old.log").read_text().count("\n") == 1)
    assert said() == [
        "The access log cannot be reopened and goes on in the old file: No such file or directory"
    ]
    log.close()


# What cannot be opened, or written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"access_log": "/nowhere/a"}, "--access-log: cannot write '/nowhere/a': No such file or"),
        ({"access_log": "syslog:a"}, "--access-log: 'syslog:a' is not syslog:, syslog:/PATH or"),
        ({"access_log_format": "%(x)s"}, "--access-log-format: there is no atom"),
        ({"access_log_exclude": "a"}, "--access-log-exclude: 'a' does not begin with a /"),
    ],
)
def test_what_cannot_be_is_a_configuration_error(
    options: dict[str, str], message: str, loop: Loop, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        AccessLog(Config.of(**{"access_log": str(tmp_path / "a"), **options}).log, loop)


def test_formats_can_be_checked_alone() -> None:
    check_access_log(Config.of().log)
    with pytest.raises(ConfigError, match="--access-log: cannot write '/nowhere/a'"):
        check_access_log(Config.of(access_log="/nowhere/a").log)
    with pytest.raises(ConfigError):
        check_access_log(Config.of(access_log_format="%(x)s").log)
    with pytest.raises(ConfigError):
        check_access_log(Config.of(access_log_exclude="x").log)


def test_a_full_disk_is_said_once_in_a_while(loop: Loop, said: Said) -> None:
    log = open_log("/dev/full", loop)
    write(log, 2)
    log._on_time()
    wait_until(lambda: log._failed == 2)
    assert said() == []
    for _ in range(50):
        write(log)
        log._on_time()
    wait_until(lambda: log._failed == 52)
    first = said()
    assert len(first) == 1, "not for every batch"
    loop.now += 61
    write(log)
    log._on_time()
    assert len(said()) == 2
    log.close()
    counts = []
    for line in said():
        match = re.fullmatch(r"The access log lost (\d+) lines: No space left on device", line)
        assert match is not None
        counts.append(int(match[1]))
    assert sum(counts) == 53, "each is counted, once"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_a_reader_that_left(loop: Loop, pipe: tuple[int, int], said: Said) -> None:
    reader, writer = pipe
    log = open_log(f"/proc/self/fd/{writer}", loop)
    os.close(writer)
    os.close(reader)
    write(log)
    log.close()
    assert said() == ["The access log lost 1 lines: Broken pipe"]


def test_a_reader_that_stopped_costs_lines_but_never_blocks(
    loop: Loop, pipe: tuple[int, int], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AccessLog, "_BACKLOG", 1000)
    reader, writer = pipe
    log = open_log(f"/proc/self/fd/{writer}", loop)
    os.close(writer)
    write(log, 1024, target=b"/" + b"a" * 1000)  # a batch that a pipe does not hold
    log._on_time()
    wait_until(lambda: log._taken == log._queued)
    for _ in range(5):
        write(log, 10)
        log._on_time()
    assert log._dropped == 30
    assert said() == ["The access log lost 10 lines: its reader is too slow"]
    started = time.monotonic()
    log.close(timeout=0.05)
    assert time.monotonic() - started < 5
    second, last = said()[1:]
    assert second == "The access log lost 20 lines: its reader is too slow"
    match = re.fullmatch(
        r"The access log could not be written to its end, (\d+) lines are left: "
        "its reader is too slow",
        last,
    )
    assert match is not None
    os.set_blocking(reader, False)
    held = os.read(reader, 2**20)
    assert int(match[1]) == 1024 + 20 - held.count(b"\n")
    os.set_blocking(reader, True)
    data = held
    while piece := os.read(reader, 65536):  # it reads again: what is left comes, in whole lines
        data += piece
    assert data.count(b"\n") == 1024 + 20
    assert all(LINE.fullmatch(line) for line in data.decode().splitlines())


# Real processes


def get(url: str, path: str, **headers: str) -> None:
    request = urllib.request.Request(url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.read() == b"hello"


def stop(server: Process) -> None:
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0


def test_sigusr1_reopens_the_log(tmp_path: Path, loop_name: str) -> None:
    path = tmp_path / "access.log"
    with Process("tests.served:app", "--loop", loop_name, "--access-log", str(path)) as server:
        get(server.url, "/hello?1")
        path.rename(tmp_path / "access.log.1")
        server.signal(signal.SIGUSR1)
        wait_until(path.exists)
        get(server.url, "/hello?2")
        stop(server)
    assert ['"GET /hello?1" 200 5' in line for line in lines_of(tmp_path / "access.log.1")] == [
        True
    ]
    assert ['"GET /hello?2" 200 5' in line for line in lines_of(path)] == [True]


def test_sigusr1_without_a_log_is_nothing() -> None:
    with Process("tests.served:app", "--no-access-log") as server:
        get(server.url, "/hello")
        server.signal(signal.SIGUSR1)
        get(server.url, "/hello")
        stop(server)


def test_a_full_disk_does_not_stop_a_server() -> None:
    with Process("tests.served:app", "--access-log", "/dev/full") as server:
        for _ in range(20):
            get(server.url, "/hello")
        server.wait_for("The access log lost")
        get(server.url, "/hello")
        stop(server)
    lost = re.findall(r"The access log lost (\d+) lines: No space left on device", server.stderr)
    assert sum(map(int, lost)) == 21
    assert len(lost) <= 2


def test_a_reader_that_stopped_does_not_stop_a_server(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with Process("tests.served:app", "--access-log", str(path)) as server:
            with server.connect() as sock, sock.makefile("rb") as answers:
                target = b"/hello?" + b"a" * 1000
                for _ in range(200):  # three times what a pipe holds
                    sock.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                    while answers.readline() != b"\r\n":
                        pass
                    answers.read(5)
            get(server.url, "/hello")
            stop(server)
        match = re.search(
            r"The access log could not be written to its end, (\d+) lines are left", server.stderr
        )
        assert match is not None
        data = b""
        while piece := os.read(reader, 65536):
            data += piece
        assert data.count(b"\n") + int(match[1]) == 201
    finally:
        os.close(reader)


def test_a_line_holds_what_was_sent_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Process(
        "tests.served:app",
        *("--access-log", str(path), "--access-log-exclude", "/rea*"),
        *("--access-log-format", '%(U)s "%(a)s" "%({x-user}i)s" %(I)s %({content-type}o)s'),
    ) as server:
        get(server.url, "/hello", **{"User-Agent": 'a" 200 "\\é', "X-User": "b\tc"})
        with socket.create_connection(server.address, 10) as sock:
            sock.sendall(b"POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        urllib.request.urlopen(f"{server.url}/read", timeout=10).close()
        stop(server)
    assert lines_of(path) == [
        r'/hello "a\x22 200 \x22\x5c\xe9" "b\x09c" 0 text/plain',
        '/swallow "-" "-" 5 text/plain',
    ]
