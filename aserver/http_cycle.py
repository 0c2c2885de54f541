"""The HTTP cycle: one request and its response, between an engine and the application.

It serves every protocol version and never knows which engine carries it. What ASGI asks of a server
for one HTTP request is here and nowhere else: the order of messages, the accounting of
content-length, disconnects, and what the client sees when the application fails.
"""

import asyncio
from math import inf
from typing import NoReturn

from .access_format import clock
from .context import Context
from .engines.fields import ResponseHead, reason_phrase, response_head
from .escaping import request_name
from .file_response import send_open_file, send_path
from .http_messages import Trailers, as_bytes, link_fields, wrong_length
from .http_states import Receiving, Sending
from .logs import app_log
from .types import Address, AppError, ClientDisconnected, Engine, Message, Request, Scope
from .waiting import Waiters, wait, woken

# How long a `send()` to a client that left waits for the application's own listener to act.
_TELL_SECONDS = 0.05

# A server-made answer ends the connection: the application's state is unknown (ASGI, "Error
# Handling").
_PLAIN_CLOSE = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]

# An enum's attribute look-up is a call in Python 3.11.
OPEN, RECEIVED, DELIVERED, LAST, HUNG_UP = Receiving
AWAITED, HELD, STREAMING, FILE, TRAILERS, COMPLETE, DISCONNECTED = Sending


class HttpCycle:
    """One call of the application."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_context",
        "_readers",
        "_receiving",
        "_task",
        "_told_readers",
        "_writers",
        "began",
        "client",
        "deadline",
        "engine",
        "head",
        "left",
        "received",
        "request",
        "scope",
        "sending",
        "sent",
        "trailers",
    )

    began: float  # set where the access log asks for it
    # Set by http.response.start: the head, what its content-length still promises, and trailers if
    # it announced them, until they are complete.
    head: ResponseHead
    left: int | None
    trailers: Trailers | None

    def __init__(
        self,
        context: Context,
        engine: Engine,
        request: Request,
        scope: Scope,
        client: Address | None,
    ) -> None:
        self._context = context
        self.engine = engine
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
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        request = self.request
        return (
            f"<HttpCycle {request.method} {request.target!r} receiving={self._receiving.name} "
            f"sending={self.sending.name} sent={self.sent}>"
        )

    # Seen from the engine

    def start(self) -> None:
        """Run the application, in a task with a context of its own."""
        context = self._context
        context.cycles.add(self)
        self.deadline = context.now + context.response_seconds
        log = context.access_log
        if log is not None and log.timed:
            self.began = clock()
        self._task = context.new_task(
            self._run(),
            loop=context.loop,
            name="aserver.http",
            context=context.task_context.copy(),
        )

    def feed(self, data: bytes) -> None:
        """Take a piece of the request body."""
        self.received += len(data)
        if self.sending is COMPLETE or self.sending is DISCONNECTED:
            self.engine.consumed(self, len(data))
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
        if self.sending is COMPLETE or self.sending is DISCONNECTED:
            return
        log = self._context.access_log
        if log is not None and self.sending is not AWAITED and self.sending is not HELD:
            log.record(self, self.head)
        self.sending = DISCONNECTED
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
            over = self.sending is COMPLETE or self.sending is DISCONNECTED
            if over or self._receiving is HUNG_UP:
                return {"type": "http.disconnect"}
            if self._body or self._receiving is RECEIVED or self._receiving is LAST:
                return self._take_body()
            if self._receiving is OPEN and self.request.expects_continue:
                self.engine.inform(self, 100, [])
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
            self.engine.consumed(self, len(data))
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
                await self.drained()
        elif kind == "http.response.start" and sending is AWAITED:
            if "status" not in message:
                raise AppError("http.response.start must have a 'status'")
            headers = message.get("headers", ())
            self.head = response_head(message["status"], headers, self.request.method)
            self.trailers = Trailers(self.request, self.head) if message.get("trailers") else None
            self.sending = HELD
        elif sending is DISCONNECTED:
            await self.disconnected()
        elif kind == "http.response.pathsend" and sending is HELD:
            await send_path(self, message)
        elif kind == "http.response.zerocopysend" and (sending is HELD or sending is STREAMING):
            await send_open_file(self, message)
        elif kind == "http.response.early_hint" and sending in (AWAITED, HELD, STREAMING, FILE):
            links = link_fields(message)
            if links and (sending is AWAITED or sending is HELD):  # else it is too late
                self.engine.inform(self, 103, links)
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
                self.break_length(self.left)
        if first is not None:
            self.sending = STREAMING
            self.deadline = inf
        self.sent += len(body)
        if not more and self.trailers is not None and self.trailers.sendable:
            self.sending, more = TRAILERS, True
        elif not more:
            self._complete()
        return self.engine.respond(self, first, body, more)

    def _complete(self) -> None:
        """The response ends here, whether as it should or not."""
        self.sending = COMPLETE
        log = self._context.access_log
        if log is not None:
            log.record(self, self.head)
        if self._body:
            self.engine.consumed(self, sum(map(len, self._body)))
            self._body = []
        if self._readers or self._writers:
            self._readers = woken(self._readers)
            self._writers = woken(self._writers)

    def _take_trailers(self, message: Message) -> None:
        """Collect trailers. Those that cannot be sent are thrown away, behind the response."""
        trailers = self.trailers
        if trailers is not None and trailers.take(message):
            self.trailers = None
            if self.sending is TRAILERS:
                self._complete()
                self.engine.trailers(self, trailers.fields)

    def break_off(self) -> None:
        """The response cannot be completed any more, and the client has to see that."""
        self.trailers = None
        self._complete()
        self.engine.abort(self)

    def break_length(self, missing: int) -> NoReturn:
        """The body does not have its content-length: a clean 500, or else visibly broken."""
        if self.sending is not HELD:
            self.break_off()
        raise wrong_length(missing)

    async def drained(self) -> None:
        """Wait until the client has read enough."""
        if self._writers is None:
            self._writers = []
        await wait(self._context.loop, self._writers)
        if self.sending is DISCONNECTED:
            await self.disconnected()

    async def disconnected(self) -> None:
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
            if self.sending is not COMPLETE:
                self._returned()
        except GeneratorExit:  # its loop was closed
            raise
        except KeyboardInterrupt as error:
            if not self._context.has_signals:  # it may be a real one, for who has embedded us
                raise
            self._failed(error)
        except BaseException as error:
            self._failed(error)
        finally:
            context = self._context
            context.cycles.discard(self)
            if context.quiet is not None:
                context.check_quiet()

    def _returned(self) -> None:
        """The application returned and has not completed its response."""
        if self._receiving is HUNG_UP and self.sending is not DISCONNECTED:
            self._abandon()
        elif self.sending is not DISCONNECTED:
            app_log.error(
                "%s: the application returned without completing its response (%s)",
                self._title,
                self.sending.value,
            )
            self._give_up(500)

    def _failed(self, error: BaseException) -> None:
        """The application raised. Whatever it was, this request ends here."""
        if self.sending is DISCONNECTED and ClientDisconnected.is_behind(error):
            app_log.debug("%s: the application ended with its client", self._title, exc_info=error)
            return
        cancelled = self._task is not None and self._task.cancelling() > 0
        if isinstance(error, asyncio.CancelledError) and cancelled:
            if self._is_waited_for:
                self._context.throttle.warning(app_log, "%s: cancelled, answered 503", self._title)
            self._give_up(503)
            return
        if isinstance(error, asyncio.CancelledError) and self._receiving is HUNG_UP:
            if self.sending is not DISCONNECTED and self.sending is not COMPLETE:
                self._abandon()
            return
        app_log.error("%s: exception in the application", self._title, exc_info=error)
        self._give_up(500)

    def _give_up(self, status: int) -> None:
        """Answer in the application's place, or break what it began."""
        if self.sending is AWAITED or self.sending is HELD:
            self.head = response_head(status, _PLAIN_CLOSE, self.request.method)
            self.trailers = None
            self.sending = HELD
            self.send_body(reason_phrase(status).encode("ascii"), False)
        elif self.sending is not COMPLETE and self.sending is not DISCONNECTED:
            self.break_off()

    def _abandon(self) -> None:
        """The application heard that its client hung up, and gave up: there is nobody to answer."""
        self.lost()
        self.engine.abort(self)

    def cancel(self) -> None:
        """Cancel the application; what it began is answered with 503, or broken."""
        self.deadline = inf
        if self._task is not None:
            # Behind the task's first step: cancelled before it, `_run` would not run at all.
            self._context.loop.call_soon(self._task.cancel)

    def expire(self) -> None:
        """The application has taken too long: to respond, or to end after its client left."""
        if self._is_waited_for:
            self._context.throttle.warning(
                app_log,
                "%s: the application did not respond in time (--http-timeout), answered 503",
                self._title,
            )
            self._give_up(503)
            self.deadline = self._context.now + self._context.close_seconds
        else:
            self._context.throttle.warning(
                app_log,
                "%s: cancelled the application, which went on without its client for too long "
                "(--application-close-timeout)",
                self._title,
            )
            self.cancel()

    @property
    def _is_waited_for(self) -> bool:
        """Whether a client that has not hung up waits for the response to begin."""
        silent = self.sending is AWAITED or self.sending is HELD
        return silent and self._receiving is not HUNG_UP and self._receiving is not LAST

    @property
    def _title(self) -> str:
        """What messages for people call it."""
        return request_name(self.request, self.client)
