"""What tests of a server in their own process have in common: applications, clients, conditions."""

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aserver import Server
from aserver.listener import Listener
from aserver.testing import serve
from aserver.types import Receive, Scope, Send
from tests.processes import DEADLINE, get

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
Open = Callable[..., list[Listener]]


async def nothing_left(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await asyncio.wait_for(coroutine, DEADLINE)
    finally:
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def wait_for(condition: Callable[[], object]) -> None:
    """Let the loop go on until it is so."""
    while not condition():  # noqa: ASYNC110 - it is about what has no event
        await asyncio.sleep(0)


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def respond(send: Send, body: bytes = b"hello") -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await respond(send)


class Diary:
    """An application with a lifespan, and a list of what happened to it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.startup: Callable[[Scope], Coroutine[Any, Any, None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.events.append(scope["path"])
            await respond(send)
            return
        await receive()
        self.events.append("startup")
        try:
            if self.startup is not None:
                await self.startup(scope)
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})


async def ask(url_or_path: str, path: str = "/") -> bytes:
    """GET over a connection of its own, until its end."""
    if url_or_path.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(url_or_path.removeprefix("unix:"))
    else:
        host, _, port = url_or_path.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(get(path, "Connection: close"))
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def connect(server: serve) -> socket.socket:
    return socket.create_connection((server.host, server.port), DEADLINE)


def refuses(address: Any) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) != 0


def accepts(server: Server) -> bool:
    return bool(server.sockets) and not refuses(server.sockets[0].getsockname())


def leave_politely(sock: socket.socket) -> None:
    """FIN."""
    sock.close()


def leave_rudely(sock: socket.socket) -> None:
    """RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def make_listening(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen()
    return sock
