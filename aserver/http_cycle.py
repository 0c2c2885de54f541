"""The HTTP cycle: one request and its response, between an engine and the application.

It serves every protocol version and never knows which engine carries it. What ASGI asks of a server
for one HTTP request is here and nowhere else: the order of messages, the accounting of
content-length, disconnects, and what the client sees when the application fails.
"""

import asyncio
from enum import Enum
from math import inf
from typing import NoReturn

from .context import Context
from .engines.fields import ResponseHead, reason_phrase, response_head
from .logs import app_log
from .types import Address, AppError, ClientDisconnected, Engine, Message, Request, Scope
from .waiting import Waiters, wait, woken

# How long a `send()` to a client that left waits for the application's own listener to act.
_TELL_SECONDS = 0.05

# A server-made answer ends the connection: the application's state is unknown (ASGI, "Error
# Handling").
_PLAIN_CLOSE = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]


class Receiving(Enum):
    """How far the request body is."""

    OPEN = "more is on its way"
    RECEIVED = "all has arrived"
    DELIVERED = "the application has it all"
    LAST = "all has arrived, and the client has closed its side"
    HUNG_UP = "the application has it all, and the client has closed its side"


class Sending(Enum):
    """How far the response is."""

    AWAITED = "no http.response.start yet"
    HELD = "http.response.start was sent, its head waits for the first http.response.body"
    STREAMING = "the head is out"
    COMPLETE = "the response is complete"
    DISCONNECTED = "the client is gone"


# An enum's attribute look-up is a call in Python 3.11.
OPEN, RECEIVED, DELIVERED, LAST, HUNG_UP = Receiving
AWAITED, HELD, STREAMING, COMPLETE, DISCONNECTED = Sending


class HttpCycle:
    """One call of the application."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_context",
        "_engine",
        "_head",
        "_left",
        "_readers",
        "_receiving",
        "_sending",
        "_task",
        "_told_readers",
        "_writers",
        "client",
        "deadline",
        "request",
        "scope",
        "sent",
    )

    # Set by http.response.start: the head, and what its content-length still promises.
    _head: ResponseHead
    _left: int | None

    def __init__(
        self,
        context: Context,
        engine: Engine,
        request: Request,
        scope: Scope,
        client: Address | None,
    ) -> None:
        self._context = context
        self._engine = engine
        self.request = request
        self.scope = scope
        self.client = client
        self.sent = 0  # body bytes
        self._receiving = OPEN if request.content_length != 0 else RECEIVED
        self._sending = AWAITED
        self._body: list[bytes] = []
        self._readers: Waiters = None  # each receive() that waits
        self._writers: Waiters = None  # each send() that waits
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        request = self.request
        return (
            f"<HttpCycle {request.method} {request.target!r} receiving={self._receiving.name} "
            f"sending={self._sending.name} sent={self.sent}>"
        )

    # Seen from the engine

    def start(self) -> None:
        """Run the application, in a task with a context of its own."""
        context = self._context
        context.cycles.add(self)
        self.deadline = context.now + context.response_seconds
        self._task = context.new_task(
            self._run(),
            loop=context.loop,
            name="aserver.http",
            context=context.task_context.copy(),
        )

    def feed(self, data: bytes) -> None:
        """Take a piece of the request body."""
        if self._sending is COMPLETE or self._sending is DISCONNECTED:
            self._engine.consumed(self, len(data))
            return
        self._body.append(data)
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
        if self._sending is COMPLETE or self._sending is DISCONNECTED:
            return
        if self._sending is STREAMING:
            self._log_access()
        self._sending = DISCONNECTED
        self._body = []
        self.deadline = self._context.now + self._context.close_seconds
        self._told_readers = bool(self._readers)
        self._readers = woken(self._readers)
        self._writers = woken(self._writers)

    def hung_up(self) -> None:
        """The client sends no more and may be gone: say so, but it can be answered still."""
        self._receiving = HUNG_UP if self._receiving is DELIVERED else LAST
        self.deadline = self._context.now + self._context.close_seconds
        self._readers = woken(self._readers)

    # Seen from the application

    async def receive(self) -> Message:
        """ASGI `receive()`: the request body, then `http.disconnect`."""
        while True:
            if (
                self._sending is COMPLETE
                or self._sending is DISCONNECTED
                or self._receiving is HUNG_UP
            ):
                return {"type": "http.disconnect"}
            if self._body or self._receiving is RECEIVED or self._receiving is LAST:
                return self._take_body()
            if self._receiving is OPEN and self.request.expects_continue:
                self._engine.inform(self, 100, [])
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
            self._engine.consumed(self, len(data))
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
        sending = self._sending
        if kind == "http.response.body" and (sending is HELD or sending is STREAMING):
            more = message.get("more_body", False)
            if not self._send_body(message.get("body", b""), more) and more:
                await self._drained()
        elif kind == "http.response.start" and sending is AWAITED:
            if "status" not in message:
                raise AppError("http.response.start must have a 'status'")
            headers = message.get("headers", ())
            self._head = response_head(message["status"], headers, self.request.method)
            self._sending = HELD
        elif sending is DISCONNECTED:
            await self._disconnected()
        elif sending is not COMPLETE:
            # (The ASGI specification: what comes after the end of the response is ignored.)
            raise AppError(f"the message {kind!r} is not allowed now: {sending.value}")

    def _send_body(self, body: bytes, more: bool) -> bool:
        """Pass on a part of the response; returns whether there is room for more."""
        if type(body) is not bytes:
            body = _as_bytes(body)
        head = self._head
        first = None
        if self._sending is HELD:
            first = head
            self._left = head.content_length
        if head.bodyless:
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                self._break_length(self._left)
        if first is not None:
            self._sending = STREAMING
            self.deadline = inf
        self.sent += len(body)
        if not more:
            self._complete()
        return self._engine.respond(self, first, body, more)

    def _complete(self) -> None:
        """The response ends here, whether as it should or not."""
        self._sending = COMPLETE
        if self._context.access_log is not None:
            self._log_access()
        if self._body:
            self._engine.consumed(self, sum(map(len, self._body)))
            self._body = []
        if self._readers or self._writers:
            self._readers = woken(self._readers)
            self._writers = woken(self._writers)

    def _break_length(self, missing: int) -> NoReturn:
        """The body does not have its content-length: a clean 500, or else visibly broken."""
        if self._sending is STREAMING:
            self._complete()
            self._engine.abort(self)
        raise AppError(
            f"the response body is {abs(missing)} bytes {'longer' if missing < 0 else 'shorter'} "
            "than its content-length"
        )

    async def _drained(self) -> None:
        """Wait until the client has read enough."""
        if self._writers is None:
            self._writers = []
        await wait(self._context.loop, self._writers)
        if self._sending is DISCONNECTED:
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

    # The application's run

    async def _run(self) -> None:
        try:
            await self._context.app(self.scope, self.receive, self.send)
            if self._sending is not COMPLETE:
                self._returned()
        except (KeyboardInterrupt, GeneratorExit):  # the latter: its loop was closed
            raise
        except BaseException as error:
            self._failed(error)
        finally:
            context = self._context
            context.cycles.discard(self)
            if context.quiet is not None:
                context.check_quiet()

    def _returned(self) -> None:
        """The application returned and has not completed its response."""
        if self._receiving is HUNG_UP and self._sending is not DISCONNECTED:
            self._abandon()
        elif self._sending is not DISCONNECTED:
            app_log.error("The application returned without completing its response: %s", self)
            self._give_up(500)

    def _failed(self, error: BaseException) -> None:
        """The application raised. Whatever it was, this request ends here."""
        if self._sending is DISCONNECTED and ClientDisconnected.is_behind(error):
            app_log.debug("The application ended with its client: %s", self, exc_info=error)
            return
        if isinstance(error, asyncio.CancelledError) and self._cancelled:
            self._give_up(503)
            return
        if isinstance(error, asyncio.CancelledError) and self._receiving is HUNG_UP:
            if self._sending is not DISCONNECTED and self._sending is not COMPLETE:
                self._abandon()
            return
        app_log.error("Exception in the application: %s", self, exc_info=error)
        self._give_up(500)

    def _give_up(self, status: int) -> None:
        """Answer in the application's place, or break what it began."""
        if self._sending is AWAITED or self._sending is HELD:
            self._head = response_head(status, _PLAIN_CLOSE, self.request.method)
            self._sending = HELD
            self._send_body(reason_phrase(status).encode("ascii"), False)
        elif self._sending is STREAMING:
            self._complete()
            self._engine.abort(self)

    def _abandon(self) -> None:
        """The application heard that its client hung up, and gave up: there is nobody to answer."""
        self.lost()
        self._engine.abort(self)

    @property
    def _cancelled(self) -> bool:
        return self._task is not None and self._task.cancelling() > 0

    def cancel(self) -> None:
        """Cancel the application; what it began is answered with 503, or broken."""
        self.deadline = inf
        if self._task is not None:
            # Behind the task's first step: cancelled before it, `_run` would not run at all.
            self._context.loop.call_soon(self._task.cancel)

    def expire(self) -> None:
        """The application has taken too long: to respond, or to end after its client left."""
        silent = self._sending is AWAITED or self._sending is HELD
        if silent and self._receiving is not HUNG_UP and self._receiving is not LAST:
            app_log.warning("The application did not respond in time (--http-timeout): %s", self)
            self._give_up(503)
            self.deadline = self._context.now + self._context.close_seconds
        else:
            app_log.warning(
                "Cancelled the application, which went on without its client for too long "
                "(--application-close-timeout): %s",
                self,
            )
            self.cancel()

    def _log_access(self) -> None:
        log = self._context.access_log
        if log is not None:
            request = self.request
            log.http(self.client, request.method, request.target, self._head.status, self.sent)


def _as_bytes(body: object) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise AppError(f"the body must be bytes, not {type(body).__name__}")
