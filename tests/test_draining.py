"""What is in progress when a server stops: who is waited for, who is told, who is cut off."""

import asyncio
import contextlib
import socket
import time
from math import inf

import httpx
import pytest

import aserver.draining as module
from aserver import Config, Server
from aserver.draining import cut_off, end_all
from aserver.types import Receive, Scope, Send
from tests.fakes import new_context, rounds
from tests.inside import Run, accepts, ask, hello, respond, wait_for
from tests.processes import DEADLINE, get, read_all
from tests.served import lifespan


def test_a_silent_connection_is_not_waited_for(run_in_loop: Run[None]) -> None:
    async def test() -> None:
        server = Server(hello, Config.of(port=0, graceful_timeout=30))
        await server.start()
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.settimeout(DEADLINE)
            started = time.perf_counter()
            await server.stop()
            assert time.perf_counter() - started < DEADLINE / 4
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
        assert time.perf_counter() - started < DEADLINE / 4
        assert cancelled.is_set()
        assert (await asking).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")

    run_in_loop(test())


def test_who_listens_hears_of_the_end_before_it_is_cancelled(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    """Django cleans up behind a client that leaves. Cancelled, it would not."""
    ends: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        await receive()
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
        try:
            ends.append((await receive())["type"])
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def test() -> None:
        server = Server(app, Config.of(port=0, graceful_timeout=0.05))
        await server.start()
        async with httpx.AsyncClient() as client:
            silent = asyncio.ensure_future(client.get(server.url))
            async with client.stream("GET", f"{server.url}/stream") as response:
                pieces = response.aiter_raw()
                assert await anext(pieces) == b"so far"
                await server.stop()
                with pytest.raises(httpx.TransportError):
                    await anext(pieces)
            assert (await silent).status_code == 503

    run_in_loop(test())
    assert ends == ["http.disconnect"] * 2
    first, second = caplog.messages
    assert first == "Ending requests that are still in progress: 2"
    assert second.endswith(": not done when the server stopped, answered 503")


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
        assert time.perf_counter() - started < DEADLINE / 4
        assert (await asking).startswith(b"HTTP/1.1 503 ")
        released.set()
        await ended.wait()
        await asyncio.sleep(0)

    run_in_loop(test())
    ending, answered, ignoring = caplog.messages
    assert ending == "Ending requests that are still in progress: 1"
    assert answered.endswith(": not done when the server stopped, answered 503")
    assert ignoring == "Requests that ignore their cancellation: 1"


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
            assert time.perf_counter() - started < DEADLINE / 4
            with pytest.raises(ConnectionResetError):
                read_all(sock)
        assert caplog.messages == []

    run_in_loop(test())


class Stubborn:
    """A connection that cannot end, or can."""

    deadline = inf
    is_idle = False

    def __init__(self, *failing: str) -> None:
        self.calls: list[str] = []
        self._failing = failing

    def expire(self) -> None:
        raise NotImplementedError

    def drain(self, *, patient: bool = False) -> None:
        self._do("patient" if patient else "drain")

    def abort(self, *, reset: bool = False) -> None:
        self._do("reset" if reset else "abort")

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if what in self._failing:
            raise ZeroDivisionError


def test_one_that_cannot_end_does_not_keep_the_others(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        context = new_context(hello)
        broken, whole = Stubborn("patient", "drain", "reset"), Stubborn()
        for order in ([broken, whole], [whole, broken]):
            context.connections = dict.fromkeys(order)  # type: ignore[assignment]
            await end_all(context, 0.001, asyncio.Event())
            cut_off(context)
        assert whole.calls == ["patient", "drain", "reset"] * 2
        assert broken.calls == ["patient", "reset", "drain", "reset", "reset", "reset"] * 2
        await rounds()

    run_in_loop(test())
    assert "Internal error, while stopping" in caplog.text
    assert "ZeroDivisionError" in caplog.text
