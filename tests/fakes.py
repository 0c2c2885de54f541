"""Stand-ins for the neighbours of the layer under test: they do what they are told, and tell it."""

import asyncio
import contextvars
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from hypothesis import settings

from aserver.access_notes import Exchange
from aserver.config import Config
from aserver.connection import Connection
from aserver.context import Context
from aserver.engine_choice import choose_forwarding, choose_frames, choose_wire
from aserver.engines import h1_h11
from aserver.engines.h1_httptools import HttpToolsParser
from aserver.engines.ws_frames import NewFrames
from aserver.engines.ws_wsproto import WsprotoFrames
from aserver.limits import RequestLimits, sweep
from aserver.seams import Channel, Engine, Head, Parser, Refusing, Upgrading
from aserver.types import (
    ASGIApplication,
    Headers,
    Message,
    ProtocolError,
    Receive,
    Request,
    Scope,
    Send,
)
from aserver.worker_seams import Expiring

PARSERS: dict[str, Parser] = {"httptools": HttpToolsParser().parse, "h11": h1_h11.parse}
FRAMES: dict[str, NewFrames] = {"wsproto": WsprotoFrames}
LIMITS = RequestLimits.of(Config().limits)

# Property tests are bounded, and the same everywhere.
settings.register_profile("aserver", derandomize=True, deadline=None, database=None)
settings.load_profile("aserver")


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is never called."""


async def rounds(count: int = 10) -> None:
    """Let every task of the loop take its steps."""
    for _ in range(count):
        await asyncio.sleep(0)


class EagerTask:
    """A task that takes all its steps when it is made, as Python 3.12 can."""

    def __init__(self, coro: Coroutine[Any, Any, None], **options: Any) -> None:
        try:
            coro.send(None)
        except StopIteration:
            return
        raise AssertionError("this task waits for something")


class FakeDefaults:
    """What every response head has, as a test can spell it."""

    date_line = b"date: now\r\n"
    server_line = b"server: test\r\n"
    default_lines = b"date: now\r\nserver: test\r\n"
    last_lines = b"date: now\r\nserver: test\r\n\r\n"


class FakeCycle:
    """A cycle, seen from an engine: `calls` is what it heard, `body` what it was fed."""

    def __init__(self, request: Request, eager: Callable[["FakeCycle"], None] | None) -> None:
        self.request = request
        self.calls: list[str] = []
        self.body = b""
        self.running = False
        self._eager = eager

    def __repr__(self) -> str:
        return f"<FakeCycle {self.request.target!r} {' '.join(self.calls)}>"

    @property
    def is_running(self) -> bool:
        return self.running

    @property
    def started(self) -> bool:
        return "start" in self.calls

    @property
    def complete(self) -> bool:
        return "eof" in self.calls or self.request.content_length == 0

    @property
    def disconnected(self) -> bool:
        return "lost" in self.calls

    def start(self) -> None:
        self.calls.append("start")
        if self._eager is not None:
            self._eager(self)

    def feed(self, data: bytes) -> None:
        assert data
        assert not self.complete
        self.body += data

    def feed_eof(self) -> None:
        assert not self.complete
        self.calls.append("eof")

    def lost(self) -> None:
        self.calls.append("lost")

    def resume(self) -> None:
        self.calls.append("resume")

    def hung_up(self) -> None:
        self.calls.append("hung up")


class FakeSink:
    """The connection, seen from an engine.

    `written` are its bytes, `writes` counts the calls that brought them, `calls` are the others.
    """

    def __init__(self, eager: Callable[[FakeCycle], None] | None = None) -> None:
        self.write_paused = False
        self.written = b""
        self.writes = 0
        self.calls: list[str] = []
        self.cycles: list[FakeCycle] = []
        self.refused: list[ProtocolError] = []  # those found in what was held
        self.reading = True
        self.closing = False
        self.finished = False
        self.untaken = 0  # bytes
        self.unread = False
        self.upgraded: Engine | None = None
        self.now = 0.0
        self.watched: set[Expiring] = set()
        self.later: list[Callable[[], None]] = []  # what was asked for `soon`
        self._eager = eager

    def write(self, data: bytes, /) -> None:
        assert data
        self.written += data
        self.writes += 1

    def writelines(self, data: Sequence[bytes], /) -> None:
        self.write(b"".join(data))

    def is_closing(self) -> bool:
        return self.closing

    def on_version(self, data: bytes, *, is_http2: bool) -> None:
        self.calls.append("HTTP/2" if is_http2 else "HTTP/1")

    def soon(self, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def watch(self, stream: Expiring) -> None:
        self.watched.add(stream)

    def unwatch(self, stream: Expiring) -> None:
        self.watched.discard(stream)

    def on_request(self, channel: Channel, request: Request) -> FakeCycle:
        cycle = FakeCycle(request, self._eager)
        self.cycles.append(cycle)
        return cycle

    def on_refused(self, where: Refusing, error: ProtocolError) -> None:
        self.refused.append(error)
        where.refuse(error)

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        return None

    def has_finished(self) -> bool:
        return self.finished

    def on_upgraded(self, engine: Engine) -> None:
        self.upgraded = engine

    def unsent(self) -> int:
        return self.untaken

    def has_unread(self) -> bool:
        return self.unread

    def on_half_closed(self) -> None:
        self.calls.append("half-closed")

    def on_head(self) -> None:
        self.calls.append("head")

    def on_idle(self) -> None:
        self.calls.append("idle")

    def on_drain(self) -> None:
        self.calls.append("drain")

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def close(self) -> None:
        self.calls.append("close")

    def linger(self) -> None:
        self.reading = True
        self.calls.append("linger")

    def abort(self, *, reset: bool = False) -> None:
        self.calls.append("reset" if reset else "abort")


class FakeTunnel:
    """A tunnel, seen from a cycle: `written` are its bytes, `calls` the rest. It may be full."""

    def __init__(self) -> None:
        self.written = b""
        self.calls: list[str] = []
        self.sends = 0  # how often something was sent
        self.is_full = False
        self.untaken = 0  # bytes
        self.unread = False

    def send(self, data: bytes) -> bool:
        assert data or self.is_full  # who sends nothing wants to be told of room
        self.sends += 1
        self.written += data
        return not self.is_full

    def hold(self) -> None:
        self.calls.append("hold")

    def release(self) -> None:
        self.calls.append("release")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def unsent(self) -> int:
        return self.untaken

    def has_unread(self) -> bool:
        return self.unread


class FakeEngine:
    """An engine, seen from a cycle.

    `calls` are what it was told, in order: `("respond", status or None, body, more)`,
    `("inform", status)`, `("consumed", size)`, `("abort",)`, `("file", size)`, `("trailers",
    headers)`. With `room` False, `respond` asks to wait. `file_takes` are the next answers of
    `send_file`, which cannot do it when there are none; `file_bytes` is what it took.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.heads: list[Head] = []
        self.room = True
        self.interim: list[Headers] = []
        self.tunnel = FakeTunnel()
        self.file_takes: list[int | None] = []
        self.file_bytes = b""

    @property
    def mid_head(self) -> bool:
        return False

    @property
    def responses(self) -> list[tuple[Any, ...]]:
        """What was sent to the client, and how it ended if badly."""
        return [call for call in self.calls if call[0] in ("respond", "abort", "trailers")]

    @property
    def credit(self) -> int:
        """How many bytes of the request body were given back."""
        return sum(call[1] for call in self.calls if call[0] == "consumed")

    def feed(self, data: bytes) -> None:
        raise NotImplementedError

    def feed_eof(self) -> bool:
        raise NotImplementedError

    def respond(self, head: Head | None, body: bytes, more: bool) -> bool:
        if head is not None:
            self.heads.append(head)
        self.calls.append(("respond", head and head.status, body, bool(more)))
        return self.room

    def inform(self, status: int, headers: Headers) -> None:
        self.calls.append(("inform", status))
        self.interim.append(headers)

    def trailers(self, headers: Headers) -> None:
        self.calls.append(("trailers", headers))

    def send_file(self, fd: int, offset: int, count: int) -> int | None:
        if not count:
            self.calls.append(("file", 0))
            return 0
        taken = self.file_takes.pop(0) if self.file_takes else None
        if taken is not None:
            assert taken <= count
            self.file_bytes += os.pread(fd, taken, offset)
        self.calls.append(("file", taken))
        return taken

    def body_progress(self) -> int | None:
        raise NotImplementedError

    def consumed(self, size: int) -> None:
        self.calls.append(("consumed", size))

    def abort(self) -> None:
        self.calls.append(("abort",))

    def upgrade(self, cycle: Upgrading, protocol: bytes, head: Head) -> None:
        self.calls.append(("upgrade", protocol, head.status))
        self.heads.append(head)
        cycle.upgraded(self.tunnel)

    def refuse(self, error: ProtocolError) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def hang_up(self) -> None:
        raise NotImplementedError

    def drain(self) -> None:
        raise NotImplementedError

    def lost(self) -> None:
        raise NotImplementedError


class FakeLog:
    """An access log."""

    timed = False

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes, int, int]] = []
        self.received: list[int] = []  # request body, by line

    @property
    def sockets(self) -> "FakeLog":
        return self

    def connecting(self, exchange: Exchange) -> None:
        self.lines.append(("CONNECTING", exchange.request.target, 0, 0))

    def connected(self, exchange: Exchange) -> None:
        self.lines.append(("CONNECT", exchange.request.target, 0, 0))

    def record(self, exchange: Exchange, head: Head | None) -> None:
        request = exchange.request
        if head is None:
            self.lines.append(("GONE", request.target, 0, 0))
            return
        self.lines.append((request.method, request.target, head.status, exchange.sent))
        self.received.append(exchange.received)


def new_context(
    app: ASGIApplication,
    parser: Parser = PARSERS["httptools"],
    task_context: contextvars.Context | None = None,
    **options: Any,
) -> Context:
    """A worker's shared state, its clock at zero."""
    config = Config.of(**options)
    return Context(
        app,
        config,
        asyncio.get_running_loop(),
        parser,
        task_context or contextvars.Context(),
        choose_frames(config.websocket.ws),
        choose_wire(http2=config.http2.http2),
        choose_forwarding(config.proxy),
        wall=0.0,
        tick=1.0,
        slack=0.0,
    )


class FakeClock:
    """The tick of a server, by hand."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.wall = 0.0

    def tick(self, seconds: float = 1.0) -> int:
        """One tick, `seconds` after the last; returns how many deadlines had passed."""
        self.wall += seconds
        context = self._context
        context.advance(self.wall)
        kinds = (context.connections, context.cycles, context.watched)
        return sum(sweep(context.now, kind) for kind in kinds)

    def run(self, seconds: int) -> int:
        """A tick a second."""
        return sum(self.tick() for _ in range(seconds))


class FakeSocket:
    """A transport's socket: options set on it, and whether bytes wait in it."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.sock = sock
        self.options: list[tuple[int, int, object]] = []

    def fileno(self) -> int:
        return -1 if self.sock is None else self.sock.fileno()

    def setsockopt(self, level: int, option: int, value: object) -> None:
        self.options.append((level, option, value))


class MemoryTransport(asyncio.Transport):
    """A transport whose peer is the test.

    The peer reads at once what is written (`received`), unless `reads` is False: then bytes wait in
    the buffer until `take`. Order and moments of the calls to the protocol are those of asyncio.
    """

    def __init__(
        self, protocol: asyncio.Protocol, sock: FakeSocket | None = None, **extra: Any
    ) -> None:
        addresses = {"sockname": ("192.0.2.1", 80), "peername": ("192.0.2.2", 50000)}
        super().__init__({"socket": sock or FakeSocket(), **addresses, **extra})
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.Protocol | None = protocol
        self._buffer = bytearray()
        self._high = 1 << 30  # until the protocol says
        self._full = False
        self._closing = False
        self._eof_written = False
        self.reads = True
        self.reading = True
        self.received = b""
        self.eof_received = False
        self.closed = False
        self.writes = 0
        self.aborted = False
        self.late_writes = 0  # behind the close: asyncio warns of them
        protocol.connection_made(self)

    # The protocol's side

    def write(self, data: Any) -> None:
        assert not self._eof_written, "Cannot call write() after write_eof()"
        if self._closing and not self._buffer:
            self.late_writes += 1
            return
        self.writes += 1
        self._buffer += data
        if self.reads:
            self._flush(len(self._buffer))
        else:
            self._pause_if_full()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._eof_written = True
        self._flush(0)

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self._high = high
        self._pause_if_full()

    def _pause_if_full(self) -> None:
        if len(self._buffer) > self._high and not self._full:
            self._full = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.reading = False
            self._flush(0)

    def abort(self) -> None:
        self.aborted = True
        self._closing = True
        self._buffer.clear()
        self._full = False
        self._flush(0)

    # The peer's side

    def take(self, size: int) -> None:
        """The peer reads so many of the bytes that wait."""
        self._flush(size)

    def _flush(self, size: int) -> None:
        self.received += self._buffer[:size]
        del self._buffer[:size]
        if self._full and len(self._buffer) <= self._high // 4:
            self._full = False
            assert self._protocol is not None
            self._protocol.resume_writing()
        if not self._buffer:
            self.eof_received = self._eof_written
            if self._closing and not self.closed:
                self.closed = True
                self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        protocol, self._protocol = self._protocol, None
        assert protocol is not None
        protocol.connection_lost(None)


class Client:
    """A connection between a test and an application, without sockets and without waiting."""

    def __init__(self, context: Context, sock: FakeSocket | None = None, **extra: Any) -> None:
        self.connection = Connection(context)
        self.transport = MemoryTransport(self.connection, sock, **extra)

    def send(self, data: bytes) -> None:
        """Bytes from the peer, if the server reads."""
        assert self.transport.reading, "the server does not read now"
        self.connection.data_received(data)

    def send_eof(self) -> None:
        """The peer closes its sending side."""
        assert self.transport.reading, "the server does not read now"
        self.transport.reading = False
        if not self.connection.eof_received():
            self.transport.close()

    def vanish(self) -> None:
        """The peer is gone, its connection reset."""
        self.transport.abort()

    def received(self) -> bytes:
        """What came since this was last asked."""
        data, self.transport.received = self.transport.received, b""
        return data

    def closed(self) -> bool:
        """Whether the server has closed."""
        return self.transport.closed


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    """An `http.response.start`."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", more: bool = False) -> Message:
    """An `http.response.body`."""
    return {"type": "http.response.body", "body": data, "more_body": more}
