"""Where lines go, and that they stay whole whatever happens there."""

import errno
import io
import os
import re
import select
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from aserver.declarations import ConfigError
from aserver.log_outputs import open_output

Ends = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Ends]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


@contextmanager
def stdout(fd: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with open(fd, "w", closefd=False) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield


# Files


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    with closing(open_output(str(path))) as output:
        assert output.write(b"a\n") == 2
        os.truncate(path, 7)  # as log rotation does
        output.write(b"b\n")
    assert path.read_text() == "before\nb\n"


def test_a_new_file_is_not_for_others_to_write(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    before = os.umask(0)
    try:
        open_output(str(path)).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_is_reopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_output("access.log")) as output:
        monkeypatch.chdir("/")
        output.write(b"a\n")
        (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        output.write(b"b\n")
        output.reopen()
        output.write(b"c\n")
    assert (tmp_path / "access.log.1").read_text() == "a\nb\n"
    assert (tmp_path / "access.log").read_text() == "c\n"


def test_a_file_that_cannot_be_reopened_is_written_to_still(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    with closing(open_output(str(directory / "access.log"))) as output:
        (directory / "access.log").rename(tmp_path / "old.log")
        directory.rmdir()
        with pytest.raises(FileNotFoundError):
            output.reopen()
        output.write(b"a\n")
        (tmp_path / "old.log").unlink()
        with pytest.raises(FileNotFoundError):
            output.reopen()
        with pytest.raises(FileNotFoundError):
            output.write(b"lost\n")
        directory.mkdir()
        output.reopen()
        output.write(b"b\n")
    assert (directory / "access.log").read_text() == "b\n"


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        open_output(str(tmp_path / "none" / "access.log"))
    with pytest.raises(OSError, match="Is a directory"):
        open_output(str(tmp_path))


def test_a_pipe_that_nobody_reads_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        open_output(str(path))


FULL_DISK = """\
import resource, sys
from aserver.log_outputs import open_output

resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
output = open_output(sys.argv[1])
print(output.write(b"12345678\\n" * 4))
try:
    print(output.write(b"abcdefgh\\n"))
except OSError as error:
    print(error.strerror)
print(output.write(b"1234\\n"))
"""


def test_a_disk_that_becomes_full_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """The kernel then writes what fits: the line that does not is taken back."""
    path = tmp_path / "access.log"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["18", "No space left on device", "5"], done.stderr
    assert path.read_text() == "12345678\n12345678\n1234\n"


# Standard output, and pipes


def test_standard_output(pipe: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pipe
    with stdout(writer, monkeypatch), closing(open_output("-")) as output:
        output.reopen()
        output.write(b"a\n")
        assert (output.limit, output.cuts) == (select.PIPE_BUF, True)
    assert os.fstat(writer), "it is not ours to close"
    assert os.read(reader, 10) == b"a\n"


def test_standard_output_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        open(tmp_path / "out", "wb") as file,
        stdout(file.fileno(), monkeypatch),
        closing(open_output("-")) as output,
    ):
        output.write(b"a\n")
        assert not output.cuts
    assert (tmp_path / "out").read_text() == "a\n"


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(
    pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    line = b"a" * 4000 + b"\n"

    def write() -> None:
        for _ in range(100):  # more than a pipe holds
            assert output.write(line) == len(line)
        output.close()

    with stdout(writer, monkeypatch):
        output = open_output("-")
    os.close(writer)
    thread = threading.Thread(target=write)
    thread.start()
    with open(reader, "rb", closefd=False) as file:
        assert file.read() == line * 100
    thread.join()


def test_a_socket_takes_a_line_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, monkeypatch.context() as patch:
        with stdout(ours.fileno(), monkeypatch), closing(open_output("-")) as output:
            real = os.write
            patch.setattr(os, "write", lambda fd, data: real(fd, data[:2]))
            assert output.write(b"abcde\n") == 6
        assert theirs.recv(10) == b"abcde\n"


def no_stream() -> None:
    return None


def closed_stream() -> io.TextIOWrapper:
    with open(os.devnull, "w") as stream:
        return stream


@pytest.mark.parametrize("make", [no_stream, closed_stream, io.StringIO])
def test_standard_output_that_is_no_file_is_an_error_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]
) -> None:
    monkeypatch.setattr(sys, "stdout", make())
    with pytest.raises(OSError) as caught:
        open_output("-")
    assert (caught.value.errno, caught.value.strerror) == (errno.EBADF, "Bad file descriptor")


# Several processes

WRITER = """\
import sys
from aserver.access_log import pieces
from aserver.log_outputs import open_output

output, number = open_output(sys.argv[1]), sys.argv[2].encode()
sys.stdin.read(1)
for batch in range(50):
    lines = b"".join(
        b"%b %d %b\\n" % (number, i, number * (i * 7919 % 400))
        for i in range(batch * 100, batch * 100 + 100)
    )
    for piece in pieces(lines, output):
        assert output.write(piece) == len(piece)
"""
WRITERS, LINES = 8, 5000


def start_writers(place: str, **options: object) -> list[subprocess.Popen[bytes]]:
    """They begin together."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, place, str(number)],
            stdin=subprocess.PIPE,
            **options,  # type: ignore[call-overload]
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.stdin.write(b"!")
        writer.stdin.close()
    return writers


def check(data: bytes) -> None:
    """Every line is there, whole, and each writer's are in their order."""
    seen: dict[bytes, int] = {}
    for line in data.splitlines():
        match = re.fullmatch(rb"(\d) (\d+) (\d*)", line)
        assert match is not None, line
        number, count, text = match.groups()
        assert text == number * (int(count) * 7919 % 400)
        assert int(count) == seen.get(number, -1) + 1
        seen[number] = int(count)
    assert list(seen.values()) == [LINES - 1] * WRITERS


def test_several_processes_tear_no_line_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    for writer in start_writers(str(path)):
        assert writer.wait(30) == 0
    check(path.read_bytes())


def test_several_processes_tear_no_line_of_a_pipe(pipe: Ends) -> None:
    reader, writer = pipe
    writers = start_writers("-", stdout=writer)
    os.close(writer)
    with open(reader, "rb", closefd=False) as file:
        check(file.read())
    assert [each.wait(30) for each in writers] == [0] * WRITERS


# Syslog

RECORD = rb"<134>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d %baserver\[\d+\]: "


@pytest.mark.parametrize("again", [False, True])
def test_the_systems_log(tmp_path: Path, again: bool) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        with closing(open_output(f"syslog:{path}")) as output:
            if again:
                output.reopen()
            assert output.write(b"one\ntwo\n") == 8
        assert re.fullmatch(RECORD % b"" + b"one", server.recv(100))
        assert re.fullmatch(RECORD % b"" + b"two", server.recv(100))


def test_a_log_server_that_is_started_again(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        output = open_output(f"syslog:{path}")
    os.unlink(path)
    with pytest.raises(FileNotFoundError):
        output.write(b"lost\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        assert output.write(b"one\n") == 4
        assert server.recv(100).endswith(b": one")
    output.close()


def test_a_log_server_that_leaves_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "log")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(path)
    with closing(open_output(f"syslog:{path}")) as output:
        real = output._send  # type: ignore[attr-defined]

        def send(message: bytes) -> None:
            real(message)
            server.close()
            with suppress(FileNotFoundError):
                os.unlink(path)

        monkeypatch.setattr(output, "_send", send)
        assert output.write(b"one\ntwo\n") == 4


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "AF_INET"), ("[::1]", "AF_INET6")])
def test_a_log_server_over_the_network(host: str, family: str) -> None:
    with socket.socket(getattr(socket, family), socket.SOCK_DGRAM) as server:
        server.bind((host.strip("[]"), 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        with closing(open_output(f"syslog://{host}:{port}")) as output:
            output.write(b"one\n" + b"x" * 10_000 + b"\n")
        name = socket.gethostname().encode() + b" "
        assert re.fullmatch(RECORD % re.escape(name) + b"one", server.recv(100_000))
        assert len(server.recv(100_000)) == 8192


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("syslog:log", ConfigError),
        ("syslog://", ConfigError),
        ("syslog://a:b", ConfigError),
        ("syslog://a:99999", ConfigError),
        ("syslog://a/b", ConfigError),
        ("syslog://[a]", ConfigError),
        ("syslog:/nowhere/log", FileNotFoundError),
    ],
)
def test_addresses_that_are_none(place: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_output(place)


def test_the_usual_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = []
    monkeypatch.setattr(
        socket.socket, "connect", lambda sock, address: connected.append(address), raising=False
    )
    for place in ("syslog:", "syslog://127.0.0.1"):
        open_output(place).close()
    assert connected == ["/dev/log", ("127.0.0.1", 514)]
