"""The HTTP cycle: an exchange, and the call of the application that it is for.

What ASGI leaves to the server is here: when a call has taken too long, and what the client sees
when it fails, or ends without a response.
"""

import asyncio
from math import inf

from .access_format import clock
from .engines.fields import reason_phrase, response_head
from .escaping import printable, request_name
from .http_exchange import HttpExchange
from .http_states import AWAITED, COMPLETE, DISCONNECTED, HELD, HUNG_UP, LAST
from .logs import app_log, one_line
from .types import ClientDisconnected, Headers

# A server-made answer ends the connection: the application's state is unknown (ASGI, "Error
# Handling").
_PLAIN_CLOSE = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]


class HttpCycle(HttpExchange):
    """One call of the application."""

    __slots__ = ("__weakref__", "_task")

    _name = "aserver.http"  # of the task
    # What it is in a message for people, and what it did when it did not respond.
    _kind = ""
    _late = "did not respond in time (--http-timeout)"

    _task: asyncio.Task[None] | None

    def start(self) -> None:
        """Run the application, in a task with a context of its own."""
        context = self._context
        context.cycles.add(self)
        self.deadline = context.now + context.response_seconds
        if self._log is not None and self._log.timed:
            self.began = clock()
        self._task = None  # an eager one has run when it is made
        self._task = context.new_task(
            self._run(),
            loop=context.loop,
            name=self._name,
            context=context.task_context.copy(),
        )

    @property
    def is_running(self) -> bool:
        """Whether the call of the application has begun and not ended."""
        return self in self._context.cycles

    async def _run(self) -> None:
        context = self._context
        try:
            await context.app(self.scope, self.receive, self.send)
            if self.sending is not COMPLETE:
                self._returned()
        except BaseException as error:
            if self._is_ours(error):
                raise
            self._failed(error)
        finally:
            context.cycles.discard(self)
            if self.sending is not COMPLETE and self.sending is not DISCONNECTED:
                self._drop()
            if context.quiet is not None:
                context.check_quiet()

    def _is_ours(self, error: BaseException) -> bool:
        """Whether an exception out of the application is not about it, but about who runs it."""
        if isinstance(error, KeyboardInterrupt):  # it may be a real one, for who has embedded us
            return not self._context.has_signals
        return isinstance(error, GeneratorExit) and self._context.loop.is_closed()

    def _drop(self) -> None:
        """The call is over and has left its client waiting, which nobody else would notice."""
        if not self._context.loop.is_closed():
            self.channel.abort()
            self.lost()

    def _returned(self) -> None:
        """The application returned and has not completed its response."""
        if self._receiving is HUNG_UP and self.sending is not DISCONNECTED:
            self._abandon()
        elif self.sending is not DISCONNECTED:
            state = self.sending.value
            self._give_up(500)
            app_log.error(
                "%s: the application returned without completing its response (%s)",
                self._title,
                state,
            )

    def _failed(self, error: BaseException) -> None:
        """The application raised. Whatever it was, this request ends here."""
        quiet = isinstance(error, asyncio.CancelledError) or ClientDisconnected.is_behind(error)
        if self._has_left or (self._is_over and quiet):
            self._failed_alone(error)
            return
        cancelled = self._task is not None and self._task.cancelling() > 0
        if isinstance(error, asyncio.CancelledError) and cancelled:
            waited_for = self._is_waited_for
            self._give_up(503)
            if waited_for:
                self._context.throttle.warning(app_log, "%s: cancelled, answered 503", self._title)
        elif isinstance(error, asyncio.CancelledError) and self._receiving is HUNG_UP:
            if self.sending is not COMPLETE:
                self._abandon()
        else:
            self._give_up(500)
            app_log.error("%s: exception in the application", self._title, exc_info=error)

    def _failed_alone(self, error: BaseException) -> None:
        """The application raised when its client had left: clients can make that happen at will."""
        if isinstance(error, asyncio.CancelledError) or ClientDisconnected.is_behind(error):
            app_log.debug("%s: the application ended with its client", self._title, exc_info=error)
        else:
            self._context.throttle.warning(
                app_log,
                "%s: exception in the application after its client had left: %s",
                self._title,
                printable(one_line(error)),
            )
            app_log.debug("%s: where it was raised", self._title, exc_info=error)

    def _give_up(self, status: int) -> None:
        """Answer in the application's place, or break what it began.

        It comes before what is logged of it: that may fail, too.
        """
        if self.sending is AWAITED or self.sending is HELD:
            self._answer(status, _PLAIN_CLOSE, reason_phrase(status).encode("ascii"))
        elif self.sending is not COMPLETE and self.sending is not DISCONNECTED:
            self.break_off()

    def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A response of the server's own."""
        self.head = response_head(status, headers, self.request.method)
        self.trailers = None
        self.sending = HELD
        self.send_body(body, False)

    def _abandon(self) -> None:
        """The application heard that its client hung up, and gave up: there is nobody to answer."""
        self.lost()
        self.channel.abort()

    def dismiss(self) -> None:
        """The server does not wait any more: answer 503 or break what has begun.

        So the application hears that its client is gone.
        """
        is_waited_for = self._is_waited_for
        self._give_up(503)
        if is_waited_for:
            self._context.throttle.warning(
                app_log, "%s: not done when the server stopped, answered 503", self._title
            )

    def cancel(self) -> None:
        """Cancel the application; what it began is answered with 503, or broken."""
        self.deadline = inf
        if self._task is not None:
            # Behind the task's first step: cancelled before it, `_run` would not run at all.
            self._context.loop.call_soon(self._task.cancel)

    def expire(self) -> None:
        """The application has taken too long: to respond, or to end after its client left."""
        if not self._is_waited_for:
            self.cancel()
            self._context.throttle.warning(app_log, self._overdue, self._title)
        elif self.sending is HELD:
            # It has responded; from now on, the body may take as long as that of any stream.
            self.send_body(b"", True)
        else:
            self._give_up(503)
            self.deadline = self._context.now + self._context.close_seconds
            self._context.throttle.warning(
                app_log, "%s: the application " + self._late + ", answered 503", self._title
            )

    @property
    def _has_left(self) -> bool:
        """Whether the client has."""
        return self.sending is DISCONNECTED

    @property
    def _is_over(self) -> bool:
        """Whether `send` raises ClientDisconnected."""
        return self.sending is DISCONNECTED

    @property
    def _overdue(self) -> str:
        """What to say of a call that is cancelled: why, and by which option."""
        if self.sending is DISCONNECTED:
            why = "which went on without its client for too long"
        elif self.sending is COMPLETE:
            why = "which went on for too long behind the 503 in its place"
        else:
            why = "which did not answer a client in time that has closed its sending side"
        return f"%s: cancelled the application, {why} (--application-close-timeout)"

    @property
    def _is_waited_for(self) -> bool:
        """Whether a client that has not hung up waits for the response to begin."""
        silent = self.sending is AWAITED or self.sending is HELD
        return silent and self._receiving is not HUNG_UP and self._receiving is not LAST

    @property
    def _title(self) -> str:
        """What messages for people call it."""
        return request_name(self.request, self.client, self._kind)
