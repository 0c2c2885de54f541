"""Programs that run in the foreground while a test looks at what they serve."""

import contextlib
import functools
import os
import random
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import DEADLINE, ROOT, wait_until

DEPLOY = ROOT / "docs" / "deploy"
# Below the ports that the kernel gives to clients, from which it could take ours in between.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 5


class Program:
    """A program, from its start to the end of the block, where it is asked to end.

    Args:
        command: What runs; it must stay in the foreground.
        directory: Where, and where its output goes.
        environ: Variables beside those of this process.
        sockets: What it inherits, by the same numbers.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        environ: Mapping[str, str] | None = None,
        sockets: Iterable[socket.socket] = (),
    ) -> None:
        self._log = directory / f"{Path(command[0]).name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **(environ or {})},
                pass_fds=[each.fileno() for each in sockets],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.end()
        finally:
            self._process.kill()

    def end(self) -> int:
        """Ask it to end, and wait for that; returns its exit code."""
        self._process.terminate()
        return self._process.wait(DEADLINE)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def exit_code(self) -> int:
        """Wait until it has ended."""
        return self._process.wait(DEADLINE)

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether it is not there any more."""
        return self._process.poll() is not None

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so; the program must not end meanwhile."""
        wait_until(lambda: self.has_ended or condition())
        assert not self.has_ended, self.output

    def answers_at(self, address: tuple[str, int] | str) -> bool:
        """Whether somebody accepts connections there, or the program is not there any more."""
        return self.has_ended or accepts(address)


def accepts(address: tuple[str, int] | str) -> bool:
    """Whether somebody accepts connections at this address, or the path of this unix socket."""
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def connect(address: tuple[str, int] | str) -> socket.socket:
    """A new connection there."""
    if not isinstance(address, str):
        return socket.create_connection(address, DEADLINE)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def at_free_port(start: Callable[[int], Program]) -> Iterator[tuple[Program, int]]:
    """A program that cannot be given a socket; it listens at a port that was free.

    Somebody else may take the port in between: then it is tried again with another one.
    """
    for attempt in range(_ATTEMPTS):
        port = free_port()
        with start(port) as program:
            wait_until(functools.partial(program.answers_at, ("127.0.0.1", port)))
            if program.has_ended:
                assert attempt + 1 < _ATTEMPTS, program.output
                continue
            yield program, port
        return


def free_port() -> int:
    """A TCP port of 127.0.0.1 at which nobody listens now."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def recipe(path: str, places: Mapping[str, str]) -> str:
    """A file below docs/deploy, with what is true here in the places of what is true there."""
    text = (DEPLOY / path).read_text(encoding="utf-8")
    for there, here in places.items():
        assert there in text, f"not in {path}: {there}"
        text = text.replace(there, here)
    return text


def command_in(path: str, places: Mapping[str, str]) -> list[str]:
    """The options of the command in the head of a recipe, likewise."""
    head = (DEPLOY / path).read_text(encoding="utf-8").replace("\\\n#", " ")
    match = re.search(r"^#  +aserver (.*)$", head, re.MULTILINE)
    assert match is not None, f"{path} has no command"
    *options, application = shlex.split(match[1])
    assert application == "mysite.asgi:application"
    return [places.get(each, each) for each in options]
