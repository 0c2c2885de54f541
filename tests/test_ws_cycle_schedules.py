"""WebSockets in any order of events: what the client does, the application, the clock, the server.

Whatever happens, each message is heard once and in order, there is one end, and nothing is left.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserver import http_exchange
from aserver.http_states import AWAITED
from aserver.logs import app_log, server_log
from aserver.types import AppError, ClientDisconnected, Message, Receive, Scope, Send
from tests.fakes import rounds
from tests.ws_stage import (
    ACCEPT,
    BYTES,
    CLOSE,
    CONNECT,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UNMASKED,
    SocketStage,
    close,
    closing,
    denial,
    denial_body,
    frame,
    hear_all,
    heard,
    in_steps,
    read_frames,
    said,
    text,
)

OPTIONS: dict[str, Any] = {
    "websocket_queue": 3,
    "websocket_connect_timeout": 5,
    "websocket_close_timeout": 5,
    "ping_interval": 10,
    "ping_timeout": 15,
    "application_close_timeout": 10,
}
MISTAKES = {1002, 1007}
ALL = 2**18  # bytes at a time


class Drama(SocketStage):
    """The moves of everybody. What the application does, it does in its own task, one by one."""

    def __init__(self, *, aside: bool, step: int) -> None:
        super().__init__(aside=aside, **OPTIONS)
        self.step = step
        self.context.new_frames = in_steps(step)
        self.todo: asyncio.Queue[str] = asyncio.Queue()
        self.stream = bytearray()  # what the client has sent and nobody has read
        self.delivered = 0
        self.whole: list[tuple[int, str | bytes]] = []  # its messages, and where each ends
        self.finished = False  # whether it has said something behind which nothing counts
        self.messages: list[Message] = []  # those the application has heard
        self.tried: list[bytes] = []  # those it has tried to send
        self.sent: list[bytes] = []  # those it has sent, as far as it knows
        self.disconnects = 0  # how often it was told that there is nobody
        self.children: list[asyncio.Task[None]] = []
        self.number = 0
        self.drained = False
        self.errors: list[BaseException] = []

    # The application

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.aside:
            await self.hear()
        while True:
            act = await self.todo.get()
            if act == "return":
                return
            if act == "raise":
                raise ZeroDivisionError("a bug")
            if act == "hear":
                await self.hear()
            elif act == "hear aside":
                self.children.append(asyncio.ensure_future(self.hear()))
            elif act == "cancel":
                self.children.append(child := asyncio.ensure_future(self.hear()))
                await asyncio.sleep(0)
                child.cancel()
            else:
                await self.say(act)

    async def hear(self) -> None:
        try:
            self.messages.append(await self.cycle.receive())
        except ClientDisconnected:
            self.disconnects += 1
        except Exception as error:
            self.errors.append(error)

    async def say(self, act: str) -> None:
        data = b"%d" % self.number
        self.number += 1
        messages: dict[str, Message] = {
            "accept": ACCEPT,
            "send": said(data),
            "close": closing(4000),
            "deny": denial(),
            "deny on": denial_body(b"a", more=True),
            "denied": denial_body(b"a"),
            "nonsense": {"type": "websocket.receive"},
        }
        if act == "send":
            self.tried.append(data)
        try:
            await self.cycle.send(messages[act])
        except (AppError, ClientDisconnected):
            return
        except Exception as error:
            self.errors.append(error)
        if act == "send":
            self.sent.append(data)

    # The client

    def talk(self, act: str) -> None:
        data = f"c{self.number}"
        self.number += 1
        frames: dict[str, bytes] = {
            "text": text(data),
            "bytes": frame(BYTES, data.encode()),
            "pieces": text(data[0], fin=False) + frame(PING) + frame(0, data[1:].encode()),
            "ping": frame(PING, data.encode()),
            "pong": frame(PONG),
            "bye": close(4001),
            "mistake": UNMASKED,
            "no UTF-8": frame(TEXT, b"\xff"),
            "out of order": frame(CONTINUATION, b"\xff"),
        }
        self.stream += frames[act]
        if not self.finished and act in ("text", "bytes", "pieces"):
            end = self.delivered + len(self.stream)
            self.whole.append((end, data.encode() if act == "bytes" else data))
        self.finished = self.finished or act in ("bye", "mistake", "no UTF-8", "out of order")

    def deliver(self, size: int) -> None:
        """As the connection does, as long as it reads."""
        tunnel = self.tunnel
        if not self.cycle.accepted or tunnel.gone or tunnel.held or tunnel.closed:
            return
        data = bytes(self.stream[:size])
        if data:
            del self.stream[:size]
            self.delivered += len(data)
            self.cycle.feed(data)

    def leave(self) -> None:
        self.tunnel.gone = True
        self.cycle.lost()

    def stop_to_read(self) -> None:
        self.tunnel.is_full = True
        if self.tunnel.taken is None:
            self.tunnel.taken = len(self.tunnel.written)

    def take_some(self) -> None:
        if self.tunnel.taken is not None:
            self.tunnel.taken = min(self.tunnel.taken + 200, len(self.tunnel.written))

    def read_on(self) -> None:
        self.tunnel.taken = None
        if self.tunnel.is_full:
            self.tunnel.is_full = False
            if not self.tunnel.gone:
                self.cycle.resume()

    def half_close(self) -> None:
        if self.cycle.sending is AWAITED and not self.tunnel.gone:
            self.tunnel.gone = True
            self.cycle.hung_up()

    def drain(self) -> None:
        if not self.tunnel.gone and self.cycle.accepted:
            self.drained = True
            self.cycle.drain()

    def pass_time(self, seconds: int) -> None:
        self.clock.run(seconds)

    async def move(self, move: str) -> None:
        own: dict[str, Callable[[], None]] = {
            "deliver": lambda: self.deliver(2**20),
            "deliver some": lambda: self.deliver(3),
            "leave": self.leave,
            "stop to read": self.stop_to_read,
            "read on": self.read_on,
            "half-close": self.half_close,
            "drain": self.drain,
            "take some": self.take_some,
            "tick": lambda: self.pass_time(2),
            "time": lambda: self.pass_time(9),
            "stop": self.cycle.cancel,
        }
        who, _, act = move.partition(": ")
        if who == "app":
            self.todo.put_nowait(act)
        elif who == "client":
            self.talk(act)
        else:
            own[move]()
        await rounds(3)

    async def finish(self) -> None:
        """The client goes; whoever does not hear of it is cancelled, and the rest is heard."""
        self.leave()
        for _ in range(4):
            self.clock.run(10)
            await rounds(5)
        if self.context.cycles:
            assert self.engine.responses, "who has answered may go on for as long as it likes"
            self.cycle.cancel()
            await rounds(5)
        self.messages += await hear_all(self.cycle.receive)
        for child in self.children:
            await asyncio.wait([child])

    # What is true of every one

    def check(self) -> None:
        assert self.errors == []
        assert self.left_open == 0
        self.check_heard()
        self.check_sent()
        self.check_log()

    def check_heard(self) -> None:
        first, *messages, last = self.messages
        assert first == CONNECT
        assert last["type"] == "websocket.disconnect"
        arrived = [heard(data) for end, data in self.whole if end <= self.delivered]
        assert messages == arrived[: len(messages)]
        by_us = self.drained or self.cycle.closed_by != "client"
        whole = self.step == ALL  # else some may not have been looked at
        if not by_us or (self.cycle.closed_by == "network" and self.cycle.accepted and whole):
            assert len(messages) == len(arrived)
        if last["code"] in MISTAKES:
            assert self.finished

    def check_sent(self) -> None:
        frames = read_frames(self.tunnel.written)
        kinds = [each.opcode for each in frames]
        if CLOSE in kinds:
            assert set(kinds[kinds.index(CLOSE) + 1 :]) <= {PONG}, "nothing of ours"
        sent = [each.payload for each in frames if each.opcode == BYTES]
        assert sent == [data for data in self.tried if data in set(sent)], "in order"
        if not self.children:  # else it may have sent into nothing
            assert set(self.sent) <= set(sent)
        assert self.cycle.messages_sent == len(sent)

    def check_log(self) -> None:
        words = [word for word, *_ in self.log.lines]
        assert words[0] == "CONNECTING"
        assert words[1:-1] == ["CONNECT"] * self.cycle.accepted
        assert words[-1] in ("GET", "GONE")
        answers = [call for call in self.engine.calls if call[0] == "upgrade"]
        answers += [call for call in self.engine.calls if call[0] == "respond" and not call[3]]
        assert len(answers) <= 1


class Errors(logging.Handler):
    """The errors that are the server's own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


TALK = [f"client: {act}" for act in ["text", "text", "bytes", "pieces", "ping", "pong"]]
LAST_WORDS = [f"client: {act}" for act in ["bye", "mistake", "no UTF-8", "out of order"]]
ACTS = [f"app: {act}" for act in ["hear", "hear", "hear", "send", "send", "hear aside", "cancel"]]
LAST_ACTS = [f"app: {act}" for act in ["close", "return", "raise", "nonsense"]]
DENIALS = [f"app: {act}" for act in ["deny", "deny on", "denied"]]
WORLD = [
    "deliver",
    "deliver",
    "deliver some",
    "tick",
    "time",
    "stop to read",
    "read on",
    "take some",
]
ENDS = ["leave", "half-close", "drain", "stop"]

ANY = st.sampled_from(TALK + LAST_WORDS + ACTS + LAST_ACTS + DENIALS + WORLD + ENDS)
PEACEFUL = st.sampled_from(TALK * 2 + ACTS + WORLD)
STEPS = st.sampled_from([ALL, 7])
LATE = st.sampled_from(TALK + LAST_WORDS + ACTS + LAST_ACTS + WORLD * 2 + ENDS)


def play(moves: list[str], *, aside: bool, step: int) -> None:
    async def drama() -> None:
        stage = Drama(aside=aside, step=step)
        stage.engine.early = b""
        stage.cycle.start()
        for move in moves:
            await stage.move(move)
        await stage.finish()
        stage.check()

    errors = Errors()
    server_log.addHandler(errors)
    app_log.disabled = True  # what applications do wrong here is nobody's news
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http_exchange, "_TELL_SECONDS", 0)
            asyncio.run(drama())
    finally:
        server_log.removeHandler(errors)
        app_log.disabled = False
    assert errors.messages == []


@settings(max_examples=500)
@given(st.lists(ANY, max_size=30), st.booleans(), STEPS)
def test_any_order(moves: list[str], aside: bool, step: int) -> None:
    play(moves, aside=aside, step=step)


@settings(max_examples=500)
@given(st.lists(PEACEFUL, max_size=30), st.lists(LATE, max_size=12), st.booleans(), STEPS)
def test_any_end_of_an_open_websocket(
    peaceful: list[str], late: list[str], aside: bool, step: int
) -> None:
    play(["app: accept", *peaceful, *late], aside=aside, step=step)
