"""Real processes: started, watched, signalled, ended; every step with a deadline."""

import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any, ClassVar, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 20.0
# Every event loop with every parser.
MATRIX = [(loop, parser) for loop in ("asyncio", "uvloop") for parser in ("httptools", "h11")]
PYTHON = [sys.executable, "-W", "error"]
COMMAND = [*PYTHON, "-m", "aserver"]
_LISTENING = re.compile(r"Listening on (\S+:\S+)")


class Program:
    """A program, from its start to its exit code; what it writes is gathered meanwhile.

        with Program(["redis-server", "--port", "0"]) as program:
            program.wait_for("Server initialized")
            assert program.end() == 0

    Leaving the block ends it, if it is still there.

    Args:
        command: What runs; it must stay in the foreground.
        cwd: Where.
        environ: Variables beside those of this process; None takes one away.
        popen: More for `subprocess.Popen`. Output that is to go elsewhere is not gathered.

    Attributes:
        farewell: What it is sent at the end of the block.
    """

    farewell: ClassVar[Signals] = SIGTERM

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str | None] | None = None,
        **popen: Any,
    ) -> None:
        variables = {**os.environ, **(environ or {})}
        pipe = subprocess.PIPE
        streams = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}
        self._process: subprocess.Popen[str] = subprocess.Popen(
            command,
            cwd=cwd,
            env={name: value for name, value in variables.items() if value is not None},
            encoding="utf-8",
            errors="replace",
            **{**streams, **popen},
        )
        self.pid = self._process.pid
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        pipes = ((self._process.stdout, self._stdout), (self._process.stderr, self._stderr))
        self._readers = [
            threading.Thread(target=_gather, args=(pipe, lines), daemon=True)
            for pipe, lines in pipes
            if pipe is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self.end(self.farewell)
        finally:
            self._process.kill()
            self._process.wait(DEADLINE)

    @property
    def stdout(self) -> str:
        """What it has written to standard output so far."""
        return "".join(self._stdout)

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return "".join(self._stderr)

    @property
    def output(self) -> str:
        """What it has written so far, wherever."""
        return self.stdout + self.stderr

    @property
    def has_ended(self) -> bool:
        """Whether it is not there any more."""
        return self._process.poll() is not None

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until it has written this, so many times."""
        self.wait_until(lambda: self.output.count(text) >= count)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so. If the program ends meanwhile, it must be so by then."""
        wait_until(lambda: condition() or self.has_ended, tell=lambda: self.output)
        if self.has_ended:
            self.exit_code()  # all its output is there
            assert condition(), self.output

    def signal(self, number: Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def exit_code(self, timeout: float = DEADLINE) -> int:
        """Wait until it has ended, and all its output is there."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.output}") from None
        for reader in self._readers:
            reader.join(DEADLINE)
            assert not reader.is_alive(), "somebody else has its output open"
        return code

    def end(self, number: Signals = SIGTERM) -> int:
        """End it by this signal, if it is still there; returns its exit code."""
        self.signal(number)
        return self.exit_code()


def _gather(pipe: IO[str], lines: list[str]) -> None:
    with pipe:
        for line in pipe:
            lines.append(line)  # noqa: PERF402 - each when it comes


class Aserver(Program):
    """aserver, by whatever command, and where it listens. Leaving the block kills it."""

    farewell = SIGKILL

    @property
    def urls(self) -> list[str]:
        """The addresses that it has said it listens on."""
        return _LISTENING.findall(self.stderr)

    @property
    def url(self) -> str:
        """The first of them; waits for it."""
        return self.wait_for_urls(1)[0]

    def wait_for_urls(self, count: int) -> list[str]:
        """Wait until it listens on so many addresses."""
        self.wait_until(lambda: len(self.urls) >= count)
        return self.urls

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the URL, for a socket."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def connect(self, timeout: float = DEADLINE) -> socket.socket:
        """A new TCP connection to it."""
        return socket.create_connection(self.address, timeout)


class Process(Aserver):
    """`python -m aserver APP`, and what the kernel knows of it.

        with Process("tests.served:app", "--loop", "asyncio") as server:
            httpx.get(server.url)
            server.signal(signal.SIGTERM)
            assert server.exit_code() == 0

    It listens on a free port of 127.0.0.1 unless the options say otherwise.

    Args:
        app: The import string, looked for in the repository.
        options: Of the command line.
        environ: Variables beside those of this process.
    """

    def __init__(self, app: str, *options: str, environ: Mapping[str, str] | None = None) -> None:
        if not any(option in ("-b", "--bind", "-u", "--unix-socket") for option in options):
            options = ("--bind", "127.0.0.1:0", *options)
        super().__init__([*COMMAND, *options, app], cwd=ROOT, environ=environ)

    @property
    def memory(self) -> int:
        """Its resident memory, in bytes."""
        return _status(self.pid, "VmRSS")

    def reset_peak(self) -> None:
        """Begin anew to watch for the most memory it ever had."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def peak(self) -> int:
        """The most resident memory it had since `reset_peak`, in bytes."""
        return _status(self.pid, "VmHWM")

    @property
    def open_files(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def _status(pid: int, name: str) -> int:
    """A size in the kernel's account of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


def wait_until(
    condition: Callable[[], bool],
    timeout: float = DEADLINE,
    tell: Callable[[], str] = lambda: "it did not come to that in time",
) -> float:
    """Ask until it is so, or fail with what there is to tell; returns how long it took."""
    started = time.perf_counter()
    while not condition():
        assert time.perf_counter() - started < timeout, tell()
        time.sleep(0.002)
    return time.perf_counter() - started


def get(path: str, *headers: str) -> bytes:
    """The bytes of a GET request."""
    lines = [f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii")


def read_until(sock: socket.socket, ending: bytes) -> bytes:
    """Read from a socket until these bytes have come."""
    data = b""
    while ending not in data:
        piece = sock.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    return data


def read_all(sock: socket.socket) -> bytes:
    """Read from a socket until its end."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


@contextlib.contextmanager
def in_threads(*calls: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    """Run these at the same time; leaving the block waits for them."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)


def run_python(
    *arguments: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run Python to its end, with more variables; returns the exit code and what it wrote."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    return done.returncode, done.stdout


@contextlib.contextmanager
def many_files(count: int) -> Iterator[None]:
    """Let this process, and those it starts, have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
