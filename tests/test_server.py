"""The server in this process: its API, over real sockets."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import aserver.server as module
from aserver import Config, Server
from aserver.app import AppImportError
from aserver.declarations import ConfigError
from aserver.engines import h1_h11
from aserver.engines.h1_httptools import HttpToolsParser
from aserver.lifespan import LifespanError
from aserver.running import close_loop, new_loop, run, stop_signals
from aserver.server import choose_parser
from aserver.sockets import BindError
from aserver.testing import serve
from aserver.types import ASGIApplication, ClientDisconnected, Receive, Scope, Send
from tests.fakes import rounds
from tests.processes import DEADLINE, get, in_threads, read_all, read_until, wait_until

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture
def run_in_loop(loop_name: str) -> Iterator[Run[Any]]:
    """Run a coroutine in each kind of loop; it leaves no task and no file descriptor behind."""
    new_loop(loop_name).close()  # uvloop's first opens two files for ever
    before = open_files()
    with asyncio.Runner(loop_factory=lambda: new_loop(loop_name)) as runner:
        yield lambda coroutine: runner.run(nothing_left(coroutine))
    assert open_files() == before


async def nothing_left(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await asyncio.wait_for(coroutine, DEADLINE)
    finally:
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def options(loop_name: str, parser: str) -> dict[str, str]:
    """An event loop and a parser, for `serve`."""
    return {"loop": loop_name, "http": parser}


async def wait_for(condition: Callable[[], object]) -> None:
    """Let the loop go on until it is so."""
    while not condition():  # noqa: ASYNC110 - it is about what has no event
        await asyncio.sleep(0)


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def respond(send: Send, body: bytes = b"hello") -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await respond(send)


class Diary:
    """An application with a lifespan, and a list of what happened to it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.startup: Callable[[Scope], Coroutine[Any, Any, None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.events.append(scope["path"])
            await respond(send)
            return
        await receive()
        self.events.append("startup")
        try:
            if self.startup is not None:
                await self.startup(scope)
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})


async def ask(url_or_path: str, path: str = "/") -> bytes:
    """GET over a connection of its own, until its end."""
    if url_or_path.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(url_or_path.removeprefix("unix:"))
    else:
        host, _, port = url_or_path.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(get(path, "Connection: close"))
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def connect(server: serve) -> socket.socket:
    return socket.create_connection((server.host, server.port), DEADLINE)


def refuses(address: Any) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) != 0


def accepts(server: Server) -> bool:
    return bool(server.sockets) and not refuses(server.sockets[0].getsockname())


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
        assert caplog.messages == [f"Listening on {server.url}"]
        assert (await ask(server.url)).endswith(b"hello")
        # From any thread.
        await asyncio.to_thread(server.request_stop)
        await serving
        assert diary.events == ["startup", "/", "shutdown"]

    run_in_loop(test())


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
        assert 0.5 <= time.perf_counter() - started < 1.5


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


# Context variables and state

setting: contextvars.ContextVar[str] = contextvars.ContextVar("setting", default="unset")


async def contextual(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        setting.set("from the start-up")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    more = True
    while more:
        more = (await receive())["more_body"]
    body = setting.get().encode()
    setting.set(f"from {scope['path']}")
    await asyncio.sleep(0)
    await respond(send, body + b";")


def test_each_request_has_a_copy_of_the_context_of_the_lifespan(options: dict[str, str]) -> None:
    setting.set("from the outside")
    large = b"POST /large HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
    with serve(contextual, **options) as server, connect(server) as sock:
        sock.sendall(large + get("/pipelined"))
        sock.sendall(get("/last", "Connection: close"))
        responses = read_all(sock)
        assert responses.count(b"from the start-up;") == 3
        assert b"from /" not in responses
    assert setting.get() == "from the outside"


def test_without_a_lifespan_the_context_is_that_of_the_start(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        setting.set("from the starter")
        server = Server(contextual, Config.of(port=0, lifespan="off"))
        await server.start()
        setting.set("too late")
        assert (await ask(server.url)).endswith(b"from the starter;")
        await server.stop()

    run_in_loop(test())


def test_each_request_has_a_shallow_copy_of_the_state(options: dict[str, str]) -> None:
    shared: list[str] = []
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["state"]))
            scope["state"]["mine"] = scope["path"]
            scope["state"]["shared"].append(scope["path"])
            await respond(send)
            return
        await receive()
        scope["state"]["shared"] = shared
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert set(scope["state"]) == {"shared"}
        await send({"type": "lifespan.shutdown.complete"})

    with serve(app, **options) as server, connect(server) as sock:
        sock.sendall(get("/1") + get("/2", "Connection: close"))
        read_all(sock)
    assert seen == [{"shared": shared}, {"shared": shared}]
    assert seen[0]["shared"] is shared
    assert shared == ["/1", "/2"]


# Streams and those who leave


async def until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def tokens(send: Send, pause: float) -> None:
    while True:
        await send({"type": "http.response.body", "body": b"token", "more_body": True})
        await asyncio.sleep(pause)


def test_each_piece_of_a_stream_arrives_by_itself(options: dict[str, str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(5):
            body = b"data: %d\n\n" % number
            await send({"type": "http.response.body", "body": body, "more_body": True})
            # The next piece waits for the test, which has this one.
            await asyncio.to_thread(taken.acquire)
        await send({"type": "http.response.body", "body": b""})

    taken = threading.Semaphore(0)
    with serve(app, **options) as server, connect(server) as sock:
        sock.sendall(get("/"))
        head = read_until(sock, b"\r\n\r\n")
        data = head.partition(b"\r\n\r\n")[2] or sock.recv(65536)
        for number in range(5):
            assert data == b"9\r\ndata: %d\n\n\r\n" % number
            taken.release()
            data = sock.recv(65536)
        assert data == b"0\r\n\r\n"


def leave_politely(sock: socket.socket) -> None:
    """FIN."""
    sock.close()


def leave_rudely(sock: socket.socket) -> None:
    """RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("leave", [leave_politely, leave_rudely])
@pytest.mark.parametrize("pause", [0.01, 60])
def test_a_reader_who_leaves_ends_the_stream_at_once(
    options: dict[str, str], leave: Callable[[socket.socket], None], pause: float
) -> None:
    """Even if there is nothing to send just then, for an application that listens, as Django."""
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        listening = asyncio.ensure_future(until_disconnected(receive))
        streaming = asyncio.ensure_future(tokens(send, pause))
        await asyncio.wait({listening, streaming}, return_when=asyncio.FIRST_COMPLETED)
        for task in (listening, streaming):
            task.cancel()
        await asyncio.gather(listening, streaming, return_exceptions=True)
        ended.set()

    with serve(app, **options) as server:
        sock = connect(server)
        sock.sendall(get("/"))
        read_until(sock, b"token")
        started = time.perf_counter()
        leave(sock)
        assert ended.wait(DEADLINE)
        assert time.perf_counter() - started < 1


@pytest.mark.parametrize("leave", [leave_politely, leave_rudely])
def test_a_sender_that_does_not_listen_is_told_by_its_next_send(
    options: dict[str, str], leave: Callable[[socket.socket], None]
) -> None:
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        with pytest.raises(ClientDisconnected):
            await tokens(send, 0.01)
        ended.set()

    with serve(app, **options) as server:
        sock = connect(server)
        sock.sendall(get("/"))
        read_until(sock, b"token")
        started = time.perf_counter()
        leave(sock)
        assert ended.wait(DEADLINE)
        assert time.perf_counter() - started < 1


@pytest.mark.parametrize(("leave", "seconds"), [(leave_rudely, 0.5), (leave_politely, 4)])
def test_a_client_that_leaves_before_its_answer_is_reported(
    loop_name: str, leave: Callable[[socket.socket], None], seconds: float
) -> None:
    """After a FIN it may still wait for the answer, so it is given a moment."""
    begun = threading.Event()
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        begun.set()
        await until_disconnected(receive)
        ended.set()

    with serve(app, loop=loop_name) as server:
        sock = connect(server)
        sock.sendall(get("/"))
        assert begun.wait(DEADLINE)
        started = time.perf_counter()
        leave(sock)
        assert ended.wait(DEADLINE)
        assert time.perf_counter() - started < seconds


# The end


@pytest.mark.parametrize("count", range(6))
def test_who_has_connected_before_the_end_is_served(run_in_loop: Run[None], count: int) -> None:
    """Whether still in the accept queue, or just accepted, or just connected to its protocol."""

    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        with contextlib.ExitStack() as stack:
            # (The kernel connects, while the loop stands still.)
            socks = [
                stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
                for _ in range(5)
            ]
            for sock in socks:
                sock.sendall(get("/"))
            await rounds(count)
            await server.stop()
            for sock in socks:
                sock.settimeout(DEADLINE)
                response = read_all(sock)
                assert response.startswith(b"HTTP/1.1 200 OK\r\n")
                assert response.endswith(b"hello")
                if count == 0:
                    assert b"\r\nconnection: close\r\n" in response

    run_in_loop(test())


@pytest.mark.parametrize("count", range(4))
def test_who_connects_in_the_first_moments_of_the_end_is_served(
    run_in_loop: Run[None], count: int
) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        address = server.sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            stopping = asyncio.ensure_future(server.stop())
            await rounds(count)
            socks = []
            with contextlib.suppress(ConnectionRefusedError):
                while True:
                    socks.append(stack.enter_context(socket.create_connection(address)))
                    socks[-1].sendall(get("/"))
                    select.select(server.sockets, [], [], DEADLINE)  # there is one to accept
                    await asyncio.sleep(0)
            assert socks
            await stopping
            for sock in socks:
                sock.settimeout(DEADLINE)
                assert read_all(sock).endswith(b"hello")

    run_in_loop(test())


def test_an_inherited_socket_keeps_its_accept_queue(run_in_loop: Run[None]) -> None:
    """Whom this server does not accept any more, the next one will."""

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first = Server(hello, Config.of(fd=listener.fileno()))
            await first.start()
            sock = socket.create_connection(listener.getsockname())
            sock.sendall(get("/", "Connection: close"))
            await first.stop()
            second = Server(hello, Config.of(fd=listener.fileno()))
            await second.start()
            reader, writer = await asyncio.open_connection(sock=sock)
            assert (await reader.read()).endswith(b"hello")
            writer.close()
            await writer.wait_closed()
            await second.stop()

    run_in_loop(test())


def test_a_silent_connection_is_not_waited_for(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0, graceful_timeout=30))
        await server.start()
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.settimeout(DEADLINE)
            started = time.perf_counter()
            await server.stop()
            assert time.perf_counter() - started < 3
            assert sock.recv(1) == b""

    run_in_loop(test())


def test_a_grace_time_of_nothing_cancels_at_once(run_in_loop: Run[None]) -> None:
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def test() -> None:
        server = Server(app, Config.of(port=0, graceful_timeout=0))
        await server.start()
        asking = asyncio.ensure_future(ask(server.url))
        await begun.wait()
        started = time.perf_counter()
        await server.stop()
        assert time.perf_counter() - started < 1
        assert cancelled.is_set()
        assert (await asking).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")

    run_in_loop(test())


def test_asked_twice_it_waits_no_longer_even_for_the_stubborn(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANCEL_SECONDS", 0.05)
    begun = asyncio.Event()
    released = asyncio.Event()
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        begun.set()
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        ended.set()

    async def test() -> None:
        server = Server(app, Config.of(port=0, graceful_timeout=60))
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: accepts(server))
        asking = asyncio.ensure_future(ask(server.url))
        await begun.wait()
        server.request_stop()
        server.request_stop()
        started = time.perf_counter()
        await serving
        assert time.perf_counter() - started < 1
        with pytest.raises(ConnectionResetError):
            await asking
        assert caplog.messages == [
            "Cancelling 1 requests that are still in progress",
            "1 requests ignore their cancellation",
        ]
        released.set()
        await ended.wait()
        await asyncio.sleep(0)

    run_in_loop(test())


def test_who_does_not_read_its_response_is_not_waited_for(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await respond(send, bytes(20_000_000))
        ended.set()

    async def test() -> None:
        server = Server(app, Config.of(port=0, graceful_timeout=0.05))
        await server.start()
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.settimeout(DEADLINE)
            sock.sendall(get("/"))
            await ended.wait()
            started = time.perf_counter()
            await server.stop()
            assert time.perf_counter() - started < 1
            with pytest.raises(ConnectionResetError):
                read_all(sock)
        assert caplog.messages == []

    run_in_loop(test())


def test_who_has_left_the_accept_queue_is_not_missed(
    run_in_loop: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0))
        await server.start()
        refused: list[socket.socket] = []

        class Loop:
            """Not every loop, nor every kernel, takes a connection that is gone already."""

            def remove_reader(self, sock: object) -> None: ...

            async def connect_accepted_socket(self, protocol: object, sock: socket.socket) -> None:
                refused.append(sock)
                raise OSError

        monkeypatch.setattr(server, "_loop", Loop())
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                sock = socket.create_connection(server.sockets[0].getsockname())
                stack.callback(sock.close)
            monkeypatch.setattr(module, "_catch_up", nobody_is_accepted)
            await server.stop()
        assert [sock.fileno() for sock in refused] == [-1, -1, -1]
        await rounds()

    async def nobody_is_accepted() -> None: ...

    run_in_loop(test())


def test_stop_cancelled_leaves_no_connection_and_runs_the_lifespan(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        diary = Diary()
        server = Server(diary, Config.of(port=0))
        await server.start()
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.settimeout(DEADLINE)
            sock.sendall(b"GET / HTTP/1.1\r\n")  # and no more: a request in progress
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.stop(), 0.1)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert diary.events == ["startup", "shutdown"]

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


# Choices


def test_the_parser_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(choose_parser("auto").__self__) is HttpToolsParser
    assert type(choose_parser("httptools").__self__) is HttpToolsParser
    assert choose_parser("h11") is h1_h11.parse
    monkeypatch.setitem(sys.modules, "aserver.engines.h1_httptools", None)
    assert choose_parser("auto") is h1_h11.parse
    with pytest.raises(ConfigError, match="httptools is not installed"):
        choose_parser("httptools")


def test_the_loop_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(name: str) -> str:
        loop = new_loop(name)
        loop.close()
        return type(loop).__module__.partition(".")[0]

    assert [kind(name) for name in ("auto", "uvloop", "asyncio")] == ["uvloop", "uvloop", "asyncio"]
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert kind("auto") == "asyncio"
    with pytest.raises(ConfigError, match="uvloop is not installed"):
        new_loop("uvloop")


# run


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
        with stop_signals(Server(hello)):
            seen.append(signal.getsignal(signal.SIGTERM))

    with in_threads(thread):
        pass
    assert seen == [before]


def test_a_loop_is_closed_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.05)
    kept: list[object] = []

    async def stubborn() -> None:
        while not over:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def generator() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await stubborn()

    async def begin() -> None:
        kept.append(asyncio.ensure_future(stubborn()))
        unfinished = generator()
        kept.append(unfinished)
        await anext(unfinished)

    over = False
    loop = asyncio.new_event_loop()
    problems: list[object] = []
    loop.set_exception_handler(lambda loop, problem: problems.append(problem))
    loop.run_until_complete(begin())
    started = time.perf_counter()
    close_loop(loop)
    assert time.perf_counter() - started < 1
    assert loop.is_closed()
    over = True


def test_the_backlog_is_the_kernels(run_in_loop: Run[None]) -> None:
    """The loop is told a small one, or asyncio would log each of 2048 failures to accept."""

    async def test() -> None:
        server = Server(hello, Config.of(port=0, backlog=64))
        await server.start()
        (sock,) = server.sockets
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        # struct tcp_info of a listening socket: tcpi_sacked is its backlog.
        assert struct.unpack_from("I", info, 28)[0] == 64
        await server.stop()

    run_in_loop(test())
