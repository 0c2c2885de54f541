"""A server for development: when it begins, and how fast it ends."""

import asyncio
import logging
import threading
import time
from typing import Any

import httpx
import pytest

from aserver.config import Config
from aserver.django.serving import EXIT_SECONDS, GRACE_SECONDS, DevelopmentServer
from aserver.running import run_server
from aserver.types import Receive, Scope, Send
from tests.inside import Run
from tests.processes import DEADLINE, run_python
from tests.served import lifespan


class Streaming:
    """An application that goes on and on, as Django does: it ends behind a client that leaves."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"so far", "more_body": True})
        try:
            message = await receive()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        self.ends.append(message["type"])


def new_server(app: Any, told: list[str]) -> DevelopmentServer:
    server = DevelopmentServer(app, Config.of(port=0, graceful_timeout=GRACE_SECONDS))
    server.on_start = lambda: told.append(f"started {server.port}")
    server.on_stop = lambda: told.append("stopping")
    return server


def test_it_tells_when_it_listens_and_when_it_stops(run_in_loop: Run[None]) -> None:
    app, told = Streaming(), list[str]()

    async def main() -> None:
        server = new_server(app, told)
        await server.start()
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert told == [f"started {server.port}"]
        await server.stop()
        assert told[1:] == ["stopping"]

    run_in_loop(main())


def test_a_view_that_streams_hears_of_the_end_before_it_is_cancelled(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    app = Streaming()

    async def main() -> None:
        server = new_server(app, [])
        await server.start()
        async with httpx.AsyncClient() as client, client.stream("GET", server.url) as response:
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"so far"
            started = time.monotonic()
            await server.stop()
            assert time.monotonic() - started < DEADLINE / 4
            with pytest.raises(httpx.ReadError):
                await anext(pieces)

    with caplog.at_level(logging.WARNING, "aserver"):
        run_in_loop(main())
    assert app.ends == ["http.disconnect"]
    assert caplog.messages == []


def test_one_that_does_not_heed_it_is_cancelled(run_in_loop: Run[None]) -> None:
    cancelled = []
    called = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        server = new_server(app, [])
        await server.start()
        async with httpx.AsyncClient() as client:
            request = asyncio.ensure_future(client.get(server.url))
            await called.wait()
            await server.stop()
            with pytest.raises(httpx.TransportError):
                await request

    run_in_loop(main())
    assert cancelled == [True]


def test_in_a_thread_it_is_told_from_outside() -> None:
    told: list[str] = []
    listening = threading.Event()
    server = new_server(Streaming(), told)
    server.on_start = listening.set
    thread = threading.Thread(target=run_server, args=(server,))
    thread.start()
    assert listening.wait(DEADLINE)
    server.request_stop()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert told == ["stopping"]


STUCK = """
import sys, threading
from aserver.django.serving import exit_in_bounded_time
exit_in_bounded_time(3)
if "stuck" in sys.argv:
    threading.Thread(target=threading.Event().wait).start()
"""


@pytest.mark.parametrize(("argument", "code"), [("stuck", 3), ("free", 0)])
def test_the_process_ends_though_a_thread_does_not(argument: str, code: int) -> None:
    started = time.monotonic()
    assert run_python("-c", STUCK, argument) == (code, "")
    assert time.monotonic() - started < EXIT_SECONDS + DEADLINE / 4
