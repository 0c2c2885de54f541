"""The applications every server is asked to serve: plain ASGI, no framework, as cheap as can be.

What is compared is the server, so an application does the least that its case needs and builds its
messages anew for each request, the way real ones do. The benchmark copies this file next to the
run's logs and starts the servers there: it must import nothing of this package.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, World!"
BODY_100K = bytes(range(256)) * 390 + bytes(160)  # 100,000 bytes
CHUNK = bytes(range(256)) * 256  # 64 KiB
CHUNKS = 160  # 10 MiB in all
NAP = 0.01


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Thirteen bytes: what is left is the price of the server itself."""
    if scope["type"] != "http":
        await _other(scope, receive, send)
        return
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
        }
    )
    await send({"type": "http.response.body", "body": HELLO})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Give the request's body back."""
    if scope["type"] != "http":
        await _other(scope, receive, send)
        return
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    length = b"%d" % len(body)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", length),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def measure(scope: Scope, receive: Receive, send: Send) -> None:
    """Say how long the request's body is; it is taken piece by piece, as it comes."""
    if scope["type"] != "http":
        await _other(scope, receive, send)
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    answer = b"%d" % size
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", b"%d" % len(answer)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer})


async def body_100k(scope: Scope, receive: Receive, send: Send) -> None:
    """100 kB in one message: more than a socket takes in one go."""
    if scope["type"] != "http":
        await _other(scope, receive, send)
        return
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", b"100000"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": BODY_100K})


async def stream_10m(scope: Scope, receive: Receive, send: Send) -> None:
    """10 MiB of unannounced length in messages of 64 KiB: chunks and flow control."""
    if scope["type"] != "http":
        await _other(scope, receive, send)
        return
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/octet-stream")],
        }
    )
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def sleep_10ms(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that waits for something else, as most do: the loop and its timers."""
    if scope["type"] == "http":
        await asyncio.sleep(NAP)
    await hello(scope, receive, send)


async def ws_echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Give each message back. Whoever asks by HTTP whether the server is up gets the greeting."""
    if scope["type"] != "websocket":
        await hello(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        if text is None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        else:
            await send({"type": "websocket.send", "text": text})


async def _other(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the lifespan; whatever else a server may open is not part of a case."""
    if scope["type"] != "lifespan":
        raise NotImplementedError(scope["type"])
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
