"""The server in this process: what requests share, streams, and clients that leave."""

import asyncio
import contextvars
import socket
import threading
import time
from collections.abc import Callable

import pytest

from aserver import Config, Server
from aserver.testing import serve
from aserver.types import ClientDisconnected, Receive, Scope, Send
from tests.inside import Run, ask, connect, leave_politely, leave_rudely, respond
from tests.processes import DEADLINE, get, read_all, read_until

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
        assert time.perf_counter() - started < DEADLINE / 4


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
        assert time.perf_counter() - started < DEADLINE / 4


@pytest.mark.parametrize(("leave", "seconds"), [(leave_rudely, 0.9), (leave_politely, 8)])
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
