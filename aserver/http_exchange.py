"""The HTTP exchange: one request and its response, between an engine and the application.

It serves every protocol version and never knows which engine carries it. What ASGI says of the
messages of one HTTP request is here and nowhere else: their order, the accounting of
content-length, files, disconnects. How the application's call ends is the cycle's business.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import NoReturn

from .context import Context
from .engines.fields import ResponseHead, response_head
from .file_response import READ_SIZE, FilePart, borrowed, opened
from .http_messages import Trailers, as_bytes, link_fields, wrong_length
from .http_states import (
    AWAITED,
    COMPLETE,
    DELIVERED,
    DISCONNECTED,
    FILE,
    HELD,
    HUNG_UP,
    LAST,
    OPEN,
    RECEIVED,
    STREAMING,
    TRAILERS,
)
from .seams import Channel
from .types import Address, AppError, ClientDisconnected, Message, Request, Scope
from .waiting import Waiters, wait, woken
from .worker_seams import ExchangeLog

# How long a `send()` to a client that left waits for the application's own listener to act.
_TELL_SECONDS = 0.05
# Pieces of a request body up to this size are put together, in bytes.
_SMALL = 1024


class HttpExchange(ABC):
    """One request and its response. It has a subclass, the cycle, which runs the application."""

    __slots__ = (
        "_body",
        "_context",
        "_log",
        "_readers",
        "_receiving",
        "_told_readers",
        "_writers",
        "began",
        "channel",
        "client",
        "deadline",
        "head",
        "left",
        "received",
        "request",
        "scope",
        "sending",
        "sent",
        "trailers",
    )

    # Set by `start`; the second where the access log asks for it.
    deadline: float
    began: float
    # Set by http.response.start: the head, what its content-length still promises, and trailers if
    # it announced them, until they are complete.
    head: ResponseHead
    left: int | None
    trailers: Trailers | None

    def __init__(
        self,
        context: Context,
        channel: Channel,
        request: Request,
        scope: Scope,
        client: Address | None,
    ) -> None:
        self._context = context
        self._log: ExchangeLog | None = context.access_log
        self.channel = channel
        self.request = request
        self.scope = scope
        self.client = client
        self.received = 0  # body bytes, as is
        self.sent = 0
        self._receiving = OPEN if request.content_length != 0 else RECEIVED
        self.sending = AWAITED
        self._body: list[bytes] = []
        self._readers: Waiters = None  # each receive() that waits
        self._writers: Waiters = None  # each send() that waits

    def __repr__(self) -> str:
        request = self.request
        return (
            f"<{type(self).__name__} {request.method} {request.target!r} "
            f"receiving={self._receiving.name} sending={self.sending.name} sent={self.sent}>"
        )

    # Seen from the engine

    @abstractmethod
    def start(self) -> None:
        """It is this request's turn: call the application."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the request body."""
        self.received += len(data)
        if self.sending is COMPLETE or self.sending is DISCONNECTED:
            self.channel.consumed(len(data))
            return
        body = self._body
        if body and len(body[-1]) < _SMALL and len(data) < _SMALL:
            body[-1] += data  # a piece costs more than it holds
        else:
            body.append(data)
        if self._readers is not None:
            self._readers = woken(self._readers)

    def feed_eof(self) -> None:
        """The request body is complete."""
        self._receiving = RECEIVED
        if self._readers is not None:
            self._readers = woken(self._readers)

    def resume(self) -> None:
        """There is room for more of the response."""
        if self._writers is not None:
            self._writers = woken(self._writers)

    def lost(self) -> None:
        """The client is gone, as far as this request is concerned."""
        if self.sending is COMPLETE or self.sending is DISCONNECTED:
            return
        begun = self.sending is not AWAITED and self.sending is not HELD
        self.sending = DISCONNECTED
        self._body = []
        self.deadline = self._context.now + self._context.close_seconds
        self._told_readers = bool(self._readers)
        self._readers = woken(self._readers)
        self._writers = woken(self._writers)
        if self._log is not None and begun:
            self._log.record(self, self.head)

    def hung_up(self) -> None:
        """The client sends no more and may be gone: say so, but it can be answered still."""
        self._receiving = HUNG_UP if self._receiving is DELIVERED else LAST
        self.deadline = self._context.now + self._context.close_seconds
        self._readers = woken(self._readers)

    # Seen from the application

    async def receive(self) -> Message:
        """ASGI `receive()`: the request body, then `http.disconnect`."""
        while True:
            over = self.sending is COMPLETE or self.sending is DISCONNECTED
            if over or self._receiving is HUNG_UP:
                return {"type": "http.disconnect"}
            if self._body or self._receiving is RECEIVED or self._receiving is LAST:
                return self._take_body()
            if self._receiving is OPEN and self.request.expects_continue:
                self.channel.inform(100, [])
            if self._readers is None:
                self._readers = []
            await wait(self._context.loop, self._readers)

    def _take_body(self) -> Message:
        body = self._body
        data = body[0] if len(body) == 1 else b"".join(body)
        more = self._receiving is OPEN
        if not more:
            self._receiving = HUNG_UP if self._receiving is LAST else DELIVERED
        if data:
            self._body = []
            self.channel.consumed(len(data))
        return {"type": "http.request", "body": data, "more_body": more}

    async def send(self, message: Message) -> None:
        """ASGI `send()`.

        Raises:
            AppError: The message is not allowed here, or is malformed.
            ClientDisconnected: The client is gone.
        """
        try:
            kind = message["type"]
        except KeyError:
            raise AppError("a message must have a 'type'") from None
        sending = self.sending
        if kind == "http.response.body" and (sending is HELD or sending is STREAMING):
            more = message.get("more_body", False)
            if not self.send_body(message.get("body", b""), more) and more:
                await self._drained()
        elif kind == "http.response.start" and sending is AWAITED:
            if "status" not in message:
                raise AppError("http.response.start must have a 'status'")
            headers = message.get("headers", ())
            self.head = response_head(message["status"], headers, self.request.method)
            self.trailers = Trailers(self.request, self.head) if message.get("trailers") else None
            self.sending = HELD
        elif sending is DISCONNECTED:
            await self._disconnected()
        elif kind == "http.response.pathsend" and (sending is HELD or self._is_bare):
            with opened(message) as part:
                await self._send_file(part, False)
        elif kind == "http.response.zerocopysend" and (sending is HELD or sending is STREAMING):
            with borrowed(message) as part:
                await self._send_file(part, message.get("more_body", False))
        elif kind == "http.response.early_hint" and sending in (AWAITED, HELD, STREAMING, FILE):
            links = link_fields(message)
            if links and (sending is AWAITED or sending is HELD):  # else it is too late
                self.channel.inform(103, links)
        elif kind == "http.response.trailers" and sending in (TRAILERS, COMPLETE):
            self._take_trailers(message)
        elif sending is not COMPLETE or self.trailers is not None:
            # (The ASGI specification: what comes after the end of the response is ignored.)
            raise AppError(f"the message {kind!r} is not allowed now: {sending.value}")

    def send_body(self, body: bytes, more: bool) -> bool:
        """Pass on a part of the response; returns whether there is room for more."""
        if type(body) is not bytes:
            body = as_bytes(body)
        head = self.head
        first = None
        if self.sending is HELD:
            first = head
            self.left = head.content_length
        if head.bodyless:
            body = b""
        elif self.left is not None:
            self.left -= len(body)
            if self.left < 0 or (self.left and not more):
                self._break_length(self.left)
        if first is not None:
            self.sending = STREAMING
            self.deadline = inf
        self.sent += len(body)
        if not more and self.trailers is not None and self.trailers.sendable:
            self.sending, more = TRAILERS, True
        if more:
            return self.channel.respond(first, body, True)
        self._complete(self.channel.respond, first, body, False)
        return True

    async def _send_file(self, part: FilePart, more: bool) -> None:
        """Send a part of a file: a short one as any body, a long one by the kernel if possible."""
        head, held = self.head, self.sending is HELD
        if held and not more and not (self.trailers is not None and self.trailers.sendable):
            head = head.with_length(part.count)
        body = b""
        if part.count <= READ_SIZE and not head.bodyless:
            body = part.read()
        elif not head.bodyless:
            left = head.content_length if held else self.left
            missing = 0 if left is None else left - part.count
            if missing < 0 or (missing and not more):
                self._break_length(missing)
            if held:
                self.head = head
                self.send_body(b"", True)
            if not await self._stream(part):
                return
        self.head = head
        if not self.send_body(body, more) and more:
            await self._drained()

    async def _stream(self, part: FilePart) -> bool:
        """Send piece by piece; returns whether the response is still to be completed."""
        self.sending = FILE
        try:
            while True:
                size, room = part.hand_on(self.channel)
                self.sent += size
                if self.left is not None:
                    self.left -= size
                if not part.count:
                    return True
                if not room:
                    await self._drained()
                else:
                    await asyncio.sleep(0)  # one download must not keep the others from their turn
                if self.sending is DISCONNECTED:
                    await self._disconnected()
                if self.sending is not FILE:
                    return False  # another task has ended it
        except AppError:
            self.break_off()
            raise
        finally:
            if self.sending is FILE:
                self.sending = STREAMING
                if part.count:  # `send()` was cancelled; something else may follow
                    self.channel.send_file(part.fd, part.offset, 0)

    @property
    def _is_bare(self) -> bool:
        """Whether the head is out, but nothing of the body; see `HttpCycle.expire`."""
        return self.sending is STREAMING and not self.sent

    def _complete(self, last: Callable[..., object], *arguments: object) -> None:
        """The response ends here, whether as it should or not, with this call of the engine.

        In that call, the next request may begin. It comes before the log, whatever that does.
        """
        self.sending = COMPLETE
        if self._body:
            self.channel.consumed(sum(map(len, self._body)))
            self._body = []
        if self._readers or self._writers:
            self._readers = woken(self._readers)
            self._writers = woken(self._writers)
        last(*arguments)
        if self._log is not None:
            self._log.record(self, self.head)

    def _take_trailers(self, message: Message) -> None:
        """Collect trailers. Those that cannot be sent are thrown away, behind the response."""
        trailers = self.trailers
        if trailers is not None and trailers.take(message):
            self.trailers = None
            if self.sending is TRAILERS:
                self._complete(self.channel.trailers, trailers.fields)

    def break_off(self) -> None:
        """The response cannot be completed any more, and the client has to see that."""
        self.trailers = None
        self._complete(self.channel.abort)

    def _break_length(self, missing: int) -> NoReturn:
        """The body does not have its content-length: a clean 500, or else visibly broken."""
        if self.sending is not HELD:
            self.break_off()
        raise wrong_length(missing)

    async def _drained(self) -> None:
        """Wait until the client has read enough."""
        if self._writers is None:
            self._writers = []
        await wait(self._context.loop, self._writers)
        if self.sending is DISCONNECTED:
            await self._disconnected()

    async def _disconnected(self) -> None:
        """Raise ClientDisconnected, but let a task that waits in `receive()` hear of it first.

        Frameworks that listen there, as Django does, cancel the sender and clean up behind it; an
        exception out of `send()` in the same moment would take another, rougher way.
        """
        if self._told_readers:
            self._told_readers = False
            await asyncio.sleep(_TELL_SECONDS)
        raise ClientDisconnected("the client has disconnected")
