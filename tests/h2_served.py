"""What real server processes serve over HTTP/2 in tests; see `tests.served`."""

import asyncio
import gc
import json
import os

from aserver.connection import Connection
from aserver.engines.h1 import H1
from aserver.engines.h2 import H2
from aserver.engines.h2_library import H2Library
from aserver.engines.h2_stream import H2Stream
from aserver.engines.h2_tunnel import H2Tunnel
from aserver.engines.opening import Opening
from aserver.http_cycle import HttpCycle
from aserver.tls_transport import TlsTransport
from aserver.types import Receive, Request, Scope, Send
from aserver.ws_cycle import WebSocketCycle
from tests import served, ws_served
from tests.served import answer, lifespan, note

# Only what is ours.
KINDS = (
    Connection,
    Opening,
    TlsTransport,
    H1,
    H2,
    H2Library,
    H2Stream,
    H2Tunnel,
    HttpCycle,
    WebSocketCycle,
    Request,
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await lifespan(receive, send)
        case "websocket":
            await ws_served.VIEWS[scope["path"]](scope, receive, send)
        case _:
            await VIEWS[scope["path"]](scope, receive, send)


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Note that there was a call, and hear of its end."""
    note("called")
    while (await receive())["type"] != "http.disconnect":
        pass


async def inspect(scope: Scope, receive: Receive, send: Send) -> None:
    """What there is in the server's process now."""
    gc.collect()
    alive = [type(thing) for thing in gc.get_objects()]
    counts = {
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        **{kind.__name__: alive.count(kind) for kind in KINDS},
    }
    await answer(send, json.dumps(counts).encode("ascii"))


VIEWS = {**served.VIEWS, "/count": count, "/inspect": inspect}
