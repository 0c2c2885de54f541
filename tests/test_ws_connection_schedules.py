"""Connections that become WebSockets, in any order of events on the wire and of the server's.

Nothing is written to nobody, nothing is left, and the event loop hears of no exception of ours.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver import http_exchange
from aserver.types import AppError, ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import Client, FakeClock, FakeSocket, new_context, rounds
from tests.stage import MORE
from tests.ws_stage import (
    ACCEPT,
    ASK,
    BYTES,
    PING,
    UNMASKED,
    close,
    closing,
    denial,
    denial_body,
    frame,
    read_frames,
    said,
    text,
)

OPTIONS = {
    "websocket_queue": 2,
    "read_buffer": 2000,
    "websocket_connect_timeout": 5,
    "websocket_close_timeout": 5,
    "ping_interval": 10,
    "ping_timeout": 15,
    "write_timeout": 20,
    "application_close_timeout": 10,
}
SAID: dict[str, Message] = {
    "accept": ACCEPT,
    "send": said("a"),
    "send a lot": said(bytes(MORE)),
    "close": closing(4000),
    "deny": denial(),
    "denied": denial_body(b"a"),
}
FRAMES = {
    "text": text("hello"),
    "large": frame(BYTES, bytes(1500)),
    "ping": frame(PING, b"p"),
    "bye": close(4001),
    "mistake": UNMASKED,
}


class Drama:
    """One connection, and the moves of both ends."""

    def __init__(self) -> None:
        context = new_context(self._app, **OPTIONS)  # type: ignore[arg-type]
        self.context = context
        self.clock = FakeClock(context)
        self.todo: asyncio.Queue[str] = asyncio.Queue()
        self.sockets = socket.socketpair()  # for the kernel's word that the client is there
        self.client = Client(context, FakeSocket(self.sockets[0]))
        self.transport = self.client.transport
        self.unread = b""  # bytes that wait in the kernel
        self.kinds: list[str] = []  # of the messages that the application has heard

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (act := await self.todo.get()) != "return":
            try:
                if act == "hear":
                    self.kinds.append((await receive())["type"])
                else:
                    await send(SAID[act])
            except (AppError, ClientDisconnected):
                pass

    @property
    def is_read(self) -> bool:
        return self.transport.reading and not self.transport.closed

    def deliver(self) -> None:
        """What the event loop does when it may read; after a close it may not."""
        if self.unread and self.is_read:
            data, self.unread = self.unread, b""
            self.client.send(data)

    def eof(self) -> None:
        self.deliver()
        if not self.unread and self.is_read:
            self.client.send_eof()

    def stop_to_read(self) -> None:
        self.transport.reads = False

    def read_on(self) -> None:
        self.transport.reads = True
        self.transport.take(2**20)

    async def move(self, move: str) -> None:
        moves: dict[str, Callable[[], object]] = {
            "eof": self.eof,
            "vanish": self.client.vanish,
            "stop to read": self.stop_to_read,
            "take some": lambda: self.transport.take(1000),
            "read on": self.read_on,
            "drain": self.drain,
            "tick": lambda: self.clock.run(2),
            "time": lambda: self.clock.run(9),
        }
        if move in FRAMES:
            self.unread += FRAMES[move]
        elif move in moves:
            moves[move]()
        else:
            self.todo.put_nowait(move)
        await rounds(3)
        self.deliver()
        await rounds(3)

    def drain(self) -> None:
        if self.context.connections:
            self.client.connection.drain()

    async def finish(self) -> None:
        """Whatever was going on, the client does not come back."""
        self.client.vanish()
        for _ in range(4):
            self.todo.put_nowait("return")
            self.clock.run(10)
            await rounds(5)
        for each in self.sockets:
            each.close()

    def check(self) -> None:
        assert not self.context.cycles
        assert not self.context.watched
        assert not self.context.connections
        assert self.kinds.count("websocket.disconnect") <= 1
        head, _, rest = self.transport.received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101 ") and not self.transport.aborted:
            read_frames(rest)


class Errors(logging.Handler):
    """What nobody should ever read."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "without completing its response" not in record.getMessage():
            self.records.append(record)


ENDS = ["bye", "mistake", "eof", "vanish", "drain", "close", "return", "deny", "denied"]
FLOW = ["text", "text", "large", "ping", "hear", "hear", "send", "send a lot", "stop to read"]
TIME = ["take some", "read on", "tick", "time"]


def play(moves: list[str]) -> None:
    async def drama() -> None:
        stage = Drama()
        stage.client.send(ASK)
        await rounds(2)
        for move in moves:
            await stage.move(move)
        await stage.finish()
        stage.check()

    errors = Errors()
    loggers = [logging.getLogger(name) for name in ("aserver", "asyncio")]
    for logger in loggers:
        logger.addHandler(errors)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http_exchange, "_TELL_SECONDS", 0)
            asyncio.run(drama())
    finally:
        for logger in loggers:
            logger.removeHandler(errors)
    assert [record.getMessage() for record in errors.records] == []


@settings(max_examples=150)
@given(st.lists(st.sampled_from(ENDS + FLOW + TIME), max_size=20))
def test_any_order_before_an_acceptance(moves: list[str]) -> None:
    play(moves)


@settings(max_examples=250)
@given(
    st.lists(st.sampled_from(FLOW + TIME), max_size=20),
    st.lists(st.sampled_from(ENDS[:7] + FLOW + TIME), max_size=10),
)
def test_any_order_behind_it(flow: list[str], last: list[str]) -> None:
    play(["accept", *flow, *last])
