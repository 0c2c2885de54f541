"""The layers from the cycle up, on a stage: the test plays client, application and clock."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aserver.config import Limits
from aserver.context import Context
from aserver.http_cycle import HttpCycle
from aserver.seams import Parser
from aserver.types import Receive, Request, Scope, Send
from tests.fakes import (
    PARSERS,
    Client,
    FakeClock,
    FakeEngine,
    FakeLog,
    FakeSocket,
    body,
    new_context,
    nothing,
    rounds,
    start,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST_5 = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
MORE = Limits.write_buffer + 1  # bytes that fill the transport's buffer

# Whatever the defaults become.
_SECONDS = {"header_timeout": 15, "keep_alive": 75, "write_timeout": 60}


def new_engine(request: Request) -> FakeEngine:
    """What a cycle on the stage talks to; see `tests.over_http2`."""
    return FakeEngine()


class CycleStage:
    """A cycle with all that is around it."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]] = nothing,
        *,
        method: str = "GET",
        size: int | None = 0,
        expects_continue: bool = False,
        accepts_trailers: bool = False,
        context: Context | None = None,
        log: FakeLog | None = None,
        has_log: bool = True,
        **options: Any,
    ) -> None:
        self.context = context or new_context(app, **options)
        self.clock = FakeClock(self.context)
        self.log = log or FakeLog()
        if has_log:
            self.context.access_log = self.log  # type: ignore[assignment]
        request = Request(
            method,
            b"/path",
            "1.1",
            [],
            size,
            expects_continue=expects_continue,
            accepts_trailers=accepts_trailers,
        )
        self.engine = new_engine(request)
        scope: Scope = {"type": "http", "path": "/path"}
        self.cycle = HttpCycle(self.context, self.engine, request, scope, ("192.0.2.2", 50000))

    async def run(self) -> None:
        """Until the application has ended."""
        self.cycle.start()
        await self.end()

    async def end(self) -> None:
        """Wait until the application has ended."""
        for _ in range(50):
            if not self.context.cycles:
                return
            await asyncio.sleep(0)
        raise AssertionError("the application does not end")

    @property
    def state(self) -> str:
        """How far the response is."""
        match = re.search(r"sending=(\w+)", repr(self.cycle))
        assert match is not None
        return match[1]

    def broken(self) -> bool:
        return ("abort",) in self.engine.calls


class Call:
    """One call of the application: its arguments, and the word that ends it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.over = asyncio.Event()
        self.error: BaseException | None = None
        self.cancellations: list[bool] = []

    async def answer(self, data: bytes = b"hello") -> None:
        """A whole response, and the end."""
        await self.send(start())
        await self.send(body(data))
        await self.end()

    async def stream(self, data: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
        """The beginning of a response."""
        await self.send(start(200, *headers))
        await self.send(body(data, more=True))

    async def end(self, error: BaseException | None = None) -> None:
        """Return, or raise."""
        self.error = error
        self.over.set()
        await rounds(3)


class Stage:
    """A worker without sockets, whose application is played by the test."""

    def __init__(self, parser: Parser = PARSERS["httptools"], **options: Any) -> None:
        self.context = new_context(self._app, parser, **{**_SECONDS, **options})
        self.clock = FakeClock(self.context)
        self.calls: list[Call] = []

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        self.calls.append(call)
        try:
            if scope["type"] == "websocket":
                assert await receive() == {"type": "websocket.connect"}
            await call.over.wait()
        except asyncio.CancelledError:
            call.cancellations.append(True)
            raise
        if call.error is not None:
            raise call.error

    def connect(self, sock: FakeSocket | None = None, **extra: Any) -> Client:
        return Client(self.context, sock, **extra)

    async def call(self, client: Client, data: bytes = GET) -> Call:
        """Send a request; returns the call that it leads to."""
        count = len(self.calls)
        client.send(data)
        await rounds(3)
        assert len(self.calls) == count + 1
        return self.calls[-1]


async def stream_to_nobody(stage: Stage, client: Client) -> tuple[Call, asyncio.Future[None]]:
    """A response, more than the peer reads; and the `send()` that waits for it."""
    call = await stage.call(client)
    client.transport.reads = False
    await call.send(start())
    sending = asyncio.ensure_future(call.send(body(bytes(MORE), more=True)))
    await rounds()
    assert not sending.done()
    assert client.connection.phase.name == "WRITING"
    return call, sending
