"""docs/deploy/supervisor with a real supervisord: four processes, one socket."""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.deploy.programs import accepts, at_free_port, connect, recipe
from tests.processes import DEADLINE, Program, get, in_threads, read_all, wait_until
from tests.services import require_program

PROCESSES = 4
NAMES = [f"asgi{number}" for number in range(PROCESSES)]
# It tells who answers; `/busy` keeps its process from accepting for a moment.
APP = """
import json, os, time

async def application(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/busy":
        time.sleep(0.05)
    body = json.dumps({"pid": os.getpid(), "client": scope["client"], "server": scope["server"]})
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body.encode()})
"""
# What a distribution's supervisord.conf has.
MAIN = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%(here)s/supervisord.pid
childlogdir=%(here)s
{user}
[unix_http_server]
file=%(here)s/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/supervisor.sock
[include]
files=mysite.conf
"""
ASERVER = f"{sys.executable} -m aserver"


class Supervisor:
    """supervisord with the recipe, before it is started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "mysite").mkdir()
        (directory / "mysite" / "asgi.py").write_text(APP)
        user = "user=root" if os.geteuid() == 0 else ""
        (directory / "supervisord.conf").write_text(MAIN.format(user=user))

    def start(self, socket: str, processes: int = PROCESSES) -> Program:
        """Start it with such a socket."""
        places = {
            "socket=tcp://localhost:8000": f"socket={socket}",
            f"numprocs={PROCESSES}": f"numprocs={processes}",
            "/srv/mysite/.venv/bin/aserver": ASERVER,
            "/srv/mysite": str(self.directory),
            "/run/aserver": str(self.directory),
            "/var/log/mysite": str(self.directory),
        }
        text = recipe("supervisor/mysite.conf", places)
        # Else each start takes a second.
        (self.directory / "mysite.conf").write_text(text + "startsecs=0\n")
        command = [require_program("supervisord"), "-c", "supervisord.conf"]
        return Program(command, cwd=self.directory)

    def control(self, *command: str) -> str:
        """What supervisorctl says."""
        done = subprocess.run(
            [require_program("supervisorctl"), "-c", "supervisord.conf", *command],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return done.stdout

    def pid(self, name: str) -> int:
        """The process of this name."""
        return int(self.control("pid", f"asgi:{name}"))

    def own_socket(self, number: int) -> str:
        """The path of the unix socket that one process alone has."""
        return str(self.directory / f"aserver{number}.sock")

    @property
    def log(self) -> str:
        """Where all output goes."""
        return (self.directory / "asgi.log").read_text()


def ask(address: tuple[str, int] | str, path: str = "/", *headers: str) -> dict[str, object]:
    """A request on a connection of its own; what the application tells."""
    with connect(address) as sock:
        sock.sendall(get(path, "Connection: close", *headers))
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return dict(json.loads(body))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Supervisor, tuple[str, int]]]:
    """All is as in the recipe; at the end all four have ended in order."""
    supervisor = Supervisor(tmp_path_factory.mktemp("supervisor"))
    with at_free_port(lambda port: supervisor.start(f"tcp://localhost:{port}")) as (program, port):
        for number in range(PROCESSES):
            program.wait_until(partial(accepts, supervisor.own_socket(number)))
        yield supervisor, ("127.0.0.1", port)
    for number, name in enumerate(NAMES):
        assert not os.path.exists(supervisor.own_socket(number))
        assert re.findall(rf"stopped: {name} \((.*)\)", program.output)[-1] == "exit status 0"
    assert "Traceback" not in supervisor.log


Site = tuple[Supervisor, tuple[str, int]]


def test_each_answers_at_its_own_socket_and_at_the_one_of_all(site: Site) -> None:
    supervisor, address = site
    own = [ask(supervisor.own_socket(number)) for number in range(PROCESSES)]
    assert [each["client"] for each in own] == [None] * PROCESSES
    pids = {each["pid"] for each in own}
    assert pids == {supervisor.pid(name) for name in NAMES}
    assert len(pids) == PROCESSES
    seen: set[object] = set()

    def visit() -> None:
        facts = ask(address, "/busy")
        assert facts["server"] == list(address)
        seen.add(facts["pid"])

    deadline = time.monotonic() + DEADLINE
    while seen != pids:
        assert time.monotonic() < deadline, seen
        with in_threads(*[visit] * PROCESSES):
            pass


def test_access_log_and_the_real_client(site: Site) -> None:
    supervisor, address = site
    facts = ask(address, "/page", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Port: 4711")
    assert facts["client"] == ["203.0.113.9", 4711]
    wait_until(lambda: "/page" in supervisor.log)
    (line,) = [line for line in supervisor.log.splitlines() if "/page" in line]
    assert re.fullmatch(r'203\.0\.113\.9:4711 - - \[\S+\] "GET /page" 200 \d+', line)


def test_a_killed_process_comes_back(site: Site) -> None:
    supervisor, address = site
    before = supervisor.pid("asgi2")
    os.kill(before, signal.SIGKILL)
    for _ in range(20):
        assert ask(address)["pid"] != before
    path = supervisor.own_socket(2)
    wait_until(lambda: accepts(path))
    assert ask(path)["pid"] == supervisor.pid("asgi2") != before


def test_restarted_one_by_one_nobody_is_refused(site: Site) -> None:
    supervisor, address = site
    before = {supervisor.pid(name) for name in NAMES}
    done = threading.Event()
    answers: list[object] = []

    def visit() -> None:
        while not done.is_set():
            answers.append(ask(address)["pid"])

    def restart() -> None:
        try:
            for name in NAMES:
                supervisor.control("restart", f"asgi:{name}")
        finally:
            done.set()

    with in_threads(visit, visit, restart):
        pass
    after = {supervisor.pid(name) for name in NAMES}
    assert not after & before
    assert set(answers) & before
    assert ask(address)["pid"] in after


def test_the_socket_of_all_may_be_a_unix_socket(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    path = str(tmp_path / "all.sock")
    with supervisor.start(f"unix://{path}", processes=2) as program:
        # Not at `path`: supervisord opens and closes it once before it starts anybody.
        for number in range(2):
            program.wait_until(partial(accepts, supervisor.own_socket(number)))
        facts = ask(path, "/", "X-Forwarded-For: 203.0.113.9")
        assert facts["server"] == [path, None]
        assert facts["client"] == ["203.0.113.9", 0], "unix sockets are trusted"


def test_the_same_command_in_a_terminal(tmp_path: Path) -> None:
    places = {
        "/srv/mysite/.venv/bin/aserver": ASERVER,
        "/run/aserver": str(tmp_path),
        "%(process_num)d": "0",
    }
    (command,) = re.findall(r"^command=(.*)$", recipe("supervisor/mysite.conf", places), re.M)
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "asgi.py").write_text(APP)
    terminal, end = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, terminal)
        stack.callback(os.close, end)
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            stdin=end,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    message = "file descriptor 0 is a terminal; it must be a listening socket"
    assert (done.returncode, done.stderr) == (6, f"aserver: error: {message}\n")
    assert os.listdir(tmp_path) == ["mysite"], "no socket is left"
