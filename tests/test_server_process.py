"""`aserver.server_process`: the server as a child process, with every start method."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import aserver.testing
from aserver import Config, server_process
from aserver.declarations import ConfigError
from aserver.server_process import ServerProcess
from aserver.testing import serve
from aserver.types import ASGIApplication, Receive, Scope, Send
from tests.processes import DEADLINE, ROOT, in_threads, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

configuration = partial(server_process._configuration, "localhost", 0)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    if scope["path"] == "/block":
        time.sleep(DEADLINE)  # noqa: ASYNC251, the event loop hangs: that is the case
    if scope["path"] == "/thread":
        asyncio.get_running_loop().run_in_executor(None, time.sleep, DEADLINE)
    await send({"type": "http.response.start", "status": 200})
    await send(
        {"type": "http.response.body", "body": f"{scope['root_path']} {os.getpid()}".encode()}
    )


def get_app() -> ASGIApplication:
    return app


def note(path: Path, word: str) -> None:
    with path.open("a") as file:
        file.write(f"{word} ")


class OddError(Exception):
    """It cannot be unpickled."""

    def __init__(self, one: str, another: str) -> None:
        super().__init__(one)


def fail_oddly() -> ASGIApplication:
    raise OddError("odd", "")


def fail_at_length() -> ASGIApplication:
    raise ValueError("\N{GRINNING FACE}" * 100_000)


def leave() -> ASGIApplication:
    sys.exit("I do not want to")


@pytest.fixture
def start() -> Iterator[Callable[..., ServerProcess]]:
    """Start a process, and wait until it is ready or has ended; the test's end kills it."""
    processes = []

    def started(get_application: Callable[[], ASGIApplication], **options: Any) -> ServerProcess:
        process = ServerProcess("127.0.0.1", get_application, **options)
        processes.append(process)
        process.start()
        wait_until(lambda: process.ready.is_set() or not process.is_alive())
        return process

    yield started
    for process in processes:
        process.kill()
        process.join(DEADLINE)


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


def url(process: ServerProcess) -> str:
    return f"http://127.0.0.1:{process.port.value}"


def end(process: ServerProcess) -> int | None:
    """Terminate it as Channels does."""
    process.terminate()
    process.join(DEADLINE)
    return process.exitcode


Start = Callable[..., ServerProcess]


def test_its_life(start_method: str, start: Start, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    process = start(
        get_app,
        kwargs={
            "root_path": "/x",
            "http_timeout": None,
            "ready_callable": partial(note, notes, "ready"),
        },
        setup=partial(note, notes, "setup"),
        teardown=partial(note, notes, "teardown"),
    )
    assert process.ready.wait(0)
    assert httpx.get(url(process)).text == f"/x {process.pid}"
    assert process.pid != os.getpid()
    assert notes.read_text() == "setup ready "
    assert end(process) == 0
    assert notes.read_text() == "setup ready teardown "
    assert process.errors.empty()


@pytest.mark.parametrize("start_method", ["fork", "spawn"], indirect=True)
def test_a_failure_is_told(
    start_method: str, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start(fail_oddly)
    assert not process.ready.is_set()
    process.join(DEADLINE)
    assert process.exitcode == 1
    error, trace = process.errors.get(timeout=DEADLINE)
    assert repr(error) == "RuntimeError('OddError: odd')"
    assert "in fail_oddly" in trace
    assert capfd.readouterr().err == "aserver: error: OddError: odd\n"


@pytest.mark.parametrize("start_method", ["spawn"], indirect=True)
def test_what_the_child_cannot_import_is_told(
    start_method: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("only_in_the_parent")
    exec("def get(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_in_the_parent", module)
    process = start(module.get)
    error, _ = process.errors.get(timeout=DEADLINE)
    assert isinstance(error, ModuleNotFoundError)


def test_a_failure_does_not_wait_for_a_reader(start: Start) -> None:
    process = start(fail_at_length)
    process.join(DEADLINE)
    assert process.exitcode == 1
    error, trace = process.errors.get(timeout=DEADLINE)
    assert isinstance(error, RuntimeError)
    assert len(pickle.dumps((error, trace))) < 65_536


def test_an_exit_is_a_failure(start: Start) -> None:
    process = start(leave)
    error, _ = process.errors.get(timeout=DEADLINE)
    assert repr(error) == "SystemExit('I do not want to')"


def test_a_port_of_ones_own(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(get_app, port=port)
        error, _ = process.errors.get(timeout=DEADLINE)
        assert "Address already in use" in str(error)
    process = start(get_app, port=port)
    assert process.port.value == port
    assert httpx.get(url(process)).status_code == 200


def test_websockets_are_closed_in_order(start: Start) -> None:
    process = start(get_app)
    with connect(url(process).replace("http", "ws")) as websocket:
        process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(DEADLINE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    process.join(DEADLINE)
    assert process.exitcode == 0


@pytest.mark.parametrize("path", ["/block", "/thread"])
def test_it_ends_whatever_the_application_does(
    path: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "_STOP_SECONDS", 0.2)  # the child is a fork
    monkeypatch.setattr(server_process, "_THREADS_SECONDS", 0.2)
    process = start(get_app, kwargs={"graceful_timeout": 0})
    with socket.create_connection(("127.0.0.1", process.port.value), DEADLINE) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        if path == "/thread":
            client.recv(1)
        else:
            wait_until(lambda: Path(f"/proc/{process.pid}/wchan").exists())
        started = time.monotonic()
        assert end(process) == -signal.SIGALRM
    assert time.monotonic() - started < 10


PARENT = """
import multiprocessing, sys, time
from aserver import server_process
from aserver.testing import ServerProcess

server_process._STOP_SECONDS = 0.2  # the child is a fork

def get_app():
    async def app(scope, receive, send):
        if "block" in sys.argv:
            time.sleep(60)
    return app

multiprocessing.current_process().daemon = True  # which may have no children
process = ServerProcess("127.0.0.1", get_app, {"graceful_timeout": 0.1})
process.start()
if "block" not in sys.argv:  # in its lifespan
    assert process.ready.wait(20)
assert multiprocessing.current_process().daemon
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("argument", ["", "block"])
def test_it_ends_with_its_parent(argument: str) -> None:
    """Though its event loop may be stuck."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, argument],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # The child has the other end of this pipe, too, and closes it at its end.
        assert parent.stdout.read() == ""


def test_beside_servers_in_threads_and_loops(start: Start) -> None:
    """Many times, at the same time, each with an event loop of its own."""
    process = start(get_app)
    pids: list[str] = []

    def in_a_thread() -> None:
        for _ in range(5):
            with serve(app, graceful_timeout=0) as server:
                pids.append(httpx.get(server.url).text.strip())

    async def in_a_loop() -> None:
        async with httpx.AsyncClient() as client:
            for _ in range(5):
                async with serve(app, graceful_timeout=0) as server:
                    pids.append((await client.get(server.url)).text.strip())

    with in_threads(in_a_thread, partial(asyncio.run, in_a_loop())):
        for _ in range(5):
            assert httpx.get(url(process)).text.strip() == str(process.pid)
    assert pids == [str(os.getpid())] * 10
    assert end(process) == 0


@pytest.mark.parametrize(
    ("kwargs", "options"),
    [
        ({}, {}),
        ({"http_timeout": 5, "server_name": "x"}, {"http_timeout": 5, "server_name": "x"}),
        ({"http_timeout": None, "websocket_timeout": None}, {}),
        ({"request_buffer_size": 100}, {"read_buffer": 100}),
        ({"request_buffer_size": None, "ready_callable": print}, {}),
        ({"websocket_handshake_timeout": 7}, {"websocket_connect_timeout": 7}),
        (
            {"websocket_handshake_timeout": 5, "websocket_connect_timeout": 20},
            {"websocket_connect_timeout": 5},
        ),
        (
            {"websocket_handshake_timeout": 0, "websocket_connect_timeout": 20},
            {"websocket_connect_timeout": 20},
        ),
        (
            {"websocket_handshake_timeout": 0, "websocket_connect_timeout": -1},
            {"websocket_connect_timeout": 0},
        ),
        (
            {
                "proxy_forwarded_address_header": "X-Forwarded-For",
                "proxy_forwarded_port_header": "X-Port",
                "proxy_forwarded_proto_header": None,
            },
            {
                "proxy_headers": True,
                "proxy_headers_trust": ("for", "port"),
                "proxy_headers_host": "X-Forwarded-For",
                "proxy_headers_port": "X-Port",
            },
        ),
        ({"proxy_forwarded_proto_header": "X-Forwarded-Proto"}, {}),
        (
            {"verbosity": 2, "websocket_max_frame_size": 0},
            {"verbosity": 2, "websocket_max_frame_size": 0},
        ),
        ({"graceful_timeout": 9, "access_log": "-"}, {"graceful_timeout": 9, "access_log": "-"}),
    ],
)
def test_keywords_of_daphne_and_ours(kwargs: dict[str, Any], options: dict[str, Any]) -> None:
    ours = {"graceful_timeout": 1.0, "access_log": "", "bind": ("localhost",), "port": 0, **options}
    assert configuration(kwargs) == Config.of(**ours)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address(host: str) -> None:
    assert server_process._configuration(host, 80, {}).bind.bind == ("[::1]",)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"http_timeuot": 5}, "there is no option 'http_timeuot'"),
        ({"http_timeuot": None}, "there is no option 'http_timeuot'"),
        ({"http_timeout": "5"}, "--http-timeout: '5' is not a number"),
        ({"endpoints": ["tcp:80"]}, "endpoints: the process listens on its host and port"),
        ({"redirect_bind": ("h:80",)}, "redirect_bind: the process listens on its host and port"),
        ({"app": "a:b"}, "app: the process has one, from get_application"),
        ({"signal_handlers": True}, "signal_handlers: the process has its own"),
        ({"action_logger": print}, "action_logger: there is access_log"),
    ],
)
def test_a_mistake_is_told_in_the_parent(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerProcess("localhost", get_app, kwargs)


def test_its_other_name() -> None:
    assert aserver.testing.DaphneProcess is aserver.testing.ServerProcess is ServerProcess
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = aserver.testing.nothing
