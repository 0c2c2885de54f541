"""Files as response bodies, between the cycle and a fake engine."""

import asyncio
import errno
import io
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from aserver import http_exchange
from aserver.file_response import READ_SIZE
from aserver.types import AppError, ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import body, rounds, start
from tests.stage import CycleStage
from tests.test_http_exchange_extensions import pathsend, zerocopysend

pytestmark = pytest.mark.asyncio

LARGE = bytes(range(256)) * 1024 + b"the end"  # four pieces and a rest, when it is read
LENGTH_5 = (b"content-length", b"5")
OF_LARGE = (b"content-length", b"%d" % len(LARGE))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "_TELL_SECONDS", 0)


@pytest.fixture(autouse=True)
def no_file_stays_open(tmp_path: Path) -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "small").write_bytes(b"hello")
    return str(tmp_path / "small")


@pytest.fixture
def large(tmp_path: Path) -> str:
    (tmp_path / "large").write_bytes(LARGE)
    return str(tmp_path / "large")


async def send(stage: CycleStage, *messages: Message) -> None:
    for message in messages:
        await stage.cycle.send(message)


def sent(stage: CycleStage) -> bytes:
    """The body, however it was sent."""
    return stage.engine.file_bytes + b"".join(
        call[2] for call in stage.engine.responses if call[0] == "respond"
    )


# By path


async def test_small_file(small: str) -> None:
    stage = CycleStage()
    await send(stage, start(), pathsend(small))
    assert stage.engine.calls == [("respond", 200, b"hello", False)]
    assert b"content-length: 5\r\n" in stage.engine.heads[0].block
    assert stage.log.lines == [("GET", b"/path", 200, 5)]


async def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    stage = CycleStage()
    await send(stage, start(), pathsend(str(tmp_path / "empty")))
    assert stage.engine.calls == [("respond", 200, b"", False)]
    assert stage.engine.heads[0].content_length == 0


async def test_large_file_by_the_kernel(large: str) -> None:
    stage = CycleStage()
    stage.engine.file_takes = [100_000, len(LARGE) - 100_000]
    await send(stage, start(), pathsend(large))
    assert stage.engine.calls == [
        ("respond", 200, b"", True),
        ("file", 100_000),
        ("file", len(LARGE) - 100_000),
        ("respond", None, b"", False),
    ]
    assert sent(stage) == LARGE
    assert stage.engine.heads[0].content_length == len(LARGE)
    assert stage.log.lines == [("GET", b"/path", 200, len(LARGE))]


async def test_large_file_that_must_be_read(large: str) -> None:
    stage = CycleStage()
    await send(stage, start(), pathsend(large))
    assert sent(stage) == LARGE
    pieces = [len(call[2]) for call in stage.engine.responses]
    assert pieces == [0, *[READ_SIZE] * 4, 7, 0]
    # It is asked once only whether the kernel can.
    assert stage.engine.calls.count(("file", None)) == 1
    assert stage.log.lines == [("GET", b"/path", 200, len(LARGE))]


async def test_kernel_that_gives_up_in_the_middle(large: str) -> None:
    stage = CycleStage()
    stage.engine.file_takes = [1000, None]
    await send(stage, start(), pathsend(large))
    assert sent(stage) == LARGE
    assert stage.state == "COMPLETE"


async def test_own_length_is_kept(small: str) -> None:
    stage = CycleStage()
    await send(stage, start(200, LENGTH_5), pathsend(small))
    assert stage.engine.heads[0].block.count(b"content-length") == 1


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
async def test_no_body_where_none_may_be(
    status: int, method: str, small: str, large: str, tmp_path: Path
) -> None:
    for path, size in ((small, 5), (large, len(LARGE))):
        stage = CycleStage(method=method)
        await send(stage, start(status), pathsend(path))
        assert stage.engine.calls == [("respond", status, b"", False)]
        assert stage.engine.heads[0].content_length == (size if method == "HEAD" else None)
    stage = CycleStage(method=method)
    await send(stage, start(status))
    with pytest.raises(AppError):
        await stage.cycle.send(pathsend(str(tmp_path / "missing")))


async def test_other_requests_have_their_turn(large: str) -> None:
    stage = CycleStage()
    stage.engine.file_takes = [1] * 10
    await send(stage, start())
    sending = asyncio.ensure_future(stage.cycle.send(pathsend(large)))
    steps = 0
    while not sending.done():
        steps += 1
        await asyncio.sleep(0)
    assert steps > 10


# What cannot be sent


def missing(directory: Path) -> object:
    return str(directory / "missing")


def a_directory(directory: Path) -> object:
    return str(directory)


def fifo(directory: Path) -> object:
    os.mkfifo(directory / "fifo")
    return str(directory / "fifo")


def unix_socket(directory: Path) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(directory / "socket"))
    return str(directory / "socket")


def device(directory: Path) -> object:
    return "/dev/zero"


def null_character(directory: Path) -> object:
    return str(directory / "a\0b")


def a_circle(directory: Path) -> object:
    (directory / "circle").symlink_to(directory / "circle")
    return str(directory / "circle")


def below_a_file(directory: Path) -> object:
    (directory / "file").touch()
    return str(directory / "file" / "x")


def no_string(directory: Path) -> object:
    return directory


def nothing_at_all(directory: Path) -> object:
    return None


CANNOT: dict[Callable[[Path], object], str] = {
    missing: "No such file or directory",
    a_directory: "not a regular file",
    fifo: "not a regular file",
    unix_socket: "cannot open",
    device: "not a regular file",
    null_character: "null",
    a_circle: "symbolic links",
    below_a_file: "Not a directory",
    no_string: "a 'path' that is a string, not ",
    nothing_at_all: "a 'path' that is a string, not None",
}


async def test_relative_path(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starlette's FileResponse passes on whatever path it is given."""
    monkeypatch.chdir(Path(small).parent)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(pathsend(Path(small).name))

    stage = CycleStage(app)
    await stage.run()
    assert stage.engine.responses == [("respond", 200, Path(small).read_bytes(), False)]


@pytest.mark.parametrize("make", CANNOT, ids=lambda make: make.__name__)
async def test_what_cannot_be_sent(
    make: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(pathsend(path))

    stage = CycleStage(app)
    await stage.run()
    assert stage.engine.responses == [("respond", 500, b"Internal Server Error", False)]
    (record,) = caplog.records
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert type(error) is AppError
    assert not isinstance(error, OSError)
    assert CANNOT[make] in str(error)
    if isinstance(path, str):
        assert repr(path) in str(error)


async def test_unreadable_file(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    stage = CycleStage()
    await send(stage, start())
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(AppError, match="Permission denied"):
            await stage.cycle.send(pathsend(small))
    await send(stage, body(b"instead"))
    assert stage.engine.responses == [("respond", 200, b"instead", False)]
    assert stage.engine.heads[0].content_length is None


# Lengths that do not fit


@pytest.mark.parametrize("length", [0, 4, 6, len(LARGE) - 1, len(LARGE) + 1])
async def test_length_that_is_not_the_files(length: int, small: str, large: str) -> None:
    for path in (small, large):
        stage = CycleStage()
        await send(stage, start(200, (b"content-length", b"%d" % length)))
        with pytest.raises(AppError, match="than its content-length"):
            await stage.cycle.send(pathsend(path))
        assert stage.engine.calls == []
        assert stage.state == "HELD"


async def test_file_that_shrinks(large: str) -> None:
    """What is missing is seen by the client, and said to the application."""
    for takes in ([], [1000, 0, None]):
        Path(large).write_bytes(LARGE)
        stage = CycleStage()
        stage.engine.file_takes = list(takes)
        stage.engine.room = False
        await send(stage, start(200, OF_LARGE))
        sending = asyncio.ensure_future(stage.cycle.send(pathsend(large)))
        await rounds()
        os.truncate(large, 2000)
        stage.cycle.resume()
        with pytest.raises(AppError, match=r"has become shorter: .* bytes are missing"):
            await sending
        assert stage.broken()
        assert stage.state == "COMPLETE"
        assert len(stage.log.lines) == 1
        assert stage.log.lines[0][3] < len(LARGE)


async def test_small_file_that_shrinks(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: b"he")
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError, match="has become shorter: 3 bytes are missing"):
        await stage.cycle.send(pathsend(small))
    await send(stage, body(b"another body"))
    assert stage.engine.responses == [("respond", 200, b"another body", False)]
    assert stage.engine.heads[0].content_length is None


async def test_disk_that_fails(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError, match=r"cannot read .*: Input/output error"):
        await stage.cycle.send(pathsend(large))
    assert stage.broken()


# Waiting, and not to the end


@pytest.mark.parametrize("by_kernel", [True, False])
async def test_file_waits_for_room(by_kernel: bool, large: str) -> None:
    stage = CycleStage()
    stage.engine.room = False
    stage.engine.file_takes = [0, 1000, 0, len(LARGE) - 1000] if by_kernel else []
    await send(stage, start())
    sending = asyncio.ensure_future(stage.cycle.send(pathsend(large)))
    for _ in range(2 if by_kernel else 4):
        await rounds()
        assert not sending.done()
        assert stage.state == "FILE"
        stage.cycle.resume()
    await sending
    assert sent(stage) == LARGE


@pytest.mark.parametrize("waits", [True, False])
async def test_client_that_leaves(waits: bool, large: str) -> None:
    stage = CycleStage()
    stage.engine.file_takes = [0] if waits else [1] * 1000
    await send(stage, start())
    sending = asyncio.ensure_future(stage.cycle.send(pathsend(large)))
    await rounds(3)
    assert stage.state == "FILE"
    stage.cycle.lost()
    with pytest.raises(ClientDisconnected):
        await sending
    assert len(stage.log.lines) == 1


@pytest.mark.parametrize("waits", [True, False])
async def test_application_that_is_cancelled(
    waits: bool, large: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(pathsend(large))

    stage = CycleStage(app)
    stage.engine.file_takes = [0] if waits else [1] * 1000
    stage.cycle.start()
    await rounds(3)
    stage.cycle.cancel()
    await stage.end()
    assert stage.broken()
    assert caplog.records == []


async def give_up(stage: CycleStage, message: Message) -> None:
    """Cancel a `send()` that waits."""
    sending = asyncio.ensure_future(stage.cycle.send(message))
    await rounds()
    assert stage.state == "FILE"
    with pytest.raises(AppError, match="a file is being sent"):
        await stage.cycle.send(body(b"x"))
    sending.cancel()
    await asyncio.wait([sending])
    assert sending.cancelled()
    assert stage.state == "STREAMING"


async def test_application_that_gives_up_its_file(
    large: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees that the rest is missing."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await give_up(stage, pathsend(large))
        await send(body(b"x"))

    stage = CycleStage(app)
    stage.engine.file_takes = [1000, 0]
    await stage.run()
    assert stage.broken()
    assert stage.log.lines == [("GET", b"/path", 200, 1000)]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("offset", [None, 0])
async def test_application_that_gives_up_its_file_and_goes_on(
    offset: int | None, file: BinaryIO
) -> None:
    stage = CycleStage()
    stage.engine.file_takes = [100_000, 0]
    await send(stage, start(200, OF_LARGE))
    await give_up(stage, zerocopysend(file, offset=offset))
    assert file.tell() == (100_000 if offset is None else 0)
    file.seek(100_000)
    await send(stage, zerocopysend(file))
    assert sent(stage) == LARGE
    assert stage.state == "COMPLETE"
    assert stage.log.lines == [("GET", b"/path", 200, len(LARGE))]


async def test_application_that_fails_beside_its_file(large: str) -> None:
    """The task that sends is not told: for it, the response is complete."""
    tasks: list[asyncio.Future[None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        tasks.append(asyncio.ensure_future(stage.cycle.send(pathsend(large))))
        await rounds()
        raise ZeroDivisionError

    stage = CycleStage(app)
    stage.engine.file_takes = [0]
    await stage.run()
    assert stage.broken()
    await tasks[0]
    assert stage.engine.calls[-1] == ("abort",)


# Open files


@pytest.fixture
def file(large: str) -> Iterator[BinaryIO]:
    with open(large, "rb") as opened:
        yield opened


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, LARGE),
        ({"offset": None, "count": None}, LARGE),
        ({"offset": 0}, LARGE),
        ({"offset": 200_000}, LARGE[200_000:]),
        ({"count": 5}, LARGE[:5]),
        ({"offset": 3, "count": 200_000}, LARGE[3:200_003]),
        ({"offset": len(LARGE)}, b""),
        ({"offset": len(LARGE), "count": 0}, b""),
    ],
)
async def test_part_of_an_open_file(keys: dict[str, Any], expected: bytes, file: BinaryIO) -> None:
    stage = CycleStage()
    await send(stage, start(), zerocopysend(file, **keys))
    assert sent(stage) == expected
    assert stage.state == "COMPLETE"
    assert stage.engine.heads[0].content_length == len(expected)
    assert not file.closed


async def test_position_of_the_file(file: BinaryIO) -> None:
    """Without offset, messages go on where the last one ended, as read() and sendfile(2) do."""
    stage = CycleStage()
    assert file.read(3) == LARGE[:3]
    await send(stage, start(), zerocopysend(file, count=100_000, more=True))
    assert file.tell() == 100_003
    await send(stage, zerocopysend(file, offset=0, count=3, more=True))
    assert file.tell() == 100_003
    await send(stage, zerocopysend(file))
    assert file.tell() == len(LARGE)
    assert sent(stage) == LARGE[3:100_003] + LARGE[:3] + LARGE[100_003:]


async def test_files_between_bodies(file: BinaryIO) -> None:
    stage = CycleStage()
    stage.engine.file_takes = [100_000]
    total = 5 + 100_000 + 10 + 3
    await send(
        stage,
        start(200, (b"content-length", b"%d" % total)),
        body(b"hello", more=True),
        zerocopysend(file, offset=0, count=100_000, more=True),
        zerocopysend(file, offset=1, count=10, more=True),
        body(b"end"),
    )
    assert stage.engine.calls == [
        ("respond", 200, b"hello", True),
        ("file", 100_000),
        ("respond", None, b"", True),
        ("respond", None, LARGE[1:11], True),
        ("respond", None, b"end", False),
    ]
    assert stage.log.lines == [("GET", b"/path", 200, total)]


async def test_file_of_unknown_length(file: BinaryIO) -> None:
    stage = CycleStage()
    await send(stage, start(), zerocopysend(file, more=True), body())
    assert stage.engine.heads[0].content_length is None
    assert sent(stage) == LARGE


@pytest.mark.parametrize("more", [True, False])
@pytest.mark.parametrize("count", [10, 100_000])
@pytest.mark.parametrize("begun", [True, False])
async def test_file_longer_than_promised(
    more: bool, count: int, begun: bool, file: BinaryIO
) -> None:
    stage = CycleStage()
    await send(stage, start(200, LENGTH_5))
    if begun:
        await send(stage, body(b"h", more=True))
    with pytest.raises(AppError, match="longer than its content-length"):
        await stage.cycle.send(zerocopysend(file, count=count, more=more))
    assert stage.broken() is begun
    assert stage.state == ("COMPLETE" if begun else "HELD")
    assert file.tell() == 0


async def test_file_shorter_than_promised(file: BinaryIO) -> None:
    stage = CycleStage()
    await send(stage, start(200, OF_LARGE), body(b"h", more=True))
    with pytest.raises(AppError, match="shorter than its content-length"):
        await stage.cycle.send(zerocopysend(file, count=100_000))
    assert stage.broken()


@pytest.mark.parametrize("count", [5, 100_000])
async def test_send_waits_behind_a_file(count: int, file: BinaryIO) -> None:
    stage = CycleStage()
    stage.engine.room = False
    stage.engine.file_takes = [100_000]
    await send(stage, start())
    sending = asyncio.ensure_future(stage.cycle.send(zerocopysend(file, count=count, more=True)))
    await rounds()
    assert not sending.done()
    assert stage.state == "STREAMING"
    stage.cycle.resume()
    await sending


async def test_no_body_of_an_open_file(file: BinaryIO) -> None:
    stage = CycleStage(method="HEAD")
    await send(stage, start(), zerocopysend(file, more=True), zerocopysend(file))
    assert stage.engine.calls == [("respond", 200, b"", True), ("respond", None, b"", False)]


async def test_file_that_is_closed_too_soon(file: BinaryIO, tmp_path: Path) -> None:
    """Its number may be another file's by then."""
    stage = CycleStage()
    stage.engine.file_takes = [0]
    await send(stage, start())
    sending = asyncio.ensure_future(stage.cycle.send(zerocopysend(file, offset=0)))
    await rounds()
    number = file.fileno()
    file.close()
    (tmp_path / "secret").write_bytes(b"secret" * 100_000)
    with open(tmp_path / "secret", "rb") as other:
        assert other.fileno() == number
        stage.cycle.resume()
        await sending
    assert sent(stage) == LARGE


class Odd:
    """A file object that lacks something."""

    def __init__(self, file: BinaryIO, *names: str) -> None:
        self._file = file
        self._names = names

    def __getattr__(self, name: str) -> object:
        if name in self._names:
            return getattr(self._file, name)
        raise AttributeError(name)


async def test_file_whose_position_cannot_be_set(file: BinaryIO) -> None:
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError, match="cannot set the position"):
        await stage.cycle.send(zerocopysend(Odd(file, "fileno", "tell")))
    assert stage.engine.calls == []


@pytest.mark.parametrize("cancelled", [True, False])
async def test_file_that_is_closed_meanwhile(cancelled: bool, file: BinaryIO) -> None:
    """What was to be sent is sent, or was cancelled; but there is no position to be set."""
    stage = CycleStage()
    stage.engine.file_takes = [0]
    await send(stage, start())
    sending = asyncio.ensure_future(stage.cycle.send(zerocopysend(file)))
    await rounds()
    file.close()
    if cancelled:
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert stage.state == "STREAMING"
    else:
        stage.cycle.resume()
        with pytest.raises(AppError, match=r"cannot set the position of .*closed file"):
            await sending
        assert sent(stage) == LARGE
        assert stage.state == "COMPLETE"


async def test_file_that_is_detached(large: str) -> None:
    opened = open(large, "rb")  # noqa: SIM115 - it cannot be closed any more
    with opened.detach():
        stage = CycleStage()
        await send(stage, start())
        with pytest.raises(AppError, match="cannot send a BufferedReader"):
            await stage.cycle.send(zerocopysend(opened))


async def test_file_behind_a_head_that_is_out(large: str, small: str) -> None:
    """`--http-timeout` sends a head that its file has kept waiting."""
    for path in (large, small):
        stage = CycleStage(http_timeout=1)
        stage.cycle.deadline = 1.0
        await send(stage, start())
        stage.cycle.expire()
        assert stage.engine.calls == [("respond", 200, b"", True)]
        await send(stage, pathsend(path))
        assert sent(stage) == Path(path).read_bytes()
        assert stage.state == "COMPLETE"


async def test_file_without_position(file: BinaryIO) -> None:
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError, match="cannot tell the position"):
        await stage.cycle.send(zerocopysend(Odd(file, "fileno")))
    await send(stage, zerocopysend(Odd(file, "fileno"), offset=0))
    assert sent(stage) == LARGE


@pytest.mark.parametrize(
    "bad",
    [None, "text", b"bytes", 5, io.BytesIO(b"x"), object()],
    ids=lambda bad: type(bad).__name__,
)
async def test_what_is_no_open_file(bad: object) -> None:
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError) as caught:
        await stage.cycle.send(zerocopysend(bad))
    assert type(caught.value) is AppError
    assert stage.engine.calls == []


async def test_closed_file(file: BinaryIO) -> None:
    file.close()
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError, match="closed file"):
        await stage.cycle.send(zerocopysend(file))


async def test_pipe() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    stage = CycleStage()
    await send(stage, start())
    with open(reader, "rb") as pipe, pytest.raises(AppError, match="not a regular file"):
        await stage.cycle.send(zerocopysend(pipe))


@pytest.mark.parametrize(
    "keys",
    [
        {"offset": -1},
        {"count": -1},
        {"offset": "0"},
        {"offset": 1.0},
        {"count": 1.0},
        {"count": b"1"},
        {"offset": 5, "count": len(LARGE)},
        {"count": len(LARGE) + 1},
        {"offset": len(LARGE) + 1},
        {"offset": len(LARGE) + 1, "count": 0},
        {"offset": 2**70},
        {"offset": 2**70, "count": 0},
        {"count": 2**70},
    ],
)
async def test_bad_part(keys: dict[str, Any], file: BinaryIO) -> None:
    stage = CycleStage()
    await send(stage, start())
    with pytest.raises(AppError):
        await stage.cycle.send(zerocopysend(file, **keys))
    assert stage.engine.calls == []
    assert stage.state == "HELD"
