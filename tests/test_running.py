"""The server as a process runs it: the event loop, the signals, the end of both."""

import asyncio
import logging
import os
import resource
import signal
import sys
import time

import pytest

from aserver import Config, Server
from aserver.app import AppImportError
from aserver.observer import Observed, Observer
from aserver.running import raise_file_limit, run, run_server, signals_handled
from aserver.types import Receive, Scope, Send
from tests.certificates import Authority
from tests.inside import Diary, ask, hello, respond, wait_for
from tests.processes import DEADLINE, in_threads, run_python


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_a_signal_and_puts_the_handlers_back(
    loop: str, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    diary = Diary()

    async def interrupt(scope: Scope) -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)

    diary.startup = interrupt
    run(diary, Config.of(port=0, loop=loop))
    assert diary.events == ["startup", "shutdown"]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_run_raises_what_start_raises_and_closes_its_loop() -> None:
    with pytest.raises(AppImportError):
        run("tests.served:nothing", Config.of(port=0))


def test_run_in_debug_mode() -> None:
    debug = []
    diary = Diary()

    async def interrupt(scope: Scope) -> None:
        loop = asyncio.get_running_loop()
        debug.append(loop.get_debug())
        loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)

    diary.startup = interrupt
    run(diary, Config.of(port=0, verbosity=3))
    assert debug == [True]


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def thread() -> None:
        with signals_handled(Server(hello)):
            seen.append(signal.getsignal(signal.SIGTERM))

    with in_threads(thread):
        pass
    assert seen == [before]


def test_hangup_loads_certificates_anew_where_there_is_tls(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGHUP)
    issued = authority.issue()
    calls: list[Server] = []
    monkeypatch.setattr(Server, "reload_certificates", lambda server: calls.append(server))
    for options in ({}, {"endpoint": "tcp:0"}):
        with signals_handled(Server(hello, Config.of(**options))):
            assert signal.getsignal(signal.SIGHUP) is before
    endpoint = {"endpoint": f"ssl:0:privateKey={issued.key}"}
    for number, options in enumerate((issued.options, endpoint), 1):
        server = Server(hello, Config.of(**options))
        with signals_handled(server):
            os.kill(os.getpid(), signal.SIGHUP)
            assert len(calls) == number
            assert calls[-1] is server
        assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_application_that_raises_what_ends_a_process(
    loop: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    answers = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise error
        await receive()
        await send({"type": "lifespan.startup.complete"})
        asking.append(asyncio.ensure_future(client()))
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def client() -> None:
        await wait_for(lambda: any("Listening" in message for message in caplog.messages))
        url = next(m.split()[-1] for m in caplog.messages if "Listening" in m)
        answers.extend([(await ask(url))[:12] for _ in range(2)])
        os.kill(os.getpid(), signal.SIGTERM)

    asking: list[asyncio.Future[None]] = []
    with caplog.at_level(logging.INFO, "aserver"):
        run(app, Config.of(port=0, loop=loop))
    assert answers == [b"HTTP/1.1 500"] * 2
    assert sum("exception in the application" in message for message in caplog.messages) == 2


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_task_of_an_application_that_raises_it(loop: str) -> None:
    """Django runs each view in a task of its own. One that exits is the end of its request only."""
    answers: list[bytes] = []
    waiting = asyncio.Event()

    async def leave() -> None:
        sys.exit(3)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/leave":
            await asyncio.ensure_future(leave())
        else:
            waiting.set()
            await released.wait()
            await respond(send, b"it goes on")

    class Visitors(Observer):
        def on_start(self, server: Observed) -> None:
            asking.append(asyncio.ensure_future(visit(str(server.listeners[0]))))

    async def visit(url: str) -> None:
        neighbour = asyncio.ensure_future(ask(url))
        await waiting.wait()
        answers.append(await ask(url, "/leave"))
        released.set()
        answers.append(await neighbour)
        server.request_stop()

    asking: list[asyncio.Future[None]] = []
    released = asyncio.Event()
    server = Server(app, Config.of(port=0, loop=loop, access_log=""), observer=Visitors())
    run_server(server)
    assert answers[0].startswith(b"HTTP/1.1 500 ")
    assert answers[1].endswith(b"it goes on")


# Limits of the process


NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        *((1024, 4096, 4096), (1024, 1_000_000, 65_536), (100_000, 1_000_000, 100_000)),
        *((64, 64, 64), (1024, NO_LIMIT, 65_536), (100_000, NO_LIMIT, 100_000)),
        (NO_LIMIT, NO_LIMIT, NO_LIMIT),
    ],
)
def test_file_limit(soft: int, hard: int, raised: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: limits.append(pair))
    raise_file_limit()
    assert limits[-1] == (raised, hard)


# The end of the process


STUCK = """
import atexit, sys, threading
from aserver.running import end_in_bounded_time

def outlast():
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(20)

if "slow" in sys.argv:
    atexit.register(outlast)
end_in_bounded_time(0.5, 3)
if "stuck" in sys.argv:
    threading.Thread(target=threading.Event().wait).start()
"""


@pytest.mark.parametrize(("argument", "code"), [("stuck", 3), ("free", 0), ("slow", 0)])
def test_the_process_ends_though_a_thread_does_not(argument: str, code: int) -> None:
    """What is to be done at its end has all the time in the world, once the threads have ended."""
    started = time.monotonic()
    assert run_python("-c", STUCK, argument) == (code, "")
    assert time.monotonic() - started < DEADLINE / 2
