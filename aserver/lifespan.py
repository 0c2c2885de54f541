"""The lifespan protocol (ASGI Lifespan 2.0): one long call beside the requests."""

import asyncio
from contextvars import Context as TaskContext
from enum import Enum
from typing import Any

from .logs import app_log, one_line
from .types import AppError, ASGIApplication, Message, ServerError

# For the call to return by itself after its last message, and then once more to end when cancelled.
_END_SECONDS = 1.0
_NO_REASON = "it gives no reason"

_Call = asyncio.Task[BaseException | None]


class LifespanError(ServerError):
    """The application could not start."""

    exit_code = 4


class Stage(Enum):
    """Which events the application has taken."""

    CALLED = "none yet"
    STARTUP = "lifespan.startup"
    SHUTDOWN = "lifespan.shutdown"


class Lifespan:
    """One application's lifespan.

    Args:
        mode: "on": an application that does not support it is an error; "auto": it is not; "off":
        never asked.
        task_context: Runs in this context itself, so that variables set at start-up are seen by
        requests.
        has_signals: Ctrl-C is a signal handler's, so a KeyboardInterrupt is the application's own.
    """

    def __init__(
        self,
        app: ASGIApplication,
        mode: str,
        task_context: TaskContext,
        *,
        has_signals: bool = False,
    ) -> None:
        self._app = app
        self._mode = mode
        self._task_context = task_context
        self._has_signals = has_signals
        self._stage = Stage.CALLED
        self._task: _Call | None = None
        self._started: asyncio.Future[str | None] | None = None  # a failure's message
        self._stopped: asyncio.Future[str | None] | None = None
        self._stopping: asyncio.Event = asyncio.Event()
        self._state: dict[str, Any] = {}

    @property
    def state(self) -> dict[str, Any] | None:
        """The application's namespace; None if it does not speak the protocol."""
        return self._state if self._task is not None else None

    async def startup(self) -> None:
        """Start the application.

        Raises:
            LifespanError: It reported `lifespan.startup.failed`, or, in mode "on", it raised or
            does not support lifespan.
        """
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._stopped = loop.create_future()
        self._task = task = loop.create_task(
            self._run(), name="aserver.lifespan", context=self._task_context
        )
        try:
            await _first(task, self._started)
        except asyncio.CancelledError:
            task.add_done_callback(self._report)
            if not self._started.done():  # else it has started, and will be shut down
                await self._end_task(0)
            raise
        if not self._started.done():
            self._task = None
            self._unsupported(_error(task))
        elif (failure := self._started.result()) is not None:
            await self._end_task(_END_SECONDS)
            raise _failed(failure, _error(task))
        else:
            task.add_done_callback(self._report)

    def _unsupported(self, error: BaseException | None) -> None:
        """The call ended, by a return or an exception, before start-up was complete."""
        if error is not None and self._stage is not Stage.CALLED:
            # It took the event, so this is no mere lack of support. The specification says to go on
            # all the same.
            app_log.error("The application raised in lifespan start-up", exc_info=error)
        else:
            app_log.debug("The application does not support lifespan: %r", error)
        if self._mode == "on":
            said = one_line(error) if error else "it returned"
            raise LifespanError(
                f"the application did not complete its lifespan start-up (--lifespan on): {said}"
            )

    async def shutdown(self, timeout: float) -> None:
        """Tell the application that the server has stopped; wait `timeout` seconds at most."""
        if self._task is None:
            return
        self._stopping.set()
        assert self._stopped is not None
        await _first(self._task, self._stopped, timeout=timeout)
        if self._stopped.done():
            if (failure := self._stopped.result()) is not None:
                app_log.error("The application failed to shut down: %s", failure or _NO_REASON)
        elif not self._task.done():
            app_log.error(
                "The application did not complete lifespan.shutdown in %g seconds", timeout
            )
        await self._end_task(_END_SECONDS if self._stopped.done() else 0)

    def abandon(self) -> None:
        """End the call, if it goes on still, without waiting for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _report(self, task: _Call) -> None:
        """The call has ended, at whatever time."""
        if (error := _error(task)) is not None:
            assert self._stopped is not None
            assert self._started is not None
            told = self._stopped.done() and self._stopped.result() is not None
            # It had no time to be found out: a stop was asked for during its first step.
            unsupported = self._stage is Stage.CALLED and not self._started.done()
            quiet = told or (unsupported and not task.cancelling())
            log = app_log.debug if quiet else app_log.error
            log("The application raised in its lifespan", exc_info=error)

    async def _end_task(self, patience: float) -> None:
        """Let the call return by itself if it does so soon, else cancel it."""
        assert self._task is not None
        for seconds in (patience, _END_SECONDS):
            done, _ = await asyncio.wait({self._task}, timeout=seconds)
            if done:
                break
            self._task.cancel()
        self._task = None

    async def _run(self) -> BaseException | None:
        """Call the application; returns what would end the event loop if a task raised it."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except SystemExit as error:
            return error
        except KeyboardInterrupt as error:
            if not self._has_signals:  # it may be a real one, for who has embedded us
                raise
            return error
        return None

    async def _receive(self) -> Message:
        if self._stage is Stage.CALLED:
            self._stage = Stage.STARTUP
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        if self._stage is Stage.SHUTDOWN:
            await asyncio.Event().wait()  # there is no third event: wait to be cancelled
        self._stage = Stage.SHUTDOWN
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message.get("type")
        answer = None
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            answer = self._started
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            answer = self._stopped if self._stage is Stage.SHUTDOWN else None
        if answer is None or answer.done():
            raise AppError(
                f"the message {kind!r} is not allowed now: events so far: {self._stage.value}"
            )
        failed = kind in ("lifespan.startup.failed", "lifespan.shutdown.failed")
        answer.set_result(str(message.get("message", "")).strip() if failed else None)


def _failed(message: str, error: BaseException | None) -> LifespanError:
    """What to raise; the log has what does not fit in a line."""
    lines = message.splitlines()
    if len(lines) > 1:  # a traceback; Starlette sends one, then raises the same
        app_log.error("The application failed to start:\n%s", message)
    elif error is not None:
        app_log.error("The application raised in lifespan start-up", exc_info=error)
    reason = lines[-1] if lines else one_line(error) if error else _NO_REASON
    return LifespanError(f"the application failed to start: {reason}")


def _error(task: _Call) -> BaseException | None:
    """What the call raised, if it has ended so."""
    if not task.done() or task.cancelled():
        return None
    return task.exception() or task.result()


async def _first(*waited: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
