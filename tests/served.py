"""The applications that real server processes serve in tests; on stderr they say what happens.

Nothing heavy is imported here: the processes start often.
"""

import asyncio
import atexit
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

from aserver.connection import Connection
from aserver.engines.h1 import H1
from aserver.http_cycle import HttpCycle
from aserver.types import Receive, Request, Scope, Send

View = Callable[[Scope, Receive, Send], Awaitable[None]]


def note(text: str) -> None:
    """Tell the test."""
    sys.stderr.write(f"note: {text}\n")
    sys.stderr.flush()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await VIEWS[scope["path"]](scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("lifespan shutdown begins")
    await asyncio.sleep(0.05)
    note("lifespan shutdown ends")
    await send({"type": "lifespan.shutdown.complete"})


async def no_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await answer(send, b"hello")


async def slow_exit(scope: Scope, receive: Receive, send: Send) -> None:
    """An application with something to do at the exit of the interpreter."""
    assert scope["type"] == "lifespan"
    atexit.register(_exit_slowly)
    await lifespan(receive, send)


def _exit_slowly() -> None:
    note("exiting")
    time.sleep(0.3)
    note("exited")


async def slow_start(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose start-up never ends."""
    assert scope["type"] == "lifespan"
    note("starting")
    try:
        await asyncio.Event().wait()
    finally:
        note("start-up cancelled")


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _argument(scope: Scope, default: float) -> float:
    return float(scope["query_string"] or default)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def wait(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after so many seconds."""
    note("waiting")
    await asyncio.sleep(_argument(scope, 2.0))
    await answer(send, b"waited")


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Server-sent events without end, one every so many seconds."""
    note("streaming")
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        while True:
            body = b"data: now\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(_argument(scope, 0.02))
    finally:
        note("stream ended")


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that ignores its cancellation."""
    note("stubborn")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note("ignoring the cancellation")


async def thread(scope: Scope, receive: Receive, send: Send) -> None:
    """A sync view that is stuck."""
    note("in a thread")
    await asyncio.to_thread(time.sleep, 60)


async def executor(scope: Scope, receive: Receive, send: Send) -> None:
    """The same in an executor, and nothing cancels the waiting for it."""
    note("in an executor")
    stuck = asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
    while not stuck.done():
        try:
            await asyncio.shield(stuck)
        except asyncio.CancelledError:
            note("ignoring the cancellation")


async def block(scope: Scope, receive: Receive, send: Send) -> None:
    """Block the event loop itself for so many seconds."""
    note("blocking")
    time.sleep(_argument(scope, 0.5))  # noqa: ASYNC251 - this is the point
    await answer(send, b"blocked")


async def gibibyte(scope: Scope, receive: Receive, send: Send) -> None:
    """1 GiB, piece by piece."""
    headers = [(b"content-length", b"%d" % (1 << 30))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    left = 1 << 30
    while left:
        piece = bytes(65536)
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


async def download(scope: Scope, receive: Receive, send: Send) -> None:
    """The file that is asked for."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.pathsend", "path": scope["query_string"].decode("ascii")})


_may_read = asyncio.Event()


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Read nothing until `/read` is asked for, then everything, slowly; count the bytes."""
    note("uploading")
    size = 0
    more = True
    await _may_read.wait()
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            note("upload broken off")
            return
        size += len(message["body"])
        more = message["more_body"]
        await asyncio.sleep(0.0002)
    await answer(send, b"%d" % size)


async def read(scope: Scope, receive: Receive, send: Send) -> None:
    _may_read.set()
    await answer(send, b"")


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body as it comes."""
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    if message["type"] == "http.request":
        await answer(send, b"swallowed")


async def inspect(scope: Scope, receive: Receive, send: Send) -> None:
    """What there is in the server's process now."""
    gc.collect()
    alive = [type(thing) for thing in gc.get_objects()]
    counts = {
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        **{kind.__name__: alive.count(kind) for kind in (Connection, H1, HttpCycle, Request)},
    }
    await answer(send, json.dumps(counts).encode("ascii"))


VIEWS: dict[str, View] = {
    f"/{view.__name__}": view
    for view in (
        hello,
        wait,
        stream,
        stubborn,
        thread,
        executor,
        block,
        gibibyte,
        download,
        upload,
        read,
        swallow,
        inspect,
    )
}
