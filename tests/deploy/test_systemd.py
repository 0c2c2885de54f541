"""docs/deploy/systemd: the units are checked by systemd's own tools; the manager is played here."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY, connect, free_port, recipe
from tests.processes import DEADLINE, Program, get, in_threads, read_all, wait_until
from tests.services import require_program

UNITS = ("aserver.service", "aserver.socket")
PROGRAM = "/srv/mysite/.venv/bin/aserver"
(COMMAND,) = re.findall(r"^ExecStart=(.*)$", recipe("systemd/aserver.service", {}), re.M)
# It starts when the file `go` is there; `/slow` answers when the file `answer` is.
APP = """
import asyncio, json, os, time
from pathlib import Path

async def wait_for(name):
    while not Path(name).exists():
        await asyncio.sleep(0.005)

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        Path("starting").touch()
        await wait_for("go")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        Path("slow").touch()
        await wait_for("answer")
    if scope["path"] == "/stuck":
        time.sleep(0.5)
    variables = [name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY", "WATCHDOG"))]
    facts = {"pid": os.getpid(), "server": scope["server"], "variables": variables}
    body = json.dumps(facts).encode()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})
"""
# What systemd does between fork and exec.
LAUNCHER = """if True:
    import fcntl, os, sys
    numbers, names, *command = sys.argv[1:]
    kept = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 64) for number in numbers.split()]
    for place, number in enumerate(kept, 3):
        os.dup2(number, place)
        os.close(number)
    pid = str(os.getpid())
    if kept:
        os.environ.update(LISTEN_FDS=str(len(kept)), LISTEN_PID=pid, LISTEN_FDNAMES=names)
    if "WATCHDOG_USEC" in os.environ:
        os.environ["WATCHDOG_PID"] = pid
    os.execv(command[0], command)
"""


# The units, and systemd's own tools


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units, with a program that is there."""
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(PROGRAM, sys.executable))
    return [str(tmp_path / name) for name in UNITS]


def test_systemd_finds_nothing_wrong_with_the_units(units: list[str]) -> None:
    command = [require_program("systemd-analyze"), "verify", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_exposure_of_the_service(units: list[str]) -> None:
    """From 0 to 10; a service that says nothing of it has 9.6."""
    command = [require_program("systemd-analyze"), "security", "--offline=true", units[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    (level,) = re.findall(r"Overall exposure level for aserver\.service: ([\d.]+)", done.stdout)
    assert float(level) < 2.5


def test_socket_activation(tmp_path: Path) -> None:
    write_site(tmp_path)
    port, path = free_port(), str(tmp_path / "s")
    listen = ["--listen", f"127.0.0.1:{port}", "--listen", path, "--fdname=web:web"]
    command = [
        require_program("systemd-socket-activate"),
        *listen,
        *command_line("-e", "systemd:name=web"),
    ]
    with Program(command, cwd=tmp_path) as process:
        wait_until(lambda: os.path.exists(path))
        first = ask(("127.0.0.1", port))
        assert first["server"] == ["127.0.0.1", port]
        assert first["pid"] == process.pid
        assert ask(path) == first | {"server": [path, None]}
        process.wait_for("Listening on http")
        assert process.output.count("Listening on http") == 1, process.output


# systemd, played


def write_site(directory: Path, *, go: bool = True) -> None:
    (directory / "mysite").mkdir()
    (directory / "mysite" / "asgi.py").write_text(APP)
    if go:
        (directory / "go").touch()


def command_line(*options: str) -> list[str]:
    """The recipe's command."""
    program, *arguments = shlex.split(COMMAND)
    assert program == PROGRAM
    return [sys.executable, "-m", "aserver", *arguments, *options]


class Manager:
    """It hears what its service says, and hands it sockets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(directory / "notify"))
        self._heard.settimeout(DEADLINE)

    def close(self) -> None:
        self._heard.close()

    def start(
        self, *options: str, sockets: dict[str, socket.socket] | None = None, watchdog: float = 0
    ) -> Program:
        """Start the service."""
        there = sockets or {}
        numbers = [each.fileno() for each in there.values()]
        command = [sys.executable, "-c", LAUNCHER, " ".join(map(str, numbers)), ":".join(there)]
        environ = {"NOTIFY_SOCKET": str(self.directory / "notify")}
        if watchdog:
            environ["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        command += command_line(*options)
        return Program(command, cwd=self.directory, environ=environ, pass_fds=numbers)

    def hear(self) -> dict[str, str]:
        """The next thing that the service says."""
        lines = self._heard.recv(65536).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def hears_nothing(self) -> bool:
        """Whether the service has said nothing that was not heard."""
        self._heard.setblocking(False)
        try:
            self._heard.recv(65536, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self._heard.settimeout(DEADLINE)
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with contextlib.closing(Manager(tmp_path)) as manager:
        yield manager


def ask(address: tuple[str, int] | str, path: str = "/") -> dict[str, object]:
    """A request on a connection of its own; what the application tells."""
    with connect(address) as sock:
        sock.sendall(get(path, "Connection: close"))
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return dict(json.loads(body))


def address_in(ready: dict[str, str]) -> tuple[str, int]:
    """Where the service listens, as its status says it."""
    (port,) = re.findall(r"^Listening on http://127\.0\.0\.1:(\d+)$", ready["STATUS"])
    return "127.0.0.1", int(port)


def test_what_a_service_says_from_start_to_end(manager: Manager, tmp_path: Path) -> None:
    write_site(tmp_path, go=False)
    log = tmp_path / "access.log"
    with manager.start("-b", "127.0.0.1:0", "--access-log", str(log)) as service:
        service.wait_until((tmp_path / "starting").exists)
        assert manager.hears_nothing(), "it is not ready yet"
        (tmp_path / "go").touch()
        ready = manager.hear()
        assert ready["READY"] == "1"
        address = address_in(ready)
        assert ask(address)["variables"] == [], "they are not for its children"
        # systemctl reload
        log.rename(tmp_path / "access.log.1")
        service.signal(signal.SIGHUP)
        reloading = manager.hear()
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert manager.hear() == ready
        ask(address, "/after")
        service.wait_until(lambda: log.exists() and "/after" in log.read_text())
        # systemctl stop, while somebody waits for an answer
        answers: list[dict[str, object]] = []
        with in_threads(lambda: answers.append(ask(address, "/slow"))):
            service.wait_until((tmp_path / "slow").exists)
            service.signal(signal.SIGTERM)
            assert manager.hear()["STOPPING"] == "1"
            assert not answers
            (tmp_path / "answer").touch()
        assert service.exit_code() == 0
        assert answers
        assert manager.hears_nothing()


def test_life_signs_come_from_the_event_loop(manager: Manager, tmp_path: Path) -> None:
    write_site(tmp_path)
    with manager.start("-b", "127.0.0.1:0", watchdog=0.2) as service:
        while "READY" not in (heard := manager.hear()):
            assert heard == {"WATCHDOG": "1"}
        address = address_in(heard)
        times = [time.monotonic()]
        with in_threads(lambda: ask(address, "/stuck")) as (visitor,):
            while visitor.is_alive() or len(times) < 3:
                assert manager.hear() == {"WATCHDOG": "1"}
                times.append(time.monotonic())
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gaps) > 0.35, "a loop that is stuck says nothing"
        assert min(gaps) < 0.2
        assert service.end() == 0


def test_a_restart_behind_the_socket_loses_nobody(manager: Manager, tmp_path: Path) -> None:
    write_site(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as sock, contextlib.ExitStack() as stack:
        address = sock.getsockname()
        done = threading.Event()
        pids: list[object] = []

        def visit() -> None:
            while not done.is_set():
                pids.append(ask(address)["pid"])

        def restart() -> None:
            stack.callback(done.set)
            assert old.end() == 0
            assert manager.hear()["STOPPING"] == "1"
            between = stack.enter_context(connect(address))
            between.sendall(get("/", "Connection: close"))
            new = stack.enter_context(start())
            assert b'"pid": %d' % new.pid in read_all(between)
            done.set()

        def start() -> Program:
            service = manager.start("-e", "systemd:name=web", sockets={"web": sock})
            assert "READY" in manager.hear()
            return service

        old = stack.enter_context(start())
        with in_threads(visit, visit, restart):
            pass
        assert pids[0] == old.pid
        assert pids[-1] != old.pid
