"""The WebSocket applications that real server processes serve in tests; see `tests.served`."""

import asyncio
import gc
import json
import os

from wsproto.connection import Connection as WsprotoConnection

from aserver.connection import Connection
from aserver.engines.h1 import H1
from aserver.engines.h1_tunnel import H1Tunnel
from aserver.engines.ws import WebSocket
from aserver.engines.ws_deflate import Deflater, Inflater
from aserver.http_cycle import HttpCycle
from aserver.types import ClientDisconnected, Receive, Request, Scope, Send
from aserver.ws_cycle import WebSocketCycle
from aserver.ws_watch import Watch
from tests.served import View, answer, lifespan, note

# Only what is ours, and wsproto's: these come and go with each WebSocket.
KINDS = (
    Connection,
    H1,
    H1Tunnel,
    HttpCycle,
    Request,
    WebSocketCycle,
    WebSocket,
    Watch,
    WsprotoConnection,
    Inflater,
    Deflater,
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await VIEWS[scope["path"]](scope, receive, send)


def _query(scope: Scope) -> str:
    text: bytes = scope["query_string"]
    return text.decode("ascii")


async def _accept(receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})


async def _until_disconnect(receive: Receive) -> None:
    """Receive everything, and note how it ends."""
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    note(f"disconnect {message['code']}")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back what comes; clean up behind the disconnect for so many seconds."""
    await _accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        try:
            await send({**message, "type": "websocket.send"})
        except ClientDisconnected:
            await _until_disconnect(receive)
            return
    note(f"disconnect {message['code']}")
    if seconds := _query(scope):
        await asyncio.sleep(float(seconds))
        note("cleaned up")


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Receive what comes and say nothing."""
    await _accept(receive, send)
    await _until_disconnect(receive)


async def careless(scope: Scope, receive: Receive, send: Send) -> None:
    """Hear of the disconnect, and go on as if nothing had been."""
    await _accept(receive, send)
    await _until_disconnect(receive)
    try:
        await asyncio.sleep(3600)
    finally:
        note("cancelled")


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Never receive anything, and ignore the cancellation."""
    await _accept(receive, send)
    note("deaf")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note("ignoring the cancellation")


async def undecided(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept after so many seconds."""
    assert (await receive())["type"] == "websocket.connect"
    note("undecided")
    try:
        await asyncio.sleep(float(_query(scope)))
    except asyncio.CancelledError:
        note("cancelled")
        raise
    await send({"type": "websocket.accept"})
    await _until_disconnect(receive)


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Send 1 GiB, 64 KiB at a time."""
    await _accept(receive, send)
    piece = bytes(65536)
    for number in range(16_384):
        try:
            await send({"type": "websocket.send", "bytes": piece})
        except ClientDisconnected:
            note(f"flood broken off after {number}")
            await _until_disconnect(receive)
            return
    note("flooded")
    await _until_disconnect(receive)


_may_receive = asyncio.Event()


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Receive nothing until `/receive` is asked for, then everything."""
    await _accept(receive, send)
    note("busy")
    await _may_receive.wait()
    await _until_disconnect(receive)


async def receive_all(scope: Scope, receive: Receive, send: Send) -> None:
    _may_receive.set()
    await answer(send, b"")


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def close(scope: Scope, receive: Receive, send: Send) -> None:
    """Close, and do not wait for the end."""
    await _accept(receive, send)
    await send({"type": "websocket.close", "code": 4000})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise when anything comes."""
    await _accept(receive, send)
    await receive()
    raise ZeroDivisionError


async def inspect(scope: Scope, receive: Receive, send: Send) -> None:
    """What there is in the server's process now."""
    gc.collect()
    alive = [type(thing) for thing in gc.get_objects()]
    counts = {
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        **{f"{kind.__module__}.{kind.__name__}": alive.count(kind) for kind in KINDS},
    }
    await answer(send, json.dumps(counts).encode("ascii"))


VIEWS: dict[str, View] = {
    f"/{view.__name__}": view
    for view in (
        hello,
        echo,
        silent,
        careless,
        deaf,
        undecided,
        flood,
        busy,
        receive_all,
        refuse,
        close,
        broken,
        inspect,
    )
}
