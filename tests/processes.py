"""Real server processes: started, watched, signalled, ended; every step with a deadline."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 20.0
# Every event loop with every parser.
MATRIX = [(loop, parser) for loop in ("asyncio", "uvloop") for parser in ("httptools", "h11")]
_LISTENING = re.compile(r"Listening on (\S+:\S+)")


class Process:
    """`python -m aserver APP`, from its first line to its exit code.

        with Process("tests.served:app", "--loop", "asyncio") as server:
            httpx.get(server.url)
            server.signal(signal.SIGTERM)
            assert server.exit_code() == 0

    It listens on a free port of 127.0.0.1 unless the options say otherwise. Leaving the block kills
    it, if it is still there.

    Args:
        app: The import string, looked for in the repository.
        options: Of the command line.
        environ: Variables beside those of this process.
    """

    def __init__(self, app: str, *options: str, environ: Mapping[str, str] | None = None) -> None:
        if not any(option in ("-b", "--bind", "-u", "--unix-socket") for option in options):
            options = ("--bind", "127.0.0.1:0", *options)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "aserver", *options, app],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.urls: list[str] = []
        self._output: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._ended = False
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    self._output[name].append(line)
                    if name == "stderr" and (match := _LISTENING.search(line)):
                        self.urls.append(match[1])
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)

    @property
    def url(self) -> str:
        """The first address it listens on; waits for it."""
        self._wait(lambda: bool(self.urls) or self._ended)
        assert self.urls, f"it ended without listening: {self.stderr}"
        return self.urls[0]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the URL, for a socket."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def stdout(self) -> str:
        """What it has written to standard output so far."""
        return "".join(self._output["stdout"])

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return "".join(self._output["stderr"])

    def wait_for(self, text: str) -> None:
        """Wait until it has written this to standard error."""
        self._wait(lambda: text in self.stderr or self._ended)
        assert text in self.stderr, self.stderr

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE), self.stderr

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def exit_code(self, timeout: float = DEADLINE) -> int:
        """Wait until it has ended, and all its output is there."""
        code = self._process.wait(timeout)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def connect(self, timeout: float = DEADLINE) -> socket.socket:
        """A new TCP connection to it."""
        return socket.create_connection(self.address, timeout)

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


def wait_until(condition: Callable[[], bool], timeout: float = DEADLINE) -> float:
    """Ask until it is so; returns how many seconds that took."""
    started = time.perf_counter()
    while not condition():
        assert time.perf_counter() - started < timeout, "it did not come to that in time"
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


def run_python(*arguments: str, cwd: Path = ROOT) -> tuple[int, str]:
    """Run Python to its end; returns the exit code and what it wrote."""
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command,
        cwd=cwd,
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
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
