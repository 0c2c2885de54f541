"""gunicorn itself in real processes, and clients that keep it busy."""

import json
import re
import socket
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGQUIT
from typing import Any

from tests.processes import DEADLINE, ROOT, Program, get, read_all

SCRIPT = str(Path(sysconfig.get_path("scripts")) / "gunicorn")
WORKER = "aserver.gunicorn.Worker"
# Without these, gunicorn's control socket would be in the home directory, one for all.
ALWAYS = ("-c", "python:tests.gunicorn.site", "--no-control-socket")


class Gunicorn(Program):
    """gunicorn on a free port of 127.0.0.1, from its first line to its exit code.

    Args:
        folder: For its log.
        app: The import string.
        options: Of its command line.
        environ: Variables beside those of this process.
    """

    farewell = SIGQUIT

    def __init__(self, folder: Path, app: str, *options: str, **environ: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port: int = sock.getsockname()[1]
        self.folder = folder
        self._log = folder / "gunicorn.log"
        # Not `python -m gunicorn`: what that would start at SIGUSR2 finds gunicorn's own `http`.
        command = [SCRIPT, *ALWAYS, "-b", f"127.0.0.1:{self.port}", *options, app]
        # Its workers, and the gunicorn that takes over, may write for longer than it is there.
        with self._log.open("wb") as file:
            super().__init__(command, cwd=ROOT, environ=environ, stdout=file, stderr=file)

    @property
    def output(self) -> str:
        """What it and its workers have written."""
        return self._log.read_text()

    @property
    def workers(self) -> set[str]:
        """Process ids of its workers: those that were begun and have not ended."""
        begun = re.findall(r"Booting worker with pid: (\d+)", self.output)
        return {*begun}.difference(re.findall(r"note: worker_exit (\d+)", self.output))

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE)

    def facts(self, *headers: str) -> dict[str, Any]:
        """What the application says of a request on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(get("/facts", "Connection: close", *headers))
            return facts_in(read_all(sock))


def is_refused(gunicorn: Gunicorn) -> bool:
    """Whether nobody listens any more."""
    try:
        gunicorn.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it came while the last listening socket was being closed
        return False
    return False


def facts_in(answer: bytes) -> dict[str, Any]:
    facts = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert isinstance(facts, dict)
    return facts


@contextmanager
def asking(*requests: Callable[[], object]) -> Iterator[list[Exception]]:
    """Make these requests again and again, each in a thread of its own; yields what fails."""
    stopping = threading.Event()
    failures: list[Exception] = []

    def ask(request: Callable[[], object]) -> None:
        while not stopping.is_set():
            try:
                request()
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask, args=(each,)) for each in requests]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stopping.set()
        for thread in threads:
            thread.join(DEADLINE)
