"""A server for development: when it begins, and how fast it ends."""

import asyncio
import logging
import threading
import time

import pytest

from aserver.config import Config
from aserver.django.serving import EXIT_SECONDS, GRACE_SECONDS, Development
from aserver.running import run_server
from aserver.server import Server
from aserver.types import Receive, Scope, Send
from tests.inside import Run, wait_for
from tests.processes import DEADLINE, run_python, wait_until
from tests.served import lifespan


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    await lifespan(receive, send)


def new_server(told: list[str]) -> Server:
    observer = Development(
        lambda port: told.append(f"started {port}"),
        lambda: told.append("stopping"),
        ends_process=False,
    )
    return Server(app, Config.of(port=0, graceful_timeout=GRACE_SECONDS), observer=observer)


def test_it_tells_when_it_listens_and_when_it_stops(
    run_in_loop: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    async def main() -> None:
        server = new_server(told)
        serving = asyncio.ensure_future(server.serve())
        await wait_for(lambda: told)
        assert told == [f"started {server.url.rpartition(':')[2]}"]
        server.request_stop()
        await serving
        assert told[1:] == ["stopping"]

    with caplog.at_level(logging.INFO, "aserver"):
        run_in_loop(main())
    assert caplog.messages == [], "Django says it"


def test_in_a_thread_it_is_told_from_outside() -> None:
    told: list[str] = []
    server = new_server(told)
    thread = threading.Thread(target=run_server, args=(server,))
    thread.start()
    wait_until(lambda: bool(told))
    server.request_stop()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert told[1:] == ["stopping"]


STUCK = """
import os, signal, threading, time
from aserver.config import Config
from aserver.django.serving import Development
from aserver.running import run_server
from aserver.server import Server

def block(port):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(60)

async def app(scope, receive, send):
    raise RuntimeError("it has no lifespan")

observer = Development(block, lambda: None, ends_process=True)
run_server(Server(app, Config.of(port=0), observer=observer))
"""


def test_the_process_ends_though_the_event_loop_is_stuck() -> None:
    started = time.monotonic()
    assert run_python("-c", STUCK) == (0, "")
    assert time.monotonic() - started < EXIT_SECONDS + DEADLINE / 4
