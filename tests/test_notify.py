"""What a service manager is told; the manager is a datagram socket of the test."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import aserver.notify as module
from aserver import Config, Server
from aserver.lifespan import LifespanError
from aserver.notify import ServiceManager
from aserver.running import run, signals_handled
from aserver.types import Scope
from tests.inside import Diary, hello
from tests.processes import DEADLINE


@contextlib.contextmanager
def manager_at(name: str) -> Iterator[socket.socket]:
    """A service manager that listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(DEADLINE)
        yield sock


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What NOTIFY_SOCKET says."""
    return str(tmp_path / "n") if request.param == "path" else f"@aserver-test-{os.getpid()}"


@pytest.fixture
def heard(address: str) -> Iterator[socket.socket]:
    with manager_at(address) as sock:
        yield sock


def next_of(heard: socket.socket) -> dict[str, str]:
    """The next thing that the manager hears."""
    lines = heard.recv(65536).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def assert_silent(heard: socket.socket) -> None:
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(65536)
    heard.settimeout(DEADLINE)


def test_a_life_from_start_to_end(address: str, heard: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": address}
    manager = ServiceManager.from_environ(environ)
    loop = asyncio.new_event_loop()
    manager.watch(loop)
    assert manager.is_there
    assert environ == {}
    manager.ready("Listening on http://127.0.0.1:8000, unix:a\nREADY=0")
    ready = next_of(heard)
    assert ready == {
        "READY": "1",
        "STATUS": r"Listening on http://127.0.0.1:8000, unix:a\x0aREADY=0",
    }
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloading()
    told = next_of(heard)
    assert before <= int(told.pop("MONOTONIC_USEC")) <= before + 60_000_000
    assert told == {"RELOADING": "1", "STATUS": "Reloading"}
    manager.reloaded()
    assert_silent(heard)  # only when the event loop has done what it was asked for before
    loop.run_until_complete(asyncio.sleep(0))
    assert next_of(heard) == ready
    manager.on_stop(Server(hello))
    assert next_of(heard) == {"STOPPING": "1", "STATUS": "Stopping"}
    manager.reloading()
    manager.reloaded()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    manager.reloaded()
    manager.close()
    manager.on_stop(Server(hello))
    assert_silent(heard)


def test_before_it_is_ready_there_is_nothing_to_reload(address: str, heard: socket.socket) -> None:
    manager = ServiceManager(address)
    loop = asyncio.new_event_loop()
    manager.watch(loop)
    manager.reloading()
    manager.reloaded()
    loop.run_until_complete(asyncio.sleep(0))
    assert_silent(heard)
    manager.close()
    loop.close()


@pytest.mark.parametrize("environ", [None, {}, {"NOTIFY_SOCKET": ""}])
def test_nobody_to_tell(environ: dict[str, str] | None) -> None:
    manager = ServiceManager.from_environ(environ)
    assert not manager.is_there
    loop = asyncio.new_event_loop()
    manager.watch(loop)
    manager.ready("")
    manager.on_stop(Server(hello))
    manager.close()
    loop.close()


@pytest.mark.parametrize("address", ["/none/n", "vsock:2:1234", "x" * 200, "@nobody-is-there"])
def test_nobody_who_hears(address: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(address)
    with caplog.at_level(logging.DEBUG, "aserver"):
        manager.ready("")
        manager.on_stop(Server(hello))
    manager.close()
    assert [record.levelname for record in caplog.records] == ["DEBUG"], "and not for each of them"
    assert re.match(r"The service manager \(NOTIFY_SOCKET\) hears nothing: ", caplog.messages[0])


def test_a_manager_that_does_not_read_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_SEND_SECONDS", 0.01)
    with manager_at(str(tmp_path / "n")) as sock, caplog.at_level(logging.DEBUG, "aserver"):
        manager = ServiceManager(str(tmp_path / "n"))
        for _ in range(10_000):  # net.unix.max_dgram_qlen is 10, or some hundreds
            manager.ready("")
            if caplog.messages:
                break
        assert "timed out" in caplog.messages[0]
        assert next_of(sock)["READY"] == "1"
        manager.close()


# The watchdog


@pytest.mark.parametrize("is_named", [False, True])
def test_life_signs(is_named: bool, address: str, heard: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000", "PATH": "/bin"}
    if is_named:
        environ["WATCHDOG_PID"] = str(os.getpid())
    manager = ServiceManager.from_environ(environ)
    assert environ == {"PATH": "/bin"}
    loop = asyncio.new_event_loop()
    manager.watch(loop)
    assert_silent(heard)  # they are the loop's, and it does not run
    heard.setblocking(False)
    times = []
    for _ in range(4):
        next_sign = asyncio.wait_for(loop.sock_recv(heard, 65536), DEADLINE)
        assert loop.run_until_complete(next_sign) == b"WATCHDOG=1"
        times.append(loop.time())
    assert times[-1] - times[0] > 0.02, "twice in 20 milliseconds"
    manager.close()
    loop.close()


@pytest.mark.parametrize(
    ("microseconds", "pid"),
    [("1000", "1"), ("", ""), ("often", ""), ("-1", ""), ("9" * 5000, ""), ("0", "")],
)
def test_life_signs_that_nobody_waits_for(
    microseconds: str, pid: str, address: str, heard: socket.socket
) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}
    manager = ServiceManager.from_environ(environ)
    loop = asyncio.new_event_loop()
    manager.watch(loop)
    loop.run_until_complete(asyncio.sleep(0))
    manager.close()
    loop.close()
    assert_silent(heard)
    assert environ == {}


# In a process


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_run_tells_it(address: str, heard: socket.socket, loop: str) -> None:
    diary = Diary()
    environ = {"NOTIFY_SOCKET": address}
    seen: list[dict[str, str]] = []

    def act() -> None:
        asyncio.get_running_loop().remove_reader(heard.fileno())
        seen.append(next_of(heard))
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)

    async def startup(scope: Scope) -> None:
        assert_silent(heard)
        assert environ == {}, "the application and its children have no use for it"
        asyncio.get_running_loop().add_reader(heard.fileno(), act)

    diary.startup = startup
    before = signal.getsignal(signal.SIGHUP)
    run(diary, Config.of(port=0, loop=loop), environ=environ)
    (ready,) = seen
    assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+", ready["STATUS"])
    assert next_of(heard)["RELOADING"] == "1"
    assert next_of(heard) == ready
    assert next_of(heard)["STOPPING"] == "1"
    assert_silent(heard)
    assert signal.getsignal(signal.SIGHUP) is before


def test_hangup_reopens_logs_and_loads_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("reload_certificates", "reopen_logs"):
        monkeypatch.setattr(Server, name, lambda server, name=name: calls.append(name))
    manager = ServiceManager(str(tmp_path / "n"))
    with signals_handled(Server(hello), manager):
        os.kill(os.getpid(), signal.SIGHUP)
    manager.close()
    assert calls == ["reload_certificates", "reopen_logs"]


def test_a_start_that_fails_is_never_ready(address: str, heard: socket.socket) -> None:
    diary = Diary()

    async def startup(scope: Scope) -> None:
        raise ValueError("no database")

    diary.startup = startup
    with pytest.raises(LifespanError):
        run(diary, Config.of(port=0, lifespan="on"), environ={"NOTIFY_SOCKET": address})
    assert_silent(heard)
