"""What stands behind the proxies of these tests: an application that tells what it sees.

On its own it needs no framework, and starts fast.
"""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from aserver.types import Receive, Scope, Send

EVENTS = 5
# What applications serve themselves; nginx has /static/.
FILES = Path(__file__).parent.parent.parent / "docs" / "images"
_next: defaultdict[bytes, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
_TELLING = ("scheme", "http_version", "path", "root_path", "client", "server")


def facts(scope: Scope) -> dict[str, Any]:
    """A scope, as JSON can carry it."""
    told = {key: scope[key] for key in _TELLING}
    told["type"] = scope["type"]
    told["raw_path"] = scope["raw_path"].decode("latin-1")
    told["headers"] = [
        [name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]
    ]
    return told


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await talk(scope, receive, send)
    elif scope["path"].endswith("/stream/") or scope["path"] == "/unbuffered":
        await stream(scope, send)
    elif scope["path"] == "/next":
        await go_on(scope, send)
    elif scope["path"] == "/upload":
        await weigh(receive, send)
    else:
        assert scope["type"] == "http"
        await answer(send, json.dumps(facts(scope)).encode("ascii"))


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(scope: Scope, send: Send) -> None:
    """Events, of which the first comes at once, and each other when `/next` is asked for.

    The query says which stream is which.
    """
    headers = [(b"content-type", b"text/event-stream")]
    if scope["path"] == "/unbuffered":
        headers.append((b"x-accel-buffering", b"no"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(EVENTS):
        event = b"data: %d\n\n" % number
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await _next[scope["query_string"]].acquire()
    await send({"type": "http.response.body"})


async def go_on(scope: Scope, send: Send) -> None:
    _next[scope["query_string"]].release()
    await answer(send, b"")


async def weigh(receive: Receive, send: Send) -> None:
    """Count the bytes of the body."""
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await answer(send, b"%d" % size)


async def talk(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell what there is to see, then echo."""
    await receive()
    if scope["path"] == "/ws/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(facts(scope))})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
