"""What a request may cost, in Python calls: exact, on any machine, and changed on purpose only.

Counted is everything from the arrival of the bytes to the one write of the response: connection,
parser, engine, cycle, the task's steps and the application itself, on a real event loop, less what
the same rounds of that loop cost without a request.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import aserver
from aserver.access_log import AccessLog
from aserver.config import Config
from aserver.connection import Connection
from aserver.engine_choice import choose_parser
from aserver.event_loops import new_loop
from aserver.types import Receive, Scope, Send
from tests.fakes import new_context
from tests.ws_stage import ASK, frame

Requests = Iterator[bytes]

BROWSER = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
Accept-Language: en-US,en;q=0.5\r
Accept-Encoding: gzip, deflate, br, zstd\r
Connection: keep-alive\r
Cookie: sessionid={number}; theme=dark\r
Referer: http://127.0.0.1:8000/\r
"""


def again(request: str) -> Requests:
    """The same request every time."""
    while True:
        yield request.encode("ascii")


def different(request: str) -> Requests:
    """A request that is never the same."""
    for number in count():
        yield request.format(number=number).encode("ascii")


OTHERS = "".join(f"X-{letter}: {letter}{{number}}\r\n" for letter in "abcdefgh")
GET = "GET /path?query HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
CASES = {
    "GET, 1 header": lambda: again(f"{GET}\r\n"),
    "GET, 8 headers": lambda: again(f"{GET}{BROWSER}\r\n"),
    "GET, 8 headers, never the same": lambda: different(f"{GET}{BROWSER}\r\n"),
    "GET, 8 headers, all other than before": lambda: different(f"{GET}{OTHERS}\r\n"),
    "POST, 1 KiB": lambda: again(
        f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{'x' * 1024}"
    ),
}
# By event loop and parser, in the order of the cases.
BUDGET = {
    ("uvloop", "httptools"): (22, 22, 25, 42, 36),
    ("uvloop", "h11"): (22, 22, 25, 159, 36),
    ("asyncio", "httptools"): (29, 29, 32, 49, 43),
    ("asyncio", "h11"): (29, 29, 32, 166, 43),
}
LOGGED = 1  # more, with an access log
# A message of 32 bytes and its echo, on either event loop: calls of functions that are ours, so
# that it does not depend on the version of wsproto.
ECHO = 27
ECHO_COMPRESSED = 32  # and it is too short to be compressed
WARM_UP = 5
ROUNDS = 3  # of the event loop; a request needs one


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] == "POST":
        message = await receive()
        assert len(message["body"]) == 1024
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"Hello, world!"})


class Transport(asyncio.Transport):
    """One whose methods cost nothing that is counted."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 50000)})
        self.written: list[bytes] = []
        self.write = self.written.append  # type: ignore[assignment]
        self.is_closing = bool  # type: ignore[method-assign]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Calls:
    """How often Python functions are called within the `with` block, and which."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> "Calls":
        gc.disable()
        sys.setprofile(self._take)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        gc.enable()
        assert self.names.pop() == self.__exit__.__qualname__

    def _take(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            self.names.append(frame.f_code.co_qualname)


async def turn() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def measure(
    parser: str, requests: Requests, access_log: str | None = None
) -> tuple[list[str], int]:
    """The calls that one request makes, and the writes."""
    transport = Transport()
    context = new_context(app, choose_parser(parser))
    if access_log is not None:
        log = Config.of(access_log=access_log).log
        context.access_log = AccessLog(log, asyncio.get_running_loop())
    connection = Connection(context)
    connection.connection_made(transport)
    for _ in range(WARM_UP):
        connection.data_received(next(requests))
        await turn()
    assert len(transport.written) == WARM_UP
    request = next(requests)
    with Calls() as idle:
        await turn()
    with Calls() as busy:
        connection.data_received(request)
        await turn()
    assert transport.written[-1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.written[-1].endswith(b"\r\n\r\nHello, world!")
    connection.connection_lost(None)
    if context.access_log is not None:
        context.access_log.close()
    for name in idle.names:
        busy.names.remove(name)
    return busy.names, len(transport.written) - WARM_UP


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("loop_name", "parser"), BUDGET)
def test_budget(loop_name: str, parser: str, case: str) -> None:
    loop = new_loop(loop_name)
    try:
        names, writes = loop.run_until_complete(measure(parser, CASES[case]()))
    finally:
        loop.close()
    budget = BUDGET[loop_name, parser][list(CASES).index(case)]
    assert writes == 1
    assert len(names) <= budget, f"{len(names)} calls: {', '.join(names)}"


def test_budget_of_the_access_log() -> None:
    loop = new_loop("uvloop")
    try:
        requests = CASES["GET, 1 header"]()
        names, _ = loop.run_until_complete(measure("httptools", requests, access_log=os.devnull))
    finally:
        loop.close()
    budget = BUDGET["uvloop", "httptools"][0] + LOGGED
    assert len(names) <= budget, f"{len(names)} calls: {', '.join(names)}"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


class OurCalls(Calls):
    """How often functions of aserver are called, and the application."""

    _PLACE = str(Path(aserver.__file__).parent)

    def _take(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if code.co_filename.startswith(self._PLACE) or code in (echo.__code__, _EXIT):
            super()._take(frame, event, arg)


_EXIT = Calls.__exit__.__code__


async def measure_echo(handshake: bytes) -> tuple[list[str], int]:
    """The calls of ours that one echo makes, and the writes."""
    transport = Transport()
    connection = Connection(new_context(echo))
    connection.connection_made(transport)
    connection.data_received(handshake)
    await turn()
    message = frame(2, bytes(32))
    for _ in range(WARM_UP):
        connection.data_received(message)
        await turn()
    assert len(transport.written) == 1 + WARM_UP
    with OurCalls() as calls:
        connection.data_received(message)
        await turn()
    assert transport.written[-1] == b"\x82\x20" + bytes(32)
    connection.connection_lost(None)
    await turn()
    return calls.names, len(transport.written) - 1 - WARM_UP


COMPRESSED = ASK.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")


@pytest.mark.parametrize(
    ("handshake", "budget"), [(ASK, ECHO), (COMPRESSED, ECHO_COMPRESSED)], ids=["plain", "deflate"]
)
@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_budget_of_an_echo(loop_name: str, handshake: bytes, budget: int) -> None:
    loop = new_loop(loop_name)
    try:
        names, writes = loop.run_until_complete(measure_echo(handshake))
    finally:
        loop.close()
    assert writes == 1
    assert len(names) <= budget, f"{len(names)} calls: {', '.join(names)}"


def test_calls_are_counted() -> None:
    def called() -> None:
        pass

    with Calls() as calls:
        called()
        len([])
        called()
    assert [name.rpartition(".")[2] for name in calls.names] == ["called", "called"]
