"""A WebSocket on a stage: the test plays client, application and clock.

`SocketStage` has the cycle with a tunnel that is none, `Peer` the client's end of any.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

from aserver.engines.ws_deflate import Deflate
from aserver.engines.ws_frames import Frames, NewFrames
from aserver.engines.ws_handshake import Handshake
from aserver.engines.ws_wsproto import WsprotoFrames
from aserver.seams import Head, Upgrading
from aserver.types import ClientDisconnected, Headers, Message, Receive, Request, Scope, Send
from aserver.ws_cycle import WebSocketCycle
from tests.fakes import Client, FakeClock, FakeEngine, FakeLog, FakeTunnel, new_context, rounds
from tests.stage import MORE, Call, Stage

KEY = b64encode(bytes(16))
HANDSHAKE: Headers = [
    (b"host", b"a"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", KEY),
]
CONNECT: Message = {"type": "websocket.connect"}
ACCEPT: Message = {"type": "websocket.accept"}

CONTINUATION, TEXT, BYTES, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Frame(NamedTuple):
    """A frame that the client was sent."""

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame; its mask is of zeros, which is a mask like any other."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([0x80 * fin | opcode]) + length + bytes(4) + payload


def text(data: str, *, fin: bool = True) -> bytes:
    return frame(TEXT, data.encode(), fin=fin)


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A client's close frame; None: without a code."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


UNMASKED = b"\x81\x01a"  # a mistake (RFC 6455 section 5.1)


def read_frames(data: bytes) -> list[Frame]:
    """What a client makes of bytes from the server: whole frames."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80, "in one frame, not compressed"
        size, start = data[1], 2
        assert size < 0x80, "not masked"
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        assert len(data) >= start + size, "whole"
        frames.append(Frame(data[0] & 0xF, data[start : start + size]))
        data = data[start + size :]
    return frames


def close_frame(code: int, reason: str = "") -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


def said(data: str | bytes) -> Message:
    """A `websocket.send`."""
    return {"type": "websocket.send", ("text" if isinstance(data, str) else "bytes"): data}


def heard(data: str | bytes) -> Message:
    """A `websocket.receive`."""
    return {"type": "websocket.receive", ("text" if isinstance(data, str) else "bytes"): data}


def closing(code: int | None = None, reason: str | None = None) -> Message:
    """A `websocket.close`."""
    return {"type": "websocket.close", "code": code, "reason": reason}


def ended(code: int, reason: str = "") -> Message:
    """A `websocket.disconnect`."""
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def denial(status: int = 401, headers: Sequence[tuple[bytes, bytes]] = ()) -> Message:
    """A `websocket.http.response.start`."""
    return {"type": "websocket.http.response.start", "status": status, "headers": headers}


def denial_body(data: bytes = b"", more: bool = False) -> Message:
    """A `websocket.http.response.body`."""
    return {"type": "websocket.http.response.body", "body": data, "more_body": more}


async def hear_all(receive: Receive) -> list[Message]:
    """What an application hears until there is nothing more; the first is not websocket.connect."""
    messages = []
    try:
        while True:
            messages.append(await receive())
    except ClientDisconnected:
        return messages


class StageTunnel(FakeTunnel):
    """One that sees that nothing is asked of it behind its end; `gone` is set by the test.

    Of what was asked of it before, it forgets what changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self.closed = False
        self.gone = False
        self.taken: int | None = None  # bytes; None: whatever is sent, at once

    def unsent(self) -> int:
        return 0 if self.taken is None else len(self.written) - self.taken

    def send(self, data: bytes) -> bool:
        assert not self.closed
        assert not self.gone
        return super().send(data)

    def hold(self) -> None:
        assert not self.closed
        assert not self.gone
        if not self.held:
            self.held = True
            super().hold()

    def release(self) -> None:
        if self.held:
            assert not self.gone
            self.held = False
            super().release()

    def close(self) -> None:
        self._end()
        super().close()

    def abort(self) -> None:
        self._end()
        super().abort()

    def _end(self) -> None:
        assert not self.closed
        assert not self.gone
        self.closed = True
        self.held = False


class StageEngine(FakeEngine):
    """An engine that makes it a tunnel; `early` is what the client has sent before."""

    def __init__(self) -> None:
        super().__init__()
        self.tunnel: StageTunnel = StageTunnel()
        self.early = b""

    def upgrade(self, cycle: Upgrading, protocol: bytes, head: Head) -> None:
        super().upgrade(cycle, protocol, head)
        if self.early:
            cycle.feed(self.early)


def in_steps(step: int) -> NewFrames:
    """Frame engines that are fed so many bytes at a time."""

    def new_frames(deflate: Deflate | None, most: float) -> Frames:
        frames = WsprotoFrames(deflate, most)
        frames.step = step
        return frames

    return new_frames


class SocketStage:
    """A cycle with all that is around it. The application is played by the test.

    With `aside`, it hears of the handshake in another task than it was called in, as in Channels:
    the test's, in which it hears of all the rest.
    """

    def __init__(
        self,
        *,
        fields: Headers | None = None,
        aside: bool = False,
        accepts_trailers: bool = False,
        **options: Any,
    ) -> None:
        self.aside = aside
        self.context = new_context(self._app, **options)
        self.clock = FakeClock(self.context)
        self.log = FakeLog()
        self.context.access_log = self.log  # type: ignore[assignment]
        self.engine = StageEngine()
        self.tunnel = self.engine.tunnel
        self.calls: list[Call] = []
        headers = [*HANDSHAKE, *(fields or [])]
        request = Request(
            "GET",
            b"/path",
            "1.1",
            headers,
            upgrade=(b"websocket",),
            accepts_trailers=accepts_trailers,
        )
        scope: Scope = {"type": "websocket", "path": "/path"}
        client = ("192.0.2.2", 50000)
        self.cycle = WebSocketCycle(
            self.context, self.engine, request, scope, client, Handshake(request)
        )
        self._read = 0

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        self.calls.append(call)
        try:
            if not self.aside:
                assert await receive() == CONNECT
            await call.over.wait()
        except asyncio.CancelledError:
            call.cancellations.append(True)
            raise
        if call.error is not None:
            raise call.error

    async def connect(self) -> Call:
        """Begin: the application knows of the handshake."""
        self.cycle.start()
        await rounds(3)
        (call,) = self.calls
        if self.aside:
            assert await call.receive() == CONNECT
        return call

    async def open(self) -> Call:
        """Begin, and accept."""
        call = await self.connect()
        await call.send(ACCEPT)
        return call

    def feed(self, *data: bytes) -> None:
        """Bytes from the client."""
        assert not self.tunnel.held, "the server does not read now"
        if not self.tunnel.closed and not self.tunnel.gone:  # else nobody is fed
            self.cycle.feed(b"".join(data))

    def lose(self) -> None:
        """The client is gone."""
        self.tunnel.gone = True
        self.cycle.lost()

    def frames(self) -> list[Frame]:
        """What the client was sent since this was last asked."""
        data = self.tunnel.written[self._read :]
        self._read = len(self.tunnel.written)
        return read_frames(data)

    @property
    def closed(self) -> bool:
        """Whether the server has closed the tunnel."""
        return self.tunnel.closed

    @property
    def left_open(self) -> int:
        """How much the worker still has to look after."""
        return len(self.context.cycles) + len(self.context.watched)


async def waiting(receive: Receive) -> asyncio.Task[Message]:
    """A `receive()` that waits."""
    task = asyncio.ensure_future(_call(receive))
    await rounds(3)
    assert not task.done()
    return task


async def _call(receive: Receive) -> Message:
    return await receive()


async def result(task: "asyncio.Task[Message]") -> Message:
    """What a `receive()` brings, now that there is something."""
    await rounds(3)
    assert task.done()
    return task.result()


# A handshake as bytes, for the layers that read them.
ASK = b"GET /path HTTP/1.1\r\n%b\r\n" % b"".join(
    b"%b: %b\r\n" % (name.title(), value) for name, value in HANDSHAKE
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"date: now\r\nserver: aserver\r\n\r\n"
)


def undated(data: bytes) -> bytes:
    return re.sub(rb"date: [^\r]+ GMT\r\n", b"date: now\r\n", data)


async def open_socket(stage: Stage, client: Client, data: bytes = ASK) -> Call:
    """A handshake, and its acceptance."""
    call = await stage.call(client, data)
    await call.send(ACCEPT)
    assert undated(client.received()) == SWITCHED
    return call


def frames(client: Client) -> list[Frame]:
    """What a client was sent since this was last asked, behind the handshake."""
    return read_frames(client.received())


def is_read(client: Client) -> bool:
    """Whether the server reads what this client sends."""
    return client.transport.reading


def is_half_closed(client: Client) -> bool:
    """Whether the server sends no more."""
    return client.transport.eof_received


def is_reset(client: Client) -> bool:
    """Whether the server has closed without an end."""
    return client.transport.aborted


async def nothing_is_left(stage: Stage, call: Call) -> None:
    """The application may go, and with it goes all that there was of the WebSocket."""
    await rounds()
    await call.end()
    assert not stage.context.cycles
    assert not stage.context.watched
    assert not stage.context.connections


async def waiting_send(call: Call) -> asyncio.Task[Message]:
    """A `send()` that waits, for a client that does not read."""

    async def send() -> Message:
        await call.send(said(bytes(MORE)))
        return {}

    return await waiting(send)


def hold(client: Client) -> None:
    """The client says more than may wait for the application."""
    client.send(text("1") + text("2"))
    assert not client.transport.reading
