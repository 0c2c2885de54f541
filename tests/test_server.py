"""The server in this process: its API, over real sockets."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import aserver.server as module
from aserver import Config, Server
from aserver.app import AppImportError
from aserver.declarations import ConfigError
from aserver.lifespan import LifespanError
from aserver.listener import BindError
from aserver.testing import serve
from aserver.tls_contexts import Certificates
from aserver.types import ASGIApplication, Receive, Scope, Send
from tests.certificates import Authority
from tests.hasty import HastyLoop
from tests.inside import (
    Diary,
    Run,
    accepts,
    ask,
    connect,
    hello,
    leave_rudely,
    open_files,
    refuses,
    respond,
    wait_for,
)
from tests.processes import get, in_threads, read_all, read_until, wait_until

# Start and stop


def test_it_starts_serves_and_stops(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        await server.start()
        (sock,) = server.sockets
        address = sock.getsockname()
        assert server.url == f"http://127.0.0.1:{address[1]}"
        assert (await ask(server.url, "/page")).endswith(b"hello")
        await server.stop()
        assert refuses(address)
        assert diary.events == ["startup", "/page", "shutdown"]
        await server.stop()  # again, it does nothing
        assert diary.events.count("shutdown") == 1

    run_in_loop(test())


def test_it_listens_on_several_addresses_at_once(run_in_loop: Run[None], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    servers = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        servers.append((scope["server"], scope["client"] and scope["client"][0]))
        await respond(send)

    async def test() -> None:
        server = Server(
            app, Config.of(bind=("127.0.0.1:0", f"unix:{path}", "[::1]:0"), lifespan="off")
        )
        await server.start()
        urls = [str(listener) for listener in server.listeners]
        ports = [
            name[1] for sock in server.sockets if isinstance(name := sock.getsockname(), tuple)
        ]
        assert urls == [f"http://127.0.0.1:{ports[0]}", f"unix:{path}", f"http://[::1]:{ports[1]}"]
        for url in urls:
            assert (await ask(url)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert servers == [
            (("127.0.0.1", ports[0]), "127.0.0.1"),
            ((str(path), None), None),
            (("::1", ports[1]), "::1"),
        ]
        await server.stop()
        assert not path.exists()

    run_in_loop(test())


def test_a_stopped_server_can_be_started_again(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        for _ in range(2):
            await server.start()
            assert (await ask(server.url)).endswith(b"hello")
            await server.stop()
        assert diary.events == ["startup", "/", "shutdown"] * 2

    run_in_loop(test())


def test_a_server_that_was_not_started_has_nothing_to_stop(run_in_loop: Run[None]) -> None:
    run_in_loop(Server(hello).stop())


# serve


def test_serve_serves_until_it_is_asked_to_stop(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        with caplog.at_level(logging.INFO, "aserver"):
            serving = asyncio.ensure_future(server.serve())
            await wait_for(lambda: caplog.messages)
        assert caplog.messages == [
            "Starting server at tcp:port=0:interface=127.0.0.1",
            f"Listening on TCP address {server.url.removeprefix('http://')}",
            f"Listening on {server.url}",
        ]
        assert (await ask(server.url)).endswith(b"hello")
        # From any thread.
        await asyncio.to_thread(server.request_stop)
        await serving
        assert diary.events == ["startup", "/", "shutdown"]

    run_in_loop(test())


def test_logs_are_reopened_from_any_thread(run_in_loop: Run[None], tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def test() -> None:
        server = Server(hello, Config.of(port=0, access_log=str(path)))
        server.reopen_logs()  # there is nothing to reopen yet
        await server.start()
        path.rename(tmp_path / "access.log.1")
        await asyncio.to_thread(server.reopen_logs)
        await wait_for(path.exists)
        await ask(server.url)
        await server.stop()
        server.reopen_logs()
        await asyncio.sleep(0)

    run_in_loop(test())
    assert path.read_text().count("\n") == 1


def test_asked_to_stop_before_it_has_started_serve_returns(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        server.request_stop()
        await server.serve()
        assert diary.events in ([], ["startup", "cancelled"], ["startup", "shutdown"])

    run_in_loop(test())


async def for_ever(scope: Scope) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["request_stop", "cancel"])
def test_serve_can_be_stopped_while_the_application_starts(
    run_in_loop: Run[None], how: str
) -> None:
    async def test() -> None:
        diary = Diary()
        diary.startup = for_ever
        server = Server(diary, Config.of(port=0))
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: diary.events)
        if how == "cancel":
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
        else:
            server.request_stop()
            await serving
        assert diary.events == ["startup", "cancelled"]

    run_in_loop(test())


def test_serve_cancelled_stops_in_order(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: accepts(server))
        assert (await ask(server.url)).endswith(b"hello")
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert diary.events == ["startup", "/", "shutdown"]

    run_in_loop(test())


def test_serve_raises_what_start_raises(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        server = Server("tests.served:nothing", Config.of(port=0))
        with pytest.raises(AppImportError):
            await server.serve()

    run_in_loop(test())


# Failures of the start


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


@pytest.mark.parametrize(
    ("app", "options", "error"),
    [
        ("tests.served:nothing", {"port": 0}, AppImportError),
        (fails, {"port": 0}, LifespanError),
        (hello, {"port": 0, "lifespan": "on"}, LifespanError),
        (hello, {"bind": ("127.0.0.1:0", "192.0.2.1:0")}, BindError),
        (hello, {"port": 0, "access_log": "/nowhere/access.log"}, ConfigError),
    ],
)
def test_a_start_that_fails_leaves_nothing_behind(
    run_in_loop: Run[None],
    app: ASGIApplication | str,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    async def test() -> None:
        server = Server(app, Config.of(**options))
        with pytest.raises(error):
            await server.start()
        assert all(sock.fileno() == -1 for sock in server.sockets)

    run_in_loop(test())


def test_who_loses_the_port_after_its_start_up_is_shut_down(run_in_loop: Run[None]) -> None:
    diary = Diary()
    server = Server(diary, Config.of(port=0))

    async def test() -> None:
        with socket.socket() as rival:

            async def lose(scope: Scope) -> None:
                """Two may bind with SO_REUSEADDR, but only one can listen."""
                rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                rival.bind(server.sockets[0].getsockname())
                rival.listen()

            diary.startup = lose
            with pytest.raises(BindError, match="Address already in use"):
                await server.start()
        assert diary.events == ["startup", "shutdown"]

    run_in_loop(test())


# Many


def test_a_hundred_servers_one_after_another(options: dict[str, str]) -> None:
    count = 25  # for each pair of loop and parser
    with serve(hello, **options) as server, connect(server) as sock:
        sock.sendall(get("/"))
        read_until(sock, b"hello")
    before = open_files()
    threads = threading.active_count()
    for _ in range(count):
        with serve(hello, **options) as server, connect(server) as sock:
            sock.sendall(get("/"))
            assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
    assert open_files() == before
    assert threading.active_count() == threads


def test_five_servers_at_once(options: dict[str, str]) -> None:
    diaries = [Diary() for _ in range(5)]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serve(diary, **options)) for diary in diaries]
        assert len({server.port for server in servers}) == 5

        def ask_it(server: serve) -> None:
            for _ in range(20):
                with connect(server) as sock:
                    sock.sendall(get(f"/{server.port}", "Connection: close"))
                    assert read_all(sock).endswith(b"hello")

        with in_threads(*[lambda server=server: ask_it(server) for server in servers]):
            pass
    for server, diary in zip(servers, diaries, strict=True):
        assert diary.events == ["startup", *[f"/{server.port}"] * 20, "shutdown"]


def test_a_hundred_calls_that_wait_do_so_at_the_same_time(options: dict[str, str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await asyncio.sleep(0.5)
        await respond(send)

    with serve(app, **options) as server, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(server)) for _ in range(100)]
        started = time.perf_counter()
        for sock in socks:
            sock.sendall(get("/"))
        for sock in socks:
            assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
        assert 0.5 <= time.perf_counter() - started < 10


def test_no_call_is_lost_to_the_garbage_collector(options: dict[str, str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        if scope["path"] == "/collect":
            gc.collect()
            await respond(send)
            return
        # Nobody but the server holds this: the one who waits, and what it waits for.
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.append(scope["path"])

    ended: list[str] = []
    with serve(app, **options) as server, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(server)) for _ in range(10)]
        for number, sock in enumerate(waiting):
            sock.sendall(get(f"/{number}"))
        for _ in range(3):
            with connect(server) as sock:
                sock.sendall(get("/collect", "Connection: close"))
                assert read_all(sock).endswith(b"hello")
        assert ended == []
        for sock in waiting:
            leave_rudely(sock)
        wait_until(lambda: len(ended) == 10)


# What it does not touch


def test_a_server_in_a_thread_touches_no_signal_handler(options: dict[str, str]) -> None:
    def handler(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, handler)
    try:
        wakeup = signal.set_wakeup_fd(-1)
        with serve(hello, **options) as server, connect(server) as sock:
            assert signal.getsignal(signal.SIGINT) is handler
            sock.sendall(get("/"))
            read_until(sock, b"hello")
        assert signal.getsignal(signal.SIGINT) is handler
        assert signal.set_wakeup_fd(wakeup) == -1
    finally:
        signal.signal(signal.SIGINT, before)


def logging_state() -> list[object]:
    """Everything about the loggers that a server could change."""
    loggers = [logging.getLogger(), logging.getLogger("aserver"), logging.getLogger("asyncio")]
    loggers += [logging.getLogger(f"aserver.{name}") for name in ("server", "app", "peer")]
    return [
        (logger.level, list(logger.handlers), logger.propagate, logger.disabled)
        for logger in loggers
    ]


def test_embedded_it_touches_neither_signals_nor_logging(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        logs = logging_state()
        server = Server(hello, Config.of(port=0))
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: accepts(server))
        assert (await ask(server.url)).endswith(b"hello")
        assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
        assert logging_state() == logs
        server.request_stop()
        await serving
        assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
        assert logging_state() == logs

    run_in_loop(test())


# The tick


def test_nothing_that_goes_wrong_in_a_tick_ends_the_ticking(
    run_in_loop: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[dict[str, Any]] = []
    twice = asyncio.Event()

    def sweep(now: float, things: object) -> int:
        if len(problems) >= 2:
            twice.set()
        raise RuntimeError("a bug")

    async def test() -> None:
        loop = asyncio.get_running_loop()
        server = Server(hello, Config.of(port=0))
        monkeypatch.setattr(module, "TICK", 0.01)
        await server.start()
        loop.set_exception_handler(lambda loop, problem: problems.append(problem))
        monkeypatch.setattr(module, "sweep", sweep)
        await twice.wait()
        await server.stop()

    run_in_loop(test())
    assert {str(problem["exception"]) for problem in problems} == {"a bug"}


def test_there_is_one_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(module, "sweep", lambda now, things: ticks.append(loop.time()))
        server = Server(hello, Config.of(port=0, lifespan="off"))
        await server.start()
        await asyncio.sleep(3.5)  # which takes no time
        await server.stop()

    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        runner.run(test())
    assert sorted({round(each, 3) for each in ticks}) == [0, 1, 2, 3]


def test_the_tick_closes_what_is_overdue(
    run_in_loop: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.01)

    async def test() -> None:
        server = Server(hello, Config.of(port=0, keep_alive=0.05))
        await server.start()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(get("/"))
        assert (await reader.read()).endswith(b"hello")
        writer.close()
        await writer.wait_closed()
        await server.stop()

    run_in_loop(test())


# Certificates


def test_certificates_are_loaded_anew_from_any_thread(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = Server(hello, Config.of(port=0, **authority.issue().options))
    stopped.reload_certificates()
    with (
        caplog.at_level(logging.INFO, "aserver.server"),
        serve(hello, **authority.issue().options) as server,
    ):
        server.server.reload_certificates()
        wait_until(lambda: any("Certificates loaded" in each for each in caplog.messages))
    stopped.reload_certificates()
    server.server.reload_certificates()
    assert len(caplog.messages) == 1


def test_certificates_are_watched(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[Certificates] = []
    monkeypatch.setattr(Certificates, "check", lambda each: checks.append(each))
    with serve(hello, **authority.issue().options):
        wait_until(lambda: len(checks) == 2)


def test_beside_tls_there_are_plain_addresses_and_redirects(
    authority: Authority, run_in_loop: Run[None]
) -> None:
    options = {
        **authority.issue().options,
        "port": 0,
        "insecure_bind": "127.0.0.1:0",
        "redirect_bind": "127.0.0.1:0",
    }

    async def test() -> None:
        server = Server(hello, Config.of(**options))
        await server.start()
        tls, plain, redirect = server.listeners
        assert server.url == f"https://127.0.0.1:{tls.port}"
        assert (await ask(str(plain))).endswith(b"hello")
        answer = await ask(str(redirect), "/page")
        assert f"\r\nlocation: https://test:{tls.port}/page\r\n".encode() in answer
        await server.stop()

    run_in_loop(test())


def test_relative_paths_begin_where_the_server_was_built(
    authority: Authority, run_in_loop: Run[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the application goes while it is imported."""
    here, there = tmp_path / "here", tmp_path / "there"
    for each in (here, there):
        each.mkdir()
    authority.issue(directory=here, stem="own")
    authority.issue(directory=here, stem="other")
    (here / "ca.pem").write_text(Path(authority.file).read_text())
    (here / "restless.py").write_text(
        f"import os\nfrom tests.inside import hello as app\nos.chdir({str(there)!r})\n"
    )
    monkeypatch.delitem(sys.modules, "restless", raising=False)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(here)
    options = Config.of(
        port=0,
        unix_socket="s",
        endpoint="ssl:0:other.key:other.pem:interface=127.0.0.1",
        certfile="own.pem",
        keyfile="own.key",
        ca_certs="ca.pem",
        client_certs="optional",
        app_dir=str(here),
    )

    async def test() -> None:
        server = Server("restless:app", options)
        await server.start()
        try:
            assert Path.cwd() == there
            _, unix, _ = server.listeners
            assert str(unix) == f"unix:{here / 's'}"
            assert (await ask(str(unix))).endswith(b"hello")
        finally:
            await server.stop()
        assert not (here / "s").exists()

    run_in_loop(test())


def test_relative_paths_stay_as_they_are_where_nobody_moves(
    run_in_loop: Run[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unix socket's path is shown, and of no more than 107 bytes."""
    monkeypatch.chdir(tmp_path)

    async def test() -> None:
        server = Server(hello, Config.of(unix_socket="s"))
        await server.start()
        assert server.url == "unix:s"
        await server.stop()

    run_in_loop(test())


def test_a_server_in_a_directory_that_is_gone(
    run_in_loop: Run[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        assert (await ask(server.url)).endswith(b"hello")
        await server.stop()

    run_in_loop(test())


def test_without_its_certificate_it_does_not_start(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0, certfile="nothing"))
        with pytest.raises(ConfigError, match="--certfile: cannot read"):
            await server.start()
        assert all(sock.fileno() == -1 for sock in server.sockets)

    run_in_loop(test())
